import ctypes
import platform
import sys

import pytest
import torch

from basicsr_unlearn.core import memory
from basicsr_unlearn.core.memory import enough_memory, installed_memory, keep_freed_memory, peak_memory
from basicsr_unlearn.errors import TrainingError


class FakeLibc:
    """Writes down what malloc is told."""

    def __init__(self):
        self.told = {}

    def mallopt(self, option: int, value: int) -> None:
        self.told[option] = value


@pytest.mark.parametrize('name, told', [('glibc', {-4: 0, -1: 2**31 - 1}), ('', {})])
def test_only_glibc_is_told_to_keep_freed_memory(monkeypatch, name, told):
    """No block by mmap (M_MMAP_MAX, -4), and next to no trimming (M_TRIM_THRESHOLD, -1), as malloc.h numbers them."""
    libc = FakeLibc()
    monkeypatch.setattr(platform, 'libc_ver', lambda: (name, ''))
    monkeypatch.setattr(ctypes, 'CDLL', lambda _: libc)
    keep_freed_memory()
    assert libc.told == told


def test_the_peak_counts_what_was_freed_again():
    before = peak_memory()
    block = torch.ones(2**27)  # 512 MB
    del block
    assert peak_memory() >= max(before, 512)


def test_a_system_that_does_not_tell_the_peak_ends_no_run(tmp_path, monkeypatch):
    """Sandboxes leave VmHWM out of /proc/self/status, Windows has neither that file nor getrusage."""
    status = tmp_path / 'status'
    status.write_text('Name:\tpython\nVmSize:\t 100 kB\n')
    monkeypatch.setattr(memory, 'STATUS', status)
    assert peak_memory() > 50  # MB: of getrusage
    monkeypatch.setitem(sys.modules, 'resource', None)
    assert peak_memory() == 0


@pytest.mark.parametrize('error, told', [
    (MemoryError(), True), (torch.cuda.OutOfMemoryError('CUDA out of memory'), True),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"), True),
    (RuntimeError('shapes do not match'), False), (ValueError('x'), False),
])
def test_memory_that_runs_out_is_said_with_the_cure(error, told):
    with pytest.raises(TrainingError if told else type(error)) as caught, enough_memory('Restoring a.png', 'tile it'):
        raise error
    assert not told or ('a.png' in str(caught.value) and 'tile it' in str(caught.value))


def test_what_torch_itself_says_when_memory_runs_out_is_known():
    with pytest.raises(TrainingError), enough_memory('It', 'take less'):
        torch.empty(2**60)


def test_installed_memory_is_more_than_this_process_holds():
    assert installed_memory() > peak_memory() * 2**20
