"""After a reset, let the weights that were not reset learn slowly, so that the new ones fit in around them."""
import torch
from torch import Tensor

from basicsr_unlearn.core.checks import check_share
from basicsr_unlearn.core.edits.reset_edit import smallest_difference
from basicsr_unlearn.core.hints import Share
from basicsr_unlearn.core.inverses import check_attack, each_alone
from basicsr_unlearn.core.parts import MASKS, Evidence, Mask, Start, live_parameters, registered_in


@registered_in(MASKS)
class SmallestGradientMask(Mask):
    """The weights that `ResetSmallestGradient` resets learn in full, the other weights of convolutions at `rest` of it.

    All that is no weight of a convolution learns in full. It is each step that is scaled and not the gradient, whose
    factors Adam would undo.

    What learned slowly is near the original: an attacker measures again, and trains what learned in full alone, or all
    others.

    Args:
        share: of the weights of each Conv2d layer, in (0, 1]: that of the edit.
        rest: of a step, in (0, 1].

    Raises:
        ValueError: an argument is out of range.

    Source: MSG, as in xcadet/deepunlearn, which multiplies the gradient by 0.1; under its SGD with momentum that is the
    same but for weight decay, which is scaled here too.
    """

    needs = ('forget', 'retain')

    def __init__(self, share: Share = 0.3, rest: Share = 0.1):
        check_share('share', share)
        check_share('rest', rest)
        self.share, self.rest = share, rest

    def __call__(self, evidence: Evidence) -> dict[str, Tensor]:
        chosen = smallest_difference(evidence.teacher, evidence, self.share)
        return {name: torch.where(chosen[name], 1.0, self.rest) if name in chosen else torch.ones_like(p)
                for name, p in live_parameters(evidence.teacher)}

    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget', 'retain')
        full = {name: rate == 1 for name, rate in self(evidence).items()}
        return each_alone(full, 'weights that learned in full', evidence)
