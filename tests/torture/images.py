"""Damaged and unusual images: a run takes them as what they show, or ends in a sentence that names the file."""
import os
import random
import shutil
import struct
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from basicsr_unlearn.engine import entry
from tests.torture import Section
from tests.torture.calling import Call, problem, run_calls
from tests.torture.example import SIDE, lay_out

FILE = 'hazy/1.png'
COMMANDS = {'train': ['train', '-opt', 'train.yml'], 'test': ['test', '-opt', 'test.yml'],
            'check --full': ['check', '-opt', 'train.yml', '--full']}
MEANWHILE = 'train, damaged meanwhile'

Spoil = Callable[[Path], object]
NOISE = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
PICTURE = Image.fromarray(NOISE)


def run(budget: float) -> Section:
    """Spoil one image of a tiny data set in many ways, then check it, train and test with it."""
    section, end = Section('images'), time.monotonic() + budget
    with tempfile.TemporaryDirectory() as place:
        example = lay_out(Path(place, 'example'))
        for call in run_calls(_calls(example, Path(place), end)):
            name, command, is_whole = call.about
            section.add(f'{name}, {command}', problem(call) or _mistake(call, is_whole))
            shutil.rmtree(call.folder)
    return section


def _mistake(call: Call, is_whole: bool) -> str | None:
    """Whether a whole image was refused, or the sentence does not say which image it is about."""
    if call.code and is_whole:
        return f'it is a whole image, but: {call.stderr.strip()[-200:]}'
    if call.code and not any(name in call.stderr for name in (FILE, 'hazy', 'clear')):
        return f'the sentence does not name the file: {call.stderr.strip()[-200:]}'
    return None


def _calls(example: Path, place: Path, end: float) -> Iterator[Call]:
    """The cases, mixed: on a slow machine, which does not come to the end of them, all kinds are among them."""
    cases = [*whole_images(), *spoilt_images()]
    random.Random(0).shuffle(cases)
    for index, (name, spoil, is_whole) in enumerate(cases):
        for command in (*COMMANDS, MEANWHILE):
            if time.monotonic() > end:
                return
            folder = place / f'{index}_{command.split()[-1]}'
            shutil.copytree(example, folder)
            if command == MEANWHILE:
                call = Call(COMMANDS['train'], folder, before=partial(_spoil_after_preflight, spoil))
            else:
                spoil(folder / FILE)
                call = Call(COMMANDS[command], folder)
            call.about = (name, command, is_whole)
            yield call


def _spoil_after_preflight(spoil: Spoil) -> None:
    """In the process of the run: the file is in order when it is checked, and is not when it is read again."""
    check = entry.preflight

    def preflight(*args, **kwargs) -> None:
        check(*args, **kwargs)
        spoil(Path(FILE))

    entry.preflight = preflight


def whole_images() -> list[tuple[str, Spoil, bool]]:
    """(name, how the file is written, true) for images that every run has to take, of many kinds."""
    grey = PICTURE.convert('L')
    kinds = {
        'as it is': (PICTURE, 'PNG', {}), 'grey': (grey, 'PNG', {}), 'palette': (PICTURE.quantize(16), 'PNG', {}),
        'black and white': (PICTURE.convert('1'), 'PNG', {}), 'alpha': (PICTURE.convert('RGBA'), 'PNG', {}),
        'grey and alpha': (PICTURE.convert('LA'), 'PNG', {}), 'JPEG named PNG': (PICTURE, 'JPEG', {}),
        'progressive JPEG': (PICTURE, 'JPEG', {'progressive': True}), 'grey JPEG': (grey, 'JPEG', {}),
        'CMYK JPEG': (PICTURE.convert('CMYK'), 'JPEG', {}), 'BMP named PNG': (PICTURE, 'BMP', {}),
        'TIFF': (PICTURE, 'TIFF', {}), 'LZW TIFF': (PICTURE, 'TIFF', {'compression': 'tiff_lzw'}),
        'TIFF of two pages': (PICTURE, 'TIFF', {'save_all': True, 'append_images': [PICTURE]}),
        'WebP': (PICTURE, 'WEBP', {'lossless': True}), 'PPM': (PICTURE, 'PPM', {}),
        'turned by EXIF': (PICTURE, 'JPEG', {'exif': _turned()}),
    }
    found = [(name, partial(_save, *kind), True) for name, kind in kinds.items()]
    return [*found, ('16 bits', lambda path: _encode(path, NOISE.astype(np.uint16) * 257), True),
            ('16 bits, grey', lambda path: _encode(path, NOISE[..., 0].astype(np.uint16) * 257), True),
            ('trailing bytes', lambda path: path.write_bytes(path.read_bytes() + bytes(999)), True)]


def spoilt_images() -> list[tuple[str, Spoil, bool]]:
    """(name, what is done to the file, false): cut, bits turned, zeros, of other sizes and depths, no file at all."""
    cuts = [(f'cut after {share:.1%}', partial(_cut, share))
            for share in (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.999)]
    turns = [(f'bit turned at {share:.1%}', partial(_turn, share)) for share in np.linspace(0, 1, 25)]
    jpegs = [(f'JPEG, {share:.0%} on overwritten', partial(_overwrite_jpeg, share))
             for share in (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)]
    others = [
        ('empty', lambda path: path.write_bytes(b'')), ('zeros', lambda path: path.write_bytes(bytes(4096))),
        ('a text', lambda path: path.write_text('no image')), ('a page', lambda path: path.write_text('<html></html>')),
        ('gone', os.unlink), ('a folder', lambda path: (path.unlink(), path.mkdir())),
        ('a dangling link', lambda path: (path.unlink(), path.symlink_to('nowhere'))),
        ('a link to itself', lambda path: (path.unlink(), path.symlink_to(path.name))),
        ('a pipe', lambda path: (path.unlink(), os.mkfifo(path))),
        ('1x1', lambda path: _encode(path, NOISE[:1, :1])), ('one row less', lambda path: _encode(path, NOISE[1:])),
        ('floats', partial(_save, Image.fromarray(NOISE[..., 0].astype(np.float32)), 'TIFF', {})),
        ('32 bits', partial(_save, Image.fromarray(NOISE[..., 0].astype(np.int32)), 'TIFF', {})),
        ('20000x20000 in the header', partial(_claim, 20_000, 20_000, False)), ('0x0', partial(_claim, 0, 0, False)),
        ('4294967295x1', partial(_claim, 2**32 - 1, 1, False)), ('20000x20000', partial(_claim, 20_000, 20_000, True)),
        ('as large as another one, and no more', lambda path: path.write_bytes(bytes(path.stat().st_size))),
    ]
    return [(name, spoil, False) for name, spoil in (*cuts, *turns, *jpegs, *others)]


def _save(picture: Image.Image, kind: str, options: dict, path: Path) -> None:
    buffer = BytesIO()
    picture.save(buffer, kind, **options)
    path.write_bytes(buffer.getvalue())


def _encode(path: Path, pixels: np.ndarray) -> None:
    path.write_bytes(cv2.imencode('.png', pixels)[1].tobytes())


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # by 90 degrees, which no data set follows
    return exif


def _cut(share: float, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:int(len(content) * share)])


def _turn(share: float, path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[int((len(content) - 1) * share)] ^= 0x10
    path.write_bytes(bytes(content))


def _overwrite_jpeg(share: float, path: Path) -> None:
    _save(PICTURE, 'JPEG', {}, path)
    content = bytearray(path.read_bytes())
    start = int(len(content) * share)
    content[start:start + 20] = b'\x55' * len(content[start:start + 20])
    path.write_bytes(bytes(content))


def _claim(width: int, height: int, is_true: bool, path: Path) -> None:
    """A PNG that says it is so large, and is (all black) or is not."""
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))

    packer = zlib.compressobj()
    rows = b''.join(packer.compress(bytes(3 * width + 1)) for _ in range(height if is_true else 0)) + packer.flush()
    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', rows) + chunk(b'IEND', b''))
