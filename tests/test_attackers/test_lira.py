import math

import numpy as np
import pytest
from scipy.stats import norm

from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.lira import lira
from basicsr_unlearn.proof.attackers.membership import auc

# one image: out mean 1, in mean 5, each with a variance of 2
SHADOW = np.array([[0.0], [2.0], [4.0], [6.0]])
TRAINED_ON = np.array([[False], [False], [True], [True]])


@pytest.mark.parametrize('score, ratio', [(3, 0), (5, 4), (1, -4), (7, 8)])
def test_online_by_hand(score, ratio):
    # equal variances: ((x - 1)^2 - (x - 5)^2) / 4
    for per_image in (False, True):
        assert lira([score], SHADOW, TRAINED_ON, variance_per_image=per_image) == pytest.approx([ratio])


def test_offline_by_hand_looks_at_networks_without_the_image_only():
    assert lira([3], SHADOW, TRAINED_ON, online=False) == pytest.approx([math.sqrt(2)])
    moved = SHADOW + 100 * TRAINED_ON
    assert lira([3], moved, TRAINED_ON, online=False) == pytest.approx([math.sqrt(2)])
    # far out the paper's 1 - Pr[Z > x] is 1 for both
    far, farther = (lira([x], SHADOW, TRAINED_ON, online=False)[0] for x in (50, 60))
    assert norm.cdf(far) == norm.cdf(farther) == 1 and far < farther


def test_variances_pooled_or_by_image():
    # two images of out means 0 and 10 and variances 2 and 8
    shadow, trained_on = np.array([[-1.0, 8.0], [1.0, 12.0]]), np.zeros((2, 2), dtype=bool)
    assert lira([1, 12], shadow, trained_on, online=False) == pytest.approx([1 / 5**0.5, 2 / 5**0.5])
    assert lira([1, 12], shadow, trained_on, online=False, variance_per_image=True) == pytest.approx(
        [1 / 2**0.5, 2 / 8**0.5])


def test_images_of_unequal_difficulty():
    """Images differ by 5 dB, membership adds 1 dB: the loss is nearly blind, the ratio is not."""
    rng = np.random.default_rng(0)
    difficulty, member = rng.normal(25, 5, 200), np.arange(200) < 100
    trained_on = rng.random((16, 200)) < 0.5
    shadow = difficulty + trained_on + rng.normal(0, 0.5, (16, 200))
    scores = difficulty + member + rng.normal(0, 0.5, 200)
    assert abs(auc(scores[member], scores[~member]) - 0.5) < 0.15
    for online, least in ((True, 0.88), (False, 0.86)):  # Phi(1 / (0.5 sqrt 2)) = 0.92 if the means were known
        found = lira(scores, shadow, trained_on, online)
        assert auc(found[member], found[~member]) > least


def test_shadow_networks_that_are_missing():
    with pytest.raises(DataError, match='Image 0 has 0 shadow networks trained with it but needs 1'):
        lira([1], SHADOW[:2], TRAINED_ON[:2])
    with pytest.raises(DataError, match='Image 0 has 1 shadow networks trained without it but needs 2'):
        lira([1], SHADOW[1:], TRAINED_ON[1:], variance_per_image=True)
    with pytest.raises(DataError, match='single shadow network trained without it'):
        lira([1], SHADOW[1:], TRAINED_ON[1:])
    with pytest.raises(ValueError, match='Shapes differ'):
        lira([1, 2], SHADOW, TRAINED_ON)
