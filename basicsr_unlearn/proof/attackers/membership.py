"""Whether a network's losses betray which images it was trained on.

Members are images of the forget set that the original was trained on, the others are unseen images *of the same
degradation* and of other photographs: else an attack tells degradations or contents apart, not membership. Several
degraded versions of one photograph are not independent; give their mean, or one of them. What an attack finds has to be
held against the same attack on a retrained network, which cannot know the members.
"""
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit

from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.statistics import Interval, Values, bootstrap, checked

FALSE_POSITIVE_RATES = (0.01, 0.05)


class TruePositiveRate(NamedTuple):
    """In [0, 1], or None with the reason."""
    value: float | None
    reason: str | None = None


class Reading(NamedTuple):
    """What an AUC says: `state` is 'no leak', 'recognisable', 'over-forgotten' or 'undecided'; `text` one sentence."""
    state: str
    text: str


@dataclass
class AttackResult:
    """What an attack finds: AUC with interval, TPR by FPR, and the score of each member and of each unseen image."""
    auc: Interval
    tpr: dict[float, TruePositiveRate]
    members: list[float]
    others: list[float]


def auc(members: Values, others: Values) -> float:
    """Probability that a random member scores above a random unseen image, equal scores counting one half.

    Raises:
        ValueError: a list is empty or holds a score that is not finite.
    """
    members, others = checked(members), checked(others)
    ordered = np.sort(others)
    lower = np.searchsorted(ordered, members, 'left') + np.searchsorted(ordered, members, 'right')
    return float(lower.mean() / 2 / len(others))


def tpr_at_fpr(members: Values, others: Values, fpr: float) -> TruePositiveRate:
    """Share of the members that score above a threshold which lets at most the share `fpr` of unseen images through.

    Of n unseen images k = floor(fpr n) may score above: the threshold is the (k + 1)-th highest score of an unseen
    image, and who equals it stays below. So with equal scores fewer than k may get through, never more. With
    n < 1 / fpr not even one may, and the rate is undefined.

    Raises:
        ValueError: fpr is not in (0, 1), or a list is empty or not finite.
    """
    if not 0 < fpr < 1:
        raise ValueError(f'fpr: expected a share between 0 and 1 but got {fpr}.')
    members, others = checked(members), checked(others)
    allowed = math.floor(fpr * len(others) + 1e-9)  # 0.29 * 100 is a little below 29
    if allowed < 1:
        return TruePositiveRate(None, f'A false positive rate of {fpr:g} needs at least {math.ceil(1 / fpr - 1e-9)} '
                                      f'unseen images, of which there are {len(others)}.')
    return TruePositiveRate(float((members > np.sort(others)[-allowed - 1]).mean()))


def judge(members: Values, others: Values, seed: int = 0) -> AttackResult:
    """AUC and TPR of an attack from its scores, higher meaning member; the seed is the bootstrap's.

    Raises:
        ValueError: a list is empty or holds a score that is not finite.
    """
    return AttackResult(bootstrap(auc, members, others, seed=seed),
                        {fpr: tpr_at_fpr(members, others, fpr) for fpr in FALSE_POSITIVE_RATES},
                        [float(score) for score in members], [float(score) for score in others])


def loss_attack(members: Values, others: Values, seed: int = 0) -> AttackResult:
    """The attack that calls an image a member if its loss is below a threshold.

    Args:
        members, others: loss of each image (L1, MSE, or PSNR times -1), averaged over fixed crops or the whole image.

    Source: Yeom et al., CSF 2018 (arXiv 1709.01604), section III; the AUC goes over all thresholds.
    """
    return judge(-checked(members), -checked(others), seed)


def logistic_attack(members: Sequence[Sequence[float]] | np.ndarray, others: Sequence[Sequence[float]] | np.ndarray,
                    folds: int = 5, l2: float = 0.01, seed: int = 0) -> AttackResult:
    """The attack that learns from several losses of each image, by cross-validated logistic regression.

    Each image is scored by a regression that has not seen it. Members and others are dealt out to the folds alike. The
    scores of a fold are put on a common scale by mean and deviation of the scores of its training images: without that
    the AUC of pure chance lies below 0.5, by 0.02 for 12 images a side.

    Args:
        members, others: (n, k), k losses of each image; take the logarithm of losses that spread over magnitudes.
        folds: at most; fewer where a side has fewer images.
        l2: weight of the penalty |w|^2 / 2 beside the sum of log losses of standardised losses; the intercept is free.
            Small (our choice), since what gives members away may be how two much alike losses differ.
        seed: of folds and bootstrap.

    Raises:
        DataError: a side has fewer than 2 images.
        ValueError: the sides differ in k, or a value is not finite.

    Source: the starting kit of the NeurIPS 2023 unlearning challenge, on one loss. Scaling: our choice.
    """
    sides = [checked(side, dimensions=(2,)) for side in (members, others)]
    if sides[0].shape[1] != sides[1].shape[1]:
        raise ValueError(f'Members have {sides[0].shape[1]} losses each but unseen images {sides[1].shape[1]}.')
    folds = min(folds, *map(len, sides))
    if folds < 2:
        raise DataError('The attack on several losses learns from some images to judge others, so it needs at least 2 '
                        f'members and 2 unseen images, not {len(sides[0])} and {len(sides[1])}.')
    rng = np.random.default_rng(seed)
    fold = np.concatenate([rng.permutation(len(side)) % folds for side in sides])
    x, is_member = np.concatenate(sides), np.arange(len(fold)) < len(sides[0])
    scores = np.empty(len(x))
    for held_out in (fold == number for number in range(folds)):
        mean, deviation = x[~held_out].mean(0), x[~held_out].std(0)
        scaled = (x - mean) / np.where(deviation > 0, deviation, 1)
        logits = scaled @ _logistic_weights(scaled[~held_out], is_member[~held_out], l2)
        deviation = logits[~held_out].std()
        scores[held_out] = (logits[held_out] - logits[~held_out].mean()) / (deviation if deviation > 0 else 1)
    return judge(scores[is_member], scores[~is_member], seed)


def auc_difference(first: AttackResult, second: AttackResult, seed: int = 0) -> Interval:
    """AUC of the first minus that of the second, of one attack on two networks with the same images.

    Args:
        first, second: for instance of the unlearned and of the retrained network; images in the same order.

    Raises:
        ValueError: they have different numbers of images.
    """
    if [len(first.members), len(first.others)] != [len(second.members), len(second.others)]:
        raise ValueError('The two attacks were made on different numbers of images.')
    members = np.stack([first.members, second.members], 1)
    others = np.stack([first.others, second.others], 1)
    return bootstrap(lambda m, o: auc(m[:, 0], o[:, 0]) - auc(m[:, 1], o[:, 1]), members, others, seed=seed)


def reading(found: Interval, retrained: float | None = None, tolerance: float = 0.02) -> Reading:
    """What an AUC says in plain words.

    Args:
        found: AUC with its interval.
        retrained: AUC of the same attack on a retrained network; without one 0.5, chance, is the reference.
        tolerance: so far from the reference an AUC may lie; 0.02 is the project's target.

    Returns:
        'recognisable' or 'over-forgotten' if the whole interval lies above or below the tolerance, else 'no leak';
        'undecided' without an interval.
    """
    against, reference = ('chance', 0.5) if retrained is None else ('the retrained network', retrained)
    if found.low is None:
        return Reading('undecided', f'AUC {found.value:.2f} of a single image on one side says nothing.')
    measured = f'AUC {found.value:.2f} ({found.low:.2f} to {found.high:.2f}), where {against} has {reference:.2f}: '
    if found.low > reference + tolerance:
        return Reading('recognisable', measured + 'images of the forget set can still be told from unseen ones by '
                                                  'their low loss, so the network remembers them.')
    if found.high < reference - tolerance:
        return Reading('over-forgotten', measured + 'the forget set does worse than unseen images, which betrays it '
                                                    'just as well: over-forgetting.')
    return Reading('no leak', measured + 'no leak found, images of the forget set cannot be told from unseen ones.')


def _logistic_weights(x: np.ndarray, is_member: np.ndarray, l2: float) -> np.ndarray:
    """Weights (k,) of the regression on standardised x (n, k), without the intercept, which shifts all scores alike."""
    sign = np.where(is_member, 1.0, -1.0)

    def loss(w: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (x @ w[1:] + w[0])
        pull = -sign * expit(-margin)
        return (np.logaddexp(0, -margin).sum() + l2 / 2 * w[1:] @ w[1:],
                np.concatenate([[pull.sum()], pull @ x + l2 * w[1:]]))

    return minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method='L-BFGS-B').x[1:]
