"""Disks that are full: a training ends in a sentence, leaves no half-written file, and goes on when there is room.

With the rights to mount, each case is a small disk with a little more room than the one before, and each write of a
training is the first that fails in some of them. A limit on the size of a file, which needs no rights, does the same
for the large files.
"""
import json
import random
import resource
import shutil
import subprocess
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from tests.torture import Section
from tests.torture.calling import Call, problem, run_calls
from tests.torture.example import lay_out

STEP = 12 * 2**10   # bytes between two disks
ROOM = 8 * 2**20    # what the whole run needs, and more
DISKS = 32  # the last ones hold the whole run
LIMITS = [32 << power for power in range(10, 16)]  # bytes of a file
ARGUMENTS = ['train', '-opt', 'train.yml']


def run(budget: float) -> Section:
    """Train on disks of all sizes up to the one that holds the run, then make room and resume."""
    section, end = Section('disks'), time.monotonic() + budget
    with tempfile.TemporaryDirectory() as place:
        example = lay_out(Path(place, 'example'))
        network = _network_of(_finished(example, Path(place, 'whole')))
        cases = [(f'files of at most {limit} bytes', Path(place, f'limit_{limit}'), limit, None) for limit in LIMITS]
        if _mounts(Path(place, 'try')):
            needed = sum(_pages(path) for path in example.rglob('*') if path.is_file())
            cases += [(f'a disk with {room // 2**10} kB left', Path(place, f'disk_{room}'), None, needed + room)
                      for room in range(0, DISKS * STEP, STEP)]
        random.Random(0).shuffle(cases)  # a slow machine does not come to the end of them
        for name, folder, limit, size in cases:
            if time.monotonic() > end:
                break
            folder.mkdir()
            if size is not None:
                subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}', 'tmpfs', folder], check=True)
            try:
                shutil.copytree(example, folder, dirs_exist_ok=True)
                section.add(name, _case(folder, limit, size is not None, network))
            finally:
                if size is not None:
                    subprocess.run(['umount', '--lazy', folder], check=True)
    return section


def _case(folder: Path, limit: int | None, is_disk: bool, network: dict) -> str | None:
    """What is wrong with how a run on a full disk ended, with what it left, or with the run that goes on from there."""
    call = Call(ARGUMENTS, folder, before=limit and partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit)))
    next(run_calls([call]))
    found = problem(call) or _damage(call.folder)
    if found or call.code == 0:
        return found
    if is_disk:
        subprocess.run(['mount', '-o', f'remount,size={ROOM}', folder], check=True)
    again = Call([*ARGUMENTS, '--auto_resume'], call.folder)
    next(run_calls([again]))
    if again.code != 0:
        return f'with room again, --auto_resume ends with {again.code}: {again.stderr.strip()[-300:]}'
    same = all(torch.equal(value, network[name]) for name, value in _network_of(call.folder).items())
    return None if same else 'with room again, the network is another one'


def _damage(folder: Path) -> str | None:
    """A file of the run that is there and cannot be read."""
    for path in sorted(folder.glob('experiments/*/**/*')):
        try:
            if path.suffix in ('.pth', '.state'):
                torch.load(path, weights_only=True)
            elif path.suffix == '.json':
                json.loads(path.read_text(encoding='utf-8'))
        except Exception as error:
            return f'{path.name} is half-written: {type(error).__name__}'
    return None


def _finished(example: Path, folder: Path) -> Path:
    shutil.copytree(example, folder)
    call = next(run_calls([Call(ARGUMENTS, folder)]))
    if call.code != 0:
        raise RuntimeError(f'The example does not train: {call.stderr[-500:]}')
    return folder


def _network_of(folder: Path) -> dict:
    return torch.load(folder / 'experiments/tiny/models/net_g_latest.pth', weights_only=True)['params']


def _mounts(folder: Path) -> bool:
    """Whether this process may mount a disk of its own."""
    folder.mkdir()
    tried = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=4k', 'tmpfs', folder], capture_output=True)
    if tried.returncode == 0:
        subprocess.run(['umount', folder], check=True)
    return tried.returncode == 0


def _pages(path: Path) -> int:
    return -(-path.stat().st_size // 4096) * 4096
