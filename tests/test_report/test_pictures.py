import base64

import cv2
import numpy as np

from basicsr_unlearn.core.yardstick import PSNR
from basicsr_unlearn.metrics.evaluation import Strip
from basicsr_unlearn.report.pictures import in_order, strip_figure, where_to_look


def test_the_crop_goes_where_outputs_differ_and_there_is_detail():
    rng = np.random.default_rng(1)
    gt = np.full((80, 100, 3), 128, np.uint8)
    first, second = gt.copy(), gt.copy()
    gt[40:56, 70:86] = rng.integers(0, 256, (16, 16, 1))  # detail there, and only there
    second[:] += 20
    top, left = where_to_look(gt, first, second, 16)
    assert abs(top - 40) <= 1 and abs(left - 70) <= 1
    second[:, 60:] -= 20  # no difference at the detail: it is of no interest
    assert where_to_look(gt, first, second, 16)[1] + 16 <= 61


def test_columns_stand_from_the_input_to_the_ground_truth():
    assert in_order(['gt', 'retrained 2', 'unlearned', 'retrained 1', 'identity', 'original', 'unlearned']) == \
        ['identity', 'original', 'unlearned', 'retrained 2', 'retrained 1', 'gt']


def test_details_are_lossless_and_whole_pictures_no_larger_than_asked():
    rng = np.random.default_rng(0)
    images = {column: rng.integers(0, 256, (100, 160, 3), dtype=np.uint8) for column in ('original', 'unlearned', 'gt')}
    strip = strip_figure(Strip('a', images, {'original': {'psnr': 12.345}}), 'psnr', PSNR, max_side=80)
    left, top, width, height = strip.box
    assert [cell.score for cell in strip.cells] == ['12.35 dB', '', '']
    for cell, image in zip(strip.cells, images.values(), strict=True):
        assert (cell.whole.width, cell.whole.height) == (80, 50) and cell.whole.source.startswith('data:image/jpeg')
        data = np.frombuffer(base64.b64decode(cell.detail.source.partition(',')[2]), np.uint8)
        x, y, size = round(left * 1.6), round(top), round(height)
        assert round(width * 1.6) == size == 48
        assert np.array_equal(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1], image[y:y + size, x:x + size])
