"""What an option may be: checks that raise ValueError with the name, the value and what would do."""
import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any


def check_choice(name: str, value: Any, choices: Iterable[str]) -> None:
    """Raise ValueError, naming the nearest valid choice, unless `value` is one of `choices`.

    >>> check_choice('norm', 'l2', ('linf', 'l2'))
    """
    choices = list(choices)
    if value not in choices:
        nearest = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.0)[0]
        raise ValueError(f"{name}: '{value}' is not known, the nearest valid one is '{nearest}' "
                         f"(valid: {', '.join(choices)}).")


def check_number(name: str, value: Any, minimum: float = 0.0, exclusive: bool = False) -> None:
    """Raise ValueError unless `value` is a finite number of at least (`exclusive`: above) `minimum`.

    >>> check_number('lr', 1e-4, exclusive=True)
    """
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        cure = f"the text '{value}'; in an option file write !!float {value}"
        raise ValueError(f'{name}: expected a finite number but got {cure if isinstance(value, str) else repr(value)}.')
    if value < minimum or (exclusive and value == minimum):
        limit = 'above' if exclusive else 'of at least'
        raise ValueError(f'{name}: expected a number {limit} {minimum:g} but got {value}.')


def check_share(name: str, value: Any) -> None:
    """Raise ValueError unless `value` is a number above 0 and of at most 1.

    >>> check_share('share', 0.3)
    """
    check_number(name, value, exclusive=True)
    if value > 1:
        raise ValueError(f'{name}: expected a share of at most 1 but got {value}.')


def check_whole(name: str, value: Any, minimum: int = 0) -> None:
    """Raise ValueError unless `value` is a whole number of at least `minimum`.

    >>> check_whole('steps', 3, minimum=1)
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise ValueError(f'{name}: expected a whole number of at least {minimum} but got {value!r}.')
