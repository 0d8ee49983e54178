"""The register of architectures whose settings can be read from a checkpoint, and what reading them has in common."""
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import isqrt
from typing import Any

Shapes = Mapping[str, tuple[int, ...]]

OFFICIAL_FACTOR = 2.66  # of the feed-forward parts of Restormer, PromptIR and AdaIR
DECIMALS = 6  # with which other factors are tried; enough for any width below a million


@dataclass(frozen=True)
class Family:
    """An architecture as checkpoints know it.

    Args:
        settings: from names and shapes to arguments of the constructor; any LookupError or ValueError in it means 'not
            this one'. It need not be careful: what it says is built and compared.
        untold: settings that change no weight -> the values in use, the usual one first. Those that `settings` returns
            all the same are told.
        frames: whether it restores video, (b, frames, c, h, w).
    """
    settings: Callable[[Shapes], dict[str, Any]]
    untold: Mapping[str, tuple] = field(default_factory=dict)
    frames: bool = False


# Name in BasicSR's registry -> its family, in the order in which they are tried.
FAMILIES: dict[str, Family] = {}


def settings_of(architecture: str, frames: bool = False, **untold: tuple) -> Callable:
    """Register the decorated function as what reads the settings of `architecture`; see Family for the rest."""
    def register(settings: Callable[[Shapes], dict[str, Any]]) -> Callable[[Shapes], dict[str, Any]]:
        FAMILIES[architecture] = Family(settings, untold, frames)
        return settings
    return register


def count(shapes: Shapes, pattern: str) -> int:
    """How many different things the group of `pattern` stands for at the beginning of names."""
    return len({match[1] for name in shapes if (match := re.match(pattern, name))})


def root(number: int) -> int:
    """The whole square root. Raises ValueError if there is none."""
    if number < 1 or isqrt(number) ** 2 != number:
        raise ValueError(f'{number} is no square')
    return isqrt(number)


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
