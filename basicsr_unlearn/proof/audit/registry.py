"""Measurements by name: small functions of a context, each with what it needs."""
from collections.abc import Callable
from dataclasses import dataclass

from basicsr_unlearn.proof.audit.context import Context
from basicsr_unlearn.proof.audit.plan import SLOW

NEEDS = {
    'forget set': lambda context: context.usable('forget', 'unseen') or 'no data set with role forget or unseen '
                                                                        'can be used',
    'retain set': lambda context: context.usable('retain') or 'no data set with role retain can be used',
}


class SkippedError(Exception):
    """Raised by a measurement that cannot be made, with the reason as a sentence."""


@dataclass(frozen=True)
class Measurement:
    """`optional`: made only where the option file has a block `measure.<name>`."""
    name: str
    function: Callable[[Context], dict]
    needs: tuple[str, ...]
    optional: bool

    def missing(self, context: Context) -> str | None:
        """Why it cannot be made, or None."""
        if self.optional and self.name not in context.audit.measure:
            return f'not asked for: add measure.{self.name} to the option file'
        if context.audit.quick and self.name in SLOW:
            return 'left out by --quick'
        for need in self.needs:
            found = NEEDS[need](context)
            if isinstance(found, str):
                return found
        return None


MEASUREMENTS: dict[str, Measurement] = {}


def measurement(name: str, needs: tuple[str, ...] = (), optional: bool = False) -> Callable:
    """Register a function (context) -> result, see SCHEMA.md, in the order in which files are imported."""
    def register(function: Callable[[Context], dict]) -> Callable[[Context], dict]:
        MEASUREMENTS[name] = Measurement(name, function, needs, optional)
        return function
    return register
