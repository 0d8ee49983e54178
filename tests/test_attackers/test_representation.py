import pytest
import torch
from torch import nn

from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.representation import layerwise_cka, linear_cka, restoration_gain


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_cka_of_rotated_scaled_and_shifted_features():
    x = normal(50, 6)
    rotation, _ = torch.linalg.qr(normal(6, 6, seed=1))
    assert linear_cka(x, x) == pytest.approx(1, abs=1e-12)
    assert linear_cka(x, 7 * x @ rotation + 3) == pytest.approx(1, abs=1e-12)
    assert linear_cka(x, x * torch.tensor([10.0, 1, 1, 1, 1, 1])) < 0.9  # unequal scales are a change


def test_cka_of_orthogonal_features_by_hand():
    # all four combinations of -1 and 1, 100 times each: the features have nothing in common
    x = torch.tensor([1.0, 1, -1, -1]).repeat(100)[:, None]
    y = torch.tensor([1.0, -1, 1, -1]).repeat(100)[:, None]
    n = 400
    rest = n**2 / ((n - 1) * (n - 2)) - 2 * n / (n - 2)
    assert linear_cka(x, y) == pytest.approx((-n + rest) / (n**2 - n + rest))
    assert abs(linear_cka(x, y)) < 0.005
    assert linear_cka(x, torch.cat([x, y], 1)) == pytest.approx(0.5**0.5, abs=0.005)


def test_cka_is_unbiased_with_more_features_than_rows():
    found = [linear_cka(normal(20, 300, seed=seed), normal(20, 300, seed=100 + seed)) for seed in range(10)]
    assert abs(sum(found) / 10) < 0.05
    centred = [part - part.mean(0) for part in (normal(20, 300), normal(20, 300, seed=100))]
    kernels = [part @ part.T for part in centred]
    assert (kernels[0] * kernels[1]).sum() / (kernels[0].norm() * kernels[1].norm()) > 0.9  # the biased estimator


def test_cka_is_undefined_for_constant_features():
    x, constant = normal(10, 3), torch.full((10, 2), 0.1)
    assert linear_cka(x, constant) is None and linear_cka(constant, constant) is None
    constant[0] = 5  # a single row that differs has nothing to be compared with
    assert linear_cka(x, constant) is None
    with pytest.raises(ValueError, match='not 10 and 9'):
        linear_cka(x, x[1:])
    with pytest.raises(ValueError, match='4 rows or more'):
        linear_cka(x[:3], x[:3])


def test_layers_before_a_change_are_alike(brighten, untouched):
    first, second = brighten(), brighten()
    nn.init.zeros_(second.tail.weight)
    nn.init.constant_(second.tail.weight[0, 0], 1)  # one channel of three is left
    images = [torch.rand(3, 40, 50, generator=torch.Generator().manual_seed(0)), torch.rand(3, 70, 60)]
    with untouched(first, second):
        found = layerwise_cka(first, second, images, ['head', 'tail'])
        assert found == layerwise_cka(first, second, images, ['head', 'tail'])
    assert list(found) == ['head', 'tail'] and found['head'] == pytest.approx(1)
    # one of three independent channels of equal variance: 1 / sqrt 3
    assert found['tail'] == pytest.approx(3**-0.5, abs=0.03)


def test_layers_that_cannot_be_compared(brighten, dark_pairs):
    with pytest.raises(ValueError, match="'body' fits no module"):
        layerwise_cka(brighten(), brighten(), [dark_pairs()[0][0]], ['body'])
    with pytest.raises(DataError, match='no pair of images'):
        layerwise_cka(brighten(), brighten(), [], ['head'])
    flat = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Flatten())
    with pytest.raises(ValueError, match=r"'1' gives shape \(1, 1440\)"):
        layerwise_cka(flat, flat, [dark_pairs()[0][0]], ['1'])


def test_a_switched_off_skill_comes_back_with_its_mean_feature(brighten, dark_pairs, untouched):
    original, unlearned = brighten(), brighten()
    nn.init.constant_(unlearned.head.bias, -0.1)  # 0.2 at the output: 14 dB
    degraded = [lq for lq, _ in dark_pairs()]
    with untouched(original, unlearned):
        gains = restoration_gain(unlearned, original, degraded, ['head'], dark_pairs(3, seed=1))['head']
    assert len(gains) == 3 and min(gains) > 60
    both = restoration_gain(original, original, degraded, ['tail', 'head'], dark_pairs())
    assert both == {'head': [0, 0], 'tail': [0, 0]}


def test_a_lost_skill_does_not_come_back(brighten, dark_pairs):
    degraded = [lq for lq, _ in dark_pairs()]
    gains = restoration_gain(brighten(0.0), brighten(), degraded, ['head'], dark_pairs(3, seed=1))
    assert gains == {'head': [0, 0, 0]}
    with pytest.raises(ValueError, match="'body' fits no module"):
        restoration_gain(brighten(), brighten(), degraded, ['body'], dark_pairs())
