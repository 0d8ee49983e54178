import math

import numpy as np
import pytest

from basicsr_unlearn.proof.attackers.statistics import (
    bootstrap,
    kolmogorov_smirnov,
    one_more,
    paired_difference,
    spread,
)


def test_interval_of_equal_values_and_of_a_single_one():
    assert bootstrap(np.mean, [3.0] * 5) == (3, 3, 3)
    assert bootstrap(np.mean, [3.0]) == (3, None, None)
    assert bootstrap(lambda a, b: a.mean() - b.mean(), [3.0, 4.0], [1.0]) == (2.5, None, None)


def test_bounds_of_two_values():
    # of the four equally likely resamples two have the mean 0.5: the 25 % and 75 % quantiles are known
    assert bootstrap(np.mean, [0.0, 1.0]) == (0.5, 0, 1)
    assert bootstrap(np.mean, [0.0, 1.0], level=0.4) == (0.5, 0.5, 0.5)


def test_coverage_on_normal_samples():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        _, low, high = bootstrap(np.mean, rng.normal(7, 2, 40), resamples=200, seed=trial)
        covered += low <= 7 <= high
    # 95 %, less about 1.5 % that the percentile interval of 40 values lacks; three standard errors are 5 %
    assert 0.885 <= covered / 200 <= 0.985


def test_width_falls_with_the_number_of_images():
    rng = np.random.default_rng(0)
    few, many = (bootstrap(np.mean, rng.normal(size=count)) for count in (50, 800))
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(4, rel=0.35)


def test_same_seed_same_interval():
    values = np.random.default_rng(0).normal(size=30)
    state = np.random.get_state()[1].copy()
    assert bootstrap(np.median, values, seed=1) == bootstrap(np.median, values, seed=1)
    assert bootstrap(np.mean, values, seed=1) != bootstrap(np.mean, values, seed=2)
    assert (np.random.get_state()[1] == state).all()


def test_pairing_removes_what_images_have_in_common():
    first = np.random.default_rng(0).normal(25, 5, 20)
    assert paired_difference(first + 0.25, first) == pytest.approx((0.25, 0.25, 0.25))
    unpaired = bootstrap(lambda a, b: a.mean() - b.mean(), first + 0.25, first)
    assert unpaired.high - unpaired.low > 2
    with pytest.raises(ValueError, match='of 20 images cannot be paired with those of 19'):
        paired_difference(first, first[1:])


def test_kolmogorov_smirnov():
    # disjoint: of the 252 ways to choose 5 of 10 ranks, two are as far apart
    assert kolmogorov_smirnov([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx((1, 2 / math.comb(10, 5)))
    assert kolmogorov_smirnov([1, 2, 3], [3, 2, 1]) == (0, 1)
    assert kolmogorov_smirnov([1, 2, 3, 4], [3, 4, 5, 6]).statistic == 0.5


def test_spread():
    assert spread([1, 2, 3]) == (1, 3, 2, 1)
    assert spread([2]) == (2, 2, 2, None)


@pytest.mark.parametrize('call, message', [
    (lambda: bootstrap(np.mean, []), 'no value'),
    (lambda: bootstrap(np.mean, [1, math.inf]), 'position 1 is inf'),
    (lambda: bootstrap(np.mean, [1, 2], level=95), 'level: expected a number between 0 and 1 but got 95'),
    (lambda: bootstrap(np.mean, [1, 2], resamples=0), 'resamples'),
    (lambda: spread([[1, 2]]), r'shape \(1, 2\)'),
])
def test_what_no_statistic_can_take_in(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_one_more_network_of_three_and_of_one():
    # t of 2 degrees of freedom leaves 10 % above 1.8856; s is 1, so the reach is 1.8856 * sqrt(4/3)
    assert one_more([9.0, 10.0, 11.0]) == pytest.approx((10, 10 - 2.1773, 10 + 2.1773), abs=1e-3)
    assert one_more([9.0]) == (9, None, None)


def test_one_more_network_lies_in_its_interval_as_often_as_is_said():
    rng = np.random.default_rng(0)
    drawn = rng.normal(size=(4000, 4))
    inside = sum(low <= new <= high for *known, new in drawn for _, low, high in [one_more(known)])
    assert inside / 4000 == pytest.approx(0.8, abs=0.02)
