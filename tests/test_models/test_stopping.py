"""Runs that stop by themselves: in every way to load data, in our entry point and in BasicSR's own loop."""
import gc
import multiprocessing
import sys
from pathlib import Path

import pytest
import torch

from basicsr_unlearn.core.building import OPTIMIZERS
from basicsr_unlearn.core.observer import Observer
from basicsr_unlearn.core.stop_rule import StopRule
from basicsr_unlearn.models.stopping import rate_left
from basicsr_unlearn.models.unlearn_model import UnlearnModel

LATEST = Path('experiments/tiny/models/net_g_latest.pth')
# the PSNR on the forget set falls from 32 dB by some 3 dB a step
STOPPING = {'train.total_iter': 200, 'train.optim_g.lr': 5e-3, 'train.retain_opt': None, 'logger.use_tb_logger': True,
            'train.stop_opt': {'forget_psnr': 'identity', 'margin': 8.0, 'window': 2}, 'logger.save_checkpoint_freq': 6}
LOADING = [
    {'datasets.train.num_worker_per_gpu': 0},
    {'datasets.train.num_worker_per_gpu': 0, 'datasets.train.prefetch_mode': 'cpu'},
    {'datasets.train.num_worker_per_gpu': 2, 'datasets.train.epoch_length': 200},
    {'datasets.train.num_worker_per_gpu': 2, 'datasets.train.persistent_workers': True,
     'datasets.train.epoch_length': 200},
]


def stopped_at(text: str) -> int:
    assert text.count('Stop rule met at iteration ') == 1
    return int(text.partition('Stop rule met at iteration ')[2].partition(':')[0])


def assert_ended_well(text: str) -> None:
    """The lines of BasicSR's own end, in their order, and nothing after."""
    ends = [text.index(part) for part in ('Stop rule met', 'End of training', 'Save the latest model')]
    assert ends == sorted(ends)
    assert text.index('Validation haze', ends[-1]) < text.index('Validation rain', ends[-1])


@pytest.fixture
def expected(unlearn, weights, log):
    """(iteration, weights) of a stop: the weights are those of a run of so many iterations without a rule."""
    def measure(changes: dict) -> tuple[int, dict]:
        assert unlearn(changes) == 0
        iteration, stopped = stopped_at(log()), weights(LATEST)
        assert 2 < iteration < 20
        assert unlearn({**changes, 'train.stop_opt': None, 'train.total_iter': iteration}) == 0
        assert all(torch.equal(stopped[name], value) for name, value in weights(LATEST).items())
        return iteration, stopped
    return measure


@pytest.mark.parametrize('loading', LOADING)
def test_our_entry_point_stops_and_ends_as_always(unlearn, expected, log, events, weights, same, written, loading):
    changes = {**STOPPING, **loading}
    iteration, stopped = expected(changes)
    assert unlearn(changes) == 0
    assert_ended_well(log())
    same(weights(LATEST), stopped)
    # batches fetched ahead are neither trained on nor saved as if they had been, and the last scores carry their step
    assert written('models') == [f'net_g_{i}.pth' for i in range(6, iteration + 1, 6)] + ['net_g_latest.pth']
    scalars = events()
    assert scalars['forget/haze/psnr'][-1][0] == iteration == scalars['losses/l_forget'][-1][0]


@pytest.mark.parametrize('loading', LOADING)
def test_the_loop_of_basicsr_stops_likewise(option_file, expected, enter, log, weights, same, monkeypatch,
                                            fresh_loggers, loading):
    """`basicsr.train` as installed, in which nothing of ours is at work but the plugin tag."""
    import basicsr.train as pipeline
    changes = {**STOPPING, **loading}
    iteration, stopped = expected(changes)
    stock = enter('stock')
    monkeypatch.setattr(sys, 'argv', ['train.py', '-opt', option_file(changes)])
    assert pipeline.train_pipeline(str(stock)) is None  # returns, so exit code 0
    assert_ended_well(log())
    assert stopped_at(log()) == iteration
    same(weights(LATEST), stopped)


def test_the_workers_of_the_remaining_epochs_are_gone_with_them(unlearn, log):
    """At once: left to the garbage collector, each pair lives until then, and ending it takes seconds."""
    gc.collect()
    gc.disable()
    try:
        assert unlearn({**STOPPING, 'train.total_iter': 40, 'datasets.train.num_worker_per_gpu': 2}) == 0
        assert stopped_at(log()) < 10  # of 8 epochs the second has begun
        assert multiprocessing.active_children() == []
    finally:
        gc.enable()


def test_a_stored_score_is_a_reference(unlearn, log, built):
    """27 dB instead of the 14 of the identity are reached sooner."""
    assert unlearn({**STOPPING, 'train.stop_opt': {'forget_psnr': 27.0, 'window': 1}}) == 0
    sooner = stopped_at(log())
    psnr = built[0].unlearner.stop_rule.gap + 27
    assert psnr <= 27 and 'from its reference (27.0, margin 0.0 dB)' in log()
    assert unlearn({**STOPPING, 'train.stop_opt': {'forget_psnr': 20.0, 'window': 1}}) == 0
    assert sooner < stopped_at(log())


def test_validation_sets_can_decide(unlearn, log, events):
    """Stops after the first validation that is at most 2 dB above the retrained network, which is at 20."""
    assert unlearn({**STOPPING, 'val.val_freq': 2, 'logger.use_tb_logger': True, 'train.stop_opt': {
        'check': 'val', 'forget_psnr': 24.0, 'margin': 2.0}}) == 0
    points = dict(events()['forget/haze/psnr'])
    met = [step for step, psnr in sorted(points.items()) if psnr <= 26.0]
    assert stopped_at(log()) == met[0] == max(points)
    assert met[0] % 2 == 0


def test_a_retrained_network_is_a_reference(unlearn, log, events, folder, built, weights):
    retrained = dict(weights('../base.pth'))
    retrained['ending.bias'] = retrained['ending.bias'] - 0.08
    torch.save({'params': retrained}, folder / 'retrained.pth')
    assert unlearn({**STOPPING, 'val.val_freq': 1, 'path.pretrain_network_retrained': str(folder / 'retrained.pth'),
                    'train.stop_opt': {'check': 'val', 'forget_psnr': 'retrained', 'margin': 0.5}}) == 0
    reference = built[0].tracking.references['haze']['retrained']['psnr']
    assert reference == pytest.approx(-20 * torch.tensor(0.08).log10().item(), abs=1)
    met = [step for step, psnr in events()['forget/haze/psnr'] if psnr <= reference + 0.5]
    assert stopped_at(log()) == met[0]


def test_nothing_is_stopped_before_min_iter(unlearn, log):
    assert unlearn({**STOPPING, 'train.stop_opt': {'margin': 99.0, 'window': 1, 'min_iter': 9}}) == 0
    assert stopped_at(log()) == 9


def test_a_rule_that_is_met_by_the_last_iteration_or_never_is_told_so(unlearn, log):
    assert unlearn({**STOPPING, 'train.total_iter': 3, 'train.stop_opt': {'margin': 99.0, 'window': 3}}) == 0
    assert stopped_at(log()) == 3
    assert unlearn({**STOPPING, 'train.total_iter': 2, 'train.stop_opt': {'margin': 1.0, 'window': 1}}) == 0
    assert 'The stop rule was not met in 2 iterations: forget PSNR is +' in log()
    assert unlearn({**STOPPING, 'train.total_iter': 2, 'train.stop_opt': {'margin': 99.0, 'window': 3}}) == 0
    assert 'was never measured over a whole window' in log()


def test_steps_shorten_as_the_way_does(unlearn, built, weights, same):
    """Every weight moves by at most the share of the rate that is left; the schedule's own rate stays as it is."""
    moves = []

    class Noted(torch.optim.Adam):
        def step(self, closure=None):
            moves.append((self.param_groups[0]['lr'], built[-1].unlearner.stop_rule.left))
            return super().step(closure)

    changes = {**STOPPING, 'train.optim_g.lr': 2e-3, 'train.stop_opt': {'window': 2, 'ease': 0.25}}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(OPTIMIZERS, 'Adam', Noted)
        assert unlearn(changes) == 0
    rates, left = zip(*moves)
    assert rates == tuple(2e-3 * max(0.25, share) for share in left)
    assert left[0] == left[1] == 1 and any(0.25 < share < 1 for share in left) and min(left) < 0.25
    assert built[-1].get_current_learning_rate() == [2e-3] and built[-1].stopped


def test_shorter_steps_end_nearer_to_the_reference(unlearn, built):
    ends = []
    for ease in (1.0, 0.1):
        assert unlearn({**STOPPING, 'train.optim_g.lr': 1e-3, 'train.stop_opt': {'window': 5, 'ease': ease}}) == 0
        assert built[-1].stopped
        tracking = built[-1].tracking
        ends.append(tracking.history['haze'][-1][1]['psnr'] - tracking.references['haze']['identity']['psnr'])
    assert abs(ends[1]) < 0.5 * abs(ends[0])


def test_a_resumed_run_shortens_its_steps_likewise(unlearn, weights, same):
    changes = {**STOPPING, 'train.total_iter': 9, 'train.stop_opt': {'window': 2, 'ease': 0.25},
               'logger.save_checkpoint_freq': 5}
    assert unlearn(changes) == 0
    whole = weights(LATEST)
    LATEST.unlink()
    assert unlearn(changes, '--auto_resume') == 0
    same(weights(LATEST), whole)


COSINE = {'type': 'CosineAnnealingRestartLR', 'eta_min': 0.0}


@pytest.mark.parametrize(('scheduler', 'total_iter'), [
    ({'type': 'MultiStepLR', 'milestones': [4, 7], 'gamma': 0.5}, 8),
    ({'type': 'MultiStepLR', 'milestones': [8], 'gamma': 0.5}, 8),
    ({**COSINE, 'periods': [8], 'restart_weights': [1]}, 8),
    ({**COSINE, 'periods': [20], 'restart_weights': [1]}, 8),
    ({**COSINE, 'periods': [5, 6], 'restart_weights': [1, 0.5]}, 9),
])
def test_what_a_schedule_leaves_is_the_rate_of_the_last_step(unlearn, built, scheduler, total_iter):
    assert unlearn({'train.scheduler': scheduler, 'train.total_iter': total_iter, 'val': None,
                    'train.optim_g.lr': 1e-3}) == 0
    assert rate_left(scheduler, total_iter) * 1e-3 == pytest.approx(built[0].get_current_learning_rate()[0])


@pytest.mark.parametrize(('period', 'warned'), [(8, True), (100, False)])
def test_a_rule_with_a_rate_that_dies_is_warned_of(unlearn, log, period, warned):
    cosine = {**COSINE, 'periods': [period], 'restart_weights': [1]}
    assert unlearn({**STOPPING, 'train.scheduler': cosine, 'train.total_iter': 8}) == 0
    assert ('train.scheduler takes the rate' in log()) == warned
    assert unlearn({**STOPPING, 'train.scheduler': cosine, 'train.total_iter': 8, 'train.stop_opt': None}) == 0
    assert 'train.scheduler takes' not in log()


def test_no_rule_says_nothing(unlearn, log):
    assert unlearn() == 0
    assert 'top rule' not in log()


# ---------------------------------------------------------------- the budget of the retain set

def test_while_held_the_forget_term_is_out_of_the_update(unlearn, weights, same, monkeypatch):
    """Held from the start, the run equals one that has no forget term; what the rule observes is still logged."""
    assert unlearn({'train.forget_opt': None}) == 0
    without = weights(LATEST)
    monkeypatch.setattr(StopRule, 'holding', True)
    logs, step = [], UnlearnModel.optimize_parameters
    monkeypatch.setattr(UnlearnModel, 'optimize_parameters',
                        lambda self, iteration: step(self, iteration) or logs.append(self.log_dict))
    assert unlearn({'train.stop_opt': {'min_iter': 100}}) == 0
    same(weights(LATEST), without)
    assert all(entry['l_forget'] > 0 for entry in logs)


def test_forgetting_rests_exactly_while_the_budget_is_exceeded(unlearn, monkeypatch, log):
    """Forgotten from the start (margin 99), so the retain loss alone decides, as the model measures it."""
    seen, observe = [], Observer.observe

    def spy(self, scores):
        held = self.stop_rule.holding
        observe(self, scores)
        seen.append((held, float(scores['psnr_retain_original'] - scores['psnr_retain'])))

    monkeypatch.setattr(Observer, 'observe', spy)
    assert unlearn({'train.total_iter': 14, 'train.forget_opt': {'type': 'GradientAscentLoss', 'loss_weight': 3.0},
                    'train.optim_g': {'type': 'SGD', 'lr': 0.02},
                    'train.stop_opt': {'margin': 99.0, 'retain_budget': 0.3, 'window': 1, 'min_iter': 100}}) == 0
    assert [held for held, _ in seen[1:]] == [drop > 0.3 for _, drop in seen[:-1]]
    assert {held for held, _ in seen} == {True, False}
    while_held = [after - before for (_, before), (held, after) in zip(seen[1:], seen[2:]) if held]
    assert min(while_held) < 0  # the retain set recovers


def test_the_worst_retain_set_counts(unlearn, folder, built):
    """Of two retain sets in validation, one of which has images that the original cannot restore."""
    hard = {'name': 'hard', 'type': 'PairedRestorationDataset', 'dataroot_lq': str(folder / 'haze/gt'),
            'dataroot_gt': str(folder / 'haze/lq'), 'role': 'retain'}
    assert unlearn({'train.total_iter': 4, 'val.val_freq': 4, 'datasets.val_hard': hard, 'train.stop_opt': {
        'check': 'val', 'retain_budget': 0.1, 'margin': 99.0, 'min_iter': 50}}) == 0
    model = built[0]
    psnr = {name: model.tracking.references[name]['original']['psnr'] for name in ('rain', 'hard')}
    assert psnr['hard'] < 10 < psnr['rain']
    results = {'haze': {'psnr': 20.0}, 'rain': {'psnr': psnr['rain'] - 2.0}, 'hard': {'psnr': psnr['hard'] - 0.5}}
    model.stopping.observe_round(results)
    assert model.unlearner.stop_rule.drop == pytest.approx(2.0)
    results['hard']['psnr'] -= 4
    model.stopping.observe_round(results)
    assert model.unlearner.stop_rule.drop == pytest.approx(4.5)


@pytest.mark.parametrize('changes, sentence', [
    ({'train.stop_opt': {'check': 'val', 'retain_budget': 1.0}, 'train.retain_opt': None}, 'retain_budget needs'),
    ({'train.stop_opt': {'check': 'val'}, 'val.metrics': {'ssim': {'type': 'calculate_ssim', 'crop_border': 0}}},
     'calculate_psnr'),
    ({'train.stop_opt': {'check': 'val'}, 'datasets.val_haze.role': 'retain'}, 'role: forget'),
    ({'train.stop_opt': {'forget_psnr': 'retrained', 'check': 'val'}}, 'path.pretrain_network_retrained'),
])
def test_a_rule_that_cannot_be_checked_is_refused(unlearn, capsys, changes, sentence):
    assert unlearn(changes) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith('Error: ') and sentence in err


@pytest.mark.parametrize('rule', [{'window': 2}, {'window': 1, 'check': 'val'}, {'window': 1, 'forget_psnr': 99.0}])
def test_a_rule_that_the_original_meets_does_not_end_the_run(unlearn, log, folder, weights, rule):
    """The original darkens further what is dark: below the untouched input from the start."""
    worse = dict(weights(folder / 'base.pth'))
    worse['ending.bias'] = -worse['ending.bias']
    torch.save({'params': worse}, folder / 'base.pth')
    assert unlearn({'train.stop_opt': rule, 'train.skill_opt': {'required': False}, 'val.val_freq': 1}) == 0
    assert 'Stop rule met' not in log() and log().count('The stop rule is left out') == 1
    assert weights(LATEST) and '6 iterations' not in log()
