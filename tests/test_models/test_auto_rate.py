"""A rate fitted to the network, in runs: set once before the first step, in the optimizer and in the schedule."""
import math
import shutil

import pytest
import torch

from basicsr_unlearn.core.rate import fitted_rate
from basicsr_unlearn.models.first_batches import first_batches

LATEST = 'experiments/tiny/models/net_g_latest.pth'
AUTO = {'train.optim_g.lr': 'auto', 'train.forget_step': 0.04, 'train.evidence_batches': 2, 'val': None,
        'datasets.train.epoch_length': 8}


def expected(model, step: float) -> float:
    batches = first_batches(model.opt, model.unlearner.preparation.batches)['forget']
    return fitted_rate(model.unlearner.teacher.requires_grad_(True), batches, step)


@pytest.mark.parametrize('step', [None, 0.01])
def test_the_rate_is_that_of_the_original_on_the_first_draws(unlearn, built, log, step):
    assert unlearn({**AUTO, 'train.forget_step': step, 'train.total_iter': 1}) == 0
    model, = built
    rate = model.get_current_learning_rate()[0]
    assert rate == pytest.approx(expected(model, step or 0.15), rel=1e-6)
    assert model.optimizer_g.param_groups[0]['initial_lr'] == rate
    assert f'{rate:.3g}' in log()


def test_the_schedule_and_the_warm_up_follow_the_rate(unlearn, built):
    """A step of Adam in which all gradients keep their sign is the rate: that of the schedule at this iteration."""
    cosine = {'type': 'CosineAnnealingRestartLR', 'periods': [6], 'restart_weights': [1], 'eta_min': 0.0}
    assert unlearn({**AUTO, 'train.scheduler': cosine, 'train.total_iter': 4}) == 0
    assert unlearn({**AUTO, 'train.warmup_iter': 8, 'train.total_iter': 4}) == 0
    falling, rising = built
    rate = expected(falling, 0.04)
    assert falling.get_current_learning_rate()[0] == pytest.approx(rate * (1 + math.cos(math.pi * 3 / 6)) / 2)
    assert rising.get_current_learning_rate()[0] == pytest.approx(rate * 4 / 8)


@pytest.mark.parametrize('warmup', [-1, 6])
def test_a_resumed_run_equals_the_uninterrupted_one(unlearn, built, weights, same, warmup):
    changes = {**AUTO, 'train.warmup_iter': warmup, 'logger.save_checkpoint_freq': 3, 'train.total_iter': 8,
               'train.scheduler': {'type': 'MultiStepLR', 'milestones': [5], 'gamma': 0.5}}
    assert unlearn(changes) == 0
    whole = weights(LATEST)
    for name in ('models/net_g_latest.pth', 'models/net_g_6.pth', 'training_states/6.state'):
        shutil.os.remove(f'experiments/tiny/{name}')
    assert unlearn(changes, '--auto_resume') == 0
    same(weights(LATEST), whole)
    first, second = (model.optimizer_g.param_groups[0] for model in built)
    assert first['lr'] == second['lr'] and first['initial_lr'] == second['initial_lr']


def test_a_resumed_run_with_another_schedule_keeps_the_rate(unlearn, built):
    schedule = {'type': 'MultiStepLR', 'milestones': [2], 'gamma': 0.5}
    assert unlearn({**AUTO, 'logger.save_checkpoint_freq': 3, 'train.total_iter': 4}) == 0
    assert unlearn({**AUTO, 'path.resume_changed': True, 'train.total_iter': 6, 'train.scheduler': schedule},
                   '--auto_resume') == 0
    first, resumed = built
    assert resumed.iteration == 6
    assert resumed.get_current_learning_rate()[0] == pytest.approx(first.get_current_learning_rate()[0] / 2)


def test_weights_that_a_mask_holds_do_not_count(unlearn, built):
    assert unlearn({**AUTO, 'train.total_iter': 1}) == 0
    assert unlearn({**AUTO, 'train.total_iter': 1, 'train.mask_opt': {'type': 'SaliencyMask', 'share': 0.01}}) == 0
    free, masked = (model.get_current_learning_rate()[0] for model in built)
    assert masked > 2 * free


def test_it_is_one_rate_after_an_edit(unlearn, built):
    """Of the network that the first step starts from."""
    edit = {'type': 'WeightNoise', 'std': 0.05, 'convs_only': False}
    assert unlearn({**AUTO, 'train.total_iter': 1}) == 0
    assert unlearn({**AUTO, 'train.total_iter': 1, 'train.edit_opt': edit}) == 0
    whole, edited = (model.get_current_learning_rate()[0] for model in built)
    assert edited != pytest.approx(whole, rel=1e-3)


@pytest.mark.parametrize(('changes', 'named'), [
    ({'train.forget_opt': None}, ('optim_g.lr', 'forget_opt')),
    ({'train.optim_g.type': 'SGD'}, ('optim_g.lr', 'SGD', 'Adam')),
    ({'train.optim_g.lr': 'automatic'}, ('optim_g.lr', 'auto')),
    ({'train.forget_step': 0}, ('forget_step',)),
])
def test_what_cannot_be_is_one_sentence(unlearn, capsys, changes, named):
    assert unlearn({**AUTO, **changes}) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('Error: ') and [word for word in named if word not in error] == []


def test_a_network_without_the_skill_has_no_rate(unlearn, capsys, folder, restoring_net):
    """Twice as bright instead of SHIFT: worse than the input. The check before the run is overridden."""
    weights = {name: value.clone() for name, value in restoring_net.state_dict().items()}
    weights['ending.bias'].fill_(-0.5)
    torch.save({'params': weights}, folder / 'base.pth')
    assert unlearn(AUTO) == 2
    assert 'optim_g.lr' in capsys.readouterr().err
