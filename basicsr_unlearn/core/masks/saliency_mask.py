"""Only the weights that the forget loss pulls at most may move."""
from typing import Literal

from torch import Tensor

from basicsr_unlearn.core.checks import check_choice, check_share
from basicsr_unlearn.core.hints import Share
from basicsr_unlearn.core.importance import highest_share, saliency
from basicsr_unlearn.core.inverses import check_attack, each_alone
from basicsr_unlearn.core.parts import MASKS, Evidence, Mask, Start, registered_in


@registered_in(MASKS)
class SaliencyMask(Mask):
    """The weights with the largest absolute mean gradient of the restoration loss (L1), ranked over all tensors.

    What did not move is the original's still: an attacker measures again, and trains what moved alone, or all others.

    Args:
        share: of the weights that may move, in (0, 1]; counted exactly.
        stream: whose loss, 'forget' or 'retain'.

    Raises:
        ValueError: an argument is out of range.

    Source: SalUn, ICLR 2024 (signed gradients summed over the forget set, then the absolute value, ranked globally);
    share 0.5 is its README's. The stream as an option: our choice.
    """

    def __init__(self, share: Share = 0.5, stream: Literal['forget', 'retain'] = 'forget'):
        check_share('share', share)
        check_choice('stream', stream, ('forget', 'retain'))
        self.share, self.stream = share, stream
        self.needs = (stream,)

    def __call__(self, evidence: Evidence) -> dict[str, Tensor]:
        return highest_share(saliency(evidence.teacher, getattr(evidence, self.stream), evidence.error), self.share)

    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget', self.stream)
        return each_alone(self(evidence), 'weights of large gradient that moved', evidence)
