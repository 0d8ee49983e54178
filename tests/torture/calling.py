"""Our commands in processes of their own, forked from this one, which has imported everything; and how they ended."""
import os
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from basicsr_unlearn.cli import commands as cli

JOBS = 2
HUNG = 'no end after {:.0f} s'


@dataclass
class Call:
    """One call of `basicsr-unlearn`.

    `seconds` is what it may take; `memory` the address space that it may fill, in bytes; `before` is called in the
    process first. `about` is handed through to whoever judges the result.
    """
    argv: list[str]
    folder: Path
    seconds: float = 20.0
    memory: int | None = None
    before: Callable[[], object] | None = None
    about: Any = None
    stdout: str = ''
    stderr: str = ''
    code: int | None = None   # None: it did not end; negative: killed by this signal
    left: int = 0             # processes that it started and that outlived it
    _files: list = field(default_factory=list)
    _pid: int = 0
    _end: float = 0.0


def run_calls(calls: Iterable[Call], jobs: int = JOBS) -> Iterator[Call]:
    """Run the calls, `jobs` at a time, and give each back with its output and exit code when it has ended."""
    waiting, running = iter(calls), []
    more = True
    while more or running:
        while more and len(running) < jobs:
            call = next(waiting, None)
            more = call is not None
            if more:
                _start(call)
                running.append(call)
        for call in list(running):
            if _ended(call):
                running.remove(call)
                yield call
        time.sleep(0.005)


def problem(call: Call) -> str | None:
    """What is wrong with how a call ended; None if it succeeded, or refused its input with one sentence."""
    if call.code is None:
        return HUNG.format(call.seconds)
    if 'Traceback (most recent call last)' in call.stderr:
        return 'traceback, ' + call.stderr.strip().splitlines()[-1]
    if call.code == 0:
        return None
    if call.code != 2:
        return f'exit code {call.code}, {call.stderr.strip()[-200:] or "nothing said"}'
    lines = call.stderr.strip().splitlines()
    return None if lines and is_sentence(lines[-1]) else f'no sentence but {call.stderr.strip()[-200:]!r}'


def is_sentence(line: str) -> bool:
    """Whether this is what `guarded` prints: one sentence that says something, of a length that a person reads."""
    return bool(re.fullmatch(r'Error: \S.{10,1200}[.?]', line))


def _start(call: Call) -> None:
    call._files = [tempfile.TemporaryFile('w+', encoding='utf-8', errors='replace') for _ in range(2)]  # noqa: SIM115
    call._end = time.monotonic() + call.seconds
    sys.stdout.flush()
    sys.stderr.flush()
    call._pid = os.fork()
    if call._pid == 0:
        _child(call)


def _child(call: Call) -> None:
    code = 70
    try:
        os.setsid()  # its workers end with it
        for number, file in enumerate(call._files, 1):
            os.dup2(file.fileno(), number)
        sys.stdout, sys.stderr = (os.fdopen(number, 'w', encoding='utf-8', errors='replace') for number in (1, 2))
        os.chdir(call.folder)
        torch.set_num_threads(1)
        if call.memory is not None:
            resource.setrlimit(resource.RLIMIT_AS, (call.memory, call.memory))
        if call.before is not None:
            call.before()
        code = cli.main(call.argv)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)  # whatever happens: what follows here is the parent's to do


def _ended(call: Call) -> bool:
    pid, status = os.waitpid(call._pid, os.WNOHANG)
    if pid == 0 and time.monotonic() < call._end:
        return False
    call.left = _alive_in_group(call._pid)
    try:
        os.killpg(call._pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    if pid == 0:
        os.waitpid(call._pid, 0)
    else:
        call.code = os.waitstatus_to_exitcode(status)
    call.stdout, call.stderr = (_content(file) for file in call._files)
    return True


def _alive_in_group(group: int) -> int:
    found = 0
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            state, _, its_group = stat.read_text().rpartition(')')[2].split()[:3]
        except OSError:  # it has just ended
            continue
        found += its_group == str(group) and state != 'Z' and stat.parent.name != str(group)
    return found


def _content(file: Any) -> str:
    with file:
        file.seek(0)
        return file.read()
