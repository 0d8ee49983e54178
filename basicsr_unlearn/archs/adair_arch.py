"""AdaIR, 'Adaptive All-in-One Image Restoration via Frequency Mining and Modulation' (Cui et al., ICLR 2025, arXiv
2403.14614).

Parameter names and order are those of the authors' released checkpoints, so that these load.
"""
from collections.abc import Sequence

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from basicsr_unlearn.archs.restormer_arch import (
    OverlapPatchEmbed,
    RestormerFamily,
    channel_attention,
    check_heads,
    check_residual,
)

BAND = 128  # pixels of the features per frequency that the low band may reach at most


class ChannelCrossAttention(nn.Module):
    """Attention between the channels of a query and of other features, (b, dim, h, w) twice -> the same.

    Raises:
        ValueError: the heads do not divide the channels.
    """

    def __init__(self, dim: int, num_heads: int, bias: bool):
        super().__init__()
        check_heads(dim, num_heads)
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.q = nn.Conv2d(dim, dim, 1, bias=bias)
        self.q_dwconv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=bias)
        self.kv = nn.Conv2d(dim, dim * 2, 1, bias=bias)
        self.kv_dwconv = nn.Conv2d(dim * 2, dim * 2, 3, padding=1, groups=dim * 2, bias=bias)
        self.project_out = nn.Conv2d(dim, dim, 1, bias=bias)

    def forward(self, query: Tensor, features: Tensor) -> Tensor:
        k, v = self.kv_dwconv(self.kv(features)).chunk(2, dim=1)
        return self.project_out(channel_attention(self.q_dwconv(self.q(query)), k, v, self.temperature))


class SpatialGate(nn.Module):
    """A factor in 0..1 for each pixel, from its largest and mean channel: (b, c, h, w) -> (b, 1, h, w)."""

    def __init__(self):
        super().__init__()
        self.spatial = nn.Conv2d(2, 1, 7, padding=3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.spatial(torch.cat([x.max(1, keepdim=True).values, x.mean(1, keepdim=True)], 1)).sigmoid()


class ChannelGate(nn.Module):
    """A factor in 0..1 for each channel, from its mean and its largest pixel: (b, c, h, w) -> (b, c, 1, 1)."""

    def __init__(self, dim: int):
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Conv2d(dim, dim // 16, 1, bias=False), nn.ReLU(), nn.Conv2d(dim // 16, dim, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        largest = x.flatten(2).max(2).values[:, :, None, None]
        return (self.mlp(x.mean((2, 3), keepdim=True)) + self.mlp(largest)).sigmoid()


class FreRefine(nn.Module):
    """Low and high frequencies modulate each other and are joined, (b, dim, h, w) twice -> the same.

    Paper, section on the frequency modulation module: high to low by pixel, low to high by channel.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.SpatialGate = SpatialGate()
        self.ChannelGate = ChannelGate(dim)
        self.proj = nn.Conv2d(dim, dim, 1)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        return self.proj(low * self.SpatialGate(high) + high * self.ChannelGate(low))


class FreModule(nn.Module):
    """Frequency mining and modulation: features attend to the low and the high frequencies of the image.

    Some layers are in the checkpoints only: `conv` and `score_gen` are not used, and `rate_conv`, whose output is cut
    to whole numbers, gets no gradient.

    Args:
        dim: channels of the features; at least 16.
        num_heads: attention heads; must divide dim.
        bias: whether the convolutions of the attention have a bias.
        in_dim: channels of the image.

    Raises:
        ValueError: dim is too small, or the heads do not divide it.
    """
    dead_layers = ('conv', 'score_gen', 'rate_conv')

    def __init__(self, dim: int, num_heads: int, bias: bool, in_dim: int = 3):
        super().__init__()
        if dim < 16:
            raise ValueError(f'dim gives {dim} channels at half resolution: AdaIR needs at least 16, so dim of 8 or '
                             'more.')
        self.para1 = nn.Parameter(torch.zeros(dim, 1, 1))
        self.para2 = nn.Parameter(torch.ones(dim, 1, 1))
        self.conv = nn.Conv2d(in_dim, dim, 3, padding=1, bias=False)
        self.conv1 = nn.Conv2d(in_dim, dim, 3, padding=1, bias=False)
        self.score_gen = nn.Conv2d(2, 2, 7, padding=3)
        self.channel_cross_l = ChannelCrossAttention(dim, num_heads, bias)
        self.channel_cross_h = ChannelCrossAttention(dim, num_heads, bias)
        self.channel_cross_agg = ChannelCrossAttention(dim, num_heads, bias)
        self.frequency_refine = FreRefine(dim)
        self.rate_conv = nn.Sequential(
            nn.Conv2d(dim, dim // 8, 1, bias=False), nn.GELU(), nn.Conv2d(dim // 8, 2, 1, bias=False))

    def forward(self, image: Tensor, features: Tensor) -> Tensor:
        """(b, in_dim, any h, any w) and (b, dim, h, w) -> (b, dim, h, w)."""
        high, low = self.split(self.conv1(F.interpolate(image, features.shape[2:], mode='bilinear')))
        high = self.channel_cross_l(high, features)  # the names are the wrong way round, in the checkpoints too
        low = self.channel_cross_h(low, features)
        mixed = self.channel_cross_agg(features, self.frequency_refine(low, high))
        return mixed * self.para1 + features * self.para2

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Absolute values of the high and the low frequencies, each (b, dim, h, w).

        The low band is a rectangle around frequency zero, as large as `band` says; below 128 pixels a side it is empty.
        """
        height, width = x.shape[2:]
        if height < BAND or width < BAND:
            return x.abs(), torch.zeros_like(x)
        rows, columns = self.band(x)
        inside = _within(height, rows)[:, :, :, None] & _within(width, columns)[:, :, None, :]
        wide = x.to(torch.promote_types(x.dtype, torch.float32))  # there is no transform in half precision
        low = torch.fft.ifft2(torch.fft.fft2(wide, norm='forward') * inside, norm='forward')
        return (wide - low).abs().to(x.dtype), low.abs().to(x.dtype)

    def band(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Half height and half width of the low band, in whole frequencies: each (b, 1, 1)."""
        rates = self.rate_conv(x.mean((2, 3), keepdim=True)).sigmoid()
        return (rates[:, 0] * (x.shape[2] // BAND)).int()[..., 0, None], (
            rates[:, 1] * (x.shape[3] // BAND)).int()[..., 0, None]


def _within(size: int, half: Tensor) -> Tensor:
    """Which of the `size` frequencies of a transform lie in [-half, half): (b, 1, 1) -> (b, 1, size)."""
    frequency = (torch.arange(size, device=half.device) + size // 2) % size - size // 2
    return (frequency >= -half) & (frequency < half)


@ARCH_REGISTRY.register()
class AdaIR(RestormerFamily):
    """AdaIR: Restormer whose decoder looks at the frequencies of its input at three levels.

    Args:
        inp_channels, out_channels: of the images; equal.
        dim: channels at full resolution, at least 8; doubled at each of three halvings.
        num_blocks: blocks per level, from full resolution down.
        num_refinement_blocks: blocks after the decoder, at full resolution.
        heads: attention heads per level; each must divide its level's channels, and the third also 2 * dim.
        ffn_expansion_factor: hidden over outer channels of the feed-forward part.
        bias: whether the convolutions inside the blocks have a bias.
        LayerNorm_type: WithBias or BiasFree.
        decoder: the frequency modules; without them this is Restormer.

    Shape: (b, inp_channels, h, w) -> the same, values in [0, 1], not clamped. Height and width from 5 pixels up: they
    are mirrored up to a multiple of 8 inside and the output is cut back. The low frequencies come into play from 512
    pixels a side.

    Raises:
        ValueError: settings that do not fit each other.
        DataError: the image is too small.
    """

    def __init__(self,
                 inp_channels: int = 3,
                 out_channels: int = 3,
                 dim: int = 48,
                 num_blocks: Sequence[int] = (4, 6, 6, 8),
                 num_refinement_blocks: int = 4,
                 heads: Sequence[int] = (1, 2, 4, 8),
                 ffn_expansion_factor: float = 2.66,
                 bias: bool = False,
                 LayerNorm_type: str = 'WithBias',  # noqa: N803  the authors' name
                 decoder: bool = True):
        super().__init__(inp_channels, out_channels, dim, num_blocks, num_refinement_blocks, heads, bias=bias,
                         ffn_expansion_factor=ffn_expansion_factor, LayerNorm_type=LayerNorm_type)
        check_residual(inp_channels, out_channels)
        self.decoder = decoder
        self.patch_embed = OverlapPatchEmbed(inp_channels, dim)
        if decoder:
            self.fre1, self.fre2, self.fre3 = (
                FreModule(self.dims[level], heads[2], bias, inp_channels) for level in (3, 2, 1))
            self.dead_parameters = tuple(name for name, _ in self.named_parameters()
                                         if name.startswith('fre') and name.split('.')[1] in FreModule.dead_layers)
        self.add_encoder()
        self.add_decoder()
        self.output = nn.Conv2d(self.dims[1], out_channels, 3, padding=1, bias=bias)

    def refine(self, image: Tensor, level: int, features: Tensor) -> Tensor:
        if not self.decoder:
            return features
        return {3: self.fre1, 2: self.fre2, 1: self.fre3}[level](image, features)
