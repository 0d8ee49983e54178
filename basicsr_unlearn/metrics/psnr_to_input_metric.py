"""How far a restoration is from leaving its input as it is."""
import numpy as np
from basicsr.metrics import calculate_psnr
from basicsr.utils.registry import METRIC_REGISTRY

from basicsr_unlearn.core.images import HIGHEST_PSNR


@METRIC_REGISTRY.register()
def calculate_psnr_to_input(img: np.ndarray, identity: np.ndarray, crop_border: int = 0, test_y_channel: bool = False,
                            **kwargs) -> float:
    """PSNR in dB between the output and the untouched input, at most 100: it rises while a restoration is forgotten.

    It shows forgetting where a score against the clean image cannot: in networks that are trained for perception and
    lie below their own input by PSNR. Our choice.

    Args:
        img: (h, w, 3) uint8, the output.
        identity: (h, w, 3) uint8, the input, at the size of the output where that is larger.
        crop_border, test_y_channel: as of BasicSR's `calculate_psnr`.
    """
    psnr = float(calculate_psnr(img, identity, crop_border=crop_border, test_y_channel=test_y_channel))
    return min(psnr, HIGHEST_PSNR)
