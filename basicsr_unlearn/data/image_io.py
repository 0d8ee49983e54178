"""Reading images as float RGB, with the file named in every error."""
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import cv2
import numpy as np
from PIL import Image

from basicsr_unlearn.errors import DataError

IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm')

MAX_PIXELS = 100_000_000  # of an image, where a data set has no max_pixels; our choice: 1.2 GB as floats

_warned_alpha = False
_reading = threading.Lock()
_readers, _limit_of_pillow = 0, Image.MAX_IMAGE_PIXELS


class Header(NamedTuple):
    """What an image file says of itself: pixels, and Pillow's name of its kind of pixels."""
    height: int
    width: int
    mode: str


def read_header(source: BinaryIO) -> Header | None:
    """The header of an image file, None where Pillow does not know its kind. Leaves the position at the start."""
    try:
        with _any_size(), Image.open(source) as image:
            return Header(image.height, image.width, image.mode)
    except Exception:  # what is no image raises in many ways; the decoder says what is wrong
        return None
    finally:
        source.seek(0)


@contextmanager
def _any_size() -> Iterator[None]:
    """Have Pillow read headers of images of any size: it would refuse large ones without saying how large."""
    global _readers, _limit_of_pillow
    with _reading:
        if _readers == 0:
            _limit_of_pillow, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _readers += 1
    try:
        yield
    finally:
        with _reading:
            _readers -= 1
            if _readers == 0:
                Image.MAX_IMAGE_PIXELS = _limit_of_pillow


def check_pixels(height: int, width: int, name: str, max_pixels: int | None) -> None:
    """Raise DataError if an image has more than `max_pixels` (default MAX_PIXELS)."""
    limit = max_pixels or MAX_PIXELS
    if height * width > limit:
        raise DataError(f'{name} is {width}x{height}, {height * width / 1e6:.3g} million pixels, where at most '
                        f'{limit / 1e6:.3g} million are read: cut it into pieces, or raise max_pixels in the block of '
                        'its data set.')


def decode_image(buffer: bytes, name: str, max_pixels: int | None = None) -> np.ndarray:
    """Decode the bytes of an image file.

    Grey images get three equal channels; an alpha channel is dropped, with one warning per process.

    Args:
        buffer: content of the file.
        name: what to call it in an error.
        max_pixels: height times width that are decoded at most. Default: MAX_PIXELS.

    Returns:
        (h, w, 3) RGB of the stored depth: uint8, or uint16 for 16-bit files.

    Raises:
        DataError: the bytes are no complete image, of another depth, or of too many pixels, which the header tells.
    """
    global _warned_alpha
    header = read_header(io.BytesIO(buffer))
    if header is not None:
        check_pixels(header.height, header.width, name, max_pixels)
    pixels = _decoded(buffer) if buffer else None
    if pixels is None:
        raise DataError(f'{name} cannot be read as an image: the file is truncated, empty or of another kind. '
                        'Replace it or take it out of the data set.')
    check_pixels(*pixels.shape[:2], name, max_pixels)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise DataError(f'{name} stores {pixels.dtype} pixels: convert it to 8 or 16 bits per channel.')
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    if pixels.shape[2] in (2, 4):
        if not _warned_alpha:
            warnings.warn(f'{name} has an alpha channel, which is dropped here and in all further images.',
                          stacklevel=2)
            _warned_alpha = True
        pixels = np.repeat(pixels[..., :1], 3, axis=2) if pixels.shape[2] == 2 else pixels[..., :3]
    return np.ascontiguousarray(pixels[..., ::-1])


def _decoded(buffer: bytes) -> np.ndarray | None:
    # OpenCV prints a warning of its own, without the file's name, for what the caller reports
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    try:
        return cv2.imdecode(np.frombuffer(buffer, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)


def read_image(path: str | Path) -> np.ndarray:
    """Read an image file as (h, w, 3) RGB, uint8 or uint16. Raises DataError, naming the file, if it cannot."""
    try:
        return decode_image(Path(path).read_bytes(), str(path))
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error.strerror}.') from error


def to_float(pixels: np.ndarray) -> np.ndarray:
    """Scale uint8 or uint16 pixels to float32 in [0, 1], 16-bit files at their full precision."""
    return pixels.astype(np.float32) / np.iinfo(pixels.dtype).max


def write_image(path: str | Path, image: np.ndarray) -> None:
    """Write a float RGB image (h, w, 3) in [0, 1] as an 8-bit file, rounding to the nearest level."""
    pixels = np.clip(np.rint(image * 255.0), 0, 255).astype(np.uint8)
    suffix = Path(path).suffix
    Path(path).write_bytes(cv2.imencode(suffix, np.ascontiguousarray(pixels[..., ::-1]))[1].tobytes())


def list_images(folder: str | Path) -> list[Path]:
    """Sorted image files of a folder, hidden files and other kinds left out.

    Raises:
        DataError: the folder does not exist, cannot be read or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f'The folder {folder} does not exist: correct the dataroot line of the option file.')
    try:
        paths = sorted(p for p in folder.iterdir()
                       if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith('.') and p.is_file())
    except OSError as error:
        raise DataError(f'The folder {folder} cannot be read: {error.strerror}.') from error
    if not paths:
        raise DataError(f'The folder {folder} holds no image ({", ".join(IMAGE_SUFFIXES)}).')
    return paths
