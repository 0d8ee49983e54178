"""Which network a checkpoint is of, and with which settings, read from the names and shapes of its weights.

A further architecture is one more function in FAMILIES, which need not be careful: what it says is built and compared.
"""
import re
from collections.abc import Callable, Iterable, Mapping
from inspect import signature
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]

OFFICIAL_FACTOR = 2.66  # of the feed-forward parts of Restormer, PromptIR and AdaIR
DECIMALS = 6  # with which other factors are tried; enough for any width below a million
QUEUE_PER_SAMPLE = 256  # columns of AirNet's queue for each sample of a batch


def describe(weights: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """The `network_g` block of the network that these weights fill exactly.

    Every answer is confirmed by building that network, without memory for its weights, and comparing all names and
    shapes. Settings that change no weight, such as NAFNet's pool_size, cannot be read and are left out.

    Args:
        weights: by name, without the prefixes of wrappers, as `read_weights` returns them; only shapes are looked at.

    Returns:
        `type`, then the settings in the order of the constructor; None if no known architecture fits.
    """
    shapes = {name: tuple(weight.shape) for name, weight in weights.items()}
    for architecture, settings_of in FAMILIES.items():
        try:
            settings = settings_of(shapes)
            build = ARCH_REGISTRY.get(architecture)
            with torch.device('meta'):
                own = {name: tuple(weight.shape) for name, weight in build(**settings).state_dict().items()}
        except (LookupError, ValueError, ArithmeticError):
            continue  # a weight is absent or has another shape than the architecture's, or settings contradict
        # as in `check_fit`, counters of BatchNorm may be absent: they are newer than many checkpoints
        if {**{name: shape for name, shape in own.items() if name.endswith('num_batches_tracked')}, **shapes} == own:
            return {'type': architecture,
                    **{name: settings[name] for name in signature(build).parameters if name in settings}}
    return None


def tidy_factor(widths: Iterable[tuple[int, int]]) -> float:
    """The feed-forward factor f with int(dim * f) == hidden for all (dim, hidden).

    The official 2.66 if it does; else the factor with the fewest decimals, and of those the smallest.

    Raises:
        ValueError: there is none.
    """
    widths = set(widths)
    candidates = [OFFICIAL_FACTOR]
    for decimals in range(DECIMALS + 1):
        least = max(-(-hidden * 10**decimals // dim) for dim, hidden in widths)
        # the one above it too: a product such as 100 * 0.29 falls short of the whole number
        candidates += [least / 10**decimals, (least + 1) / 10**decimals]
    for factor in candidates:
        if all(int(dim * factor) == hidden for dim, hidden in widths):
            return factor
    raise ValueError(f'no factor gives all of {sorted(widths)}')


def _count(shapes: Shapes, pattern: str) -> int:
    """How many different things the group of `pattern` stands for at the beginning of names."""
    return len({match[1] for name in shapes if (match := re.match(pattern, name))})


def _nafnet(shapes: Shapes) -> dict[str, Any]:
    width, img_channel = shapes['intro.weight'][:2]
    levels = range(_count(shapes, r'downs\.(\d+)\.'))
    return {'img_channel': img_channel, 'width': width, 'middle_blk_num': _count(shapes, r'middle_blks\.(\d+)\.'),
            'enc_blk_nums': [_count(shapes, rf'encoders\.{level}\.(\d+)\.') for level in levels],
            'dec_blk_nums': [_count(shapes, rf'decoders\.{level}\.(\d+)\.') for level in levels]}


def _transformer(shapes: Shapes) -> dict[str, Any]:
    """What Restormer, PromptIR and AdaIR have in common."""
    dim, inp_channels = shapes['patch_embed.proj.weight'][:2]
    stages = ('encoder_level1', 'encoder_level2', 'encoder_level3', 'latent')
    return {'inp_channels': inp_channels, 'out_channels': shapes['output.weight'][0], 'dim': dim,
            'num_blocks': [_count(shapes, rf'{stage}\.(\d+)\.') for stage in stages],
            'num_refinement_blocks': _count(shapes, r'refinement\.(\d+)\.'),
            'heads': [shapes[f'{stage}.0.attn.temperature'][0] for stage in stages],
            'ffn_expansion_factor': tidy_factor(shape[:2] for name, shape in shapes.items()
                                                if name.endswith('.ffn.project_out.weight')),
            'bias': 'output.bias' in shapes,
            'LayerNorm_type': 'WithBias' if 'latent.0.norm1.body.bias' in shapes else 'BiasFree'}


def _restormer(shapes: Shapes) -> dict[str, Any]:
    return {**_transformer(shapes), 'dual_pixel_task': 'skip_conv.weight' in shapes}


def _promptir(shapes: Shapes) -> dict[str, Any]:
    lengths, dims, sizes = zip(*(shapes[f'prompt{level}.prompt_param'][1:4] for level in (1, 2, 3)))
    return {**_transformer(shapes), 'decoder': True, 'prompt_dims': list(dims), 'prompt_sizes': list(sizes),
            'prompt_len': lengths[0]}


def _adair(shapes: Shapes) -> dict[str, Any]:
    return {**_transformer(shapes), 'decoder': 'fre1.para1' in shapes}


def _airnet(shapes: Shapes) -> dict[str, Any]:
    return {'batch_size': shapes['E.E.queue'][1] // QUEUE_PER_SAMPLE,
            'n_groups': _count(shapes, r'R\.body\.(\d+)\.body\.'),
            'n_blocks': _count(shapes, r'R\.body\.0\.body\.(\d+)\.dgm1\.'),
            'n_feats': shapes['R.head.0.weight'][0]}


# Name in the registry -> its settings from names and shapes; any LookupError or ValueError in it means 'not this one'.
# Restormer comes before AdaIR, which without its frequency blocks (decoder: false) is the same network.
FAMILIES: dict[str, Callable[[Shapes], dict[str, Any]]] = {
    'NAFNet': _nafnet,
    'PromptIR': _promptir,
    'Restormer': _restormer,
    'AdaIR': _adair,
    'AirNet': _airnet,
}
