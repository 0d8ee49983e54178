"""What is computed of a single image, and the mean over the images of a photograph."""
from collections.abc import Sequence

import numpy as np
from torch import Tensor

from basicsr_unlearn.unlearning.ascent import sample_loss

LOSSES = ('l1', 'l2', 'edges')


def losses_of(output: Tensor, gt: Tensor) -> dict[str, float]:
    """L1, mean square and L1 of the differences between neighbours, of one image (1, c, h, w) in [0, 1]."""
    steps = [(output.diff(dim=dim) - gt.diff(dim=dim)).abs().mean() for dim in (-2, -1)]
    return {'l1': float(sample_loss(output, gt)), 'l2': float(sample_loss(output, gt, 'l2')),
            'edges': float(sum(steps) / 2)}


def by_photograph(values: Sequence[float], photographs: Sequence[str]) -> np.ndarray:
    """Mean of the values of each photograph, in order of their first appearance."""
    order = {name: index for index, name in enumerate(dict.fromkeys(photographs))}
    groups = np.array([order[name] for name in photographs])
    return np.bincount(groups, np.asarray(values, dtype=float)) / np.bincount(groups)
