"""Training from scratch, faster: what its options change, and that nothing else does."""
import shutil
from pathlib import Path

import pytest
import torch

from basicsr_unlearn.models.patch_schedule import PatchSchedule

LATEST = 'experiments/tiny/models/net_g_latest.pth'
SCHEDULE = [{'iters': 2, 'size': 8}, {'iters': 2, 'batch': 1}]


@pytest.fixture
def scratch(folder, unlearn, weights):
    """scratch(changes, *flags) trains a few steps from fresh weights; the last weights and their average."""
    def run(changes: dict | None = None, *flags: str) -> tuple[dict, dict]:
        data = {'name': 'train', 'type': 'PairedRestorationDataset', 'dataroot_lq': str(folder / 'haze' / 'lq'),
                'dataroot_gt': str(folder / 'haze' / 'gt'), 'gt_size': 16, 'epoch_length': 10, 'batch_size_per_gpu': 2,
                'num_worker_per_gpu': 0}
        code = unlearn({'model_type': 'RestorationModel', 'datasets.train': data, 'path.pretrain_network_g': None,
                        'train.forget_opt': None, 'train.retain_opt': None, 'train.pixel_opt': {'type': 'L1Loss'},
                        'train.ema_decay': 0.9, 'logger.save_checkpoint_freq': 3, **(changes or {})}, *flags)
        return (weights(LATEST), weights(LATEST, 'params_ema')) if code == 0 else (code,)
    return run


def test_without_options_it_takes_the_steps_of_srmodel(scratch, same):
    for ours, theirs in zip(scratch(), scratch({'model_type': 'SRModel'})):
        same(ours, theirs)


@pytest.mark.parametrize('options', [{}, {'train.amp': 'bf16', 'train.patch_schedule': SCHEDULE}], ids=str)
def test_a_resumed_run_equals_the_uninterrupted_one(scratch, same, options):
    whole, _ = scratch(options)
    scratch({**options, 'train.total_iter': 3})
    Path(LATEST).unlink()
    resumed, _ = scratch(options, '--auto_resume')
    same(resumed, whole)


def test_bf16_is_near_and_weights_stay_float32(scratch):
    plain, _ = scratch()
    rounded, average = scratch({'train.amp': 'bf16'})
    assert all(value.dtype == torch.float32 for value in (*rounded.values(), *average.values()))
    apart = max(float((rounded[name] - plain[name]).abs().max()) for name in plain)
    assert 0 < apart < 6 * 1e-3 * 2.5  # 6 steps of Adam at 1e-3 from one start: each moves a weight by little more


def test_compiled_it_trains_the_same_network(scratch, same, monkeypatch):
    """What is compiled runs in training alone; validation and checkpoints are those of the network."""
    plain, calls = scratch(), []

    def compile_(net):
        def run(lq):
            calls.append(net.training)
            return net(lq)
        return run
    monkeypatch.setattr(torch, 'compile', compile_)
    for one, other in zip(scratch({'train.compile': True}), plain):
        same(one, other)
    assert calls == [True] * 6


def test_without_a_compiler_it_says_so(scratch, monkeypatch, capsys):
    monkeypatch.setenv('CXX', 'no-such-compiler')
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    assert scratch({'train.compile': True}) == (2,)
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('Error: train.compile is true, but there is no C++ compiler no-such-compiler')
    assert not Path('experiments').exists()


@pytest.mark.parametrize('phase, sentence', [
    ({'iters': 2}, 'train.patch_schedule[0] has neither size nor batch'),
    ({'iters': 2, 'size': 17}, 'train.patch_schedule[0].size 17 is larger than datasets.train.gt_size 16'),
    ({'iters': 2, 'batch': 3}, 'train.patch_schedule[0].batch 3 is larger than datasets.train.batch_size_per_gpu 2'),
    ({'size': 8}, 'train.patch_schedule[0].iters is missing'),
])
def test_a_schedule_that_cannot_be_is_one_sentence(scratch, phase, sentence, capsys):
    assert scratch({'train.patch_schedule': [phase]}) == (2,)
    error = capsys.readouterr().err.splitlines()[-1]
    assert sentence in error and error.startswith('Error: ') and error.endswith('.')


# ---------------------------------------------------------------- the schedule

def batch():
    places = torch.arange(24.0 * 24).view(1, 1, 24, 24).repeat(3, 1, 1, 1) + 1000 * torch.arange(3.0).view(3, 1, 1, 1)
    return {'lq': places[..., ::2, ::2], 'gt': places, 'label': torch.arange(3)}


def test_phases_follow_one_another_and_end():
    schedule = PatchSchedule([{'iters': 2, 'size': 12, 'batch': 2}, {'iters': 1, 'size': 16}], seed=0, rank=0)
    for iteration, size, count, share in ((1, 6, 2, 0.25), (2, 6, 2, 0.25), (3, 8, 3, 64 / 144), (4, 12, 3, 1)):
        cut, left = schedule({'forget': batch(), 'retain': batch()}, iteration)
        assert left == pytest.approx(share)
        for stream in cut.values():
            assert stream['lq'].shape == (count, 1, size, size) and stream['gt'].shape == (count, 1, 2 * size, 2 * size)
            assert torch.equal(stream['gt'][..., ::2, ::2], stream['lq']) and stream['label'].tolist() == [0, 1, 2][
                :count]


def test_windows_are_those_of_the_seed_the_process_and_the_iteration():
    def corner(seed, rank, iteration):
        cut, _ = PatchSchedule([{'iters': 99, 'size': 4}], seed, rank)({'train': batch()}, iteration)
        return float(cut['train']['lq'][0, 0, 0, 0])
    assert corner(0, 0, 5) == corner(0, 0, 5)
    assert len({corner(0, 0, iteration) for iteration in range(1, 30)}) > 15
    assert corner(0, 0, 5) != corner(1, 0, 5) or corner(0, 0, 6) != corner(1, 0, 6)
    assert corner(0, 0, 5) != corner(0, 1, 5) or corner(0, 0, 6) != corner(0, 1, 6)


def test_an_unlearning_run_counts_its_arithmetic_by_the_size_of_patches(unlearn, built, weights, same):
    schedule = {'train.patch_schedule': [{'iters': 2, 'size': 8}, {'iters': 1, 'batch': 1}]}
    assert unlearn() == 0 and unlearn(schedule) == 0
    whole, cut = (model.unlearner.passes.samples for model in built)
    assert whole['g_backward'] == 6 * 4  # steps, samples of two streams
    assert cut['g_backward'] == 2 * 4 / 4 + 2 + 3 * 4
    last = weights(LATEST)
    shutil.rmtree('experiments')
    assert unlearn(schedule) == 0
    same(weights(LATEST), last)
