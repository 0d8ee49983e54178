"""Sample photographs: real ones out of scikit-image, laid out on first use, so that every option file runs as it is."""
import importlib.util
import os
import shutil
import uuid
import zlib
from pathlib import Path

import numpy as np

from basicsr_unlearn.data import degradations as D
from basicsr_unlearn.data.image_io import read_image, to_float, write_image
from basicsr_unlearn.errors import DataError

SAMPLE_ROOT = Path('datasets/sample')
MARKER = 'README.txt'  # written last; a folder without it is not ours

# Crops (file, top, bottom, left, right) in pixels by group. No photograph is in two groups, save the motorcycle, the
# only one with a true depth, which is cut in two by columns: 0-400 to forget, 450-706 to validate.
CROPS = {
    'forget': {'astronaut': ('astronaut.png', 0, 512, 0, 512), 'motorcycle': ('motorcycle_left.png', 0, 500, 0, 400)},
    'retain': {'coffee': ('coffee.png', 0, 400, 0, 600), 'camera': ('camera.png', 0, 512, 0, 512)},
    'val': {'chelsea': ('chelsea.png', 22, 278, 100, 356), 'rocket_left': ('rocket.jpg', 171, 427, 60, 316),
            'rocket_right': ('rocket.jpg', 171, 427, 316, 572),
            'motorcycle_top': ('motorcycle_left.png', 0, 248, 450, 706),
            'motorcycle_bottom': ('motorcycle_left.png', 252, 500, 450, 706)},
}
# The levels NAME_1, NAME_2 ... of each degradation (our choice, inside the ranges that the shipped networks train on).
LEVELS = {
    'haze': [{'beta': 0.8, 'airlight': 0.85}, {'beta': 1.2, 'airlight': 0.9}, {'beta': 1.6, 'airlight': 0.8},
             {'beta': 2.0, 'airlight': 0.95}],
    'rain': [{'density': 0.006, 'length': 20, 'angle': -15, 'width': 0.6, 'opacity': 0.6},
             {'density': 0.01, 'length': 14, 'angle': 10, 'width': 0.5, 'opacity': 0.5},
             {'density': 0.004, 'length': 28, 'angle': 20, 'width': 0.8, 'opacity': 0.75}],
    'noise': [{'sigma': 25}, {'sigma': 15}, {'sigma': 50}],
}
FOCAL_BY_BASELINE, DISPARITY_OFFSET = 994.978 * 193.001, 31.086  # calibration given by skimage.data.stereo_motorcycle

README = """Sample photographs, laid out by basicsr_unlearn from the files inside the installed scikit-image package.
Delete the folder to have it laid out anew.

astronaut    Eileen Collins, NASA; no known copyright restrictions, public domain
camera       Lav Varshney; CC0
chelsea      Stefan van der Walt; CC0
coffee       Rachel Michetti, courtesy of Pikolo Espresso Bar; CC0
rocket       DSCOVR launch on Falcon 9, SpaceX; public domain
motorcycle   Middlebury 2014 stereo benchmark, with measured disparity: D. Scharstein, H. Hirschmueller, Y. Kitajima,
             G. Krathwohl, N. Nesic, X. Wang, P. Westling, High-resolution stereo datasets with subpixel-accurate
             ground truth, GCPR 2014; distributed with scikit-image, cite the paper

{haze,rain,noise}/train/{input,target}  astronaut and motorcycle (left part), several levels each: NAME_2 -> NAME
{haze,rain,noise}/val/{input,target}    chelsea, two crops of rocket, two of motorcycle (right part), one level each
clean/train                             coffee and camera: in no other set
clean/val                               the clean images of the val sets
"""


def ensure_sample(root: str) -> None:
    """Lay the sample out if `root` lies below `datasets/sample` and there is no such folder yet.

    Raises:
        DataError: see `lay_out_sample`.
    """
    below = Path(os.path.abspath(os.path.expanduser(root))).is_relative_to(SAMPLE_ROOT.absolute())
    if below and not SAMPLE_ROOT.exists():
        lay_out_sample(SAMPLE_ROOT)


def lay_out_sample(folder: Path) -> None:
    """Write the sample photographs, 8-bit PNG and always the same, to `folder`.

    Haze on the motorcycle follows its true depth, made of the measured disparity; the other photographs get a synthetic
    depth. The motorcycle alone is in two groups, forget and validation, by disjoint regions; all else is split by whole
    photographs. All is written beside `folder` and moved there at the end, so what is there is complete, also when
    several processes start at once.

    Raises:
        DataError: scikit-image or one of its photographs is missing, or the disk does not take the files.
    """
    folder = Path(folder)
    source = _photograph_folder()
    partial = folder.parent / f'.{folder.name}.{uuid.uuid4().hex}.partial'
    try:
        _write_all(source, partial)
        (partial / MARKER).write_text(README, encoding='utf-8')
        try:
            os.rename(partial, folder)
        except OSError:
            if not (folder / MARKER).is_file():  # else another process was first, with the same files
                raise
    except OSError as error:
        raise DataError(f'The sample photographs cannot be written to {folder}: {error.strerror}. Run where you may '
                        'write, or set the dataroot lines of the option file to your own data.') from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _photograph_folder() -> Path:
    spec = importlib.util.find_spec('skimage')  # not imported: its data functions may reach for the network
    if spec is None or not spec.submodule_search_locations:
        raise DataError('The sample photographs come with scikit-image, which is not installed: pip install '
                        'scikit-image, or set the dataroot lines of the option file to your own data.')
    folder = Path(spec.submodule_search_locations[0]) / 'data'
    needed = {crop[0] for crops in CROPS.values() for crop in crops.values()} | {'motorcycle_disp.npz'}
    missing = sorted(name for name in needed if not (folder / name).is_file())
    if missing:
        raise DataError(f'The installed scikit-image lacks {missing[0]} in {folder}: reinstall it, or set the dataroot '
                        'lines of the option file to your own data.')
    return folder


def _write_all(source: Path, folder: Path) -> None:
    depths = {'motorcycle_left.png': motorcycle_depth(np.load(source / 'motorcycle_disp.npz')['arr_0'])}
    for group, crops in CROPS.items():
        for name, (file, top, bottom, left, right) in crops.items():
            whole = to_float(read_image(source / file))
            if file not in depths:
                depths[file] = D.synthetic_depth(*whole.shape[:2], _generator(file))
            window = slice(top, bottom), slice(left, right)
            clean, depth = whole[window], depths[file][window]
            if group != 'forget':
                _write(folder / 'clean' / ('train' if group == 'retain' else 'val') / f'{name}.png', clean)
            if group != 'retain':
                phase = 'train' if group == 'forget' else 'val'
                for kind, levels in LEVELS.items():
                    _write(folder / kind / phase / 'target' / f'{name}.png', clean)
                    # validation is one level an image, so that it stays cheap: of haze another one each time
                    first = list(crops).index(name) % len(levels) if kind == 'haze' else 0
                    numbers = range(len(levels)) if group == 'forget' else [first]
                    for number in numbers:
                        lq = _degraded(kind, clean, depth, levels[number], _generator(f'{kind}/{name}_{number + 1}'))
                        _write(folder / kind / phase / 'input' / f'{name}_{number + 1}.png', lq)


def _degraded(kind: str, clean: np.ndarray, depth: np.ndarray, values: dict, rng: np.random.Generator) -> np.ndarray:
    if kind == 'haze':
        return D.haze(clean, depth, **values)
    return {'rain': D.rain_streaks, 'noise': D.gaussian_noise}[kind](clean, **values, rng=rng)


def motorcycle_depth(disparity: np.ndarray) -> np.ndarray:
    """Depth (h, w), 1 at the farthest point, from a disparity in pixels with inf or NaN where it was not measured.

    Depth is `focal * baseline / (disparity + offset)`. A hole takes the smaller of the two measured disparities next to
    it in its row, the farther side, since a hole is mostly background that the other camera cannot see.
    """
    known = np.isfinite(disparity)
    filled = np.minimum(_carried(disparity, known), _carried(disparity[:, ::-1], known[:, ::-1])[:, ::-1])
    filled = np.where(np.isfinite(filled), filled, disparity[known].min())  # a row without any measurement
    depth = FOCAL_BY_BASELINE / (filled + DISPARITY_OFFSET)
    return (depth / depth.max()).astype(np.float32)


def _carried(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Each row with holes filled by the last known value to the left, inf where there is none."""
    last = np.maximum.accumulate(np.where(known, np.arange(values.shape[1]), -1), axis=1)
    return np.where(last >= 0, np.take_along_axis(values, np.maximum(last, 0), axis=1), np.inf)


def _generator(name: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(name.encode('utf-8')))


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, image)
