"""Type hints that tell the limits of a number, as `share: Share`: option files are checked and documented by them."""
from dataclasses import dataclass
from typing import Annotated, Any


@dataclass(frozen=True)
class Limit:
    """Between what a number lies; None for no limit.

    pydantic calls `__get_pydantic_core_schema__`, so nothing of it is imported here.
    """
    above: float | None = None
    at_least: float | None = None
    below: float | None = None
    at_most: float | None = None

    def __str__(self) -> str:
        up_to = ' to' if self.at_least is not None else ' up to'
        told = ((' above', self.above), (' from', self.at_least), (' below', self.below), (up_to, self.at_most))
        return ''.join(f'{word} {value}' for word, value in told if value is not None)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> dict[str, Any]:
        limits = {'gt': self.above, 'ge': self.at_least, 'lt': self.below, 'le': self.at_most}
        return {**handler(source), **{name: value for name, value in limits.items() if value is not None}}


Share = Annotated[float, Limit(above=0, at_most=1)]
Fraction = Annotated[float, Limit(above=0, below=1)]
Positive = Annotated[float, Limit(above=0)]
NotNegative = Annotated[float, Limit(at_least=0)]
Count = Annotated[int, Limit(at_least=1)]
Seed = Annotated[int, Limit(at_least=0)]
