"""PromptIR, 'Prompting for All-in-One Blind Image Restoration' (Potlapalli et al., NeurIPS 2023, arXiv 2306.13090).

Parameter names and order are those of the authors' released checkpoints, so that these load.
"""
from collections.abc import Sequence

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from basicsr_unlearn.archs.restormer_arch import (
    Downsample,
    OverlapPatchEmbed,
    RestormerFamily,
    Upsample,
    check_residual,
)

OFFICIAL_DIMS = (48, (64, 128, 320))  # the only widths of the authors' code


class PromptGenBlock(nn.Module):
    """A prompt for the features at hand: a mixture of learned maps, (b, features, h, w) -> (b, dim, h, w).

    Args:
        dim: channels of the prompt.
        length: learned maps.
        size: their height and width in pixels; resized bilinearly to the features'.
        features: channels of the features, whose mean decides the mixture.
    """

    def __init__(self, dim: int, length: int, size: int, features: int):
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(1, length, dim, size, size))
        self.linear_layer = nn.Linear(features, length)
        self.conv3x3 = nn.Conv2d(dim, dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        shares = self.linear_layer(x.mean((2, 3))).softmax(1)
        prompt = torch.einsum('bl,lchw->bchw', shares, self.prompt_param[0])
        return self.conv3x3(F.interpolate(prompt, x.shape[2:], mode='bilinear'))


@ARCH_REGISTRY.register()
class PromptIR(RestormerFamily):
    """PromptIR: Restormer with a learned prompt at three levels of the decoder.

    Args:
        inp_channels, out_channels: of the images; equal.
        dim: channels at full resolution; doubled at each of three halvings. The authors' code runs at 48 only.
        num_blocks: blocks per level, from full resolution down.
        num_refinement_blocks: blocks after the decoder, at full resolution.
        heads: attention heads per level; each must divide its level's channels, and the third also `dim` and the
            prompts' channels together.
        ffn_expansion_factor: hidden over outer channels of the feed-forward part.
        bias: whether the convolutions inside the blocks have a bias.
        LayerNorm_type: WithBias or BiasFree.
        decoder: the prompts, without which the authors' network cannot run; true.
        prompt_dims, prompt_sizes: channels, and side in pixels, of the prompts at half, quarter and eighth resolution.
        prompt_len: maps that each prompt mixes.

    Shape: (b, inp_channels, h, w) -> the same, values in [0, 1], not clamped. Height and width from 5 pixels up: they
    are mirrored up to a multiple of 8 inside and the output is cut back.

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
                 decoder: bool = True,
                 prompt_dims: Sequence[int] = (64, 128, 320),
                 prompt_sizes: Sequence[int] = (64, 32, 16),
                 prompt_len: int = 5):
        super().__init__(inp_channels, out_channels, dim, num_blocks, num_refinement_blocks, heads, bias=bias,
                         ffn_expansion_factor=ffn_expansion_factor, LayerNorm_type=LayerNorm_type)
        check_residual(inp_channels, out_channels)
        if not decoder:
            raise ValueError('decoder is false, with which PromptIR cannot run: write decoder: true.')
        for name, value in (('prompt_dims', prompt_dims), ('prompt_sizes', prompt_sizes)):
            if len(value) != 3:
                raise ValueError(f'{name} has {len(value)} entries: PromptIR needs three, from half resolution down.')
        self.prompt_dims = tuple(prompt_dims)
        dims, prompts = self.dims, self.prompt_dims

        self.patch_embed = OverlapPatchEmbed(inp_channels, dim)
        self.prompt1, self.prompt2, self.prompt3 = (
            PromptGenBlock(prompts[i], prompt_len, prompt_sizes[i], dims[i + 1]) for i in range(3))
        self._add_dead('chnl_reduce1', 64, 64)
        self._add_dead('chnl_reduce2', 128, 128)
        self._add_dead('chnl_reduce3', 320, 256)
        self._add_dead('reduce_noise_channel_1', 112, 48)
        self.encoder_level1 = self.stage(0)
        self.down1_2 = Downsample(dims[0])
        self._add_dead('reduce_noise_channel_2', 224, 96)
        self.encoder_level2 = self.stage(1)
        self.down2_3 = Downsample(dims[1])
        self._add_dead('reduce_noise_channel_3', 448, 192)
        self.encoder_level3 = self.stage(2)
        self.down3_4 = Downsample(dims[2])
        self.latent = self.stage(3)

        def conv1x1(inner: int, outer: int) -> nn.Conv2d:
            return nn.Conv2d(inner, outer, 1, bias=bias)

        self.up4_3 = Upsample(dims[2])
        self.reduce_chan_level3 = conv1x1(dims[1] + dims[2], dims[2])
        self.noise_level3 = self.block(dims[3] + prompts[2], heads[2])
        self.reduce_noise_level3 = conv1x1(dims[3] + prompts[2], dims[2])
        self.decoder_level3 = self.stage(2)
        self.up3_2 = Upsample(dims[2])
        self.reduce_chan_level2 = conv1x1(dims[2], dims[1])
        self.noise_level2 = self.block(dims[2] + prompts[1], heads[2])
        self.reduce_noise_level2 = conv1x1(dims[2] + prompts[1], dims[2])
        self.decoder_level2 = self.stage(1)
        self.up2_1 = Upsample(dims[1])
        self.noise_level1 = self.block(dims[1] + prompts[0], heads[2])
        self.reduce_noise_level1 = conv1x1(dims[1] + prompts[0], dims[1])
        self.decoder_level1 = self.stage(0, dim=dims[1])  # as wide as the two it joins
        self.refinement = self.stage(0, num_refinement_blocks, dim=dims[1])
        self.output = nn.Conv2d(dims[1], out_channels, 3, padding=1, bias=bias)

    def _add_dead(self, name: str, inner: int, outer: int) -> None:
        """Register a layer that the authors' checkpoints hold but no output depends on; only at their widths."""
        if (self.dims[0], self.prompt_dims) == OFFICIAL_DIMS:
            setattr(self, name, nn.Conv2d(inner, outer, 1, bias=self.block_settings['bias']))
            self.dead_parameters += tuple(f'{name}.{part}' for part, _ in getattr(self, name).named_parameters())

    def refine(self, image: Tensor, level: int, features: Tensor) -> Tensor:
        prompt, noise_level, reduce = (self.get_submodule(f'{name}{level}')
                                       for name in ('prompt', 'noise_level', 'reduce_noise_level'))
        return reduce(noise_level(torch.cat([features, prompt(features)], 1)))
