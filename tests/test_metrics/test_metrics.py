import sys

import numpy as np
import pytest
from basicsr.metrics import calculate_metric
from skimage.metrics import structural_similarity

from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.metrics.pyiqa_metric import _built


def images(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (24, 20, 3), dtype=np.uint8) for _ in range(2)]


def test_scikit_images_ssim_is_scikit_images_and_not_basicsrs():
    first, second = images()
    both = {'img': first, 'img2': second}
    found = calculate_metric(both, {'type': 'calculate_ssim_skimage'})
    assert found == structural_similarity(first, second, channel_axis=2)
    assert calculate_metric({'img': first, 'img2': first}, {'type': 'calculate_ssim_skimage'}) == 1
    cropped = calculate_metric(both, {'type': 'calculate_ssim_skimage', 'crop_border': 4})
    assert cropped == structural_similarity(first[4:-4, 4:-4], second[4:-4, 4:-4], channel_axis=2)
    assert abs(found - calculate_metric(both, {'type': 'calculate_ssim', 'crop_border': 0})) > 1e-3
    with pytest.raises(ValueError, match='Shapes differ'):
        calculate_metric({'img': first, 'img2': second[1:]}, {'type': 'calculate_ssim_skimage'})


def test_pyiqa_where_it_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyiqa', None)
    _built.cache_clear()
    first, second = images()
    with pytest.raises(OptionError, match='The metric lpips needs the package pyiqa: pip install pyiqa, or take it'):
        calculate_metric({'img': first, 'img2': second}, {'type': 'calculate_pyiqa', 'metric': 'lpips'})


def test_pyiqa_gets_rgb_in_0_to_1(monkeypatch):
    seen = []

    class Fake:
        @staticmethod
        def create_metric(name, device):
            return lambda *pair: seen.append((name, *pair)) or 0.25

    monkeypatch.setitem(sys.modules, 'pyiqa', Fake)
    _built.cache_clear()
    first, second = images()
    assert calculate_metric({'img': first, 'img2': second}, {'type': 'calculate_pyiqa', 'metric': 'dists'}) == 0.25
    name, distorted, clean = seen[0]
    assert name == 'dists' and distorted.shape == (1, 3, 24, 20)
    assert np.allclose(clean[0, 0].numpy() * 255, second[..., 2])  # red, which OpenCV has last
    _built.cache_clear()
