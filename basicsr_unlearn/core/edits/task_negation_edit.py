"""Walk away from where training on the forget set leads."""
import torch
from torch import nn

from basicsr_unlearn.core.checks import check_number, check_whole
from basicsr_unlearn.core.hints import Count, Positive
from basicsr_unlearn.core.inverses import WAY_LENGTHS, check_attack, towards_relearned
from basicsr_unlearn.core.parts import EDITS, Edit, Evidence, Start, live_parameters, registered_in
from basicsr_unlearn.core.tuning import tuned


@registered_in(EDITS)
class TaskNegation(Edit):
    """w <- w - scale (w_tuned - w), where w_tuned comes from fine-tuning a copy on the forget batches.

    The copy is fine-tuned by Adam on L1 over the forget batches in turn, in eval mode; see `tuned`.

    Undone by the same fine-tuning on forget pairs of one's own: the step that it takes, in a length that fits, leads
    back.

    Args:
        scale: length of the step back, in units of the step that fine-tuning took, above 0.
        iters: fine-tuning steps, at least 1.
        lr: of the fine-tuning, above 0.

    Raises:
        ValueError: an argument is out of range.

    Source: task arithmetic, Ilharco et al., ICLR 2023, forgetting by negation. Their scale is tuned on validation data,
    their tasks are classification: scale, iters and lr are our choice.
    """

    needs = ('forget',)

    def __init__(self, scale: Positive = 1.0, iters: Count = 50, lr: Positive = 1e-4):
        check_number('scale', scale, exclusive=True)
        check_whole('iters', iters, minimum=1)
        check_number('lr', lr, exclusive=True)
        self.scale, self.iters, self.lr = scale, iters, lr

    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        there = tuned(net, evidence.forget, self.iters, self.lr, evidence.error)
        with torch.no_grad():
            for name, p in live_parameters(net):
                p.sub_(self.scale * (there[name] - p))

    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget')
        lengths = sorted({*WAY_LENGTHS, *(self.scale * length for length in WAY_LENGTHS)})
        return [Start('task vector added back', towards_relearned(evidence, self.iters, self.lr, lengths))]
