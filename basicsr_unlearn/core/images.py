"""Scores and sizes of image batches."""
import torch
from torch import Tensor
from torch.nn import functional as F

HIGHEST_PSNR = 100.0  # dB: that of equal images is infinite, which no mean survives


@torch.no_grad()
def batch_psnr(output: Tensor, gt: Tensor) -> Tensor:
    """Mean over the batch of the PSNR in dB, both (b, c, h, w), the output clamped to [0, 1]. At most 100 dB.

    Of floating point values, as a training step has them; a score is of 8-bit images, see `metrics.evaluation`.

    >>> round(float(batch_psnr(torch.zeros(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.1))), 3)
    20.0
    """
    error = (output.float().clamp(0, 1) - gt.float()).square().mean(dim=(1, 2, 3))
    return -10 * error.clamp_min(1e-10).log10().mean()


def degraded_as_output(lq: Tensor, target: Tensor) -> Tensor:
    """The degraded input at the size of the output: itself, or upsampled bicubically (super-resolution).

    Args:
        lq: (b, c, h, w), degraded input.
        target: (b, c, h', w'), gives the size.

    Returns:
        (b, c, h', w').

    >>> degraded_as_output(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 16, 16)).shape
    torch.Size([1, 3, 16, 16])
    """
    if lq.shape[-2:] == target.shape[-2:]:
        return lq
    return F.interpolate(lq, size=target.shape[-2:], mode='bicubic', align_corners=False)
