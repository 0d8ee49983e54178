"""Only the weights that matter to the forget set at least as much as to the retain set may move."""
import torch
from torch import Tensor

from basicsr_unlearn.core.checks import check_number, check_share
from basicsr_unlearn.core.hints import Positive, Share
from basicsr_unlearn.core.importance import fisher, highest_share
from basicsr_unlearn.core.inverses import check_attack, each_alone
from basicsr_unlearn.core.parts import MASKS, Evidence, Mask, Start, registered_in

DEFAULT_THRESHOLD = 1.0  # SFR-on's gamma
EPS = 1e-15  # SFR-on's released code; on L1, 0.1 % of the weights of the NAFNet in zoo/ have an F_r below


@registered_in(MASKS)
class FisherMask(Mask):
    """The weights with a high ratio (F_f + eps) / (F_r + eps) of Fisher information on the forget and retain batches.

    eps is 1e-15. A weight without gradient on either set has the ratio 1, so a threshold of 1 lets it move. Gradients
    of one set may be larger throughout, as classes of one classification task are not: then nearly all ratios lie on
    one side of 1, unless normalised (see methods/sfr_on.yml for numbers).

    What did not move is the original's still: an attacker measures again, and trains what moved alone, or all others.

    Args:
        threshold: lowest ratio that may move, above 0; None for 1, unless share is given.
        share: of the weights, in (0, 1], counted exactly: those with the highest ratio. In place of threshold.
        normalise: divide F_f and F_r by their means over all weights, so that a threshold of 1 asks to which set a
            weight matters more than weights do on average. Changes nothing with share.

    Raises:
        ValueError: an argument is out of range, or both are given.

    Source: SFR-on, NeurIPS 2024, with its threshold (gamma) and eps, and as there the gradient of each batch's mean is
    squared. share and normalise: our choice. SFR-on masks its forgetting step alone; a mask here holds for every step.
    """

    needs = ('forget', 'retain')

    def __init__(self, threshold: Positive | None = None, share: Share | None = None, normalise: bool = False):
        if threshold is not None and share is not None:
            raise ValueError('threshold and share both say which weights may move: give only one of them.')
        if share is not None:
            check_share('share', share)
        elif threshold is None:
            threshold = DEFAULT_THRESHOLD
        else:
            check_number('threshold', threshold, exclusive=True)
        self.threshold, self.share, self.normalise = threshold, share, normalise

    def __call__(self, evidence: Evidence) -> dict[str, Tensor]:
        forget, retain = (fisher(evidence.teacher, batches, evidence.error)
                          for batches in (evidence.forget, evidence.retain))
        if self.normalise:
            forget, retain = _of_mean_one(forget), _of_mean_one(retain)
        ratio = {name: (forget[name] + EPS) / (retain[name] + EPS) for name in forget}
        if self.share is not None:
            return highest_share(ratio, self.share)
        return {name: value >= self.threshold for name, value in ratio.items()}

    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget', 'retain')
        return each_alone(self(evidence), 'weights of high ratio that moved', evidence)


def _of_mean_one(values: dict[str, Tensor]) -> dict[str, Tensor]:
    mean = torch.cat([value.flatten() for value in values.values()]).double().mean()
    return {name: (value / mean.clamp_min(EPS)).to(value.dtype) for name, value in values.items()}
