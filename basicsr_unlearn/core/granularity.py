"""Weights that are chosen together: one by one, by output channel or by layer."""
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from basicsr_unlearn.core.importance import highest_share

Granularity = Literal['weight', 'channel', 'layer']


def is_vector(p: Tensor) -> bool:
    """Whether all but one of a tensor's sizes are 1.

    >>> is_vector(torch.zeros(1, 8, 1, 1)), is_vector(torch.zeros(8, 8))
    (True, False)
    """
    return p.numel() == max(p.shape, default=1)


def units(tensors: Mapping[str, Tensor], granularity: Granularity) -> dict[str, Tensor]:
    """The number of the unit that each weight belongs to, from 0.

    Args:
        tensors: weights, or anything of their shapes, by parameter name.
        granularity: 'weight': each by itself. 'layer': what one module owns, not through its submodules. 'channel': of
            that, what has one index: a row of a matrix or the filter of an output channel (the first size), and the
            bias, or the weight and bias of a normalisation, at the same index. Scales that a block of several layers
            owns are units of their own.

    Returns:
        An integer tensor of its shape for each name.

    >>> layer = {'conv.weight': torch.zeros(2, 1, 1, 1), 'conv.bias': torch.zeros(2)}
    >>> {name: number.flatten().tolist() for name, number in units(layer, 'channel').items()}
    {'conv.weight': [0, 1], 'conv.bias': [0, 1]}
    """
    first: dict[tuple, int] = {}  # number of a group's first unit
    numbers, count = {}, 0
    for name, tensor in tensors.items():
        size = 1 if granularity == 'layer' else tensor.numel() if granularity == 'weight' or is_vector(tensor) else (
            len(tensor))
        group = (name,) if granularity == 'weight' else (name.rpartition('.')[0], size)
        if group not in first:
            first[group], count = count, count + size
        index = first[group] + torch.arange(size, device=tensor.device)
        numbers[name] = index.repeat_interleave(tensor.numel() // size).view(tensor.shape)
    return numbers


def highest_ratio(forget: Mapping[str, Tensor], retain: Mapping[str, Tensor], share: float,
                  granularity: Granularity = 'weight', per_layer: bool = False) -> dict[str, Tensor]:
    """True for the share of the weights that matter most to the forget set, as a multiple of what the rest is to them.

    Units are taken whole, the highest ratio of their summed importances first, as many as come nearest to the share of
    the weights, at least one. One that matters to neither set comes last.

    Args:
        forget, retain: importances by parameter name, 0 or above.
        share: of all weights, in (0, 1].
        granularity: see `units`.
        per_layer: the share of each layer, for 'weight' of each tensor, instead of all together.

    >>> forget, retain = {'weight': torch.tensor([8.0, 1.0, 2.0, 0.0])}, {'weight': torch.tensor([1.0, 1.0, 0.0, 1.0])}
    >>> highest_ratio(forget, retain, 0.5)
    {'weight': tensor([ True, False,  True, False])}
    """
    if granularity == 'weight':
        ratio = {name: torch.where(forget[name] > 0, forget[name] / retain[name], 0) for name in forget}
        return highest_share(ratio, share, per_layer)  # inf where retain alone is 0
    if per_layer:
        layers: dict[str, dict[str, Tensor]] = {}
        for name, value in forget.items():
            layers.setdefault(name.rpartition('.')[0], {})[name] = value
        return {name: chosen for layer in layers.values()
                for name, chosen in highest_ratio(layer, retain, share, granularity).items()}
    numbers = units(forget, granularity)
    flat = torch.cat([number.flatten().cpu() for number in numbers.values()])
    sizes = flat.bincount()
    sums = [sizes.new_zeros(len(sizes), dtype=torch.float64).index_add_(
        0, flat, torch.cat([values[name].flatten().cpu() for name in numbers]).double()) for values in (forget, retain)]
    order = torch.where(sums[0] > 0, sums[0] / sums[1], 0).argsort(descending=True, stable=True)
    covered = sizes[order].cumsum(0)
    taken = torch.zeros(len(sizes), dtype=torch.bool)
    taken[order[:int((covered - share * len(flat)).abs().argmin()) + 1]] = True
    return {name: taken.to(number.device)[number] for name, number in numbers.items()}
