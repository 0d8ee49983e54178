import numpy as np

from basicsr_unlearn.report.drawing import in_order, where_to_look


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
