"""The likely cause of a run that did not forget as it should: each must name the option that helps."""
import pytest

from basicsr_unlearn.proof.causes import RunFacts, likely_cause

HAZE = {'identity': 11.8, 'original': 20.0}
RAIN_TASK = {'identity': 20.0, 'original': 26.0, 'unlearned': 26.0}
NO_TASK = {'identity': 22.0, 'original': 16.5, 'unlearned': 21.0}  # a network for haze alone, shown rain


def cause(unlearned: float, **facts) -> str | None:
    facts = {'steps': 200, 'total_iter': 200, 'rate': 1e-4, 'last_rate': 1e-4, 'terms': ('forget', 'retain'),
             'held_to': 'teacher', 'retain': (RAIN_TASK,), **facts}
    return likely_cause(RunFacts({**HAZE, 'unlearned': unlearned}, **facts))


@pytest.mark.parametrize(('unlearned', 'facts', 'named'), [
    (19.9997, {}, ('too small', '1.0e-04', 'train.optim_g.lr: auto')),
    (19.9997, {'scaled': True}, ('too small', 'train.forget_step')),
    (19.9997, {'retain': ()}, ('too small', 'train.optim_g.lr: auto', 'train.retain_opt.target: gt')),
    # a network for haze alone under the published method: no rate moves it, held to the clean images it forgets
    (19.9997, {'retain': (NO_TASK,), 'terms': ('forget', 'adversarial')},
     ('single task', 'train.adversarial_opt.target: gt')),
    (15.5, {'retain': (NO_TASK,)}, ('single task', 'train.retain_opt.target: gt')),
    (15.5, {'retain': (NO_TASK,), 'terms': ('forget', 'adversarial')}, ('train.adversarial_opt.target: gt',)),
    (15.5, {}, ('train.retain_opt.loss_weight',)),
    (15.5, {'retain': (NO_TASK,), 'held_to': 'gt'}, ('train.retain_opt.loss_weight',)),
    (15.5, {'before': 16.2}, ('still falling', 'train.total_iter', '400')),
    (15.5, {'stop_rule_met': False, 'last_rate': 1e-6}, ('1.0e-06', 'train.scheduler', 'MultiStepLR')),
    (19.9, {'stop_rule_met': False, 'last_rate': 1e-6}, ('train.scheduler',)),
    (15.5, {'terms': ('retain',), 'forgets': False}, ('train.forget_opt',)),
    (15.5, {'terms': ('retain', 'adversarial')}, ('train.retain_opt.loss_weight',)),
    (15.5, {'terms': ('forget',), 'held_to': None}, ('too small', 'optim_g.lr')),
    (9.0, {'ascent': True}, ('train.stop_opt', 'bound: identity')),
    (9.0, {'ascent': True, 'stop_rule_met': True}, ('too fast', 'train.optim_g.lr', 'train.stop_opt.ease')),
    (9.0, {'ascent': True, 'stop_rule_met': True, 'scaled': True},
     ('too fast', 'train.forget_step', 'train.stop_opt.ease')),
])
def test_one_sentence_names_what_to_set(unlearned, facts, named):
    found = cause(unlearned, **facts)
    assert [word for word in named if word not in found] == []
    assert found[0].isupper() and found.endswith('.') and '\n' not in found


@pytest.mark.parametrize(('unlearned', 'facts'), [
    (11.9, {}),                             # forgotten
    (9.0, {'ascent': False}),               # too far, by a target: nothing to say about a rate
    (9.0, {'before': 14.0}),
])
def test_nothing_is_said_where_nothing_is_known(unlearned, facts):
    assert cause(unlearned, **facts) is None


def test_nothing_is_said_where_there_was_no_skill():
    assert likely_cause(RunFacts({'identity': 21.8, 'original': 21.3, 'unlearned': 21.8})) is None


def test_a_score_that_has_come_to_rest_is_not_still_falling():
    assert 'total_iter' not in cause(15.5, before=15.6)
