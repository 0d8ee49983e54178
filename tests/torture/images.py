"""Damaged and unusual images: a run either takes them as what they show, or ends in a sentence that names the file."""
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from tests.torture import Section
from tests.torture.calling import Call, problem, run_calls
from tests.torture.example import SIDE, lay_out

FILE = 'hazy/1.png'


def run(budget: float) -> Section:
    """Spoil one image of a tiny data set in many ways, and train and test with it."""
    section, end = Section('images'), time.monotonic() + budget
    with tempfile.TemporaryDirectory() as place:
        example = lay_out(Path(place, 'example'))
        for call in run_calls(_calls(example, Path(place), end)):
            name, must_name = call.about
            found = problem(call)
            if found is None and must_name and call.code and FILE.rpartition('/')[2].split('.')[0] not in call.stderr:
                found = f'the sentence does not name the file: {call.stderr.strip()[-200:]}'
            section.add(f'{name}, {call.argv[0]}', found)
            shutil.rmtree(call.folder)
    return section


def _calls(example: Path, place: Path, end: float):
    for index, (name, spoil) in enumerate(spoilers()):
        for command in ('train', 'test'):
            if time.monotonic() > end:
                return
            folder = place / f'{index}_{command}'
            shutil.copytree(example, folder)
            spoil(folder / FILE)
            yield Call([command, '-opt', f'{command}.yml'], folder, about=(name, True))


def spoilers() -> list[tuple[str, Callable[[Path], object]]]:
    """(name, what is done to the file): cut at many places, bits turned, other formats, depths, sizes and suffixes."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    found = [(f'cut after {share:.0%}', lambda path, share=share: _cut(path, share))
             for share in (0.001, 0.01, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999)]
    found += [(f'bit turned at {share:.0%}', lambda path, share=share: _turn(path, share))
              for share in (0.0, 0.005, 0.01, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 1.0)]
    found += [('empty', lambda path: path.write_bytes(b'')),
              ('zeros', lambda path: path.write_bytes(bytes(4096))),
              ('a text', lambda path: path.write_text('no image')),
              ('grey', lambda path: _write(path, noise[..., 0])),
              ('16 bits', lambda path: _write(path, noise.astype(np.uint16) * 257)),
              ('alpha', lambda path: _write(path, np.dstack([noise, noise[..., :1]]))),
              ('1x1', lambda path: _write(path, noise[:1, :1])),
              ('one row less', lambda path: _write(path, noise[1:]))]
    return found


def _cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:int(len(content) * share)])


def _turn(path: Path, share: float) -> None:
    content = bytearray(path.read_bytes())
    content[int((len(content) - 1) * share)] ^= 0x10
    path.write_bytes(bytes(content))


def _write(path: Path, pixels: np.ndarray, suffix: str = '.png') -> None:
    path.write_bytes(cv2.imencode(suffix, pixels)[1].tobytes())
