"""PerturbedRetainLoss: what it adds to clean images, and what it holds."""
import pytest
import torch
from samples import on
from torch import nn

from basicsr_unlearn.core.losses.perturbed_retain_loss import PerturbedRetainLoss, perturbed


class Shift(nn.Module):
    def __init__(self, by: float):
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, x):
        return x + self.by


def test_images_stay_in_range_and_depend_on_the_seed_alone():
    gt = torch.full((6, 3, 24, 20), 0.5)
    first, again, other = (perturbed(gt, 0.2, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert 0 <= first.min() and first.max() <= 1
    moved = (first - gt).flatten(1).std(1)
    assert (moved > 0).all() and (moved < 0.21).all()
    assert len({round(float(value), 4) for value in moved}) == 6  # each sample in its own way


def test_no_strength_is_no_change():
    gt = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(perturbed(gt, 1e-12), gt)


def test_value_and_gradient_are_those_of_the_distance_to_the_teacher():
    net, teacher = Shift(0.3), Shift(0.1)
    loss = PerturbedRetainLoss(loss_weight=2.0)(on(net, None, torch.rand(2, 3, 16, 16), teacher))
    torch.testing.assert_close(loss, torch.tensor(0.4))  # 2 x |0.3 - 0.1|
    loss.backward()
    assert float(net.by.grad) == pytest.approx(2.0) and teacher.by.grad is None


@pytest.mark.parametrize(('options', 'message'), [({'strength': 0}, 'strength'), ({'source': 'all'}, 'source'),
                                                  ({'criterion': 'l3'}, 'criterion'), ({'loss_weight': -1}, 'weight')])
def test_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PerturbedRetainLoss(**options)
