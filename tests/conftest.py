"""Fixtures for all tests: tiny generated photographs, the optional real data, a clean slate for BasicSR's loggers."""
import importlib.util
import logging
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

import basicsr_unlearn.plugin  # noqa: F401  first of all: without its aliases BasicSR cannot be imported

REPOSITORY = Path(__file__).resolve().parents[1]


def make_photo(height: int, width: int, seed: int) -> np.ndarray:
    """A smooth picture with some grain, (h, w, 3) uint8 RGB, the same for the same seed."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.random((5, 5, 3), dtype=np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(np.rint(smooth * 235 + rng.normal(10, 4, smooth.shape)), 0, 255).astype(np.uint8)


def write_pixels(path: Path, pixels: np.ndarray) -> None:
    """Write RGB (or grey, or RGBA) pixels of 8 or 16 bits as they are; the suffix gives the format."""
    if pixels.ndim == 3:
        pixels = pixels[..., [2, 1, 0, 3][:pixels.shape[2]]]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, np.ascontiguousarray(pixels))[1].tobytes())


@pytest.fixture(scope='session')
def photos():
    """photos(folder, names, size=(48, 40), seed=0, suffix='.png') writes one seeded photograph for each name.

    Returns the folder as a string, as option files have it.
    """

    def write(folder: Path, names: list[str], size: tuple[int, int] = (48, 40), seed: int = 0,
              suffix: str = '.png') -> str:
        for i, name in enumerate(names):
            write_pixels(Path(folder) / f'{name}{suffix}', make_photo(*size, seed + i))
        return str(folder)

    return write


@pytest.fixture(scope='session')
def pixels():
    """pixels(path, array) writes an array as an image file as it is."""
    return write_pixels


@pytest.fixture(scope='session')
def create_lmdb():
    """The module datasets/create_lmdb.py, a script outside the package."""
    spec = importlib.util.spec_from_file_location('create_lmdb', REPOSITORY / 'datasets' / 'create_lmdb.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def paired_folders(tmp_path, photos):
    """(lq, gt): two folders of the four images a, b, c, d, 48x40, of equal names and different content."""
    names = ['a', 'b', 'c', 'd']
    return photos(tmp_path / 'lq', names, seed=100), photos(tmp_path / 'gt', names)


@pytest.fixture
def in_tmp_path(tmp_path, monkeypatch) -> Path:
    """The test runs with an empty folder as its current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def data_root() -> Path:
    """The folder of real photographs, which is no part of the repository; without it the test is skipped."""
    folder = Path(os.environ.get('BASICSR_UNLEARN_DATA', REPOSITORY.parent / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip('no real photographs: set BASICSR_UNLEARN_DATA to their folder')
    return folder


@pytest.fixture
def fresh_loggers():
    """BasicSR sets up each logger once per process; this makes the next pipeline in the process set up its own."""

    def forget() -> None:
        from basicsr.utils.logger import initialized_logger
        for name in initialized_logger:
            logger = logging.getLogger(name)
            for handler in list(logger.handlers):
                handler.close()
                logger.removeHandler(handler)
            logger.propagate = True
        initialized_logger.clear()

    forget()
    yield
    forget()
