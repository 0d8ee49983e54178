"""NAFNet, 'Simple Baselines for Image Restoration' (Chen et al., ECCV 2022, arXiv 2204.04676).

Parameter names and order are those of the authors' released checkpoints, so that these load.
"""
from collections.abc import Sequence

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn
from torch.nn import functional as F

from basicsr_unlearn.core.hints import Count


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of each pixel, (b, c, h, w) -> (b, c, h, w). Paper, section 3.2."""

    def __init__(self, channels: int, eps: float = 1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels_last = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, self.eps)
        return channels_last.permute(0, 3, 1, 2)


class SimpleGate(nn.Module):
    """Product of the two channel halves, (b, 2c, h, w) -> (b, c, h, w). Paper, equation 4."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second = x.chunk(2, dim=1)
        return first * second


class LocalMean(nn.Module):
    """Mean over a window around each pixel: (b, c, h, w) -> the same, or (b, c, 1, 1) where it covers the input.

    A network trained on patches never saw the mean of a whole photograph. Pooling over windows instead keeps what it
    learned: test-time local converter (Chu et al., ECCV 2022, arXiv 2112.04491). At the borders the nearest full window
    counts. It is computed from cumulated sums, in double precision since these grow with the image.

    Args:
        size: height and width of the window in pixels; None pools over the whole input, as published.
    """

    def __init__(self, size: int | None = None):
        super().__init__()
        self.size = size

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height, width = x.shape[2:]
        if self.size is None or self.size >= max(height, width):
            return x.mean((2, 3), keepdim=True)
        rows, columns = min(self.size, height), min(self.size, width)
        sums = F.pad(x.double().cumsum(2).cumsum(3), (1, 0, 1, 0))
        below, above = sums[:, :, rows:], sums[:, :, :-rows]
        windows = (below[..., columns:] - below[..., :-columns] - above[..., columns:] + above[..., :-columns])
        missing_y, missing_x = height - windows.shape[2], width - windows.shape[3]
        padding = (missing_x // 2, missing_x - missing_x // 2, missing_y // 2, missing_y - missing_y // 2)
        return F.pad((windows / (rows * columns)).to(x.dtype), padding, mode='replicate')


class NAFBlock(nn.Module):
    """The nonlinear-activation-free block, (b, c, h, w) -> (b, c, h, w). Paper, figure 3c."""

    def __init__(self, channels: int, pool_size: int | None = None, dw_expand: int = 2, ffn_expand: int = 2):
        super().__init__()
        wide = channels * dw_expand
        self.conv1 = nn.Conv2d(channels, wide, 1)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.conv3 = nn.Conv2d(wide // 2, channels, 1)
        self.sca = nn.Sequential(LocalMean(pool_size), nn.Conv2d(wide // 2, wide // 2, 1))
        self.sg = SimpleGate()
        self.conv4 = nn.Conv2d(channels, ffn_expand * channels, 1)
        self.conv5 = nn.Conv2d(ffn_expand * channels // 2, channels, 1)
        self.norm1 = LayerNorm2d(channels)
        self.norm2 = LayerNorm2d(channels)
        self.beta = nn.Parameter(torch.zeros(1, channels, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gated = self.sg(self.conv2(self.conv1(self.norm1(x))))
        x = x + self.conv3(gated * self.sca(gated)) * self.beta
        return x + self.conv5(self.sg(self.conv4(self.norm2(x)))) * self.gamma


@ARCH_REGISTRY.register()
class NAFNet(nn.Module):
    """U-shaped restoration network of NAFBlocks; the output is the input plus a residual.

    Args:
        img_channel: channels of the input and the output image.
        width: channels at full resolution; doubled at each halving.
        middle_blk_num: blocks at the lowest resolution.
        enc_blk_nums: blocks per encoder level, from full resolution down.
        dec_blk_nums: blocks per decoder level, from low resolution up; as many levels as the encoder.
        pool_size: window in pixels of the input over which channel attention pools, see LocalMean; None for the whole
            image, as published. It changes no weight, so any checkpoint takes any value.

    Shape: (b, img_channel, h, w) -> the same, any h and w: the input is zero-padded to a multiple of
    2**len(enc_blk_nums) inside and the output cut back. Values in [0, 1]; the output is not clamped.

    Raises:
        ValueError: encoder and decoder differ in their number of levels.
    """

    def __init__(self,
                 img_channel: int = 3,
                 width: int = 16,
                 middle_blk_num: int = 1,
                 enc_blk_nums: Sequence[int] = (1, 1, 1, 28),
                 dec_blk_nums: Sequence[int] = (1, 1, 1, 1),
                 pool_size: Count | None = None):
        super().__init__()
        if len(enc_blk_nums) != len(dec_blk_nums):
            raise ValueError(f'NAFNet needs as many decoder levels as encoder levels, not {len(dec_blk_nums)} '
                             f'and {len(enc_blk_nums)}: make dec_blk_nums and enc_blk_nums equally long.')
        self.intro = nn.Conv2d(img_channel, width, 3, padding=1)
        self.ending = nn.Conv2d(width, img_channel, 3, padding=1)
        self.encoders = nn.ModuleList()
        self.decoders = nn.ModuleList()
        self.middle_blks = nn.ModuleList()
        self.ups = nn.ModuleList()
        self.downs = nn.ModuleList()
        channels = width

        def stage(blocks: int) -> nn.Sequential:
            local = None if pool_size is None else max(1, pool_size * width // channels)
            return nn.Sequential(*[NAFBlock(channels, local) for _ in range(blocks)])

        for blocks in enc_blk_nums:
            self.encoders.append(stage(blocks))
            self.downs.append(nn.Conv2d(channels, 2 * channels, 2, stride=2))
            channels *= 2
        self.middle_blks = stage(middle_blk_num)
        for blocks in dec_blk_nums:
            self.ups.append(nn.Sequential(nn.Conv2d(channels, channels * 2, 1, bias=False), nn.PixelShuffle(2)))
            channels //= 2
            self.decoders.append(stage(blocks))
        self.padder_size = 2**len(enc_blk_nums)

    def forward(self, inp: torch.Tensor) -> torch.Tensor:
        height, width = inp.shape[2:]
        inp = F.pad(inp, (0, -width % self.padder_size, 0, -height % self.padder_size))
        inp = inp.contiguous(memory_format=torch.channels_last)  # the layer normalisations read pixel by pixel
        x = self.intro(inp)
        skips = []
        for encoder, down in zip(self.encoders, self.downs):
            x = encoder(x)
            skips.append(x)
            x = down(x)
        x = self.middle_blks(x)
        for decoder, up, skip in zip(self.decoders, self.ups, reversed(skips)):
            x = decoder(up(x) + skip)
        return (self.ending(x) + inp)[:, :, :height, :width]
