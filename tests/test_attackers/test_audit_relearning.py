from functools import partial

import pytest

from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.relearning import (
    best_curve,
    mean_curve,
    relearn_area,
    relearn_gap,
    relearning_curve,
)
from basicsr_unlearn.proof.attackers.scores import psnr_of_images

STEPS = (0, 5, 20, 60)


@pytest.fixture
def relearned(dark_pairs):
    """relearned(net, seeds) fine-tunes on two dark images and scores on three others."""
    measure = partial(psnr_of_images, pairs=dark_pairs(3, seed=1))
    return lambda net, seeds=(0,): relearning_curve(net, dark_pairs(), measure, STEPS, 0.01, 16, seeds)


def test_a_network_that_nearly_knows_is_ahead(brighten, relearned, untouched):
    sleeping, retrained = brighten(1.8), brighten(1.0)
    with untouched(sleeping, retrained):
        ahead, behind = relearned(sleeping), relearned(retrained)
    assert list(ahead) == list(STEPS) and [len(images) for images in ahead[5]] == [3]
    assert all(mean_curve(ahead)[step] > mean_curve(behind)[step] + 1 for step in (0, 5))
    assert mean_curve(behind)[60] > mean_curve(behind)[0] + 10
    assert relearn_gap(ahead, [behind]) > 5 and relearn_area(ahead, [behind]) > 1
    assert relearn_gap(behind, [ahead]) == 0 and relearn_area(behind, [ahead]) < -1


def test_step_zero_is_the_network_itself(brighten, relearned, dark_pairs):
    assert relearned(brighten(1.5))[0] == [psnr_of_images(brighten(1.5), dark_pairs(3, seed=1))]


def test_seeds_decide_everything(brighten, relearned, untouched):
    net = brighten(1.0, dropout=0.5)
    with untouched(net):
        both = relearned(net, (0, 1))
    assert both[20][0] != both[20][1] and both[0][0] == both[0][1]
    assert relearned(net, (1,))[20] == both[20][1:]


def test_gap_and_area_by_hand():
    def curve(*values):
        return {step: [[value - 1, value + 1], [value, value]] for step, value in zip((0, 1, 3), values)}

    assert mean_curve(curve(10, 14, 16)) == {0: 10, 1: 14, 3: 16}
    retrained = [curve(10, 11, 18), curve(11, 12, 13)]
    assert best_curve(retrained) == {0: 11, 1: 12, 3: 18}
    # leads of -1, 2 and -2 dB at 0, 1, 2 doublings: (0.5 + 0) / 2
    assert relearn_gap(curve(10, 14, 16), retrained) == 2
    assert relearn_area(curve(10, 14, 16), retrained) == 0.25
    assert relearn_gap(curve(9, 9, 9), retrained) == 0


def test_what_cannot_be_compared_or_relearned(brighten, dark_pairs):
    short, long = {0: [[1.0]]}, {0: [[1.0]], 5: [[1.0]]}
    with pytest.raises(ValueError, match='different steps'):
        best_curve([short, long])
    with pytest.raises(ValueError, match='different steps'):
        relearn_gap(short, [long])
    with pytest.raises(ValueError, match='no curve of a retrained network'):
        relearn_gap(short, [])
    with pytest.raises(DataError, match='pair 0 is 20x24 pixels, smaller than the patch of 32'):
        relearning_curve(brighten(), dark_pairs(), lambda _: [0.0], (0, 1), 0.01, 32)
    with pytest.raises(DataError, match='no pair'):
        relearning_curve(brighten(), [], lambda _: [0.0], (0, 1), 0.01, 16)
    with pytest.raises(ValueError, match=r'not steps \[-1, 3\]'):
        relearning_curve(brighten(), dark_pairs(), lambda _: [0.0], (-1, 3), 0.01, 16)
