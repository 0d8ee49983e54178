"""Degradations as the option file writes them: a list of steps, each with fixed or drawn parameters."""
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from basicsr_unlearn.data import degradations as D
from basicsr_unlearn.data.image_io import list_images, read_image, to_float
from basicsr_unlearn.errors import DataError, OptionError

# type -> its parameters with their defaults: a number, or [low, high] to draw from evenly. Values are our choice where
# no source is named; noise is the blind range of DnCNN (Zhang et al., 2017).
PARAMETERS = {
    'gaussian_noise': {'sigma': [0, 55]},
    'rain_streaks': {'density': [0.002, 0.012], 'length': [8, 30], 'angle': [-25, 25], 'width': [0.4, 0.9],
                     'opacity': [0.35, 0.8]},
    'haze': {'beta': [0.6, 2.4], 'airlight': [0.7, 1.0], 'tint': 0},
    'blur': {},
    'gaussian_blur': {'sigma': [0.5, 3.0]},
    'low_light': {'exposure': [0.1, 0.5], 'gamma': [1.0, 2.0], 'read_noise': [0, 6]},
    'jpeg': {'quality': [20, 80]},
}
# The least and the most of each parameter: beyond lies no image, or an hour for a patch. Our choice.
LIMITS = {
    'gaussian_noise': {'sigma': (0, 1000)},
    'rain_streaks': {'density': (0, 1), 'length': (1, 500), 'angle': (-360, 360), 'width': (0, 100), 'opacity': (0, 1)},
    'haze': {'beta': (0, 100), 'airlight': (0, 1), 'tint': (-1, 1)},
    'blur': {},
    'gaussian_blur': {'sigma': (0, 100)},
    'low_light': {'exposure': (0, 100), 'gamma': (0, 100), 'read_noise': (0, 1000)},
    'jpeg': {'quality': (1, 100)},
}
FILES = {'haze': 'depth', 'blur': 'kernels'}  # the option of a step that names a folder


class DegradationChain:
    """Steps applied in order to a window of a photograph.

    Args:
        steps: one mapping per step: `type`, and its parameters as a number, as [low, high] (drawn evenly) or as
            {choices: [...]}. `haze` takes `depth`: a folder of depth maps (.npy or 16-bit images, larger is farther)
            named as the photographs; without it a synthetic depth is made. `blur` takes `kernels`: a folder of
            measured kernels (.npy or images), one drawn each time.
        scale: of the clean image over the degraded one. Above 1 it was downscaled before, and there may be no steps.

    Raises:
        OptionError: an unknown step or parameter, or a value that is none of the three forms.
        DataError: a folder, a depth map or a kernel is missing or cannot be used.
    """

    def __init__(self, steps: list[dict], scale: int = 1):
        if not isinstance(steps, (list, tuple)) or not steps and scale == 1:
            raise OptionError('degradations must be a list of steps, such as [{type: gaussian_noise, sigma: 25}].')
        self.steps = [_checked(step) for step in steps]
        self._kernels = {step['kernels']: _load_kernels(step['kernels']) for step in self.steps
                         if step['type'] == 'blur'}
        for step in self.steps:
            if step.get('depth') and scale > 1:
                raise OptionError('haze by depth maps works at scale 1 only: take depth out for a synthetic one.')
            if step.get('depth') and not Path(step['depth']).expanduser().is_dir():
                raise DataError(f"The depth folder {step['depth']} does not exist.")

    def __call__(self, image: np.ndarray, rng: np.random.Generator, name: str, full_size: tuple[int, int],
                 window: tuple[slice, slice],
                 orient: Callable[[np.ndarray], np.ndarray] = lambda image: image) -> np.ndarray:
        """Degrade the window `image` (h, w, 3) of the photograph `name`.

        Args:
            full_size: height and width of the whole photograph, over which depth extends.
            window: rows and columns of the window in it.
            orient: the flips that were applied to the window, to be applied to its depth too.
        """
        for step in self.steps:
            values = {key: draw(value, rng) for key, value in step.items() if key not in ('type', 'depth', 'kernels')}
            kind = step['type']
            if kind == 'haze':
                depth = load_depth(step['depth'], name) if step.get('depth') else D.synthetic_depth(*full_size, rng)
                if depth.shape != tuple(full_size):
                    raise DataError(f'The depth map of {name} is {depth.shape[1]}x{depth.shape[0]}, the photograph '
                                    f'{full_size[1]}x{full_size[0]}: they must be of one size.')
                image = D.haze(image, orient(depth[window]), **values)
            elif kind == 'blur':
                kernels = self._kernels[step['kernels']]
                image = D.blur(image, kernels[int(rng.integers(len(kernels)))])
            elif kind in ('gaussian_blur', 'jpeg'):
                image = getattr(D, kind)(image, **values)
            else:
                image = getattr(D, kind)(image, **values, rng=rng)
        return image


def draw(value: Any, rng: np.random.Generator) -> Any:
    """A parameter's value: the number itself, one drawn evenly from [low, high], or one of {choices: [...]}."""
    if isinstance(value, dict):
        return value['choices'][int(rng.integers(len(value['choices'])))]
    if isinstance(value, (list, tuple)):
        return float(rng.uniform(*value))
    return value


def load_depth(folder: str, name: str) -> np.ndarray:
    """Depth map (h, w) of a photograph, scaled to [0, 1] by its largest value.

    Raises:
        DataError: there is none, or it is not a plane of numbers from 0 up.
    """
    for path in sorted(Path(folder).expanduser().glob('*')):
        if unicodedata.normalize('NFC', path.stem) == name:
            depth = _load_array(path) if path.suffix == '.npy' else to_float(read_image(path))[..., 0]
            if depth.ndim != 2 or not np.isfinite(depth).all() or depth.min() < 0:
                raise DataError(f'The depth map {path} must be one plane of finite numbers from 0 up: fill its holes.')
            return (depth / max(float(depth.max()), 1e-6)).astype(np.float32)
    raise DataError(f'The depth folder {folder} has no map named {name}.')


def _load_kernels(folder: str) -> list[np.ndarray]:
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise DataError(f'The kernel folder {folder} does not exist.')
    arrays = {path: _load_array(path) for path in sorted(folder.glob('*.npy'))}
    kernels = arrays or {path: to_float(read_image(path)).mean(axis=2) for path in list_images(folder)}
    for path, kernel in kernels.items():
        if kernel.ndim != 2 or not np.isfinite(kernel).all() or kernel.sum() <= 0:
            raise DataError(f'The blur kernel {path} must be one plane of finite numbers with a positive sum.')
    return list(kernels.values())


def _load_array(path: Path) -> np.ndarray:
    try:
        array = np.load(path)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f'{path} cannot be read as a NumPy array: {" ".join(str(error).split()).rstrip(".")}.'
                        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in 'biuf':
        raise DataError(f'{path} holds no array of numbers.')
    return array


def _checked(step: dict) -> dict:
    if not isinstance(step, dict):
        raise OptionError(f'degradations has an entry that is no block but {str(step)[:40]}: write {{type: ...}}.')
    kind = step.get('type')
    if not isinstance(kind, str) or kind not in PARAMETERS:
        raise OptionError(f"'{str(kind)[:40]}' is no degradation: use one of {', '.join(PARAMETERS)}.")
    allowed = {'type', *PARAMETERS[kind], *([FILES[kind]] if kind in FILES else [])}
    unknown = sorted(set(step) - allowed)
    if unknown:
        raise OptionError(f"The degradation {kind} has no parameter '{unknown[0]}': it takes "
                          f"{', '.join(sorted(allowed - {'type'}))}.")
    if kind == 'blur' and not step.get('kernels'):
        raise OptionError('The degradation blur needs kernels: a folder of measured kernels (.npy or images).')
    for key, value in step.items():
        if key in PARAMETERS[kind] and not _is_drawable(value, *LIMITS[kind][key]):
            low, high = LIMITS[kind][key]
            raise OptionError(f"{key} of the degradation {kind} is '{str(value)[:40]}': write a number from {low} to "
                              f'{high}, [low, high] or {{choices: [...]}}.')
        if key == FILES.get(kind) and not (value is None or isinstance(value, str)):
            raise OptionError(f'{key} of the degradation {kind} must be a folder, not {str(value)[:40]}.')
    return {**PARAMETERS[kind], **step}


def _is_drawable(value, low: float, high: float) -> bool:
    values = value
    if isinstance(value, dict):
        values = value.get('choices') if set(value) == {'choices'} else None
        if not isinstance(values, (list, tuple)) or not values:
            return False
    elif isinstance(value, (list, tuple)):
        if len(value) != 2 or not all(map(_is_number, value)) or value[0] > value[1]:
            return False
    else:
        values = [value]
    return all(_is_number(entry) and low <= entry <= high for entry in values)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
