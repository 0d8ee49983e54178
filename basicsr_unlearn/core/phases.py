"""Objectives that take turns: which terms are minimised in which iteration."""
from collections.abc import Mapping, Sequence
from typing import Any


def check_phases(phases: Sequence[Mapping[str, Any]], terms: Sequence[str]) -> None:
    """Raise ValueError unless each phase has known terms and a length, which only the last may leave open (~).

    >>> check_phases([{'terms': ['forget'], 'iters': 10}, {'terms': ['retain']}], ['forget', 'retain'])
    """
    for index, phase in enumerate(phases):
        unknown = [term for term in phase['terms'] if term not in terms]
        if unknown:
            raise ValueError(f'phase {index + 1} has the term {unknown[0]}, but the objective has '
                             f'{", ".join(terms)} only')
        if not phase['terms']:
            raise ValueError(f'phase {index + 1} has no terms')
        if phase.get('iters') is None and index < len(phases) - 1:
            raise ValueError(f'phase {index + 1} has no iters, so that phase {index + 2} would never begin')


def phase_terms(phases: Sequence[Mapping[str, Any]], iteration: int) -> list[str]:
    """The terms of an iteration, counted from 1. Phases follow one another and then begin anew.

    Args:
        phases: mappings with `terms`, a list of names, and `iters`, how long it lasts; None lasts for good.
        iteration: from 1.

    >>> phases = [{'terms': ['forget'], 'iters': 1}, {'terms': ['retain'], 'iters': 2}]
    >>> [phase_terms(phases, iteration)[0] for iteration in (1, 2, 3, 4)]
    ['forget', 'retain', 'retain', 'forget']
    """
    lengths = [phase.get('iters') for phase in phases]
    position = iteration - 1
    if lengths[-1] is not None:
        position %= sum(lengths)
    for phase, length in zip(phases, lengths):
        if length is None or position < length:
            return list(phase['terms'])
        position -= length
    raise AssertionError('unreachable: the last phase is open, or the position lies within the cycle')
