"""Signals by which shells and clusters end a job: noted, and ended at a point where nothing is lost."""
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

STOPS = [getattr(signal, name) for name in ('SIGTERM', 'SIGINT', 'SIGHUP') if hasattr(signal, name)]
STOP_CODES = {code for signum in STOPS for code in (128 + signum, -signum)}  # of a child: noted, or at once
SAME_REQUEST = 1.0  # seconds in which a launcher may pass on the signal that its processes have had already

_current: list['Watch'] = []


class Watch:
    """The handler of the signals that ask this process to end.

    The first one interrupts what runs, by KeyboardInterrupt, unless `held`: then it is noted, and who holds it looks
    for `signum`. Another one, a second or more later, ends the process and its workers at once. Processes that were
    forked from this one end at once.
    """

    def __init__(self) -> None:
        self.process = os.getpid()
        self.signum: int | None = None
        self.held = False
        self._since = 0.0

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        if os.getpid() != self.process:
            signal.signal(signum, signal.SIG_DFL)
            os.kill(os.getpid(), signum)
        elif self.signum is None:
            self.note(signum)
            leave_lost_terminal()
            if not self.held:
                end_workers()  # or one that is handing a batch over shows a traceback
                # a loader that is half built when this reaches it cannot tidy up, and would say so with a traceback
                sys.unraisablehook = lambda _: None
                raise KeyboardInterrupt
        elif time.monotonic() - self._since >= SAME_REQUEST:
            end_workers()
            os._exit(self.code)

    def note(self, signum: int) -> None:
        """The process was asked to end: by a signal, or by another process of the run that had one."""
        if self.signum is None:
            self.signum, self._since = signum, time.monotonic()

    @property
    def name(self) -> str:
        """The signal by name; SIGINT before any came, as a library may raise KeyboardInterrupt itself."""
        return signal.Signals(self.signum or signal.SIGINT).name

    @property
    def code(self) -> int:
        """The exit code that shells give a process that a signal has ended."""
        return 128 + (self.signum or signal.SIGINT)

    @contextmanager
    def free(self) -> Iterator[None]:
        """A stretch in which a signal interrupts at once, also one that was noted just before."""
        held, self.held = self.held, False
        try:
            if self.signum is not None:
                raise KeyboardInterrupt
            yield
        finally:
            self.held = held


@contextmanager
def watching() -> Iterator[Watch]:
    """Handle the signals while this lasts; inside another `watching` by the same Watch.

    A signal that is ignored, as by nohup and for background jobs of a script, stays ignored.
    """
    if _current:
        yield _current[-1]
        return
    watch, before, hook = Watch(), {}, sys.unraisablehook
    if threading.current_thread() is threading.main_thread():
        for signum in STOPS:
            if signal.getsignal(signum) is not signal.SIG_IGN:
                before[signum] = signal.signal(signum, watch)
    _current.append(watch)
    try:
        yield watch
    finally:
        _current.remove(watch)
        sys.unraisablehook = hook
        for signum, handler in before.items():
            signal.signal(signum, handler)


def end_workers() -> None:
    """End the processes that multiprocessing started from here."""
    with _unwatched():
        workers = multiprocessing.active_children()
        for worker in workers:
            worker.terminate()  # a DataLoader's takes this from its parent as success, wherever it is
        for worker in workers:
            worker.join(1)
            if worker.is_alive():
                worker.kill()
                worker.join(1)


@contextmanager
def _unwatched() -> Iterator[None]:
    """A stretch in which torch does not look at processes that end: it would raise an error for those killed here."""
    if not hasattr(signal, 'SIGCHLD') or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


def tell(sentence: str) -> None:
    """A sentence on stderr."""
    print(sentence, file=sys.stderr, flush=True)


def leave_lost_terminal() -> None:
    """Let what is said go nowhere if the terminal is gone, as it is at SIGHUP: writing to it is an error."""
    for stream in (1, 2):
        try:
            os.write(stream, b'')
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream)
            os.close(nowhere)
