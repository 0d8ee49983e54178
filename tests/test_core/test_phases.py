"""Phases: which terms when."""
import pytest

from basicsr_unlearn.core.phases import check_phases, phase_terms

TURNS = [{'iters': 2, 'terms': ['forget']}, {'iters': 3, 'terms': ['retain']}]


def test_phases_take_turns_and_begin_anew():
    letters = ''.join(phase_terms(TURNS, iteration)[0][0] for iteration in range(1, 13))
    assert letters == 'ffrrrffrrrff'


def test_an_open_last_phase_never_ends():
    phases = [{'iters': 1, 'terms': ['forget']}, {'iters': None, 'terms': ['retain', 'anchor']}]
    assert [phase_terms(phases, iteration) for iteration in (1, 2, 1000)] == [
        ['forget'], ['retain', 'anchor'], ['retain', 'anchor']]


@pytest.mark.parametrize(('phases', 'message'), [
    ([{'iters': 2, 'terms': ['adversarial']}], 'phase 1 has the term adversarial, but the objective has forget, ret'),
    ([{'iters': 2, 'terms': []}], 'phase 1 has no terms'),
    ([{'terms': ['forget']}, {'iters': 2, 'terms': ['retain']}], 'phase 2 would never begin')])
def test_refused(phases, message):
    with pytest.raises(ValueError, match=message):
        check_phases(phases, ['forget', 'retain'])
