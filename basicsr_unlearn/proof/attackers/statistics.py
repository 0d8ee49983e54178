"""How far numbers measured on a handful of images, or with a handful of networks, can be trusted and compared."""
import math
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import ks_2samp, t

Values = Sequence[float] | np.ndarray


class Interval(NamedTuple):
    """A statistic and where it lies with the stated confidence; without bounds where a sample has a single value."""
    value: float
    low: float | None
    high: float | None


class KolmogorovSmirnov(NamedTuple):
    """The largest distance between two distribution functions, in [0, 1], and its p-value."""
    statistic: float
    p: float


class Spread(NamedTuple):
    """Range, mean and standard deviation (n - 1; None for a single value)."""
    low: float
    high: float
    mean: float
    deviation: float | None


def bootstrap(statistic: Callable[..., float], *samples: Values, level: float = 0.95, resamples: int = 2000,
              seed: int = 0) -> Interval:
    """A statistic with its percentile bootstrap interval.

    Images count as drawn independently: several degraded versions of one photograph make the interval too narrow.

    Args:
        statistic: takes the samples, gives a number; `np.mean` for a mean of per-image values.
        samples: each (n,) or (n, k), n at least 1; resampled by rows, each by itself.
        level: confidence, in (0, 1).
        resamples: how many.
        seed: of the resampling.

    Returns:
        The statistic of the samples as given, and its bounds. One value tells nothing of the spread: a sample of a
        single row gives bounds None.

    Raises:
        ValueError: a sample is empty or not finite, or an argument is out of range.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3. Number of resamples: our choice.
    """
    if not 0 < level < 1:
        raise ValueError(f'level: expected a number between 0 and 1 but got {level}.')
    if resamples < 1:
        raise ValueError(f'resamples: expected at least 1 but got {resamples}.')
    arrays = [checked(sample, dimensions=(1, 2)) for sample in samples]
    value = float(statistic(*arrays))
    if min(map(len, arrays)) < 2:
        return Interval(value, None, None)
    rng = np.random.default_rng(seed)
    drawn = [statistic(*(array[rng.integers(len(array), size=len(array))] for array in arrays))
             for _ in range(resamples)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, float(low), float(high))


def paired_difference(first: Values, second: Values, level: float = 0.95, resamples: int = 2000, seed: int = 0
                      ) -> Interval:
    """Mean of first - second over the same images, with its bootstrap interval over the images.

    Raises:
        ValueError: the lists differ in length, are empty or hold a value that is not finite.
    """
    first, second = checked(first), checked(second)
    if len(first) != len(second):
        raise ValueError(f'The values of {len(first)} images cannot be paired with those of {len(second)}.')
    return bootstrap(np.mean, first - second, level=level, resamples=resamples, seed=seed)


def kolmogorov_smirnov(first: Values, second: Values) -> KolmogorovSmirnov:
    """Two-sample test of whether per-image values of two networks can come from one distribution.

    The p-value is exact for small samples, where SciPy can compute it; equal values make it too large. With a retrained
    network it is TOFU's forget quality (arXiv 2401.06121): a small p tells the two apart, a large one of few images
    proves nothing.

    Raises:
        ValueError: a sample is empty or holds a value that is not finite.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*Exact calculation unsuccessful', category=RuntimeWarning)
        result = ks_2samp(checked(first), checked(second))
    return KolmogorovSmirnov(float(result.statistic), float(result.pvalue))


def spread(values: Values) -> Spread:
    """Spread of one value per network, for instance the mean PSNR of networks retrained with several seeds.

    Raises:
        ValueError: no value is given, or one is not finite.
    """
    values = checked(values)
    deviation = float(values.std(ddof=1)) if len(values) > 1 else None
    return Spread(float(values.min()), float(values.max()), float(values.mean()), deviation)


def one_more(values: Values, level: float = 0.8) -> Interval:
    """Mean of one value per network, and where one more network of the same kind would lie with this confidence.

    The range of three retrained networks holds a fourth half the time only. This interval is mean +- t s sqrt(1 + 1/n),
    with the quantile t of Student's distribution with n - 1 degrees of freedom.

    Args:
        values: one of each network; a single one gives no bounds.
        level: confidence, in (0, 1).

    Raises:
        ValueError: no value is given, or one is not finite.

    Source: the prediction interval of a normal sample, Hahn and Meeker, Statistical Intervals, 1991, section 4.8;
    the level is our choice.
    """
    found = spread(values)
    if found.deviation is None:
        return Interval(found.mean, None, None)
    reach = float(t.ppf((1 + level) / 2, len(values) - 1)) * found.deviation * math.sqrt(1 + 1 / len(values))
    return Interval(found.mean, found.mean - reach, found.mean + reach)


def checked(values: Values, dimensions: tuple[int, ...] = (1,)) -> np.ndarray:
    """The values as float64. Raises ValueError if there are none, one is not finite or the shape is another."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim not in dimensions:
        raise ValueError(f'Expected a list of values but got an array of shape {array.shape}.')
    if len(array) == 0:
        raise ValueError('There is no value to compute a statistic of.')
    wrong = np.flatnonzero(~np.isfinite(array.reshape(len(array), -1)).all(1))
    if len(wrong):
        raise ValueError(f'The value at position {wrong[0]} is {array[wrong[0]]}, which no statistic can take in.')
    return array
