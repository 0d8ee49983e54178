import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import torch
from basicsr_unlearn.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**23)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
before = faults()
keep_freed_memory()
faults()
print(before, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != 'glibc', reason='only glibc can be told so')
def test_a_process_keeps_the_memory_that_tensors_leave():
    """Each page of a block of 32 MB is fetched anew, or none is."""
    done = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert before > 10 * (after + 1)
