"""Walk away from where training on the forget set leads."""
from copy import deepcopy

import torch
from torch import nn

from basicsr_unlearn.core.ascent import sample_loss
from basicsr_unlearn.core.checks import check_number
from basicsr_unlearn.core.hints import Count, Positive
from basicsr_unlearn.core.parts import EDITS, Edit, Evidence, live_parameters, registered_in


@registered_in(EDITS)
class TaskNegation(Edit):
    """w <- w - scale (w_tuned - w), where w_tuned comes from fine-tuning a copy on the forget batches.

    The copy is fine-tuned by Adam on L1 over the forget batches in turn, in eval mode (our choice), so that
    normalisation statistics rest and no dropout is drawn.

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
        check_number('iters', iters, minimum=1)
        check_number('lr', lr, exclusive=True)
        self.scale, self.iters, self.lr = scale, iters, lr

    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        copy = deepcopy(net).eval()
        tuned = dict(live_parameters(copy))
        optimizer = torch.optim.Adam(tuned.values(), lr=self.lr)
        with torch.enable_grad():
            for step in range(self.iters):
                lq, gt = evidence.forget[step % len(evidence.forget)]
                optimizer.zero_grad()
                sample_loss(copy(lq), gt).mean().backward()
                optimizer.step()
        with torch.no_grad():
            for name, p in live_parameters(net):
                p.sub_(self.scale * (tuned[name] - p))
