"""The metrics of one 8-bit image: what validation, report and audit all call."""
import inspect
import math
from collections.abc import Mapping

import numpy as np
import torch
from basicsr.metrics import calculate_metric
from basicsr.utils import tensor2img
from basicsr.utils.registry import METRIC_REGISTRY

from basicsr_unlearn.core.images import HIGHEST_PSNR

READING_KEYS = ('better',)  # keys of a metric's block that say how to read it, and are not for the metric


def image_scores(image: np.ndarray, metrics: Mapping[str, Mapping], gt: np.ndarray | None = None,
                 identity: np.ndarray | None = None) -> dict[str, float]:
    """Values of those metrics that can be computed from what is there.

    Args:
        image: (h, w, 3) uint8 BGR, the output of a network, as are the next two.
        metrics: name -> block of a registered metric, as under `val.metrics` of an option file.
        gt: the clean image, for metrics that take `img2`.
        identity: the untouched input at the size of the output, for metrics that take `identity`.
    """
    images = {'img': image, 'img2': gt, 'identity': identity}
    found = {}
    for name, block in metrics.items():
        takes = inspect.signature(METRIC_REGISTRY.get(block['type'])).parameters
        given = {key: value for key, value in images.items() if key in takes}
        if all(value is not None for value in given.values()):
            options = {key: value for key, value in block.items() if key not in READING_KEYS}
            value = float(calculate_metric(given, options))
            value = min(value, HIGHEST_PSNR) if 'psnr' in block['type'] else value
            found[name] = math.copysign(HIGHEST_PSNR, value) if math.isinf(value) else value
    return found


def to_image(tensor: torch.Tensor) -> np.ndarray:
    """(1, 3, h, w) RGB in [0, 1] -> (h, w, 3) uint8 BGR, leaving the tensor as it is."""
    return tensor2img([tensor.detach().clone()])
