"""Restormer (Zamir et al., CVPR 2022, arXiv 2111.09881), and the blocks that PromptIR and AdaIR share with it.

Parameter names and order are those of the authors' released checkpoints, so that these load.
"""
from collections.abc import Sequence

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from basicsr_unlearn.archs.padding import crop, pad_to_multiple

LAYER_NORMS = ('WithBias', 'BiasFree')


class PixelNorm(nn.Module):
    """Normalisation over the channels of each pixel, (b, c, h, w) -> the same; biased variance, eps 1e-5 in the root.

    Args:
        dim: channels.
        bias: subtract the mean and add a bias; else only divide by the deviation.
    """

    def __init__(self, dim: int, bias: bool):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        if bias:
            self.bias = nn.Parameter(torch.zeros(dim))
        self.with_bias = bias

    def forward(self, x: Tensor) -> Tensor:
        if self.with_bias:
            pixels = F.layer_norm(x.permute(0, 2, 3, 1), self.weight.shape, self.weight, self.bias, 1e-5)
            return pixels.permute(0, 3, 1, 2)
        deviation = torch.sqrt(x.var(1, keepdim=True, unbiased=False) + 1e-5)
        return x / deviation * self.weight[:, None, None]


class LayerNorm(nn.Module):
    """PixelNorm under the name `body`, as the checkpoints have it.

    Raises:
        ValueError: an unknown type of normalisation.
    """

    def __init__(self, dim: int, LayerNorm_type: str = 'WithBias'):  # noqa: N803  the authors' name
        super().__init__()
        if LayerNorm_type not in LAYER_NORMS:
            raise ValueError(f"LayerNorm_type is '{LayerNorm_type}': use {' or '.join(LAYER_NORMS)}.")
        self.body = PixelNorm(dim, bias=LayerNorm_type == 'WithBias')

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


def channel_attention(q: Tensor, k: Tensor, v: Tensor, temperature: Tensor) -> Tensor:
    """Attention between channels instead of pixels (Restormer, equation 1).

    Args:
        q, k, v: (b, c, h, w); heads take consecutive channels. q and k are normalised over the pixels.
        temperature: (heads, 1, 1), factor of the scores.

    Returns:
        (b, c, h, w).
    """
    shape = v.shape
    q, k, v = (x.reshape(shape[0], len(temperature), -1, shape[2] * shape[3]) for x in (q, k, v))
    scores = F.normalize(q, dim=-1) @ F.normalize(k, dim=-1).transpose(-2, -1) * temperature
    return (scores.softmax(-1) @ v).view(shape)


class Attention(nn.Module):
    """Multi-Dconv head transposed attention, (b, dim, h, w) -> the same. Restormer, section 3.1."""

    def __init__(self, dim: int, num_heads: int, bias: bool):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(num_heads, 1, 1))
        self.qkv = nn.Conv2d(dim, dim * 3, 1, bias=bias)
        self.qkv_dwconv = nn.Conv2d(dim * 3, dim * 3, 3, padding=1, groups=dim * 3, bias=bias)
        self.project_out = nn.Conv2d(dim, dim, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv_dwconv(self.qkv(x)).chunk(3, dim=1)
        return self.project_out(channel_attention(q, k, v, self.temperature))


class FeedForward(nn.Module):
    """Gated-Dconv feed-forward network, (b, dim, h, w) -> the same. Restormer, section 3.2."""

    def __init__(self, dim: int, ffn_expansion_factor: float, bias: bool):
        super().__init__()
        hidden = int(dim * ffn_expansion_factor)
        self.project_in = nn.Conv2d(dim, hidden * 2, 1, bias=bias)
        self.dwconv = nn.Conv2d(hidden * 2, hidden * 2, 3, padding=1, groups=hidden * 2, bias=bias)
        self.project_out = nn.Conv2d(hidden, dim, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.dwconv(self.project_in(x)).chunk(2, dim=1)
        return self.project_out(F.gelu(gate) * value)


class TransformerBlock(nn.Module):
    """Attention, then feed-forward, each on the normalised input and added to it: (b, dim, h, w) -> the same.

    Raises:
        ValueError: the heads do not divide the channels.
    """

    def __init__(self,
                 dim: int,
                 num_heads: int,
                 ffn_expansion_factor: float = 2.66,
                 bias: bool = False,
                 LayerNorm_type: str = 'WithBias'):  # noqa: N803  the authors' name
        super().__init__()
        check_heads(dim, num_heads)
        self.norm1 = LayerNorm(dim, LayerNorm_type)
        self.attn = Attention(dim, num_heads, bias)
        self.norm2 = LayerNorm(dim, LayerNorm_type)
        self.ffn = FeedForward(dim, ffn_expansion_factor, bias)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.ffn(self.norm2(x))


class OverlapPatchEmbed(nn.Module):
    """A 3x3 convolution from the image to `dim` features at full resolution."""

    def __init__(self, in_channels: int, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(in_channels, dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x)


class Downsample(nn.Module):
    """Half the resolution, twice the channels: (b, c, h, w) -> (b, 2c, h/2, w/2)."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, channels // 2, 3, padding=1, bias=False), nn.PixelUnshuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Upsample(nn.Module):
    """Twice the resolution, half the channels: (b, c, h, w) -> (b, c/2, 2h, 2w)."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, channels * 2, 3, padding=1, bias=False), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class RestormerFamily(nn.Module):
    """What Restormer, PromptIR and AdaIR share: settings, stages, encoder, decoder and the frame around them.

    A subclass registers its layers in the order of its checkpoints and writes what is its own of `refine` or `restore`.

    Raises:
        ValueError: a setting has the wrong length, or dim does not fit the network.
    """
    multiple = 8  # three halvings
    min_size = 5  # pixels a side that can be mirrored up to 8
    dead_parameters: tuple[str, ...] = ()  # in the checkpoint, but no gradient ever reaches them: never trained

    def __init__(self, inp_channels: int, out_channels: int, dim: int, num_blocks: Sequence[int],
                 num_refinement_blocks: int, heads: Sequence[int], **block_settings):
        super().__init__()
        for name, value in (('num_blocks', num_blocks), ('heads', heads)):
            if len(value) != 4:
                raise ValueError(f'{name} has {len(value)} entries: {type(self).__name__} needs four, from full '
                                 'resolution down.')
        if dim < 2 or dim % 2:
            raise ValueError(f'dim is {dim}: it must be even and positive, as each halving of the resolution starts '
                             'by halving it.')
        self.dims = [dim * 2**level for level in range(4)]
        self.num_blocks, self.heads = list(num_blocks), list(heads)
        self.num_refinement_blocks = num_refinement_blocks
        self.block_settings = block_settings
        self.inp_channels, self.out_channels = inp_channels, out_channels

    def block(self, dim: int, heads: int) -> TransformerBlock:
        return TransformerBlock(dim, heads, **self.block_settings)

    def stage(self, level: int, blocks: int | None = None, dim: int | None = None) -> nn.Sequential:
        """Blocks of one level, 0 for full resolution; as many as num_blocks has, and as wide as the level, by default.
        """
        blocks = self.num_blocks[level] if blocks is None else blocks
        return nn.Sequential(*(self.block(dim or self.dims[level], self.heads[level]) for _ in range(blocks)))

    def add_encoder(self) -> None:
        dims = self.dims
        self.encoder_level1 = self.stage(0)
        self.down1_2 = Downsample(dims[0])
        self.encoder_level2 = self.stage(1)
        self.down2_3 = Downsample(dims[1])
        self.encoder_level3 = self.stage(2)
        self.down3_4 = Downsample(dims[2])
        self.latent = self.stage(3)

    def add_decoder(self) -> None:
        dims, bias = self.dims, self.block_settings['bias']
        self.up4_3 = Upsample(dims[3])
        self.reduce_chan_level3 = nn.Conv2d(dims[3], dims[2], 1, bias=bias)
        self.decoder_level3 = self.stage(2)
        self.up3_2 = Upsample(dims[2])
        self.reduce_chan_level2 = nn.Conv2d(dims[2], dims[1], 1, bias=bias)
        self.decoder_level2 = self.stage(1)
        self.up2_1 = Upsample(dims[1])
        self.decoder_level1 = self.stage(0, dim=dims[1])  # as wide as the two it joins
        self.refinement = self.stage(0, self.num_refinement_blocks, dim=dims[1])

    def encode(self, image: Tensor) -> list[Tensor]:
        """Features of the four levels, (b, dim * 2**level, h / 2**level, w / 2**level)."""
        features = [self.encoder_level1(self.patch_embed(image))]
        for down, stage in ((self.down1_2, self.encoder_level2), (self.down2_3, self.encoder_level3),
                            (self.down3_4, self.latent)):
            features.append(stage(down(features[-1])))
        return features

    def refine(self, image: Tensor, level: int, features: Tensor) -> Tensor:
        """What comes between the blocks of a level (3, 2, 1) and the way up; here nothing."""
        return features

    def decode(self, image: Tensor, features: list[Tensor]) -> Tensor:
        """Features at full resolution, (b, 2 * dim, h, w), from those of the four levels."""
        level1, level2, level3, latent = features
        x = self.up4_3(self.refine(image, 3, latent))
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([x, level3], 1)))
        x = self.up3_2(self.refine(image, 2, x))
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([x, level2], 1)))
        x = self.up2_1(self.refine(image, 1, x))
        return self.refinement(self.decoder_level1(torch.cat([x, level1], 1)))

    def restore(self, image: Tensor) -> Tensor:
        """(b, c, h, w) -> the same, for height and width that are multiples of 8."""
        return self.output(self.decode(image, self.encode(image))) + image

    def forward(self, inp_img: Tensor, noise_emb: Tensor | None = None) -> Tensor:
        """Restore images. `noise_emb` is taken and ignored, as in the authors' code."""
        padded = pad_to_multiple(inp_img, self.multiple, type(self).__name__)
        return crop(self.restore(padded), inp_img)


@ARCH_REGISTRY.register()
class Restormer(RestormerFamily):
    """Restormer: an encoder and decoder of transformer blocks whose attention runs over channels.

    Args:
        inp_channels, out_channels: of the images; equal, unless dual_pixel_task.
        dim: channels at full resolution; doubled at each of three halvings.
        num_blocks: blocks per level, from full resolution down.
        num_refinement_blocks: blocks after the decoder, at full resolution.
        heads: attention heads per level; each must divide the level's channels.
        ffn_expansion_factor: hidden over outer channels of the feed-forward part.
        bias: whether the convolutions inside the blocks have a bias.
        LayerNorm_type: WithBias, or BiasFree as in Gaussian denoising.
        dual_pixel_task: add the features of the image instead of the image, for defocus deblurring from two views.

    Shape: (b, inp_channels, h, w) -> (b, out_channels, h, w), values in [0, 1], not clamped. Height and width from 5
    pixels up: they are mirrored up to a multiple of 8 inside and the output is cut back.

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
                 dual_pixel_task: bool = False):
        super().__init__(inp_channels, out_channels, dim, num_blocks, num_refinement_blocks, heads, bias=bias,
                         ffn_expansion_factor=ffn_expansion_factor, LayerNorm_type=LayerNorm_type)
        self.dual_pixel_task = dual_pixel_task
        if not dual_pixel_task:
            check_residual(inp_channels, out_channels)
        self.patch_embed = OverlapPatchEmbed(inp_channels, dim)
        self.add_encoder()
        self.add_decoder()
        if dual_pixel_task:
            self.skip_conv = nn.Conv2d(dim, dim * 2, 1, bias=bias)
        self.output = nn.Conv2d(dim * 2, out_channels, 3, padding=1, bias=bias)

    def restore(self, image: Tensor) -> Tensor:
        if not self.dual_pixel_task:
            return super().restore(image)
        return self.output(self.decode(image, self.encode(image)) + self.skip_conv(self.patch_embed(image)))


def check_heads(dim: int, num_heads: int) -> None:
    """Raise ValueError unless every head gets the same number of channels."""
    if num_heads < 1 or dim % num_heads:
        raise ValueError(f'{num_heads} heads do not divide {dim} channels evenly: change dim or heads.')


def check_residual(inp_channels: int, out_channels: int) -> None:
    """Raise ValueError unless the output can be the input plus a correction."""
    if inp_channels != out_channels:
        raise ValueError(f'inp_channels is {inp_channels} and out_channels {out_channels}: they must be equal, as the '
                         'network adds a correction to its input.')
