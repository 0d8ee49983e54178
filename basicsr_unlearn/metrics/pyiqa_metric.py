"""Any full-reference metric of pyiqa, such as LPIPS, where that package is installed."""
from functools import lru_cache

import numpy as np
import torch
from basicsr.utils.registry import METRIC_REGISTRY

from basicsr_unlearn.errors import OptionError


@METRIC_REGISTRY.register()
def calculate_pyiqa(img: np.ndarray, img2: np.ndarray, metric: str = 'lpips', **kwargs) -> float:
    """A metric of pyiqa by its name there; it brings its own weights, which have to be on this machine.

    Args:
        img, img2: (h, w, 3) uint8, BGR.
        metric: 'lpips', 'dists', 'fsim' ...

    Raises:
        OptionError: pyiqa is not installed, has no such metric, or cannot load its weights.
    """
    pair = [torch.from_numpy(np.ascontiguousarray(image[..., ::-1])).permute(2, 0, 1)[None].float() / 255
            for image in (img, img2)]
    with torch.no_grad():
        return float(_built(metric)(*pair))


@lru_cache
def _built(metric: str):
    try:
        import pyiqa
    except ImportError:
        raise OptionError(f'The metric {metric} needs the package pyiqa: pip install pyiqa, or take it out.') from None
    try:
        return pyiqa.create_metric(metric, device='cpu')
    except Exception as error:  # an unknown name, or weights that cannot be fetched
        raise OptionError(f'pyiqa cannot build the metric {metric}: {" ".join(str(error).split())}') from error
