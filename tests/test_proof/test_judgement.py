"""What scores say, on scores whose verdict is known."""
import pytest

from basicsr_unlearn.core.judgement import (
    false_references,
    forget_gap,
    gap_to,
    has_skill,
    is_reference,
    judge_forgetting,
    judge_keeping,
    references,
    retain_loss,
)
from basicsr_unlearn.core.yardstick import Yardstick

LPIPS = Yardstick('LPIPS', '', higher=False)


@pytest.mark.parametrize(('scores', 'state'), [
    ({'identity': 11.0, 'original': 20.0, 'unlearned': 11.1, 'retrained': 11.2}, 'forgotten'),
    ({'identity': 11.0, 'original': 20.0, 'unlearned': 11.1}, 'forgotten'),
    ({'identity': 11.0, 'original': 20.0, 'unlearned': 10.6, 'retrained': 11.2}, 'over-forgotten'),
    ({'identity': 11.0, 'original': 20.0, 'unlearned': 15.0, 'retrained': 11.2}, 'partly forgotten'),
    ({'identity': 11.0, 'original': 20.0, 'unlearned': 19.9, 'retrained': 11.2}, 'not forgotten'),
    ({'identity': 11.0, 'original': 20.0, 'unlearned': 21.0, 'retrained': 11.2}, 'not forgotten'),
    # the original never had the skill: measured with SRVGGNetCompact x4 on noisy pictures, and with NAFNet on PolyU
    ({'identity': 21.81, 'original': 21.33, 'unlearned': 21.83}, 'cannot be judged'),
    ({'identity': 37.94, 'original': 19.94, 'unlearned': 30.0}, 'cannot be judged'),
    ({'identity': 11.0, 'original': 11.9, 'unlearned': 11.0}, 'cannot be judged'),  # by less than the margin
])
def test_state(scores, state):
    assert judge_forgetting('haze', scores).state == state


@pytest.mark.parametrize('value, gap', [(10.9, 0), (11.1, 0), (11.0, 0), (12.1, 1), (9.9, -1)])
def test_gap_is_measured_from_the_range(value, gap):
    assert gap_to(value, [11.1, 10.9, 11.0]) == pytest.approx(gap)
    assert gap_to(value, [11.1, 10.9, 11.0], LPIPS) == pytest.approx(-gap)


def test_a_rise_is_never_forgotten():
    for unlearned in (20.0, 20.1, 35.0):
        for retrained in (11.0, 18.9):
            found = judge_forgetting('haze', {'identity': 11.0, 'original': 20.0, 'unlearned': unlearned,
                                              'retrained': retrained})
            assert found.state == 'not forgotten'


def test_a_network_that_restores_like_the_original_is_no_reference():
    scores = {'identity': 20.3, 'original': 27.8, 'unlearned': 20.4, 'retrained': 27.5, 'retrained 2': 20.0}
    assert false_references(scores) == ['retrained']
    assert references(scores) == ['retrained 2']
    assert judge_forgetting('rain', scores).against == ('retrained 2',)
    assert references({**scores, 'retrained 2': 29.0}) == ['identity']
    assert forget_gap({**scores, 'retrained 2': 29.0}) == pytest.approx(0.1)


def test_gap_is_outside_the_range():
    scores = {'identity': 11.0, 'original': 20.0, 'unlearned': 11.5, 'retrained 1': 11.2, 'retrained 2': 11.6}
    assert forget_gap(scores) == 0
    assert forget_gap({**scores, 'unlearned': 11.0}) == pytest.approx(-0.2)
    assert forget_gap({**scores, 'unlearned': 12.0}) == pytest.approx(0.4)
    assert retain_loss({'original': 30.0, 'unlearned': 29.0}) == 1


def test_a_metric_of_which_less_is_better():
    scores = {'identity': 0.6, 'original': 0.2, 'unlearned': 0.59, 'retrained': 0.6}
    assert judge_forgetting('haze', scores, LPIPS).state == 'forgotten'
    assert judge_forgetting('haze', {**scores, 'unlearned': 0.4}, LPIPS).state == 'partly forgotten'
    assert forget_gap({**scores, 'unlearned': 0.4}, LPIPS) == pytest.approx(0.2)
    assert judge_forgetting('haze', {**scores, 'unlearned': 0.7}, LPIPS).state == 'over-forgotten'
    assert judge_forgetting('haze', {**scores, 'unlearned': 0.1}, LPIPS).state == 'not forgotten'
    assert judge_forgetting('haze', {**scores, 'identity': 0.2}, LPIPS).state == 'cannot be judged'
    assert judge_keeping({'identity': 0.6, 'original': 0.2, 'unlearned': 0.21}, LPIPS) == 'kept'
    assert judge_keeping({'identity': 0.6, 'original': 0.2, 'unlearned': 0.3}, LPIPS) == 'damaged'


@pytest.mark.parametrize(('loss', 'state'), [(-1.0, 'kept'), (0.1, 'kept'), (0.4, 'slightly worse'), (2.0, 'damaged')])
def test_keeping(loss, state):
    assert judge_keeping({'identity': 20.0, 'original': 30.0, 'unlearned': 30.0 - loss}) == state


def test_the_margin_is_an_option():
    narrow = Yardstick(margin=0.1)
    assert not has_skill(11.5, 11.0) and has_skill(11.5, 11.0, narrow)
    assert not is_reference(19.5, 20.0) and is_reference(19.5, 20.0, narrow)
    assert not has_skill(11.0, 11.0, Yardstick(margin=0.0)), 'no gain is no skill, whatever the margin'


def test_limits_may_be_given():
    scores = {'identity': 11.0, 'original': 20.0, 'unlearned': 11.5, 'retrained': 11.0}
    assert judge_forgetting('haze', scores).state == 'partly forgotten'
    assert judge_forgetting('haze', scores, tolerance=0.6).state == 'forgotten'
    assert judge_forgetting('haze', {**scores, 'unlearned': 10.2}, tolerance=0.6, margin=1.0).state == 'forgotten'
