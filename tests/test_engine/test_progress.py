"""What a training run shows a person, on a pseudo-terminal and elsewhere, and what its log file keeps."""
import os
import pty
import re
import sys
import threading
import warnings
from pathlib import Path

import pytest

from basicsr_unlearn.cli import commands as cli
from basicsr_unlearn.engine.progress import Plain
from basicsr_unlearn.engine.run_header import method_words
from basicsr_unlearn.engine.terminal import joined
from basicsr_unlearn.models.unlearn_model import UnlearnModel

# isort: split
import basicsr.train as pipeline
from basicsr.utils import get_root_logger


class Terminal:
    """A pseudo-terminal that takes the place of stdout and stderr and keeps what was shown."""

    def __init__(self, monkeypatch):
        master, slave = pty.openpty()
        self.file = os.fdopen(slave, 'w', buffering=1)
        self._shown = b''
        self._thread = threading.Thread(target=self._read, args=(master,), daemon=True)
        self._thread.start()
        monkeypatch.setenv('COLUMNS', '80')
        for name in ('stdout', 'stderr'):
            monkeypatch.setattr(sys, name, self.file)

    def _read(self, master: int) -> None:
        try:
            while chunk := os.read(master, 4096):
                self._shown += chunk
        except OSError:  # Linux's way to say that the other end is closed
            pass
        os.close(master)

    def lines(self) -> list[str]:
        """The lines that stay, and the last state of the bar: what came after the last return to a line's start."""
        self.file.close()
        self._thread.join(5)
        return [line.rpartition('\r')[2] for line in self._shown.decode().replace('\r\n', '\n').splitlines()]


def log() -> str:
    return max(Path('experiments/tiny').glob('train_tiny_*.log'), key=os.path.getmtime).read_text()


def test_a_terminal_shows_a_header_a_bar_and_a_line_a_validation(folder, option_file, monkeypatch):
    terminal = Terminal(monkeypatch)  # in the test: pytest sets stdout and stderr anew after its fixtures
    assert cli.main(['train', '-opt', option_file('unlearn', val_freq='3')]) == 0
    lines = terminal.lines()
    header = '\n'.join(lines[:lines.index(next(line for line in lines if '%' in line))])
    for said in ('Unlearning f', 'NAFNet', 'base.pth', 'GradientAscentLoss', 'L1Loss', 'f (3', 'r (3', 'held_out (3',
                 '6 of 2', 'CPU', 'experiments/tiny'):
        assert said in header, said
    rounds = [line for line in lines if re.match(r' *\d+  held_out', line)]
    assert [line.split()[0] for line in rounds] == ['0', '3', '6']
    bar = [line for line in lines if '%' in line][-1]
    assert ' 6/6 ' in bar and 'forget' in bar and '00:00' in bar
    end = lines[lines.index(bar) + 1:]
    assert any('run.json' in line for line in end) and any('net_g_latest.pth' in line for line in end)
    assert all(len(line) <= 80 for line in lines if 'base.pth' not in line)  # a path is not broken
    assert not any(word in line for line in lines for word in ('INFO', 'OrderedDict', 'Disable distributed', 'eta:'))


def test_the_log_file_keeps_all_lines_and_the_time_left_is_never_negative(folder, option_file, capsys):
    assert cli.main(['train', '-opt', option_file('unlearn', val_freq='3')]) == 0
    shown, kept = capsys.readouterr(), log()
    for line in ('BasicSR: ', 'total_iter: 6', 'Model [UnlearnModel] is created.', 'iter:       6, ', 'End of'):
        assert line in kept
    assert len(re.findall(r'\[eta: 0:00:', kept)) == 6
    assert shown.err == '' and shown.out.count('\n') < 35 and 'INFO' not in shown.out


@pytest.mark.parametrize('job, marks', [('unlearn', ['0', '3', '6']), ('restore', ['3', '6'])])
def test_the_last_validation_is_done_once(folder, option_file, capsys, job, marks):
    assert cli.main(['train', '-opt', option_file(job, val_freq='3')]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if re.match(r' *\d+  held_out', line)] == marks
    assert log().count('Validation held_out') == 2


def test_a_run_that_ends_between_validations_has_a_last_one(folder, option_file, capsys):
    assert cli.main(['train', '-opt', option_file('restore', val_freq='4')]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines() if '  held_out' in line] == ['4', '6']


def test_a_resumed_run_says_from_where_it_goes_on(folder, option_file, capsys):
    assert cli.main(['train', '-opt', option_file('unlearn', total_iter='3')]) == 0
    capsys.readouterr()
    assert cli.main(['train', '-opt', option_file('unlearn', val_freq='3'), '--auto_resume']) == 0
    out = capsys.readouterr().out
    assert 'Going on after step 3' in out and 'ignored during resuming' not in out


def test_an_earlier_run_of_the_name_is_told_once(folder, option_file, capsys):
    for _ in range(2):
        assert cli.main(['train', '-opt', option_file('unlearn')]) == 0
    kept, = Path('experiments').glob('tiny_archived_*')
    assert capsys.readouterr().out.count('archived') == 1 and kept.is_dir()


def test_a_warning_is_a_sentence_shown_once_and_logged_always(folder, option_file, capsys, monkeypatch):
    step = UnlearnModel.optimize_parameters

    def warning_step(self, current_iter: int) -> None:
        step(self, current_iter)
        get_root_logger().warning(f'The loss is {current_iter}.5 dB\n  too high.')
        warnings.warn(f'Old call at {current_iter}. Use another.', stacklevel=1)

    monkeypatch.setattr(UnlearnModel, 'optimize_parameters', warning_step)
    before = warnings.showwarning
    with warnings.catch_warnings():
        warnings.simplefilter('always')
        assert cli.main(['train', '-opt', option_file('unlearn')]) == 0
        assert warnings.showwarning is before
    err = capsys.readouterr().err.splitlines()
    assert err == ['Warning: The loss is 1.5 dB too high.', 'Warning: Old call at 1.']
    assert log().count('too high.') == log().count('UserWarning: Old call') == 6


def test_all_is_undone_after_an_error(folder, option_file, monkeypatch):
    terminal = Terminal(monkeypatch)
    names = ('MessageLogger', 'build_model', 'create_train_val_dataloader', 'get_root_logger')
    before = [getattr(pipeline, name) for name in names]

    def interrupted(*_) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(UnlearnModel, 'optimize_parameters', interrupted)
    assert cli.main(['train', '-opt', option_file('unlearn')]) == 130
    assert [getattr(pipeline, name) for name in names] == before
    assert not hasattr(sys.modules['basicsr.utils.misc'], 'print')
    lines = terminal.lines()
    assert 'SIGINT' in lines[-1] and ' 0/6 ' in lines[-2]  # the bar stays on a line of its own


def test_plain_lines_come_now_and_then(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr('basicsr_unlearn.engine.progress.time.monotonic', lambda: clock[0])
    plain = Plain(100, 1100)
    for iteration in range(101, 1101):
        clock[0] += 2
        plain.show(iteration, 'forget 20.0 dB')
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(',')[0] for line in lines] == [f'step {i} of 1100' for i in range(210, 1101, 110)]
    assert '03:40 gone, 29:40 left, forget 20.0 dB' in lines[0]


def test_sets_that_do_not_fit_go_on_below(monkeypatch):
    monkeypatch.setenv('COLUMNS', '40')
    assert joined(' 50  ', ['haze 14.03 dB', 'rain 28.91 (-0.07)', 'noise 29.12 (+0.02)']).splitlines() == [
        ' 50  haze 14.03 dB  rain 28.91 (-0.07)', '     noise 29.12 (+0.02)']


@pytest.mark.parametrize('train, words', [
    ({'forget_opt': {'type': 'TargetLoss', 'target': 'degraded', 'criterion': 'l1', 'loss_weight': 2.0},
      'retain_opt': {'type': 'L1Loss', 'target': 'teacher', 'loss_weight': 1.0}}, 'calibrated: '),
    ({'forget_opt': {'type': 'TargetLoss', 'target': 'degraded', 'criterion': 'l1'},
      'retain_opt': {'type': 'L1Loss', 'target': 'gt'}}, 'TargetLoss (degraded) + L1Loss (gt)'),
])
def test_the_method_is_named_where_the_terms_are_those_of_a_preset(train, words):
    assert method_words(train).startswith(words)
