"""Which metrics of one image can be computed from what is there."""
import numpy as np
import pytest
from basicsr.utils.registry import METRIC_REGISTRY

from basicsr_unlearn.metrics.image_scores import image_scores

IMAGE = np.full((4, 4, 3), 7, np.uint8)
PSNR = {'type': 'calculate_psnr', 'crop_border': 0}
TO_INPUT = {'type': 'calculate_psnr_to_input', 'better': 'lower'}


@METRIC_REGISTRY.register()
def mean_of_image(img, **kwargs):
    return np.float64(img.mean())


def test_metrics_without_ground_truth():
    metrics = {'p': PSNR, 'm': {'type': 'mean_of_image'}}
    assert image_scores(IMAGE, metrics) == {'m': 7.0}
    found = image_scores(IMAGE, metrics, IMAGE + 1)
    assert found['p'] == pytest.approx(48.13, abs=0.01) and type(found['m']) is float  # training states need plain ones


def test_distance_to_the_input():
    metrics = {'to_input': TO_INPUT, 'p': PSNR}
    assert 'to_input' not in image_scores(IMAGE, metrics, IMAGE + 1)
    found = image_scores(IMAGE, metrics, IMAGE + 3, IMAGE + 1)
    assert found['to_input'] == pytest.approx(48.13, abs=0.01)  # of the input, not of the clean image
    assert image_scores(IMAGE, metrics, IMAGE + 3, IMAGE)['to_input'] == 100


def test_equal_images_score_a_finite_psnr():
    image = np.full((16, 16, 3), 7, np.uint8)
    assert image_scores(image, {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}, image) == {'psnr': 100.0}
