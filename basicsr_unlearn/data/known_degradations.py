"""The degradations that can be named by a word, where there are clean images only."""
import re
from pathlib import Path

# word -> steps in training, and steps in validation: there one strength, which scores can be compared at
KNOWN: dict[str, tuple[list[dict], list[dict]]] = {
    'haze': ([{'type': 'haze', 'beta': [0.6, 2.4], 'airlight': [0.7, 1.0]}],
             [{'type': 'haze', 'beta': 1.6, 'airlight': 0.9}]),
    'rain': ([{'type': 'rain_streaks'}],
             [{'type': 'rain_streaks', 'density': 0.006, 'length': 20, 'angle': -15, 'width': 0.6, 'opacity': 0.6}]),
    'noise': ([{'type': 'gaussian_noise', 'sigma': [0, 55]}], [{'type': 'gaussian_noise', 'sigma': 25}]),
    'blur': ([{'type': 'gaussian_blur', 'sigma': [0.5, 3.0]}], [{'type': 'gaussian_blur', 'sigma': 1.6}]),
    'jpeg': ([{'type': 'jpeg', 'quality': [20, 80]}], [{'type': 'jpeg', 'quality': 30}]),
    'low_light': ([{'type': 'low_light'}], [{'type': 'low_light', 'exposure': 0.25, 'gamma': 1.4, 'read_noise': 2}]),
    'clean': ([{'type': 'jpeg', 'quality': [90, 100]}], [{'type': 'jpeg', 'quality': 95}]),  # as good as clean
}
# the same of images that were downscaled; our choice
SMALL: dict[str, tuple[list[dict], list[dict]]] = {
    'noise': ([{'type': 'gaussian_noise', 'sigma': [0, 20]}], [{'type': 'gaussian_noise', 'sigma': 10}]),
    'blur': ([{'type': 'gaussian_blur', 'sigma': [0.2, 2.0]}], [{'type': 'gaussian_blur', 'sigma': 1.0}]),
    'jpeg': ([{'type': 'jpeg', 'quality': [40, 95]}], [{'type': 'jpeg', 'quality': 60}]),
    'clean': ([], []),
}
FOLDER_WORDS = {'haze': 'haze', 'hazy': 'haze', 'fog': 'haze', 'foggy': 'haze', 'rain': 'rain', 'rainy': 'rain',
         'noise': 'noise', 'noisy': 'noise', 'blur': 'blur', 'blurry': 'blur', 'jpeg': 'jpeg', 'lowlight': 'low_light',
         'dark': 'low_light'}
PARTS_READ = 4  # parts of a path, from its end, that are read


def steps_of(word: str, scale: int) -> tuple[list[dict], list[dict]]:
    """Steps in training and in validation; above scale 1 they are milder, as they meet small images."""
    return SMALL.get(word, KNOWN[word]) if scale > 1 else KNOWN[word]


def word_of_folder(folder: str) -> tuple[str, str] | None:
    """The degradation that a folder's path speaks of, and the part of it: derain/Rain100H/input -> rain, Rain100H."""
    for part in list(reversed(Path(folder).parts))[:PARTS_READ]:
        for letters in re.findall('[a-z]+', re.sub('([a-z])([A-Z])', r'\1 \2', part).lower()):
            for word in (letters, letters.removeprefix('de')):
                if word in FOLDER_WORDS:
                    return FOLDER_WORDS[word], part
    return None
