"""Only the weights that matter to the forget set at least as much as to the retain set may move."""
from torch import Tensor

from basicsr_unlearn.unlearning.ascent import check_number
from basicsr_unlearn.unlearning.importance import fisher, highest_share
from basicsr_unlearn.unlearning.layers import check_share
from basicsr_unlearn.unlearning.parts import MASKS, Evidence, Mask, registered_in

DEFAULT_THRESHOLD = 1.0  # SFR-on's gamma
EPS = 1e-15  # SFR-on's released code; on L1, 0.1 % of the weights of the NAFNet in zoo/ have an F_r below


@registered_in(MASKS)
class FisherMask(Mask):
    """The weights with a high ratio (F_f + eps) / (F_r + eps) of Fisher information on the forget and retain batches.

    eps is 1e-15. A weight without gradient on either set has the ratio 1, so a threshold of 1 lets it move. Where the
    forget set has by far the larger loss, nearly all ratios lie above 1 (strong haze against noise: 96 % of the weights
    of the NAFNet in zoo/), and share says better what is meant.

    Args:
        threshold: lowest ratio that may move, above 0; None for 1, unless share is given.
        share: of the weights, in (0, 1], counted exactly: those with the highest ratio. In place of threshold.

    Raises:
        ValueError: an argument is out of range, or both are given.

    Source: SFR-on, NeurIPS 2024, with its threshold (gamma) and eps, and as there the gradient of each batch's mean is
    squared. share: our choice. SFR-on masks its forgetting step alone; a mask here holds for every step.
    """

    needs = ('forget', 'retain')

    def __init__(self, threshold: float | None = None, share: float | None = None):
        if threshold is not None and share is not None:
            raise ValueError('threshold and share both say which weights may move: give only one of them.')
        if share is not None:
            check_share('share', share)
        elif threshold is None:
            threshold = DEFAULT_THRESHOLD
        else:
            check_number('threshold', threshold, exclusive=True)
        self.threshold, self.share = threshold, share

    def __call__(self, evidence: Evidence) -> dict[str, Tensor]:
        forget, retain = fisher(evidence.teacher, evidence.forget), fisher(evidence.teacher, evidence.retain)
        ratio = {name: (forget[name] + EPS) / (retain[name] + EPS) for name in forget}
        if self.share is not None:
            return highest_share(ratio, self.share)
        return {name: value >= self.threshold for name, value in ratio.items()}
