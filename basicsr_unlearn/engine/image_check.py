"""Before the first step: every image file is there, whole, and of a size that can be read."""
import io
import os
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import BinaryIO

from PIL import Image

from basicsr_unlearn.data.image_io import check_pixels, decode_image, read_header
from basicsr_unlearn.data.inspection import Size
from basicsr_unlearn.data.store import ImageStore
from basicsr_unlearn.errors import DataError

DECODED = 16  # images per data set that are decoded in full; of the others, head and end are read
THREADS = 8
END_MARKS = {b'\x89PNG': (b'IEND', 12), b'\xff\xd8\xff': (b'\xff\xd9', 2)}  # of a format: how a complete file ends

_one_jpeg = threading.Lock()


def measure(images: Sequence[tuple[ImageStore, str]], sizes: dict[str, Size], full: bool = False) -> None:
    """Add (height, width) of each image by path to `sizes`.

    Args:
        images: where each is, and its name there. Those whose path is in `sizes` are known.
        full: decode every image, and hear the decoder's complaints about a JPEG, which has no checksum; else 16
            images, and head and end of the others.

    Raises:
        DataError: an image is not whole or has too many pixels; the first one, with `full` how many in all.
    """
    new = {store.path(name): (store, name) for store, name in images if store.path(name) not in sizes}
    damaged: list[DataError] = []
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter('ignore')
        jobs = {path: pool.submit(_size, *image, index < DECODED, full)
                for index, (path, image) in enumerate(new.items())}
        for path, job in jobs.items():
            try:
                sizes[path] = job.result()
            except DataError as error:
                damaged.append(error)
                if not full:
                    pool.shutdown(cancel_futures=True)
                    break
            except BaseException:  # a signal does not wait for the images that are left
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    if len(damaged) > 1:
        raise DataError(f'{len(damaged)} images cannot be used. ' + ' '.join(map(str, damaged[:10])) +
                        (' And so on.' if len(damaged) > 10 else ''))
    if damaged:
        raise damaged[0]


def _size(store: ImageStore, name: str, decoded: bool, full: bool) -> Size:
    path = store.path(name)
    with store.open(name) as source:
        header = read_header(source)
        if header is not None:
            check_pixels(header.height, header.width, path, store.max_pixels)
            # F and I are depths that might be refused: let the decoder say
            if not (decoded or full) and header.mode not in ('F', 'I') and _ends_whole(source):
                return header.height, header.width
    content = store.bytes(name)
    if full and content.startswith(b'\xff\xd8'):
        with _complaints() as heard:
            pixels = decode_image(content, path, store.max_pixels)
        if heard:
            raise DataError(_damaged(path, heard[0]))
    else:
        pixels = decode_image(content, path, store.max_pixels)
    if header is not None:
        _load_all(content, path)
    return pixels.shape[:2]


def _load_all(content: bytes, path: str) -> None:
    """Decode once more with Pillow: unlike OpenCV it does not fill the missing part of an image with grey."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except (OSError, SyntaxError) as error:
        if 'not available' not in str(error):  # a decoder that this Pillow was built without
            raise DataError(_damaged(path, str(error))) from error
    except (ValueError, Image.DecompressionBombError):
        pass  # a kind of file, or a size, that only OpenCV takes


def _damaged(path: str, why: str) -> str:
    why = ' '.join(why.split()).rstrip('.')
    return f'{path} is damaged or incomplete ({why}): replace it or take it out of the data set.'


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """What libjpeg says of the file that is decoded meanwhile, on stderr; it returns an image all the same."""
    heard: list[str] = []
    with _one_jpeg, tempfile.TemporaryFile() as log:
        stderr = os.dup(2)
        os.dup2(log.fileno(), 2)
        try:
            yield heard
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
            log.seek(0)
            said = log.read().decode(errors='replace')
            heard += re.findall(r'(?:Corrupt JPEG data|Premature end of JPEG)[^\n]*', said)


def _ends_whole(source: BinaryIO) -> bool:
    """Whether a PNG or JPEG ends with its end mark. Leaves the position at the start."""
    head = source.read(4)
    whole = False
    for magic, (mark, length) in END_MARKS.items():
        if head.startswith(magic) and source.seek(0, os.SEEK_END) > 64:
            source.seek(-length, os.SEEK_END)
            whole = mark in source.read(length)
    source.seek(0)
    return whole
