"""Before the first step: the metrics of an option file work."""
import warnings
from collections.abc import Mapping

import numpy as np

from basicsr_unlearn.errors import OptionError, UnlearnError
from basicsr_unlearn.metrics.image_scores import image_scores

SIDE = 192  # pixels of the picture that they are tried on: NIQE needs two blocks of 96


def try_metrics(metrics: Mapping | None, where: str) -> None:
    """Try each metric on a picture of 192x192 and a noisy copy of it.

    Args:
        metrics: name -> block, as in `val.metrics`.
        where: what the block is called in the option file.

    Raises:
        OptionError: one fails with its options, or gives no finite number.
    """
    rng = np.random.default_rng(0)
    picture = np.kron(rng.integers(0, 256, (SIDE // 8, SIDE // 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    noisy = np.clip(picture + rng.normal(0, 10, picture.shape), 0, 255).astype(np.uint8)
    for name, block in (metrics or {}).items():
        try:
            with warnings.catch_warnings(), np.errstate(all='ignore'):
                warnings.simplefilter('ignore')
                value = image_scores(noisy, {name: block}, picture, picture)[name]
        except UnlearnError:
            raise
        except Exception as error:  # metrics check their options in many ways, or not at all
            message = ' '.join(str(error).split()).rstrip('.') or type(error).__name__
            raise OptionError(f'{where}.{name} does not work: {block["type"]} says {message[:200]}.') from error
        if not np.isfinite(value):
            raise OptionError(f'{where}.{name} gives {value} on a picture of {SIDE}x{SIDE} and a noisy copy of it: '
                              'correct its options.')
