"""How much memory a process took, and how it keeps it."""
import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from basicsr_unlearn.errors import TrainingError, is_out_of_memory

STATUS = Path('/proc/self/status')
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt in glibc's malloc.h


def peak_memory() -> float:
    """The most memory held so far, in MB: on the GPU where one was used, else by this process; 0 where the system does
    not tell.

    >>> peak_memory() >= 0
    True
    """
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated() / 2**20
    if STATUS.is_file():  # getrusage would count what the parent held when it started this process
        for line in STATUS.read_text().splitlines():
            if line.startswith('VmHWM'):
                return int(line.split()[1]) / 2**10
    try:
        import resource  # not there on Windows
    except ImportError:
        return 0.0
    unit = 1 if platform.system() == 'Darwin' else 2**10  # bytes of ru_maxrss
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


@contextmanager
def enough_memory(what: str, cure: str) -> Iterator[None]:
    """Raise TrainingError, with `what` took too much and the cure, where memory runs out, on the CPU or a GPU.

    >>> with enough_memory('This image', 'set val.tile'):
    ...     image = torch.zeros(1, 3, 8, 8)
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if is_out_of_memory(error):
            raise TrainingError(f'{what} takes more memory than there is: {cure}.') from error
        raise


def installed_memory() -> float:
    """The memory of this machine in bytes; infinity where the system does not tell.

    >>> installed_memory() > 2**20
    True
    """
    try:
        return float(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))
    except (AttributeError, ValueError, OSError):  # not on Windows
        return float('inf')


def keep_freed_memory() -> None:
    """Have this process keep the memory that tensors leave for the next ones, where the C library is glibc.

    It would give large blocks back at once and fetch them anew page by page, for a sixth of the time that a training
    step takes on the CPU. The peak is the same.

    >>> keep_freed_memory()
    """
    if platform.libc_ver()[0] == 'glibc':
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)  # bytes
