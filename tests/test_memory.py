import ctypes
import platform

import pytest
import torch

from basicsr_unlearn.memory import M_MMAP_MAX, M_TRIM_THRESHOLD, keep_freed_memory


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc can be told so')
def test_a_process_keeps_the_memory_that_tensors_leave():
    """Each of the 8,192 pages of a block of 32 MB is fetched anew, or none is."""
    import resource  # not there on Windows

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(2**23)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    try:
        keep_freed_memory()
        faults()
        assert faults() < 100
    finally:  # glibc's own values
        for option, value in ((M_MMAP_MAX, 65536), (M_TRIM_THRESHOLD, 2**17)):
            ctypes.CDLL(None).mallopt(option, value)
    faults()
    assert faults() > 100
