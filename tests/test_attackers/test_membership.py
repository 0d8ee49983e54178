import numpy as np
import pytest

from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.membership import (
    auc,
    auc_difference,
    judge,
    logistic_attack,
    loss_attack,
    reading,
    tpr_at_fpr,
)
from basicsr_unlearn.proof.attackers.statistics import Interval


def test_auc_by_hand():
    assert auc([3, 4], [1, 2]) == 1 and auc([1, 2], [3, 4]) == 0
    assert auc([1, 1], [1, 1, 1]) == 0.5
    # of six comparisons four are won and one, 2 against 2, counts one half
    assert auc([1, 2, 3], [0, 2]) == 0.75
    assert auc([0.3, 7, 7], [7, 0.1]) == pytest.approx((0 + 1 + 0.5 + 1 + 0.5 + 1) / 6)


def test_true_positives_at_five_percent():
    others = list(range(1, 21))  # one of 20 may score above: the threshold is 19
    assert tpr_at_fpr([3, 19, 19.5, 20, 21], others, 0.05) == (0.6, None)
    # with two of the highest score none may pass, since both would
    assert tpr_at_fpr([3, 19, 19.5, 20, 21], [*others[:-2], 20, 20], 0.05).value == 0.2
    assert tpr_at_fpr([3, 19, 19.5, 20, 21], [0] * 20, 0.05).value == 1
    assert tpr_at_fpr([0] * 5, [0] * 20, 0.05).value == 0


def test_true_positives_are_undefined_with_few_unseen_images():
    value, reason = tpr_at_fpr([5, 6], range(19), 0.05)
    assert value is None and reason.endswith('0.05 needs at least 20 unseen images, of which there are 19.')
    assert tpr_at_fpr([99], range(99), 0.01).value is None and tpr_at_fpr([99], range(100), 0.01).value == 1
    # 0.29 * 100 is 28.999...: still 29 of 100 may pass, those from 71 to 99
    assert tpr_at_fpr([70.5], range(100), 0.29).value == 1 and tpr_at_fpr([70], range(100), 0.29).value == 0
    with pytest.raises(ValueError, match='between 0 and 1 but got 5'):
        tpr_at_fpr([1], [1], 5)


def test_low_loss_means_member():
    found = loss_attack([0.1, 0.2], [0.3, 0.4, 0.2])
    assert found.auc.value == pytest.approx(5.5 / 6)
    assert found.members == [-0.1, -0.2] and found.others == [-0.3, -0.4, -0.2]
    assert found.tpr[0.01].value is None
    assert loss_attack([0.3, 0.4], [0.1, 0.2]).auc == (0, 0, 0)


def test_interval_of_the_auc():
    rng = np.random.default_rng(0)
    found = judge(rng.normal(1, 1, 60), rng.normal(0, 1, 60))
    assert found.auc.low < 0.76 < found.auc.high  # Phi(1 / sqrt 2) = 0.760
    assert 0.1 < found.auc.high - found.auc.low < 0.25  # Hanley and McNeil: 2 * 1.96 * 0.044
    assert judge([1.0], [0.0, 2.0]).auc == (0.5, None, None)


def test_several_losses_tell_what_none_tells_alone():
    rng = np.random.default_rng(0)
    difficulty = rng.normal(0, 5, (2, 40))
    members, others = (np.stack([hard, hard + gap], 1) for hard, gap in zip(difficulty, (0.0, 1.0)))
    assert auc(-members[:, 1], -others[:, 1]) < 0.7
    assert logistic_attack(members, others).auc.value > 0.99


def test_separable_losses():
    found = logistic_attack([[0.1], [0.2], [0.15], [0.12]], [[0.9], [0.8], [0.7], [0.95]])
    assert found.auc == (1, 1, 1)


def test_chance_stays_chance_for_the_learned_attack():
    # a regression on 8 meaningless losses tells the images that it has seen, but must not be scored on those
    rng = np.random.default_rng(0)
    found = [logistic_attack(rng.normal(size=(12, 8)), rng.normal(size=(12, 8)), seed=seed).auc.value
             for seed in range(10)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.15)


def test_learned_attack_ignores_a_constant_loss_and_the_unit():
    rng = np.random.default_rng(0)
    members, others = rng.normal(0, 1, (20, 2)), rng.normal(1, 1, (20, 2))
    members[:, 1] = others[:, 1] = 3
    plain = logistic_attack(members[:, :1], others[:, :1])
    assert logistic_attack(members, others).auc == plain.auc
    assert logistic_attack(1000 * members, 1000 * others).auc.value == pytest.approx(plain.auc.value)
    assert logistic_attack(members, others, seed=3).members == logistic_attack(members, others, seed=3).members


def test_learned_attack_needs_images_to_learn_from():
    with pytest.raises(DataError, match='at least 2 members and 2 unseen images, not 1 and 3'):
        logistic_attack([[1.0]], [[1.0], [2.0], [3.0]])
    with pytest.raises(ValueError, match='2 losses each but unseen images 1'):
        logistic_attack([[1.0, 2.0]] * 2, [[1.0]] * 2)


def test_difference_between_two_networks():
    rng = np.random.default_rng(0)
    remembers = judge(rng.normal(2, 1, 30), rng.normal(0, 1, 30))
    assert auc_difference(remembers, remembers) == (0, 0, 0)
    blind = judge(rng.normal(0, 1, 30), rng.normal(0, 1, 30))
    value, low, high = auc_difference(remembers, blind)
    assert value == remembers.auc.value - blind.auc.value and 0 < low < value < high
    with pytest.raises(ValueError, match='different numbers of images'):
        auc_difference(remembers, judge([1, 2], [3]))


@pytest.mark.parametrize('found, retrained, state, text', [
    ((0.51, 0.45, 0.57), None, 'no leak', 'where chance has 0.50'),
    ((0.70, 0.64, 0.76), None, 'recognisable', 'AUC 0.70 (0.64 to 0.76)'),
    ((0.30, 0.24, 0.36), None, 'over-forgotten', 'over-forgetting'),
    ((0.70, 0.64, 0.76), 0.69, 'no leak', 'where the retrained network has 0.69'),
    ((0.51, 0.45, 0.57), 0.62, 'over-forgotten', 'betrays'),
    ((0.53, 0.51, 0.55), None, 'no leak', 'no leak'),  # within the tolerance of 0.02
    ((0.70, None, None), None, 'undecided', 'single image'),
])
def test_plain_words(found, retrained, state, text):
    result = reading(Interval(*found), retrained)
    assert result.state == state and text in result.text
