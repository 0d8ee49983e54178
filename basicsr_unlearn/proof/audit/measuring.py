"""What every measurement of an audit is made with: the register, and scores by photograph."""
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from basicsr_unlearn.core.judgement import has_skill, likeness_references, references
from basicsr_unlearn.metrics.evaluation import IDENTITY
from basicsr_unlearn.proof.attackers.statistics import Interval
from basicsr_unlearn.proof.audit.audit_plan import SLOW
from basicsr_unlearn.proof.audit.context import Context

NEEDS = {
    'forget set': lambda context: context.usable('forget', 'unseen') or 'no data set with role forget or unseen '
                                                                        'can be used',
    'retain set': lambda context: context.usable('retain') or 'no data set with role retain can be used',
}


class SkippedError(Exception):
    """Raised by a measurement that cannot be made, with the reason as a sentence."""


@dataclass(frozen=True)
class Measurement:
    """`optional`: made only where the option file has a block `measure.<name>`. `depends`: on what else it depends but
    networks, data sets and options.
    """
    name: str
    function: Callable[[Context], dict]
    needs: tuple[str, ...]
    optional: bool
    depends: Callable[[Context], Any]

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


def measurement(name: str, needs: tuple[str, ...] = (), optional: bool = False,
                depends: Callable[[Context], Any] = lambda context: None) -> Callable:
    """Register a function (context) -> result, see SCHEMA.md, in the order in which files are imported."""
    def register(function: Callable[[Context], dict]) -> Callable[[Context], dict]:
        MEASUREMENTS[name] = Measurement(name, function, needs, optional, depends)
        return function
    return register


def by_photograph(values: Sequence[float], photographs: Sequence[str]) -> np.ndarray:
    """Mean of the values of each photograph, in order of their first appearance."""
    order = {name: index for index, name in enumerate(dict.fromkeys(photographs))}
    groups = np.array([order[name] for name in photographs])
    return np.bincount(groups, np.asarray(values, dtype=float)) / np.bincount(groups)


def by_network(context: Context, name: str, columns: list[str]) -> dict[str, np.ndarray]:
    """Column -> the verdict's metric of every photograph of a data set."""
    photographs = context.contents(name).photographs
    return {column: by_photograph(context.inference(column, name)['metrics'][context.audit.metric], photographs)
            for column in columns}


def means(context: Context, name: str) -> dict[str, float]:
    """Column -> mean of the verdict's metric, as `core.judgement` takes it."""
    return {column: float(values.mean())
            for column, values in by_network(context, name, [IDENTITY, *context.columns_on(name)]).items()}


def retrained_references(context: Context, name: str) -> list[str]:
    """The retrained networks that forgetting can be held against on a forget set."""
    scores, yardstick = means(context, name), context.audit.yardstick
    if not has_skill(scores['original'], scores[IDENTITY], yardstick):
        return likeness_to(context)
    return [column for column in references(scores, yardstick) if column != IDENTITY]


def likeness_to(context: Context) -> list[str]:
    """The retrained networks that the unlearned one has to be like where the original has no skill."""
    return likeness_references([means(context, name) for name in context.usable('forget', 'unseen')],
                               context.audit.yardstick)


def as_dict(found: Interval) -> dict[str, float | None]:
    """An Interval as audit.json holds it."""
    return {key: None if value is None else round(value, 5) for key, value in found._asdict().items()}
