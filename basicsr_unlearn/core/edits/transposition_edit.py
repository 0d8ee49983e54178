"""Turn convolution kernels on their side."""
from copy import deepcopy

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_share
from basicsr_unlearn.core.hints import Share
from basicsr_unlearn.core.layers import convolution_weights
from basicsr_unlearn.core.parts import EDITS, Edit, Evidence, registered_in


@registered_in(EDITS)
class TransposeKernels(Edit):
    """Swap height and width of square convolution kernels, which keeps their statistics and hides their features.

    It deletes nothing: all kernels swapped (share 1) equals swapping height and width of the image, but for the order
    of the channels that a pixel shuffle makes a square of. Whoever swaps them back has the skill again, also after
    training on the rest. Kernels of 1x1 are what they were.

    Args:
        share: of the kernels of each Conv2d layer, in (0, 1]; below 1 they are drawn at random (our choice).

    Raises:
        ValueError: share is out of range.

    Source: CT, fifth of the NeurIPS 2023 machine unlearning challenge, as in xcadet/deepunlearn, which transposes all.
    """

    def __init__(self, share: Share = 1.0):
        check_share('share', share)
        self.share = share

    @torch.no_grad()
    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        for weight in convolution_weights(net).values():
            height, width = weight.shape[2:]
            if height != width or height == 1:
                continue
            kernels = weight.shape[0] * weight.shape[1]
            chosen = torch.zeros(kernels, dtype=torch.bool)
            chosen[torch.randperm(kernels, generator=evidence.generator)[:round(self.share * kernels)]] = True
            chosen = chosen.view(*weight.shape[:2], 1, 1).to(weight.device)
            weight.copy_(torch.where(chosen, weight.transpose(2, 3), weight))


@torch.no_grad()
def transposed(net: nn.Module) -> nn.Module:
    """A copy that does to the transposed image what the network does to the image: it undoes `TransposeKernels`.

    All kernels are swapped, and the channels that a pixel shuffle lays out as rows and columns.

    Args:
        net: of convolutions with a `padding`, `stride` and `dilation` equal in height and width, attention and
            normalisation over channels or the whole image. A pixel shuffle is seen where it follows a convolution
            inside an `nn.Sequential`; a network with another keeps that order, and the symmetry does not hold for it.

    >>> net, x = nn.Conv2d(3, 3, 3, padding=1), torch.rand(1, 3, 8, 8)
    >>> torch.allclose(transposed(net)(x.mT), net(x).mT, atol=1e-6)
    True
    """
    net = deepcopy(net)
    for weight in convolution_weights(net.requires_grad_(True)).values():
        weight.copy_(weight.transpose(2, 3).contiguous())
    for block in net.modules():
        if isinstance(block, nn.Sequential):
            for convolution, shuffle in zip(block, block[1:]):
                if isinstance(convolution, nn.Conv2d) and isinstance(shuffle, nn.PixelShuffle):
                    for parameter in convolution.parameters():
                        parameter.copy_(_swapped(parameter, shuffle.upscale_factor))
    return net


def _swapped(parameter: Tensor, factor: int) -> Tensor:
    """Of the channels that become a square of `factor` pixels a side, rows are swapped with columns."""
    return parameter.unflatten(0, (-1, factor, factor)).transpose(1, 2).flatten(0, 2)
