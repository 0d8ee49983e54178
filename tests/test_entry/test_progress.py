"""The progress bar on a pseudo-terminal, and its absence elsewhere."""
import os
import pty
import re
import sys
import threading

import pytest

from basicsr_unlearn.compat import forget_logger
from basicsr_unlearn.progress import progress_bar

# isort: split
import basicsr.train as pipeline
from basicsr.utils import get_root_logger

OPT = {'name': 'tiny', 'logger': {'print_freq': 10, 'use_tb_logger': False}, 'train': {'total_iter': 100}}


class Terminal:
    """A pseudo-terminal that takes the place of stderr and keeps what was shown."""

    def __init__(self):
        master, slave = pty.openpty()
        self.file = os.fdopen(slave, 'w', buffering=1)
        self._shown = b''
        self._thread = threading.Thread(target=self._read, args=(master,), daemon=True)
        self._thread.start()

    def _read(self, master: int) -> None:
        try:
            while chunk := os.read(master, 4096):
                self._shown += chunk
        except OSError:  # Linux's way to say that the other end is closed
            pass
        os.close(master)

    def text(self) -> str:
        self.file.close()
        self._thread.join(5)
        return self._shown.decode()


@pytest.fixture
def terminal():
    forget_logger()
    yield Terminal()
    forget_logger()


def log(message_logger, iteration: int) -> None:
    message_logger({'epoch': 0, 'iter': iteration, 'lrs': [1e-3], 'time': 0.1, 'data_time': 0.01, 'l_forget': 0.25,
                    'psnr_forget': 20.0})


def test_bar_shows_iterations_losses_and_time_left(terminal, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', terminal.file)
    get_root_logger(log_file=os.devnull)
    with progress_bar():
        message_logger = pipeline.MessageLogger(OPT, 0)
        message_logger.reset_start_time()
        log(message_logger, 10)
        log(message_logger, 20)
    text = terminal.text()
    assert re.search(r'tiny:\s+20%.*20/100 \[\d\d:\d\d<\d\d:\d\d.*l_forget=0\.25', text)
    assert 'psnr_forget=' not in text  # the log line has it as `psnr_forget: `
    for iteration in (10, 20):  # log lines stay, each on a line of its own above the bar
        assert re.search(rf'(^|[\r\n])[^\r\n|]*INFO: \[tiny\.\.\]\[epoch:  0, iter: +{iteration},[^\r\n|]*\r\n', text)


def test_bar_of_a_resumed_run_counts_time_from_where_it_goes_on(terminal, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', terminal.file)
    get_root_logger(log_file=os.devnull)
    with progress_bar():
        message_logger = pipeline.MessageLogger(OPT, 90)
        bar = message_logger.bar
        bar.start_t -= 50  # 5 iterations in 50 s: 5 are left, so 50 s
        log(message_logger, 95)
        assert bar.n == 95
        rate = bar.format_dict['rate'] or (bar.n - bar.initial) / bar.format_dict['elapsed']
        assert (bar.total - bar.n) / rate == pytest.approx(50, rel=0.05)
    assert '00:5' in terminal.text()


def test_bar_is_closed_and_all_undone_after_an_error(terminal, monkeypatch):
    monkeypatch.setattr(sys, 'stderr', terminal.file)
    before = pipeline.MessageLogger
    logger = get_root_logger(log_file=os.devnull)
    handlers = list(logger.handlers)
    with pytest.raises(KeyboardInterrupt), progress_bar():
        message_logger = pipeline.MessageLogger(OPT, 0)
        bar = message_logger.bar
        assert logger.handlers != handlers
        raise KeyboardInterrupt
    assert bar.disable and message_logger.bar is None
    assert pipeline.MessageLogger is before
    assert logger.handlers == handlers


def test_no_bar_without_a_terminal(capsys):
    before = pipeline.MessageLogger
    with progress_bar():
        assert pipeline.MessageLogger is before
