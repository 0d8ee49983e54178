"""Phases, the dual weight and reconciled gradients: what each iteration minimises, and that a resume goes on with it.
"""
import pytest
import torch

from basicsr_unlearn.core.dual import DualWeight
from basicsr_unlearn.core.gradients import reconcile
from basicsr_unlearn.core.objective import Objective
from basicsr_unlearn.models.unlearn_model import UnlearnModel

# isort: split
from basicsr.utils.registry import ARCH_REGISTRY

LATEST = 'experiments/tiny/models/net_g_latest.pth'
ASCENT = {'train.forget_opt': {'type': 'GradientAscentLoss', 'bound': 'none'}}
ONE_SGD_STEP = {'train.total_iter': 1, 'train.optim_g': {'type': 'SGD', 'lr': 0.5}, 'val': None}
TURNS = [{'terms': ['forget'], 'iters': 1}, {'terms': ['retain', 'adversarial'], 'iters': 2}]
ADVERSARIAL = {'type': 'AdversarialRetainLoss', 'target': 'teacher', 'attack': {'type': 'pgd', 'steps': 1}}
CARRIED = {'type': 'AdversarialRetainLoss', 'target': 'gt', 'attack': {'type': 'carried', 'eps': 0.02}}
DUAL = {'retain_budget': 0.01, 'step_size': 2.0, 'start': 3.0, 'maximum': 50.0}


@pytest.fixture
def steps(monkeypatch) -> list[dict]:
    """What each iteration of the models that train from now on has logged, with its batch and its weights before."""
    seen, step = [], UnlearnModel.optimize_parameters

    def note(self, iteration):
        before = {name: p.detach().clone() for name, p in self.net_g.named_parameters()}
        step(self, iteration)
        seen.append({**self.log_dict, 'batch': self.batches, 'before': before, 'model': self})

    monkeypatch.setattr(UnlearnModel, 'optimize_parameters', note)
    return seen


def terms_of(steps: list[dict]) -> list[str]:
    """The terms in the log of each iteration, by their first letters."""
    return [''.join(sorted(key[2] for key in step if key.startswith('l_'))) for step in steps]


def gradients(net, batch, stream: str, sign: float) -> list[torch.Tensor]:
    """Of sign * L1 on one stream of a batch."""
    loss = sign * (net(batch[stream]['lq']) - batch[stream]['gt']).abs().mean()
    return list(torch.autograd.grad(loss, list(net.parameters())))


def flat(content, where: str = '') -> dict:
    """Whatever a file of torch.save holds, by its place."""
    if isinstance(content, (dict, list, tuple)):
        found = {f'{where}/': len(content)}
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            found.update(flat(value, f'{where}/{key}'))
        return found
    return {where: content.tolist() if isinstance(content, torch.Tensor) else content}


def files() -> dict:
    """The last weights, and the state of iteration 6, in every bit."""
    return {name: flat(torch.load(f'experiments/tiny/{name}', weights_only=True))
            for name in ('models/net_g_latest.pth', 'training_states/6.state')}


# ---------------------------------------------------------------- phases

@pytest.mark.parametrize('phases, expected', [
    (TURNS, 'f ar ar f ar ar f'),
    ([{'terms': ['forget'], 'iters': 2}, {'terms': ['retain']}], 'f f r r r r r'),
    ([{'terms': ['forget', 'retain'], 'iters': 1}, {'terms': ['anchor', 'retain'], 'iters': 3}],
     'fr ar ar ar fr ar ar'),
])
def test_each_iteration_has_the_terms_of_its_phase(unlearn, steps, phases, expected):
    changes = {'train.adversarial_opt': ADVERSARIAL} if phases is TURNS else {'train.anchor_opt': {
        'type': 'SparsityAnchor'}}
    assert unlearn({**changes, 'train.phases': phases, 'train.total_iter': 7, 'val': None}) == 0
    assert ' '.join(terms_of(steps)) == expected


def test_a_phase_moves_the_weights_by_its_terms_alone(unlearn, steps, restoring_net, same, weights):
    phases = [{'terms': ['retain'], 'iters': 1}, {'terms': ['forget'], 'iters': 1}]
    assert unlearn({**ONE_SGD_STEP, **ASCENT, 'train.phases': phases, 'train.total_iter': 2}) == 0
    for step, stream, sign, after in ((steps[0], 'retain', 1, steps[1]['before']),
                                      (steps[1], 'forget', -1, weights(LATEST))):
        restoring_net.load_state_dict(step['before'])
        found = zip(step['before'], gradients(restoring_net, step['batch'], stream, sign))
        same(after, {name: step['before'][name] - 0.5 * g for name, g in found}, rtol=1e-4, atol=1e-6)
    restoring_net.load_state_dict(weights('../base.pth'))


def test_what_the_stop_rule_observes_is_scored_in_every_phase(unlearn, steps):
    """Also in those that do not train on the forget set, else the rule would wait for its window for good."""
    phases = [{'terms': ['forget'], 'iters': 1}, {'terms': ['retain']}]
    rule = {'forget_psnr': 1.0, 'window': 2, 'min_iter': 0}
    assert unlearn({'train.phases': phases, 'train.stop_opt': rule, 'val': None}) == 0
    assert all('psnr_forget' in step for step in steps) and len(steps) == 6


def test_the_gradient_cosine_is_measured_where_there_are_two_goals(unlearn, steps):
    """A phase that only forgets has none, and keeps the one before it."""
    phases = [{'terms': ['retain', 'forget'], 'iters': 1}, {'terms': ['forget'], 'iters': 1},
              {'terms': ['retain'], 'iters': 1}]
    assert unlearn({**ASCENT, 'train.phases': phases, 'train.conflict_freq': 1, 'val': None}) == 0
    cosines = [float(step['grad_cosine']) for step in steps]
    assert len(cosines) == 6 and cosines[0] == cosines[1] != cosines[2] and all(-1 <= c < -0.5 for c in cosines)


def test_a_phase_that_only_forgets_gives_its_turn_away_while_the_retain_set_recovers(unlearn, steps, monkeypatch):
    """The stop rule holds forgetting back from iteration 2 to 4."""
    phases = [{'terms': ['forget'], 'iters': 3}, {'terms': ['forget', 'retain']}]
    active = Objective.active
    monkeypatch.setattr(Objective, 'active', lambda self, iteration, _: active(self, iteration, 2 <= iteration <= 4))
    assert unlearn({**ASCENT, 'train.phases': phases, 'val': None}) == 0
    assert ' '.join(terms_of(steps)) == 'f r r r fr fr'


@pytest.mark.parametrize('phases, sentence', [
    ([{'terms': ['forget', 'adversarial']}], 'phase 1 has the term adversarial, but the objective has'),
    ([{'terms': ['forget']}, {'terms': ['retain']}], 'phase 1 has no iters'),
    ([{'terms': []}], 'phase 1 has no terms'),
    ([{'terms': ['forget'], 'iters': 0}], 'train.phases[0].iters'),
    ([{'iters': 2}], 'train.phases[0].terms is missing'),
])
def test_phases_that_cannot_be_are_one_sentence(unlearn, capsys, phases, sentence):
    assert unlearn({'train.phases': phases}) == 2
    err = capsys.readouterr().err
    assert err.startswith('Error: ') and err.count('\n') == 1 and sentence in err


# ---------------------------------------------------------------- the dual weight

def test_the_dual_weight_multiplies_the_retain_gradient(unlearn, steps, restoring_net, weights, same):
    assert unlearn({**ONE_SGD_STEP, **ASCENT, 'train.dual_opt': DUAL}) == 0
    batch, original = steps[0]['batch'], weights('../base.pth')
    both = zip(gradients(restoring_net, batch, 'forget', -1), gradients(restoring_net, batch, 'retain', 1))
    same(weights(LATEST), {name: original[name] - 0.5 * (f + 3.0 * r) for name, (f, r) in zip(original, both)},
         rtol=1e-4, atol=1e-6)


def test_the_dual_weight_follows_what_the_retain_batches_lose(unlearn, steps):
    """Iteration by iteration by the formula, from the scores in the log."""
    assert unlearn({**ASCENT, 'train.dual_opt': DUAL, 'train.optim_g.lr': 3e-3, 'train.retain_opt.loss_weight': 0.01,
                    'val': None}) == 0
    rule, values = DualWeight(**DUAL), []
    for step in steps:
        rule.observe(step['psnr_retain_original'] - step['psnr_retain'])
        values.append(float(step['dual_weight']))
        assert values[-1] == pytest.approx(rule.value, rel=1e-5)
    assert values[0] == pytest.approx(3.0 - 2.0 * 0.01)  # nothing is lost yet: down by the budget
    assert max(values) > 3.0


def test_no_dual_weight_without_its_option(unlearn, steps):
    assert unlearn({'train.total_iter': 1, 'val': None}) == 0
    assert 'dual_weight' not in steps[0] and 'psnr_retain_original' not in steps[0]


@pytest.mark.parametrize('changes, sentence', [
    ({'train.dual_opt': {'start': 5.0, 'maximum': 1.0}}, 'train.dual_opt: maximum: expected a number of at least 5'),
    ({'train.dual_opt': DUAL, 'train.retain_opt': None}, 'train.dual_opt weighs the retain terms'),
    ({'train.conflict_opt': {'project': True}, 'train.retain_opt': None}, 'train.conflict_opt needs a forget_opt'),
    ({'train.conflict_opt': {'max_ratio': 0}}, 'train.conflict_opt.max_ratio'),
    ({'train.conflict_opt': {'momentum': 1.0}}, 'train.conflict_opt.momentum'),
    ({'train.conflict_opt': {'mask': True}, 'train.retain_opt.target': 'teacher'}, 'write train.retain_opt.target: gt'),
    ({'train.adversarial_opt': {'type': 'RelearningResistanceLoss', 'target': 'proxy'}},
     'train.adversarial_opt.target is proxy, but there is no such network'),
    ({'train.adversarial_opt': {'type': 'RelearningResistanceLoss', 'lr': [1e-3]}}, 'train.adversarial_opt'),
    ({'train.adversarial_opt': {'type': 'RelearningResistanceLoss', 'lr': [1e-3, -1]}}, 'train.adversarial_opt.lr'),
])
def test_weights_that_cannot_be_are_one_sentence(unlearn, capsys, changes, sentence):
    assert unlearn(changes) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith('Error: ') and sentence in last


# ---------------------------------------------------------------- reconciled gradients

@pytest.mark.parametrize('conflict', [{'project': True}, {'project': False, 'max_ratio': 0.25},
                                      {'project': True, 'max_ratio': 0.01}, {'project': False}])
def test_one_step_is_along_the_reconciled_gradient(unlearn, steps, restoring_net, weights, same, conflict):
    assert unlearn({**ONE_SGD_STEP, **ASCENT, 'train.conflict_opt': conflict}) == 0
    batch, original = steps[0]['batch'], weights('../base.pth')
    forget, retain = (gradients(restoring_net, batch, *of) for of in (('forget', -1), ('retain', 1)))
    assert sum((f * r).sum() for f, r in zip(forget, retain)) < 0  # they do conflict
    found = reconcile(forget, retain, **conflict)
    same(weights(LATEST), {name: original[name] - 0.5 * g for name, g in zip(original, found)}, rtol=1e-4, atol=1e-6)
    plain = torch.cat([(f + r).flatten() for f, r in zip(forget, retain)])
    assert torch.allclose(torch.cat([g.flatten() for g in found]), plain) == (conflict == {'project': False})


def test_the_rest_is_one_goal_with_the_dual_weight_in_it(unlearn, steps, restoring_net, weights, same):
    """The forget gradient is made orthogonal to 3 times the retain gradient, which is then added."""
    assert unlearn({**ONE_SGD_STEP, **ASCENT, 'train.dual_opt': DUAL, 'train.conflict_opt': {'project': True}}) == 0
    batch, original = steps[0]['batch'], weights('../base.pth')
    forget, retain = gradients(restoring_net, batch, 'forget', -1), gradients(restoring_net, batch, 'retain', 3)
    same(weights(LATEST), {name: original[name] - 0.5 * g for name, g in zip(original, reconcile(forget, retain))},
         rtol=1e-4, atol=1e-6)


@ARCH_REGISTRY.register()
class WithDeadWeights(torch.nn.Module):
    """A convolution, beside weights that the architecture does not use."""

    dead_parameters = ('dead',)

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.dead = torch.nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x + self.body(x)


@pytest.mark.parametrize('changes', [{}, {'train.conflict_opt': {'project': True}}, {'train.conflict_freq': 1}])
def test_dead_weights_rest_under_weight_decay(unlearn, folder, weights, changes):
    net = WithDeadWeights()
    torch.save({'params': net.state_dict()}, folder / 'base.pth')
    assert unlearn({**ASCENT, **changes, 'network_g': {'type': 'WithDeadWeights'}, 'val': None,
                    'train.optim_g': {'type': 'AdamW', 'lr': 1e-3, 'weight_decay': 0.5}}) == 0
    assert torch.equal(weights(LATEST)['dead'], net.dead) and not torch.equal(weights(LATEST)['body.weight'],
                                                                              net.body.weight)


# ---------------------------------------------------------------- resuming

@pytest.mark.parametrize('changes', [
    pytest.param({'train.phases': TURNS, 'train.adversarial_opt': ADVERSARIAL}, id='phases'),
    pytest.param({'train.dual_opt': DUAL, 'train.retain_opt.target': 'teacher'}, id='dual'),
    pytest.param({'train.conflict_opt': {'project': True, 'max_ratio': 1.0}, 'train.adversarial_opt': ADVERSARIAL},
                 id='conflict'),
    pytest.param({'train.conflict_opt': {'project': False, 'mask': True, 'norm': 0.5}}, id='mask'),
    pytest.param({'train.conflict_opt': {'project': True, 'max_ratio': 1.0}, 'train.adversarial_opt': CARRIED,
                  'train.dual_opt': DUAL, 'train.phases': [{'terms': ['forget', 'retain', 'adversarial'], 'iters': 2},
                                                           {'terms': ['adversarial'], 'iters': 1}],
                  'train.conflict_freq': 2}, id='all'),
])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(unlearn, killed, enter, changes):
    """Killed just after the state of iteration 3 is written, in the midst of a cycle of phases."""
    changes = {**ASCENT, **changes, 'train.total_iter': 7, 'logger.save_checkpoint_freq': 3, 'val': None,
               'train.optim_g.lr': 2e-3, 'datasets.train.epoch_length': 8}
    enter('whole')
    assert unlearn(changes) == 0
    expected = files()
    enter('resumed')
    killed(changes, [], '3.state', 'after')
    state = torch.load('experiments/tiny/training_states/3.state', weights_only=True)['unlearning']
    assert (state['dual_weight'] is not None) == ('train.dual_opt' in changes)
    assert unlearn(changes, '--auto_resume') == 0
    assert files() == expected
