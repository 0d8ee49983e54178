"""Seeds of what a run draws, each a function of the run's own seed."""
import hashlib
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor


def step_seed(seed: int, rank: int, iteration: int) -> int:
    """Seed of one step's random numbers, different for each seed, rank and iteration.

    So a resumed run repeats the uninterrupted one.

    >>> step_seed(0, 0, 1) == step_seed(0, 0, 2)
    False
    """
    return _seed(f'{seed}/{rank}/{iteration}')


def fresh_seed(seed: int) -> int:
    """Seed of fresh weights. Not the run's itself: the original was built under it, if it was trained with the same
    one, so that the fresh weights would be those that it started from.

    >>> fresh_seed(0) == 0
    False
    """
    return _seed(f'{seed}/fresh weights')


@contextmanager
def own_random_numbers(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Inside the block torch draws from this seed, afterwards as if nothing had been drawn.

    >>> with own_random_numbers(0):
    ...     first = torch.rand(1)
    >>> with own_random_numbers(0):
    ...     bool(torch.rand(1) == first)
    True
    """
    with torch.random.fork_rng([device] if device is not None and device.type == 'cuda' else []):
        torch.manual_seed(seed)
        yield


def evenly_drawn(shape: Sequence[int], generator: torch.Generator | None) -> Tensor:
    """Numbers from 0 up to 1, float64, on the CPU.

    Args:
        shape: of the tensor.
        generator: source of the numbers; None for the operating system's entropy, which nobody can draw again. A
            generator with a seed from there would not do: torch's keeps 32 bits of it, few enough to try all.

    >>> evenly_drawn((2, 3), torch.Generator()).shape, bool((evenly_drawn([4], None) < 1).all())
    (torch.Size([2, 3]), True)
    """
    if generator is not None:
        return torch.rand(shape, generator=generator, dtype=torch.float64)
    numbers = torch.frombuffer(bytearray(os.urandom(8 * math.prod(shape))), dtype=torch.int64)
    return (numbers >> 11).bitwise_and(2**53 - 1).double().div(2**53).view(*shape)


def _seed(string: str) -> int:
    return int.from_bytes(hashlib.sha256(string.encode()).digest()[:7], 'little')
