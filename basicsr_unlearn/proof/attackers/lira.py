"""The likelihood ratio attack: is an image's score more like that of networks trained with it or without it?"""
import numpy as np
from scipy.stats import norm

from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.statistics import Values, checked


def lira(scores: Values, shadow: np.ndarray, trained_on: np.ndarray, online: bool = True,
         variance_per_image: bool = False) -> np.ndarray:
    """Score of each image, higher meaning member; members' and unseen images' then go to `membership.judge`.

    Of the shadow networks' scores of image i, the mean m and deviation s are taken apart for networks trained with it
    (in) and without it (out). With N the normal density,
        online:  log N(x; m_in, s_in) - log N(x; m_out, s_out)
        offline: (x - m_out) / s_out, which orders images as the paper's 1 - Pr[Z > x] does, but does not saturate.

    Args:
        scores: (n,), x of the network under attack, in a unit that is about normal: PSNR in dB, or minus a log loss.
        shadow: (networks, n), the same of the shadow networks.
        trained_on: (networks, n) bool, whether the shadow network was trained with the image.
        online: false needs networks trained without each image only.
        variance_per_image: s of each image by itself, for 64 networks and more of a kind; else one s for all images,
            pooled over the deviations from their own means (for few networks the paper finds one for all better).

    Returns:
        (n,).

    Raises:
        DataError: an image has no shadow network of a kind that is needed, or s cannot be told (a single network of a
            kind for an image, or for all images).
        ValueError: shapes differ, or a score is not finite.

    Source: Carlini et al., Membership inference attacks from first principles, S&P 2022 (arXiv 2112.03570), sections V
    and VI; mean for their code's median, and deviations from each image's own mean: our choice.
    """
    scores, shadow = checked(scores), checked(shadow, dimensions=(2,))
    trained_on = np.asarray(trained_on, dtype=bool)
    if shadow.shape != trained_on.shape or shadow.shape[1:] != scores.shape:
        raise ValueError(f'Shapes differ: {scores.shape} scores, {shadow.shape} of shadow networks, {trained_on.shape} '
                         'for whether these were trained with the image.')
    mean_out, deviation_out = _normal(shadow, ~trained_on, 'without', variance_per_image)
    if not online:
        return (scores - mean_out) / deviation_out
    mean_in, deviation_in = _normal(shadow, trained_on, 'with', variance_per_image)
    return norm.logpdf(scores, mean_in, deviation_in) - norm.logpdf(scores, mean_out, deviation_out)


def _normal(shadow: np.ndarray, chosen: np.ndarray, how: str, per_image: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation, (n,) each, over the networks chosen for each image."""
    count = chosen.sum(0)
    fewest, needed = int(count.argmin()), 2 if per_image else 1
    if count[fewest] < needed:
        raise DataError(f'Image {fewest} has {count[fewest]} shadow networks trained {how} it but needs {needed}: '
                        'train more, each on a random half of the images.')
    mean = np.where(chosen, shadow, 0).sum(0) / count
    squares = np.where(chosen, (shadow - mean)**2, 0).sum(0)
    if per_image:
        variance = squares / (count - 1)
    elif (count > 1).any():
        variance = np.full_like(mean, squares.sum() / (count - 1).sum())
    else:
        raise DataError(f'Every image has a single shadow network trained {how} it, which says nothing of the spread: '
                        'train more.')
    # networks that agree to the bit leave no spread to divide by
    return mean, np.sqrt(variance).clip(min=1e-6)
