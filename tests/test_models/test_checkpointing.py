"""Checkpoints in every container, files that BasicSR loads, and resuming in every bit."""
from pathlib import Path

import pytest
import torch
from equality import assert_same

from basicsr_unlearn import train

# isort: split
from basicsr.models.sr_model import SRModel

MODELS, STATES = Path('experiments/tiny/models'), Path('experiments/tiny/training_states')
LATEST = MODELS / 'net_g_latest.pth'


# ---------------------------------------------------------------- reading and writing

def prefixed(prefix: str, weights: dict) -> dict:
    return {prefix + name: value for name, value in weights.items()}


@pytest.mark.parametrize('container, key', [
    (lambda w: {'params': w}, 'params'),
    (lambda w: {'params': {name: 0 * value for name, value in w.items()}, 'params_ema': w}, 'params_ema'),
    (lambda w: {'params_ema': w}, None),
    (lambda w: {'state_dict': prefixed('net.', w), 'epoch': 3}, None),
    (lambda w: {'state_dict': prefixed('module.', w)}, 'state_dict'),
    (lambda w: prefixed('_orig_mod.', w), None),
    (lambda w: w, None),
    (lambda w: {'model': w, 'optimizer': torch.optim.Adam([torch.zeros(1)]).state_dict(), 'step': 9}, None),
])
def test_any_container_is_an_original(unlearn, folder, built, restoring_net, same, container, key):
    torch.save(container(restoring_net.state_dict()), folder / 'other.pth')
    changes = {'path.pretrain_network_g': str(folder / 'other.pth'), 'train.total_iter': 1}
    assert unlearn({**changes, 'path.param_key_g': key} if key else changes) == 0
    same(built[0].unlearner.teacher.state_dict(), restoring_net.state_dict())


def test_a_checkpoint_may_hold_more_than_the_network_but_never_less(unlearn, folder, built, restoring_net, same,
                                                                    capsys):
    original = restoring_net.state_dict()
    relaxed = {'path.strict_load_g': False, 'train.total_iter': 1}
    torch.save({'params': {**original, 'head.weight': torch.zeros(2)}}, folder / 'base.pth')
    assert unlearn({'train.total_iter': 1}) == 2 and 'head.weight' in capsys.readouterr().err
    assert unlearn(relaxed) == 0
    same(built[0].unlearner.teacher.state_dict(), original)
    del original['ending.bias']
    torch.save({'params': original}, folder / 'base.pth')
    assert unlearn(relaxed) == 2 and '1 missing (first ending.bias)' in capsys.readouterr().err


@pytest.mark.parametrize('changes', [{}, {'train.ema_decay': 0.5}, {'train.channels_last': True},
                                     {'path.param_key_g': 'params'}])
def test_basicsr_loads_what_is_written(unlearn, folder, weights, same, changes):
    """With SRModel's default options: key `params`, strict."""
    assert unlearn(changes) == 0
    model = SRModel({'num_gpu': 0, 'is_train': False, 'dist': False, 'path': {'pretrain_network_g': str(LATEST)},
                     'network_g': {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1], 'middle_blk_num': 1,
                                   'dec_blk_nums': [1]}})
    same(model.net_g.state_dict(), weights(LATEST))
    assert not torch.equal(model.net_g.ending.bias, weights('../base.pth')['ending.bias'])


# ---------------------------------------------------------------- resuming

WHOLE = {
    'train.total_iter': 11, 'logger.save_checkpoint_freq': 3, 'val.val_freq': 4,  # 5 iterations an epoch
    'train.optim_g': {'type': 'Adam', 'lr': 2e-3, 'betas': [0.9, 0.99]},
    'train.scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [11], 'eta_min': 1e-5},
    'train.warmup_iter': 2, 'train.ema_decay': 0.8, 'train.grad_clip': 0.5, 'train.conflict_freq': 2,
    'train.retain_opt.target': 'teacher',
    'train.adversarial_opt': {'type': 'AdversarialRetainLoss', 'attack': {'type': 'pgd', 'steps': 2,
                                                                          'random_start': True}},
    'train.stop_opt': {'forget_psnr': 'identity', 'margin': 18.0, 'retain_budget': 0.0, 'window': 5, 'min_iter': 100},
}


def mixed(folder: Path, changes: dict) -> dict:
    """With both data sets in each stream by a mix, and noise added to them."""
    def mix(name: str, seed: int) -> dict:
        return {'name': name, 'type': 'MixedDataset', 'seed': seed, 'sets': [
            {'name': f'{name}_pairs', 'type': 'PairedRestorationDataset', 'dataroot_lq': str(folder / name / 'lq'),
             'dataroot_gt': str(folder / name / 'gt'), 'ratio': 2},
            {'name': f'{name}_noise', 'type': 'DegradedImageDataset', 'dataroot_gt': str(folder / name / 'gt'),
             'degradations': [{'type': 'gaussian_noise', 'sigma': [0, 50]}]}]}
    return {**changes, 'datasets.train.forget': [mix('haze', 1)], 'datasets.train.retain': [mix('rain', 2)]}


def everything_in(folder: Path) -> dict:
    """Last weights and last training state."""
    state = max((folder / STATES).iterdir(), key=lambda path: int(path.stem))
    return {'latest': torch.load(folder / LATEST, weights_only=True), state.name: torch.load(state, weights_only=True)}


@pytest.mark.parametrize('workers', [0, 2])
def test_a_killed_run_goes_on_as_if_nothing_had_happened(unlearn, killed, enter, folder, workers):
    """Killed twice before it can end: as a state or the weights are being written, or just after."""
    changes = {**mixed(folder, WHOLE), 'datasets.train.num_worker_per_gpu': workers}
    whole = enter('whole')
    assert unlearn(changes) == 0
    expected = everything_in(whole)
    rule = expected['9.state']['unlearning']['stop_rule']
    assert len(rule['gaps']) == len(rule['drops']) == 5 and len(set(rule['gaps'])) == 5  # some from before the kill
    for name, *kills in (('early', ('6.state', 'after'), ('9.state', 'before')),
                         ('late', ('net_g_6.pth', 'before'), ('net_g_latest.pth', 'before'))):
        resumed = enter(name)
        for file, when in kills:
            killed(changes, ['--auto_resume'], file, when)
            if when == 'before':
                assert list(resumed.rglob(f'.{file}.partial'))  # what the kill left behind
        assert not (resumed / LATEST).exists()
        assert unlearn(changes, '--auto_resume') == 0
        assert_same(everything_in(resumed), expected)


@pytest.mark.parametrize('call', [4, 7, 10])
def test_a_run_interrupted_in_a_step_goes_on_likewise(unlearn, enter, folder, call):
    """At the first iteration after a save, and within and at the end of an epoch."""
    changes = mixed(folder, {**WHOLE, 'train.retain_opt': {'type': 'FailsAtLoss', 'call': 0}})
    whole = enter('whole')
    assert unlearn(changes) == 0
    resumed = enter('resumed')
    broken = {**changes, 'train.retain_opt': {'type': 'FailsAtLoss', 'call': call, 'raises': True}}
    assert unlearn(broken) == 130 and not (resumed / LATEST).exists()
    assert unlearn({**changes, 'path.resume_changed': True}, '--auto_resume') == 0
    found, expected = everything_in(resumed), everything_in(whole)
    for everything in (found, expected):
        del everything['9.state']['run']  # the option that broke the run off
    assert_same(found, expected)


def test_a_metric_added_at_a_resume_gets_its_references(unlearn, built, folder):
    changes = {**mixed(folder, WHOLE), 'train.retain_opt': {'type': 'FailsAtLoss', 'call': 7, 'raises': True}}
    assert unlearn(changes) == 130
    changes |= {'train.retain_opt': {'type': 'FailsAtLoss', 'call': 0}, 'path.resume_changed': True,
                'val.metrics.ssim': {'type': 'calculate_ssim', 'crop_border': 0, 'test_y_channel': False}}
    assert unlearn(changes, '--auto_resume') == 0
    for references in built[-1].tracking.references.values():
        assert all(list(values) == ['psnr', 'ssim'] for values in references.values()) and 'original' in references


def test_more_workers_give_the_same_weights(unlearn, weights, same, folder):
    assert unlearn(mixed(folder, WHOLE)) == 0
    alone = weights(LATEST)
    assert unlearn({**mixed(folder, WHOLE), 'datasets.train.num_worker_per_gpu': 2,
                    'datasets.train.persistent_workers': True}) == 0
    same(weights(LATEST), alone)


@pytest.mark.parametrize('file, when', [('4.state', 'after'), ('net_g_4.pth', 'after')])
def test_a_validation_that_the_stop_rule_awaits_is_part_of_the_state(unlearn, killed, enter, written, file, when):
    """The run validates and saves at iteration 4 and stops there; killed between the two, it must stop there too."""
    changes = {'train.total_iter': 12, 'logger.save_checkpoint_freq': 2, 'val.val_freq': 2, 'train.optim_g.lr': 2e-3,
               'train.stop_opt': {'check': 'val', 'forget_psnr': 27.5}}
    whole = enter('whole')
    assert unlearn(changes) == 0
    expected = everything_in(whole)
    assert list(expected)[1] == '4.state'
    resumed = enter('resumed')
    killed(changes, [], file, when)
    assert written('training_states') == (['2.state', '4.state'] if file == '4.state' else ['2.state'])
    assert unlearn(changes, '--auto_resume') == 0
    assert_same(everything_in(resumed), expected)


def test_the_key_of_the_original_is_not_asked_of_the_checkpoints_of_the_run(unlearn, enter, folder, restoring_net):
    torch.save({'params_ema': restoring_net.state_dict()}, folder / 'base.pth')
    for decay in (0.0, 0.8):
        changes = {**WHOLE, 'path.param_key_g': 'params_ema', 'train.ema_decay': decay}
        whole = enter(f'whole_{decay}')
        assert unlearn(changes) == 0
        resumed = enter(f'resumed_{decay}')
        assert unlearn(changes | {'train.retain_opt': {'type': 'FailsAtLoss', 'call': 8, 'raises': True},
                                  'train.adversarial_opt': None}) == 130
        assert unlearn({**changes, 'path.resume_changed': True}, '--auto_resume') == 0
        assert everything_in(resumed)['latest'].keys() == everything_in(whole)['latest'].keys()


def test_a_resumed_run_ends_at_once_where_the_rule_was_met(unlearn, weights, same, log):
    changes = {'logger.save_checkpoint_freq': 1, 'train.stop_opt': {'margin': 99.0, 'window': 1, 'min_iter': 3}}
    assert unlearn(changes) == 0
    stopped = weights(LATEST)
    LATEST.unlink()
    assert unlearn(changes, '--auto_resume') == 0
    assert 'Stop rule met at iteration 3' in log()
    same(weights(LATEST), stopped)


@pytest.fixture
def interrupted(unlearn):
    """A run with the state of iteration 3, broken off after it."""
    assert unlearn({**WHOLE, 'train.retain_opt': {'type': 'FailsAtLoss', 'call': 5, 'raises': True}}) == 130
    return {**WHOLE, 'path.resume_changed': True}


def test_a_changed_original_is_refused_on_resume(unlearn, interrupted, folder, capsys, weights):
    changed = weights('../base.pth')
    changed['ending.bias'][0] += 1e-6
    torch.save({'params': changed}, folder / 'base.pth')
    assert unlearn(interrupted, '--auto_resume') == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert err.startswith('Error: ') and 'base.pth has changed since the run began' in err
    assert not LATEST.exists()


def test_a_missing_original_is_refused_on_resume(option_file, unlearn, interrupted, folder, capsys, restoring_net):
    """Another one in its place is named as such."""
    (folder / 'base.pth').unlink()
    assert unlearn(interrupted, '--auto_resume') == 2
    assert 'base.pth does not exist' in capsys.readouterr().err
    torch.save({'params': restoring_net.state_dict()}, folder / 'moved.pth')
    assert unlearn({**interrupted, 'path.pretrain_network_g': str(folder / 'moved.pth')}, '--auto_resume') == 2
    err = capsys.readouterr().err.splitlines()[-1]
    assert 'path.pretrain_network_g' in err and 'base.pth' in err and 'moved.pth' in err


def test_an_average_cannot_be_added_on_resume(unlearn, capsys):
    changes = {**WHOLE, 'train.ema_decay': None, 'train.total_iter': 3}
    assert unlearn(changes) == 0
    assert unlearn({**WHOLE, 'train.ema_decay': 0.5}, '--auto_resume') == 2
    assert 'train.ema_decay not set -> 0.5' in capsys.readouterr().err


def test_another_seed_on_resume_is_reported(unlearn, interrupted, log):
    assert unlearn({**interrupted, 'manual_seed': 6}, '--auto_resume') == 0
    assert 'began with manual_seed 5 and goes on with 6' in log()


def test_the_state_of_another_model_is_refused(option_file, capsys):
    """A state of BasicSR's SRModel has no original."""
    training = {'train.forget_opt': None, 'train.retain_opt': None, 'train.total_iter': 2}
    plain = option_file({**training, 'model_type': 'SRModel', 'logger.save_checkpoint_freq': 2})
    text = Path(plain).read_text().replace('  total_iter: 2', '  total_iter: 2\n  pixel_opt: {type: L1Loss}')
    start, end = text.index('    type: ForgetRetainDataset'), text.index('    gt_size')
    text = text[:start] + '    type: PairedRestorationDataset\n    dataroot_lq: ../haze/lq\n' \
        '    dataroot_gt: ../haze/gt\n' + text[end:]
    text = text[:text.index('    forget:\n')] + text[text.index('  val_haze'):]
    Path(plain).write_text(text)
    assert train.main(['-opt', plain]) == 0
    assert train.main(['-opt', option_file(), '--auto_resume']) == 2
    assert "model_type 'SRModel' -> 'UnlearnModel'" in capsys.readouterr().err


# ---------------------------------------------------------------- data

def test_folders_and_lmdb_give_the_same_weights(unlearn, folder, create_lmdb, weights, same):
    assert unlearn(WHOLE) == 0
    from_folders = weights(LATEST)
    for name in ('haze', 'rain'):
        for kind in ('lq', 'gt'):
            create_lmdb.create_lmdb(str(folder / name / kind), str(folder / f'{name}_{kind}.lmdb'))
    pairs = {stream: [{'name': name, 'type': 'PairedRestorationDataset', 'dataroot_lq': str(folder / f'{name}_lq.lmdb'),
                       'dataroot_gt': str(folder / f'{name}_gt.lmdb')}]
             for stream, name in (('forget', 'haze'), ('retain', 'rain'))}
    for name in ('haze', 'rain'):
        for kind in ('lq', 'gt'):
            for image in (folder / name / kind).iterdir():
                image.unlink()
    changes = {f'datasets.train.{stream}': blocks for stream, blocks in pairs.items()}
    changes |= {f'datasets.val_{name}.dataroot_{kind}': str(folder / f'{name}_{kind}.lmdb')
                for name in ('haze', 'rain') for kind in ('lq', 'gt')}
    assert unlearn({**WHOLE, **changes}) == 0
    same(weights(LATEST), from_folders)
