"""Training through our entry point, in this process: results, resume, errors that leave nothing behind."""
import logging
import os
from pathlib import Path

import pytest
import torch

from basicsr_unlearn import train
from basicsr_unlearn.engine import resume
from basicsr_unlearn.errors import TrainingError

# isort: split
import basicsr.train as pipeline
from basicsr.utils.logger import initialized_logger

MODELS = Path('experiments/tiny/models')


def written() -> list[str]:
    """Everything in the current directory."""
    return [name for folder in os.walk('.') for name in folder[1] + folder[2]]


def equal(first: dict, second: dict) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def test_run_writes_to_the_current_directory(folder, option_file, weights):
    before = pipeline.parse_options
    assert train.main(['-opt', option_file(), '--force_yml', 'logger:use_tb_logger=true']) == 0
    assert not equal(weights(MODELS / 'net_g_latest.pth'), weights('../base.pth'))
    log = next(Path('experiments/tiny').glob('train_tiny_*.log')).read_text()
    assert '[tiny..][epoch:  1, iter:       6' in log and 'End of training' in log
    copy = Path('experiments/tiny/restore.yml').read_text()
    assert '--force_yml logger:use_tb_logger=true' in copy  # the command that made it
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    events = EventAccumulator('tb_logger/tiny').Reload()
    assert [scalar.step for scalar in events.Scalars('losses/l_pix')] == [1, 2, 3, 4, 5, 6]
    # all is undone
    assert pipeline.parse_options is before and 'basicsr' not in initialized_logger
    assert not logging.getLogger('basicsr').handlers


def test_an_existing_experiment_is_kept_under_another_name(folder, option_file):
    for _ in range(2):
        assert train.main(['-opt', option_file(total_iter='1')]) == 0
    assert sorted(p.name.partition('_archived_')[:2] for p in Path('experiments').iterdir()) == [
        ('tiny', ''), ('tiny', '_archived_')]


def test_resume_repeats_the_uninterrupted_run_bit_for_bit(folder, option_file, weights, monkeypatch):
    """Interrupted within an epoch, of 4 iterations, at 3; SRModel draws nothing at random, so the data are all."""
    whole, half = ['-opt', option_file()], ['-opt', option_file(), '--force_yml', 'train:total_iter=3']

    def resumed(name: str) -> dict:
        Path(name).mkdir()
        monkeypatch.chdir(folder / 'work' / name)
        assert train.main(half) == 0
        assert not (MODELS / 'net_g_6.pth').exists()
        assert train.main([*whole, '--auto_resume']) == 0
        monkeypatch.chdir(folder / 'work')
        return weights(name / MODELS / 'net_g_6.pth')

    assert train.main(whole) == 0
    uninterrupted = weights(MODELS / 'net_g_6.pth')
    assert equal(resumed('ours'), uninterrupted)
    monkeypatch.setattr(resume.ResumableSampler, 'continue_from', lambda *args, **kwargs: None)
    assert not equal(resumed('as_basicsr_does'), uninterrupted)


def test_resume_from_a_damaged_state_is_a_sentence(folder, option_file, capsys):
    (folder / 'bad.state').write_bytes(b'no state')
    option = option_file(resume_state=f"'{folder}/bad.state'")
    assert train.main(['-opt', option]) == 2
    assert 'bad.state' in capsys.readouterr().err
    assert written() == []


@pytest.mark.parametrize('changes, force, sentence', [
    ({}, ['train:total_iters=5'], "did you mean 'total_iter'"),
    ({'total_iter': '1e2'}, [], "'1e2'"),
    ({'print_freq': '1, prnt_freq: 2'}, [], 'print_freq'),
    ({'pretrain_network_g': "'gone.pth'"}, [], 'gone.pth'),
    ({'dataroot_lq': 'gone'}, [], 'gone'),
    ({'num_gpu': str(torch.cuda.device_count() + 1)}, [], 'num_gpu'),
    ({'total_iter': '[1'}, [], 'Line '),
])
def test_bad_input_is_one_sentence_and_nothing_written(folder, option_file, capsys, changes, force, sentence):
    argv = ['-opt', option_file(**changes), *(['--force_yml', *force] if force else [])]
    assert train.main(argv) == 2
    err = capsys.readouterr().err
    assert err.startswith('Error: ') and err.count('\n') == 1 and sentence in err
    assert written() == []


@pytest.mark.parametrize('path', ['gone.yml', '.'])
def test_missing_option_file(folder, capsys, path):
    assert train.main(['-opt', path]) == 2
    err = capsys.readouterr().err
    assert err.startswith('Error: ') and err.count('\n') == 1 and path in err
    assert written() == []


@pytest.mark.parametrize('environment, launcher, sentence', [
    ({}, 'pytorch', 'needs torchrun'),
    ({'WORLD_SIZE': '2', 'TORCHELASTIC_RUN_ID': 'x', 'RANK': '0'}, 'none', 'add --launcher pytorch'),
])
def test_launcher_and_torchrun_go_together(folder, option_file, capsys, monkeypatch, environment, launcher, sentence):
    monkeypatch.delenv('RANK', raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    assert train.main(['-opt', option_file(), '--launcher', launcher]) == 2
    assert sentence in capsys.readouterr().err
    assert written() == []


def test_only_the_first_process_speaks(folder, capsys, monkeypatch):
    monkeypatch.setenv('RANK', '1')
    assert train.main(['-opt', 'gone.yml']) == 2
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize('error, code, sentence', [
    (TrainingError('Loss is not finite.'), 2, 'Error: Loss is not finite.\n'),
    (KeyboardInterrupt(), 130, 'SIGINT'),
    (SystemExit(0), 0, ''),
])
def test_a_run_that_ends_early_keeps_its_experiment(folder, option_file, capsys, monkeypatch, error, code, sentence):
    from basicsr.models.sr_model import SRModel
    step = SRModel.optimize_parameters

    def stop_at_four(self, current_iter):
        if current_iter == 4:
            raise error
        step(self, current_iter)

    monkeypatch.setattr(SRModel, 'optimize_parameters', stop_at_four)
    assert train.main(['-opt', option_file()]) == code
    err = capsys.readouterr().err
    assert sentence in err and 'Traceback' not in err
    assert (MODELS / 'net_g_3.pth').exists() and not (MODELS / 'net_g_latest.pth').exists()


def test_debug_flag_reaches_basicsr(folder, option_file):
    assert train.main(['-opt', option_file(total_iter='8'), '--debug']) == 0
    assert Path('experiments/debug_tiny/models/net_g_8.pth').exists()


def test_unlearn_model_trains_and_has_a_log_file(folder, option_file, weights):
    """The preflight must not ask for the logger before the log file has a place."""
    assert train.main(['-opt', option_file('unlearn')]) == 0
    assert 'l_forget' in next(Path('experiments/tiny').glob('train_tiny_*.log')).read_text()
    assert not equal(weights(MODELS / 'net_g_latest.pth'), weights('../base.pth'))
