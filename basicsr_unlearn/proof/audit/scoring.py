"""What is computed of a single image, and the mean over the images of a photograph."""
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from basicsr_unlearn.core.ascent import sample_loss
from basicsr_unlearn.errors import DataError, TrainingError

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


def check_output(output: Tensor, gt: Tensor, title: str, file: str) -> None:
    """Refuse an output that no score can be computed of.

    Raises:
        DataError: its size is not that of the clean image.
        TrainingError: it is not finite.
    """
    if output.shape != gt.shape:
        raise DataError(f'{file}: the output of the {title} network is {_size(output)} but the clean image is '
                        f'{_size(gt)}: correct the scale, or the data set.')
    if not torch.isfinite(output).all():
        raise TrainingError(f'The {title} network returns values that are not finite on {file}: it has diverged, so '
                            'use an earlier checkpoint.')


def _size(image: Tensor) -> str:
    return f'{image.shape[-1]}x{image.shape[-2]}'
