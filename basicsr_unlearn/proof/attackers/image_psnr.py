"""PSNR of each image by itself, of 8-bit images, which the other measurements compare."""
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.images import HIGHEST_PSNR
from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.errors import DataError, TrainingError

Pairs = Sequence[tuple[Tensor, Tensor]]  # degraded and clean image, (c, h, w) and (c, h * scale, w * scale), in [0, 1]


def device_of(net: nn.Module) -> torch.device:
    """The device of the network's first parameter."""
    return next(net.parameters()).device


@torch.no_grad()
def psnr_of_images(net: nn.Module, pairs: Pairs) -> list[float]:
    """PSNR of the network's output for each degraded image, in dB, at most 100.

    Of 8-bit images, so that it is BasicSR's `calculate_psnr` of what would be saved.

    Args:
        net: (1, c, h, w) -> (1, c, h * scale, w * scale); run in eval mode on its device and left as it was.
        pairs: images of any sizes.

    Raises:
        DataError: no pair is given, or output and clean image differ in size.
        TrainingError: an output is not finite.
    """
    check_pairs(pairs)
    with eval_mode(net):
        return [psnr_of(net(lq[None].to(device_of(net))), gt, position) for position, (lq, gt) in enumerate(pairs)]


def psnr_of(output: Tensor, gt: Tensor, position: int) -> float:
    """PSNR in dB of an output (1, c, h, w) against the clean image (c, h, w) at this position in a list of pairs.

    Raises:
        DataError: they differ in size.
        TrainingError: the output is not finite.
    """
    if output.shape[1:] != gt.shape:
        raise DataError(f'The output for image {position} has shape {tuple(output.shape[1:])} but its clean image has '
                        f'{tuple(gt.shape)}: check the scale of the data set.')
    if not torch.isfinite(output).all():
        raise TrainingError(f'The output for image {position} is not finite, so its PSNR would mean nothing: the '
                            'network has diverged.')
    error = (as_8_bit(output) - as_8_bit(gt[None].to(output.device))).square().mean()
    return min(10 * math.log10(255**2 / float(error)), HIGHEST_PSNR) if error > 0 else HIGHEST_PSNR


def as_8_bit(image: Tensor) -> Tensor:
    """Values in [0, 1], others cut off, as the levels 0 to 255 of a saved image, float64."""
    return (image.detach().float().clamp(0, 1) * 255).round().double()


def check_pairs(pairs: Pairs) -> None:
    """Raise DataError if there is no pair."""
    if not pairs:
        raise DataError('There is no pair of images to measure on: give at least one.')
