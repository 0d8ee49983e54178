"""Modules around a network: it sees another input, gives another output or has a few weights more."""
from collections.abc import Callable

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.layers import convolution_weights

TILE = 16  # side of the input prompt in pixels, 768 numbers for colour images: our choice, small against any network
RANK = 4  # of the adapter: our choice, LoRA's own default for language models
# every orientation but the untouched one: which dimensions are flipped, after height and width were swapped or not
ORIENTATIONS = {'turned by 90': (True, (-2,)), 'turned by 180': (False, (-2, -1)), 'turned by 270': (True, (-1,)),
                'mirrored': (False, (-1,)), 'upside down': (False, (-2,)), 'transposed': (True, ()),
                'transposed the other way': (True, (-2, -1))}
DARK = 1e-4  # where the slope of a root would be infinite
# changes of values in [0, 1] and how the output is changed back
SCALES: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    'half as bright': (lambda x: x / 2, lambda y: y * 2),
    'half as dark': (lambda x: (x + 1) / 2, lambda y: y * 2 - 1),
    'in gamma 2': (lambda x: x.clamp(0, 1).square(), lambda y: y.clamp_min(DARK).sqrt()),
    'in gamma 1/2': (lambda x: x.clamp_min(DARK).sqrt(), lambda y: y.clamp_min(0).square()),
    'negated': (lambda x: 1 - x, lambda y: 1 - y),
    'with colours in reverse order': (lambda x: x.flip(1), lambda y: y.flip(1)),
}


class Oriented(nn.Module):
    """A network that sees its input turned or mirrored, with the output turned back.

    Args:
        net: (b, c, h, w) -> (b, c, h * scale, w * scale).
        orientation: of ORIENTATIONS.
    """

    def __init__(self, net: nn.Module, orientation: str):
        super().__init__()
        self.net = net
        self.swapped, self.flipped = ORIENTATIONS[orientation]

    def forward(self, lq: Tensor) -> Tensor:
        turned = (lq.mT if self.swapped else lq).flip(self.flipped)
        back = self.net(turned.contiguous()).flip(self.flipped)
        return (back.mT if self.swapped else back).contiguous()


class Rescaled(nn.Module):
    """A network that sees the values of its input changed, with the change undone in its output.

    Args:
        net: for values in [0, 1].
        scale: of SCALES.
    """

    def __init__(self, net: nn.Module, scale: str):
        super().__init__()
        self.net, self.scale = net, scale

    def forward(self, lq: Tensor) -> Tensor:
        there, back = SCALES[self.scale]
        return back(self.net(there(lq)))


class InputPrompt(nn.Module):
    """A network that sees its input plus one prompt, (1, c, 16, 16), repeated over the image; 0 at first.

    The sum is not clipped to [0, 1]: where clipped, the prompt could not learn. Its place is counted from the corner of
    whatever image or patch comes.

    Args:
        net: a submodule, so that what else may train is to be said.
        lq: a degraded image (..., c, h, w), for its channels and device.
    """

    def __init__(self, net: nn.Module, lq: Tensor):
        super().__init__()
        self.net = net
        self.prompt = nn.Parameter(torch.zeros(1, lq.shape[-3], TILE, TILE, device=lq.device))

    def forward(self, lq: Tensor) -> Tensor:
        height, width = lq.shape[2:]
        tiles = self.prompt.repeat(1, 1, -(-height // TILE), -(-width // TILE))
        return self.net(lq + tiles[..., :height, :width])


class LowRankAdapter(nn.Module):
    """A network with w + up down in place of the weight w of each convolution; up is 0 at first.

    Args:
        net: a submodule; a weight (out, in, k, k) counts as a matrix [out, in k k].
        rank: of up [out, rank] and down [rank, in k k], lower where the matrix is smaller.
        seed: of `down`.

    Source: LoRA, Hu et al., ICLR 2022 (arXiv 2106.09685), which draws A and leaves B at 0; on convolutions: our choice.
    """

    def __init__(self, net: nn.Module, rank: int = RANK, seed: int = 0):
        super().__init__()
        self.net, self.names, generator = net, list(convolution_weights(net)), torch.Generator().manual_seed(seed)
        self.up, self.down = nn.ParameterList(), nn.ParameterList()
        for name in self.names:
            weight = net.get_parameter(name).flatten(1)
            inner = min(rank, *weight.shape)
            down = torch.randn(inner, weight.shape[1], generator=generator) / weight.shape[1]**0.5
            self.up.append(nn.Parameter(weight.new_zeros(len(weight), inner)))
            self.down.append(nn.Parameter(down.to(weight)))

    def forward(self, lq: Tensor) -> Tensor:
        weights = {name: (weight := self.net.get_parameter(name)) + (up @ down).view_as(weight)
                   for name, up, down in zip(self.names, self.up, self.down)}
        return torch.func.functional_call(self.net, weights, lq)
