"""Words in a row, and a sentence's first letter."""
from collections.abc import Sequence


def enumerated(parts: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return parts[0] if len(parts) == 1 else f'{", ".join(parts[:-1])} and {parts[-1]}'


def capital(string: str) -> str:
    """The string with its first letter large."""
    return string[:1].upper() + string[1:]
