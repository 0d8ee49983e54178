"""Which weights moved, and how far."""
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from basicsr_unlearn.errors import CheckpointError


@dataclass
class Movement:
    """How far a layer, or a whole network, moved.

    `weights`: how many it has. `changed`: share of them with another value. `distance`: L2 norm of the difference.
    `relative`: distance over the L2 norm before, None where that is 0.
    """
    weights: int
    changed: float
    distance: float
    relative: float | None


def weight_movement(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[Movement, dict[str, Movement]]:
    """Compare two checkpoints of one architecture.

    Args:
        before, after: state dicts, on any device; buffers that are not floating point are left out.

    Returns:
        The whole network, and each layer (the module that holds the tensors) from the largest distance to the smallest;
        of equal ones the first in order.

    Raises:
        CheckpointError: names or shapes differ, a value is not finite, or there is no weight at all.
    """
    for name in [*before, *after]:
        if name not in before or name not in after:
            raise CheckpointError(f"The weight '{name}' is in one checkpoint only: compare networks of one "
                                  'architecture.')
        if before[name].shape != after[name].shape:
            raise CheckpointError(f"The weight '{name}' has shape {tuple(before[name].shape)} in one checkpoint and "
                                  f'{tuple(after[name].shape)} in the other: compare networks of one architecture.')
    layers: dict[str, list[tuple[int, int, float, float]]] = {}
    for name, start in before.items():
        if start.is_floating_point():
            layers.setdefault(name.rpartition('.')[0], []).append(_compare(name, start, after[name]))
    if not layers:
        raise CheckpointError('There is no weight to compare.')
    table = {layer: _sum(parts) for layer, parts in layers.items()}
    return (_sum([part for parts in layers.values() for part in parts]),
            dict(sorted(table.items(), key=lambda entry: -entry[1].distance)))


def mixed(net: nn.Module, other: nn.Module, share: float) -> nn.Module:
    """A copy whose weights are the mean of two networks', `share` of the other's, in [0, 1].

    Raises:
        CheckpointError: the other is of another architecture.
    """
    own, there = net.state_dict(), other.state_dict()
    if {name: value.shape for name, value in own.items()} != {name: value.shape for name, value in there.items()}:
        raise CheckpointError('The two networks have other weights: give networks of one architecture.')
    copy = deepcopy(net)
    copy.load_state_dict({name: value.lerp(there[name].to(value), share) if value.is_floating_point() else value
                          for name, value in own.items()})
    return copy


def _compare(name: str, before: Tensor, after: Tensor) -> tuple[int, int, float, float]:
    """Number of weights, of changed ones, squared distance, squared norm before."""
    before, after = before.detach().cpu().double(), after.detach().cpu().double()
    if not (torch.isfinite(before).all() and torch.isfinite(after).all()):
        raise CheckpointError(f"The weight '{name}' is not finite in one of the checkpoints: it has diverged.")
    return (before.numel(), int((before != after).sum()), float((after - before).square().sum()),
            float(before.square().sum()))


def _sum(parts: list[tuple[int, int, float, float]]) -> Movement:
    weights, changed, squared, start = map(sum, zip(*parts))
    return Movement(weights, changed / weights if weights else 0.0, squared**0.5,
                    (squared / start)**0.5 if start else None)
