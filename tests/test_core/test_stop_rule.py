"""The stop rule by hand, on scores in dB."""
import numpy as np
import pytest

from basicsr_unlearn.core.stop_rule import StopRule


def observed(rule: StopRule, *scores: tuple) -> StopRule:
    for score in scores:
        rule.observe(*score)
    return rule


def test_means_are_over_the_latest_window_only():
    rule = observed(StopRule(retain_budget=1.0, window=2), (9.0, 5.0), (3.0, 1.0), (1.0, 0.5))
    assert rule.gap == 2.0 and rule.drop == 0.75


def test_no_decision_before_the_window_is_full():
    rule = observed(StopRule(window=3), (-5.0,), (-5.0,))
    assert not rule.full and rule.gap == float('inf') and not rule.met(100)
    assert observed(rule, (-5.0,)).full and rule.met(100)


@pytest.mark.parametrize('gap, met', [(-0.1, True), (0.5, True), (0.51, False)])
def test_forgotten_means_at_most_margin_above_the_reference(gap, met):
    assert observed(StopRule(margin=0.5, window=1), (gap,)).met(1) is met


def test_no_stop_before_min_iter():
    rule = observed(StopRule(window=1, min_iter=7), (-1.0,))
    assert not rule.met(6) and rule.met(7)


@pytest.mark.parametrize('gap, drop, holding, met', [
    (1.0, 0.0, False, False),   # nothing forgotten yet: go on
    (1.0, 9.0, False, False),   # the rest suffers, but forgetting goes first
    (-1.0, 0.3, True, False),   # forgotten, but the rest lost too much: let it recover
    (-1.0, 0.2, False, True),   # both: stop
])
def test_forgetting_rests_while_the_budget_is_exceeded(gap, drop, holding, met):
    rule = observed(StopRule(retain_budget=0.2, window=1), (gap, drop))
    assert rule.holding is holding and rule.met(1) is met


def test_without_a_budget_nothing_is_held():
    rule = observed(StopRule(window=1), (-1.0,))
    assert not rule.holding and rule.met(1)


def test_a_score_that_is_no_number_never_stops():
    assert not observed(StopRule(window=2), (-1.0,), (float('nan'),)).met(1)


def test_state_replaces_the_window_and_is_made_of_plain_numbers():
    rule = observed(StopRule(retain_budget=1.0, window=3), (np.float64(1.0), np.float64(0.5)), (2.0, 0.1))
    state = rule.state_dict()
    assert state == {'gaps': [1.0, 2.0], 'drops': [0.5, 0.1], 'start': None}
    assert all(type(value) is float for values in (state['gaps'], state['drops']) for value in values)  # as torch reads
    rule.load_state_dict(state)
    assert rule.state_dict() == state
    other = observed(StopRule(retain_budget=1.0, window=1), (7.0, 7.0))
    other.load_state_dict(state)
    assert other.gap == 2.0 and other.drop == 0.1


@pytest.mark.parametrize(('start', 'met'), [(None, True), (5.0, True), (0.0, False), (-0.5, False)])
def test_where_the_original_is_below_the_reference_the_rule_is_never_met(start, met):
    rule = StopRule(window=1)
    rule.start = start
    assert observed(rule, (-1.0,)).met(1) is met and not rule.holding
    again = StopRule(window=1)
    again.load_state_dict(rule.state_dict())
    assert again.met(1) is met


def test_what_is_left_of_the_way():
    rule = StopRule(margin=1.0, window=2)
    assert rule.left == 1
    for gap in (9.0, 8.0):
        rule.observe(gap)
    assert rule.left == 1  # the original is not known
    rule.start = 9.0
    assert rule.left == pytest.approx(7.5 / 8)
    for gap in (4.0, 2.0):
        rule.observe(gap)
    assert rule.left == pytest.approx(2 / 8)
    for gap in (0.0, 0.0):
        rule.observe(gap)
    assert rule.left == 0
    rule.start = 0.5  # nothing to go
    assert rule.left == 1
