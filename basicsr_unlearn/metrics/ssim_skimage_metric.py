"""SSIM as scikit-image computes it, whose window is another than BasicSR's."""
import numpy as np
from basicsr.utils.registry import METRIC_REGISTRY


@METRIC_REGISTRY.register()
def calculate_ssim_skimage(img: np.ndarray, img2: np.ndarray, crop_border: int = 0, **kwargs) -> float:
    """SSIM with scikit-image's defaults: a uniform window of 7x7 pixels, all channels, edges cut by half a window.

    BasicSR's `calculate_ssim` weighs 11x11 pixels by a Gaussian of sigma 1.5 (Wang et al., 2004), so the two differ and
    must not be compared. The project pages of restoration networks mostly quote one of them without saying which.

    Args:
        img, img2: (h, w, 3) uint8, at least 7 pixels a side.
        crop_border: pixels left out on each side.

    Returns:
        At most 1.

    Raises:
        ValueError: shapes differ.
    """
    if img.shape != img2.shape:
        raise ValueError(f'Shapes differ: {img.shape} and {img2.shape}.')
    from skimage.metrics import structural_similarity  # slow to import
    inside = slice(crop_border, -crop_border or None)
    return float(structural_similarity(img[inside, inside], img2[inside, inside], channel_axis=2))
