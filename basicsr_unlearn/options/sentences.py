"""How errors speak of values and names: shortly, with the nearest name that there is."""
import difflib
import numbers
from collections.abc import Iterable, Mapping
from typing import Any

from basicsr_unlearn.options.values import LARGEST_WHOLE


def shown(value: Any, words: str) -> str:
    """How an error shows a value that is not what `words` say."""
    if 'number' in words and isinstance(value, numbers.Real) and abs(value) > LARGEST_WHOLE:
        return f'{shortened(value)}, which is none of the numbers that are {words} and of use'
    if value is None:
        return f'empty (~), not {words}'
    if isinstance(value, str) and 'number' in words and as_number(value) is not None:
        plain = value if value.isdigit() else f'!!float {value}'
        return f"the text '{value}', not {words}: write {plain}"
    if isinstance(value, Mapping):
        return f'a block of options, not {words}'
    return f'{shortened(value)}, not {words}'


def shortened(value: Any) -> str:
    """A value as an option file has it, at most 60 characters of it."""
    if isinstance(value, numbers.Integral) and abs(value) > LARGEST_WHOLE:
        return f'{float(value):.0e}' if abs(value) < 1e300 else 'beyond 1e300'
    said = str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)
    return said if len(said) <= 60 else f'{said[:57]}...'


def unknown(where: str, name: str, valid: Iterable[str]) -> str:
    """The sentence for an option that is not there, with the nearest or all that are."""
    near = nearest(name, valid)
    parent = where.rpartition('.')[0]
    return f'{where} is no option: ' + (f'did you mean {join(parent, near)}?' if near else
                                        f'use {", ".join(sorted(valid))}.')


def nearest(name: Any, valid: Iterable[str]) -> str | None:
    """The valid name that a wrong one can mean, if any."""
    by_lower = {entry.lower(): entry for entry in valid}
    near = difflib.get_close_matches(str(name).lower(), by_lower, 1)
    return by_lower[near[0]] if near else None


def as_number(string: str) -> float | None:
    """The number that a text writes, if any."""
    try:
        return float(string)
    except ValueError:
        return None


def join(where: str, name: str) -> str:
    """The full name of an option in a block."""
    return f'{where}.{name}' if where else name
