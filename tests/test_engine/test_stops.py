"""Signals, two runs of one name, changed options, lost workers: how a run ends, and how it goes on."""
import gc
import json
import multiprocessing
import os
import pty
import re
import signal
import sys
import time
from pathlib import Path

import pytest
import torch
from equality import assert_same

from basicsr_unlearn import test, train
from basicsr_unlearn.cli import commands as cli
from basicsr_unlearn.engine import image_check
from basicsr_unlearn.engine.entry import guarded
from basicsr_unlearn.engine.locks import locked, read_lock
from basicsr_unlearn.models import tracking
from basicsr_unlearn.models.tracking import ValidationTracking
from basicsr_unlearn.models.unlearn_model import UnlearnModel

# isort: split
from basicsr.models.sr_model import SRModel

EXPERIMENT = Path('experiments/tiny')
STATES, LATEST = EXPERIMENT / 'training_states', EXPERIMENT / 'models' / 'net_g_latest.pth'
SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP]


@pytest.fixture(autouse=True)
def default_signals():
    """SIGINT and SIGHUP are heard, also where the tests run in the background of a shell, which ignores them."""
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for signum, handler in before.items():
        signal.signal(signum, handler)


@pytest.fixture
def at_step(monkeypatch):
    """at_step(iteration, action, model) calls `action` once, in the middle of that step."""
    def plan(iteration: int, action, model: type = UnlearnModel) -> None:
        step, todo = model.optimize_parameters, [action]

        def optimize_parameters(self, current_iter: int) -> None:
            if current_iter == iteration and todo:
                todo.pop()()
            step(self, current_iter)

        monkeypatch.setattr(model, 'optimize_parameters', optimize_parameters)
    return plan


def said(capsys) -> str:
    """What is on stderr, on one line."""
    return ' '.join(capsys.readouterr().err.split())


def send(signum: int) -> None:
    os.kill(os.getpid(), signum)


def everything() -> dict:
    """Last weights, and the last training state that is written without a signal too."""
    return {'latest': torch.load(LATEST, weights_only=True), 'state': torch.load(STATES / '6.state', weights_only=True)}


@pytest.fixture
def whole(monkeypatch, folder):
    """whole(option file) runs it in a folder of its own and returns what came of it."""
    def run(option: str) -> dict:
        (folder / 'whole').mkdir()
        with monkeypatch.context() as patch:
            patch.chdir(folder / 'whole')
            assert train.main(['-opt', option]) == 0
            return everything()
    return run


# ---------------------------------------------------------------- signals

@pytest.mark.parametrize('signum, workers, job, model', [
    (signal.SIGTERM, 2, 'unlearn', UnlearnModel), (signal.SIGINT, 0, 'unlearn', UnlearnModel),
    (signal.SIGHUP, 0, 'restore', SRModel),
])
def test_a_signal_saves_the_step_and_the_resume_is_bit_for_bit(option_file, whole, at_step, capsys, signum, workers,
                                                               job, model):
    option = option_file(job, num_worker_per_gpu=str(workers))
    expected = whole(option)
    at_step(4, lambda: send(signum), model)
    capsys.readouterr()
    assert train.main(['-opt', option]) == 128 + signum
    err = said(capsys)
    assert f'Stopped by {signal.Signals(signum).name} after iteration 4 of 6' in err and '--auto_resume' in err
    assert sorted(path.name for path in STATES.iterdir()) == ['3.state', '4.state'] and not LATEST.exists()
    assert multiprocessing.active_children() == []
    assert train.main(['-opt', option, '--auto_resume']) == 0
    assert_same(everything(), expected)


def restored_at(monkeypatch, each) -> list[int]:
    """The iterations at which images are restored in validations from now on; `each` is called with them, each time."""
    tested, steps, validate, run = [], [], ValidationTracking.validate, tracking.restorations

    def noted(self, loader, net, step, *rest):
        steps.append(step)
        return validate(self, loader, net, step, *rest)

    def watched(*args):
        for restored in run(*args):
            tested.append(steps[-1])
            each(tested)
            yield restored

    monkeypatch.setattr(ValidationTracking, 'validate', noted)
    monkeypatch.setattr(tracking, 'restorations', watched)
    return tested


def test_a_validation_that_a_signal_cuts_short_is_made_again(option_file, whole, monkeypatch, capsys):
    """A stop rule that observes validations sees it all the same."""
    option = Path(option_file('unlearn', val_freq='2'))
    option.write_text(option.read_text().replace('name: held_out', 'name: held_out\n    role: forget').replace(
        '  total_iter: 6', '  total_iter: 6\n  skill_opt: {required: false}\n'
        '  stop_opt: {check: val, forget_psnr: 1.0, window: 2}'))
    expected = whole(str(option))
    assert len(expected['state']['unlearning']['stop_rule']['gaps']) == 2
    tested = restored_at(monkeypatch, lambda tested: tested.count(4) == 1 and tested[-1] == 4 and send(signal.SIGTERM))
    assert train.main(['-opt', str(option)]) == 143
    assert tested == [2, 2, 2, 4]  # of three images the first is finished
    state = torch.load(STATES / '4.state', weights_only=True)
    assert state['run']['validation_due'] and len(state['unlearning']['stop_rule']['gaps']) == 1
    assert train.main(['-opt', str(option), '--auto_resume']) == 0
    assert tested[4:] == [4, 4, 4, 6, 6, 6]
    assert_same(everything(), expected)


def test_a_signal_in_the_last_validation_keeps_the_network(option_file, monkeypatch, capsys):
    restored_at(monkeypatch, lambda tested: send(signal.SIGTERM))
    assert train.main(['-opt', option_file('unlearn')]) == 143
    assert LATEST.exists() and 'its validation was left out' in said(capsys)


def test_a_signal_before_the_first_step_ends_at_once(option_file, monkeypatch, capsys):
    """While masks are made, which may take minutes: there is nothing to save yet."""
    monkeypatch.setattr(UnlearnModel, '_prepare', lambda self: send(signal.SIGTERM))
    assert train.main(['-opt', option_file('unlearn')]) == 143
    assert 'Stopped by SIGTERM' in said(capsys) and list(STATES.iterdir()) == []


def test_a_signal_while_images_are_checked_leaves_the_rest(option_file, folder, photos, monkeypatch):
    for name in ('lq', 'gt'):
        photos(folder / name, [str(i) for i in range(200)], size=(24, 24))
    seen = []

    def slow_size(*args) -> tuple[int, int]:
        seen.append(args)
        if len(seen) == 5:
            send(signal.SIGTERM)
        time.sleep(0.05)
        return 24, 24

    monkeypatch.setattr(image_check, '_size', slow_size)
    assert train.main(['-opt', option_file('unlearn')]) == 143
    assert len(seen) < 100 and not EXPERIMENT.exists()


def test_a_second_signal_ends_at_once(option_file, at_step):
    def twice() -> None:
        send(signal.SIGTERM)
        send(signal.SIGTERM)  # a launcher's copy of the first
        time.sleep(1.1)
        send(signal.SIGTERM)
        time.sleep(60)

    at_step(4, twice)
    option = option_file('unlearn', num_worker_per_gpu='1')
    process = multiprocessing.get_context('fork').Process(target=lambda: train.main(['-opt', option]))
    begin = time.monotonic()
    process.start()
    process.join(50)
    assert process.exitcode == 143 and time.monotonic() - begin < 50
    assert [path.name for path in STATES.iterdir()] == ['3.state']


def test_an_ignored_signal_stays_ignored(option_file, at_step):
    """As nohup wants it."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    at_step(4, lambda: send(signal.SIGHUP))
    assert train.main(['-opt', option_file('unlearn')]) == 0
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize('signum', SIGNALS)
def test_other_commands_end_with_the_same_codes(option_file, monkeypatch, capsys, signum):
    monkeypatch.setattr(SRModel, 'test', lambda self: send(signum))
    assert cli.main(['test', '-opt', option_file('test')]) == 128 + signum
    assert signal.Signals(signum).name in said(capsys)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_terminal_that_closes_takes_no_step_with_it(option_file):
    """SIGHUP comes as the terminal goes, and writing to that is an error from then on."""
    option = option_file('unlearn', total_iter='100000', num_worker_per_gpu='1')
    process, terminal = pty.fork()
    if process == 0:
        code = 70
        try:
            sys.stdout, sys.stderr = os.fdopen(1, 'w'), os.fdopen(2, 'w')  # in place of what collects for pytest
            code = train.main(['-opt', option])
        finally:
            os._exit(code)
    shown = b''
    while not re.search(rb' ([2-9]|\d\d+)/100000', shown):  # of the bar
        shown += os.read(terminal, 1000)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 129
    states = sorted(STATES.iterdir(), key=lambda path: int(path.stem))
    assert states and (EXPERIMENT / 'models' / f'net_g_{states[-1].stem}.pth').exists()


# ---------------------------------------------------------------- workers

def test_a_lost_worker_is_a_sentence_and_nothing_is_lost(option_file, whole, at_step, capsys):
    """As where memory ran out. BasicSR gets an error from torch, in the middle of whatever it does."""
    option = option_file('unlearn', num_worker_per_gpu='1')
    expected = whole(option)

    def kill_worker() -> None:
        worker, = multiprocessing.active_children()
        worker.kill()
        worker.join()

    at_step(2, kill_worker)
    capsys.readouterr()
    assert train.main(['-opt', option]) == 2
    err = said(capsys)
    assert 'num_worker_per_gpu' in err and '--auto_resume' in err and 'Traceback' not in err
    saved, = STATES.iterdir()
    assert f'Iteration {saved.stem} is saved' in err
    assert train.main(['-opt', option, '--auto_resume']) == 0
    assert_same(everything(), expected)


def test_data_that_fail_in_the_thread_of_the_prefetcher_end_the_run(option_file, folder, at_step, capsys):
    """BasicSR waits for ever."""
    def lose_data() -> None:
        for path in (folder / 'lq').iterdir():
            path.unlink()

    at_step(2, lose_data)
    assert train.main(['-opt', option_file('unlearn', num_worker_per_gpu='0, prefetch_mode: cpu'.replace(
        ', ', '\n    '))]) == 2
    assert '/lq/' in said(capsys)


# ---------------------------------------------------------------- one run of a name

@pytest.fixture
def other_run(folder):
    """A process that holds the lock of experiments/tiny, as a run does; it ends with the test."""
    ready = multiprocessing.Event()

    def hold() -> None:
        with locked(EXPERIMENT.absolute()):
            ready.set()
            time.sleep(60)

    process = multiprocessing.get_context('fork').Process(target=hold)
    process.start()
    assert ready.wait(30)
    yield process
    process.kill()
    process.join()


@pytest.mark.parametrize('flags', [[], ['--auto_resume']])
def test_a_name_that_is_running_is_refused_before_anything_is_moved(option_file, other_run, capsys, flags):
    EXPERIMENT.mkdir()
    (EXPERIMENT / 'of_the_other').touch()
    assert train.main(['-opt', option_file(), *flags]) == 2
    err = said(capsys)
    assert f'process {other_run.pid} on {os.uname().nodename}' in err and str(EXPERIMENT) in err
    assert [path.name for path in EXPERIMENT.parent.iterdir() if path.is_dir()] == ['tiny']
    assert [path.name for path in EXPERIMENT.iterdir()] == ['of_the_other']
    other_run.kill()
    other_run.join()
    assert read_lock(Path('experiments/.tiny.lock'))['process'] == other_run.pid  # what a kill leaves behind
    assert train.main(['-opt', option_file(), *flags]) == 0
    assert not Path('experiments/.tiny.lock').exists()


def test_a_run_may_start_twice_within_a_second(option_file, monkeypatch):
    monkeypatch.setattr(time, 'strftime', lambda *_: '20260101_000000')
    for _ in range(3):
        assert train.main(['-opt', option_file(total_iter='1')]) == 0
    assert sorted(path.name for path in EXPERIMENT.parent.iterdir()) == [
        'tiny', 'tiny_archived_20260101_000000', 'tiny_archived_20260101_000000_2']


@pytest.mark.parametrize('name', ['experiments', 'tb_logger', 'results'])
def test_a_file_in_place_of_a_folder_is_a_sentence(option_file, folder, capsys, name):
    Path(name).touch()
    if name == 'results':
        assert test.main(['-opt', option_file('test')]) == 2
    else:
        assert train.main(['-opt', option_file(use_tb_logger='true')]) == 2
    err = said(capsys)
    assert f'{name} is no folder' in err and 'Traceback' not in err
    assert [path.name for path in (folder / 'work').iterdir()] == [name] and Path(name).is_file()


# ---------------------------------------------------------------- changed options

@pytest.fixture
def half(option_file):
    """A run of UnlearnModel that ended at iteration 3."""
    assert train.main(['-opt', option_file('unlearn', total_iter='3')]) == 0


@pytest.mark.parametrize('changes, named', [
    ({'lr': '!!float 2e-3'}, 'train.optim_g.lr 0.001 -> 0.002'),
    ({'batch_size_per_gpu': '1'}, 'datasets.train.batch_size_per_gpu 2 -> 1'),
    ({'milestones': '[3]'}, 'train.scheduler.milestones.0 1000 -> 3'),
    ({'bound': 'none'}, "train.forget_opt.bound 'identity' -> 'none'"),
    ({'manual_seed': '4'}, 'manual_seed 3 -> 4'),
    ({'total_iter': '6\n  mask_opt: {type: SaliencyMask}'}, "train.mask_opt.type not set -> 'SaliencyMask'"),
    ({'optim_g': '{type: AdamW'}, "train.optim_g.type 'Adam' -> 'AdamW'"),
])
def test_a_changed_option_is_named_and_refused(option_file, half, capsys, changes, named):
    before = sorted(EXPERIMENT.rglob('*'))
    assert train.main(['-opt', option_file('unlearn', **changes), '--auto_resume']) == 2
    assert named in said(capsys)
    assert sorted(EXPERIMENT.rglob('*')) == before


def test_other_files_are_a_change(option_file, half, folder, capsys):
    for name in ('lq', 'gt'):
        (folder / name / '2.png').rename(folder / name / 'other.png')
    assert train.main(['-opt', option_file('unlearn'), '--auto_resume']) == 2
    assert "datasets.train.files '6 samples" in said(capsys)
    assert train.main(['-opt', option_file('unlearn', resume_state='~, resume_changed: true'), '--auto_resume']) == 0


@pytest.mark.parametrize('changes', [
    {'total_iter': '4'}, {'print_freq': '2'}, {'save_checkpoint_freq': '2'}, {'val_freq': '2'},
    {'num_worker_per_gpu': '1'}, {'crop_border': '2'},
])
def test_what_sets_nothing_of_the_result_may_change(option_file, half, changes):
    assert train.main(['-opt', option_file('unlearn', **{'total_iter': '6', **changes}), '--auto_resume']) == 0


def test_a_change_that_is_asked_for_takes_effect_and_is_noted(option_file, half, at_step, monkeypatch, capsys):
    """A schedule counts from the beginning of the run, as if that had had it."""
    rates = []
    step = UnlearnModel.optimize_parameters
    monkeypatch.setattr(UnlearnModel, 'optimize_parameters', lambda self, current_iter: rates.append(
        self.get_current_learning_rate()[0]) or step(self, current_iter))
    option = option_file('unlearn', lr='!!float 4e-3', milestones='[1, 4], gamma: 0.5',
                         resume_state='~, resume_changed: true')
    assert train.main(['-opt', option, '--auto_resume']) == 0
    assert rates == pytest.approx([2e-3, 1e-3, 1e-3])  # iterations 4 to 6: the milestones count from 0
    run = torch.load(STATES / '6.state', weights_only=True)['run']
    assert run['options']['train.optim_g.lr'] == 4e-3
    assert {'option': 'train.optim_g.lr', 'before': 1e-3, 'now': 4e-3, 'iteration': 3} in run['changes']
    assert json.loads((EXPERIMENT / 'run.json').read_text())['changed_at_resumes'] == run['changes']
    log = max(EXPERIMENT.glob('train_*.log'), key=os.path.getmtime).read_text()
    assert 'train.optim_g.lr 0.001 -> 0.004' in log
    assert train.main(['-opt', option, '--auto_resume']) == 0  # nothing has changed since
    assert torch.load(STATES / '6.state', weights_only=True)['run']['changes'] == run['changes']


def test_a_longer_cosine_schedule_is_the_longer_run_s(option_file, at_step, monkeypatch):
    """BasicSR's resume brings the old periods back, which end before the run."""
    def cosine(total: int, **changes: str) -> str:
        option = Path(option_file('restore', total_iter=str(total), **changes))
        option.write_text(option.read_text().replace('{type: MultiStepLR, milestones: [1000]}', (
            f'{{type: CosineAnnealingRestartLR, periods: [{total}], eta_min: !!float 1e-5}}')))
        return str(option)

    rates = []
    step = SRModel.optimize_parameters
    monkeypatch.setattr(SRModel, 'optimize_parameters', lambda self, current_iter: rates.append(
        self.get_current_learning_rate()[0]) or step(self, current_iter))
    assert train.main(['-opt', cosine(6)]) == 0
    whole_of_six, rates[:] = list(rates), []
    for path in (STATES / '6.state', LATEST):
        path.unlink()
    assert train.main(['-opt', cosine(12), '--auto_resume']) == 2
    assert train.main(['-opt', cosine(12, resume_state='~, resume_changed: true'), '--auto_resume']) == 0
    longer, rates[:] = list(rates), []
    assert train.main(['-opt', cosine(12)]) == 0
    assert longer == pytest.approx(rates[3:]) and whole_of_six[3:] != pytest.approx(rates[3:6])


def test_a_state_beyond_the_end_is_refused(option_file, half, capsys):
    assert train.main(['-opt', option_file('unlearn', total_iter='2'), '--auto_resume']) == 2
    assert 'of iteration 3, but train.total_iter is 2' in said(capsys)


def test_a_state_of_an_earlier_version_goes_on_with_a_warning(option_file, half, capsys):
    state = torch.load(STATES / '3.state', weights_only=True)
    del state['run']
    torch.save(state, STATES / '3.state')
    assert train.main(['-opt', option_file('unlearn', lr='!!float 2e-3'), '--auto_resume']) == 0
    assert '3.state does not say with which options' in said(capsys)


def test_without_a_seed_in_the_file_a_resume_takes_that_of_the_run(option_file, at_step, monkeypatch):
    """BasicSR draws another one at each start."""
    option, seeds = option_file('unlearn', manual_seed='~'), []
    step = UnlearnModel.optimize_parameters
    monkeypatch.setattr(UnlearnModel, 'optimize_parameters', lambda self, current_iter: seeds.append(
        self.opt['manual_seed']) or step(self, current_iter))
    at_step(4, lambda: send(signal.SIGTERM))
    assert train.main(['-opt', option]) == 143
    assert train.main(['-opt', option, '--auto_resume']) == 0
    assert len(seeds) == 6 and len(set(seeds)) == 1


class HalfBuilt:
    """Interrupted before it is complete, and not able to tidy up; as torch's loader, between two of its lines."""

    def __init__(self):
        os.kill(os.getpid(), signal.SIGHUP)
        while True:  # until the handler is called
            pass

    def __del__(self):
        self.workers.clear()


def test_what_is_half_built_at_a_signal_shows_no_traceback(monkeypatch):
    complaints = []
    monkeypatch.setattr(sys, 'unraisablehook', complaints.append)
    hook = sys.unraisablehook
    assert guarded(HalfBuilt) == 129
    gc.collect()
    assert not complaints and sys.unraisablehook is hook
