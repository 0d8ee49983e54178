"""What a run shows a person: few lines, wrapped at words, above a progress bar if there is one.

BasicSR's own lines go to the log file of the run alone. A log record is shown here if it is a warning, or if it carries
`extra=SHOWN` of models.stopping.
"""
import importlib
import logging
import os
import re
import shutil
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from glob import escape, glob
from pathlib import Path
from types import ModuleType

import torch
from tqdm import tqdm

from basicsr_unlearn.engine.compat import rebound

NARROWEST, WIDEST = 40, 120


def width() -> int:
    """Columns of the terminal; 80 where there is none."""
    return min(max(shutil.get_terminal_size().columns, NARROWEST), WIDEST)


def wrapped(string: str, hanging: int = 0) -> str:
    """The string in lines of the terminal's width, broken at words; all but the first start with `hanging` blanks."""
    return textwrap.fill(string, width(), subsequent_indent=' ' * hanging, break_long_words=False,
                         break_on_hyphens=False)


def joined(head: str, items: Sequence[str], gap: str = '  ') -> str:
    """`head` and the items on one line, or on several of the terminal's width, broken between items."""
    lines, line = [], head
    for item in items:
        if line.strip() != head.strip() and len(line) + len(item) > width():
            lines.append(line.rstrip())
            line = ' ' * len(head)
        line += item + gap
    return '\n'.join([*lines, line.rstrip()])


def short(path: str | Path) -> str:
    """A path below the current directory from there, any other as it is."""
    folder = Path(path)
    return str(folder.relative_to(Path.cwd())) if folder.is_relative_to(Path.cwd()) else str(path)


def say(string: str) -> None:
    """A line on stdout, above the bar."""
    tqdm.write(string, file=sys.stdout)
    sys.stdout.flush()


def warn(string: str) -> None:
    """A sentence on stderr, above the bar."""
    tqdm.write(wrapped(string), file=sys.stderr)
    sys.stderr.flush()


class ShownRecords(logging.Handler):
    """Log records for a person: warnings on stderr, each once in a run whatever numbers it has, and what is `SHOWN`."""

    def __init__(self):
        super().__init__(logging.INFO)
        self._told: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        string = ' '.join(getattr(record, 'sentence', record.getMessage()).split())
        if record.levelno < logging.WARNING:
            if getattr(record, 'shown', False):
                say(wrapped(string))
            return
        kind = re.sub(r'[-+]?\d[\d.,]*', '0', string)
        if kind not in self._told:
            self._told.add(kind)
            warn(f'Warning: {string}')


def show_log(get_root_logger: Callable[..., logging.Logger]) -> Callable[..., logging.Logger]:
    """BasicSR's `get_root_logger`, with ShownRecords in place of its lines on the terminal. The log file stays."""
    def get(*args, **kwargs) -> logging.Logger:
        logger = get_root_logger(*args, **kwargs)
        for handler in list(logger.handlers):
            if type(handler) is logging.StreamHandler:  # a FileHandler is one too
                logger.removeHandler(handler)
                logger.addHandler(ShownRecords())
        return logger
    return get


@contextmanager
def python_warnings_logged() -> Iterator[None]:
    """Let what `warnings.warn` says be a warning of the log: whole in its file, the first sentence on the terminal."""
    before = warnings.showwarning

    def show(message, category, filename, lineno, file=None, line=None) -> None:
        logger = logging.getLogger('basicsr')
        # the processes that load data share the terminal but not the bar on it
        if file is not None or not logger.handlers or torch.utils.data.get_worker_info() is not None:
            return before(message, category, filename, lineno, file, line)
        first = re.split(r'(?<=[.!?])\s', str(message).strip(), maxsplit=1)[0]
        logger.warning(warnings.formatwarning(message, category, filename, lineno, line).strip(),
                       extra={'sentence': first})

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before


@contextmanager
def basicsr_shown() -> Iterator[None]:
    """What BasicSR prints without its logger, for a person: nothing, but where the folder of an earlier run went."""
    options, misc = (importlib.import_module(f'basicsr.utils.{name}') for name in ('options', 'misc'))
    move = misc.mkdir_and_rename

    def mkdir_and_rename(path: str) -> None:
        there = os.path.exists(path)
        move(path)
        if there:
            kept = max(glob(f'{escape(path)}_archived_*'), key=os.path.getctime)
            say(wrapped(f'The earlier run of this name is kept as {short(kept)}.'))

    with silent(options), silent(misc), rebound(misc, 'mkdir_and_rename', mkdir_and_rename):
        yield


@contextmanager
def silent(module: ModuleType) -> Iterator[None]:
    """Let `print` do nothing in a module of BasicSR's."""
    module.print = lambda *_, **__: None
    try:
        yield
    finally:
        del module.print
