"""Turn convolution kernels on their side."""
from copy import deepcopy

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_share
from basicsr_unlearn.core.hints import Share
from basicsr_unlearn.core.inverses import drawn_again, half_way
from basicsr_unlearn.core.layers import convolution_weights
from basicsr_unlearn.core.modes import frozen_copy
from basicsr_unlearn.core.parts import EDITS, Edit, Evidence, Start, registered_in

SIDE_STEP = 100.0  # how far a kernel turns per unit of what is learned; our choice, from networks turned in part


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
        self._swap(net, evidence.generator)

    @torch.no_grad()
    def attack(self, evidence: Evidence) -> list[Start]:
        net = evidence.teacher
        if not square_kernels(net):  # nothing was swapped
            return []
        back, again = transposed(net), deepcopy(net)
        self._swap(again, drawn_again(evidence))
        return [Start('all kernels swapped back', back), Start('the same kernels swapped again', again),
                Start('all kernels half way back', half_way(net, back)),
                Start('which kernels to swap back, learned', KernelChoice(net))]

    def _swap(self, net: nn.Module, generator: torch.Generator) -> None:
        for weight in square_kernels(net).values():
            kernels = weight.shape[0] * weight.shape[1]
            chosen = torch.zeros(kernels, dtype=torch.bool)
            chosen[torch.randperm(kernels, generator=generator)[:round(self.share * kernels)]] = True
            chosen = chosen.view(*weight.shape[:2], 1, 1).to(weight.device)
            weight.copy_(torch.where(chosen, weight.transpose(2, 3), weight))


def square_kernels(net: nn.Module) -> dict[str, nn.Parameter]:
    """The convolution weights (out, in, k, k) that a transposition changes, k above 1, by parameter name.

    >>> list(square_kernels(nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, (1, 3)))))
    ['1.weight']
    """
    return {name: weight for name, weight in convolution_weights(net).items()
            if weight.shape[2] == weight.shape[3] > 1}


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


class KernelChoice(nn.Module):
    """A network whose kernels keep their values, and learn on which side they lie: (1 - m) k + m k^T, m in [0, 1].

    Whoever does not know which kernels were transposed learns it, from one number a kernel. m is 0 at first, and goes
    a tenth a step under Adam at 1e-3. Where m would leave [0, 1] it stays, but its gradient passes.

    Args:
        net: is copied; nothing else of it is trained.

    >>> net, lq = nn.Conv2d(1, 1, 3, padding=1), torch.rand(1, 1, 8, 8)
    >>> torch.equal(KernelChoice(net)(lq), net(lq)), sum(p.numel() for p in KernelChoice(net).parameters())
    (True, 1)
    """

    def __init__(self, net: nn.Module):
        super().__init__()
        kernels = square_kernels(net)
        self._net, self._names = (frozen_copy(net),), list(kernels)  # no submodule: it neither trains nor leaves eval
        self.sides = nn.ParameterList([nn.Parameter(torch.zeros_like(kernel[:, :, :1, :1]))
                                       for kernel in kernels.values()])

    def forward(self, lq: Tensor) -> Tensor:
        own, weights = dict(self._net[0].named_parameters()), {}
        for name, side in zip(self._names, self.sides):
            moved = SIDE_STEP * side
            share = moved + (moved.clamp(0, 1) - moved).detach()
            weights[name] = own[name] + share * (own[name].mT - own[name])
        return torch.func.functional_call(self._net[0], weights, lq)
