"""Ascent at the weights that a step back towards the skill would reach."""
import pytest
import torch
from samples import on
from torch import nn

from basicsr_unlearn.core.losses import GradientAscentLoss, SharpnessAwareAscentLoss

LQ, GT = torch.full((2, 3, 4, 4), 0.5), torch.full((2, 3, 4, 4), 0.75)


class Square(nn.Module):
    """lq * first^2 + second, so that gradients depend on the weights."""

    def __init__(self, first: float = 1.0, second: float = 0.0):
        super().__init__()
        self.first, self.second = (nn.Parameter(torch.tensor(value)) for value in (first, second))
        self.register_buffer('calls', torch.zeros(()))

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return lq * self.first**2 + self.second


def test_value_and_gradient_are_those_at_the_weights_nearer_to_the_skill():
    """l = 0.75 - (first^2 / 2 + second); the loss is -l with gradient (first, 1) = (1, 1). A step of length 0.1 up goes
    to (1 + 0.0707, 0.0707), where l is smaller and the gradient (1.0707, 1)."""
    net, step = Square(), 0.1 / 2**0.5
    value = SharpnessAwareAscentLoss(radius=0.1, bound='none')(on(net, LQ, GT))
    assert value.item() == pytest.approx(-(0.75 - ((1 + step)**2 / 2 + step)))
    value.backward()
    assert [net.first.grad.item(), net.second.grad.item()] == pytest.approx([1 + step, 1.0])
    assert [net.first.item(), net.second.item()] == [1.0, 0.0]


def test_within_a_radius_of_nothing_it_is_plain_ascent():
    net = Square()
    teacher = Square(1.1)
    pair = [loss(on(net, LQ, GT, teacher)) for loss in (SharpnessAwareAscentLoss(radius=1e-7, bound='npo', beta=20.0),
                                                       GradientAscentLoss(bound='npo', beta=20.0))]
    torch.testing.assert_close(*pair)


def test_running_statistics_are_those_of_the_networks_own_weights():
    net = Square()
    SharpnessAwareAscentLoss(bound='none')(on(net, LQ, GT)).backward()
    assert net.calls == 1


def test_frozen_weights_stay_out_of_the_step():
    net = Square()
    net.second.requires_grad_(False)
    value = SharpnessAwareAscentLoss(radius=0.1, bound='none')(on(net, LQ, GT))
    assert value.item() == pytest.approx(-(0.75 - 1.1**2 / 2))


@pytest.mark.parametrize('radius', [0, -1, float('nan')])
def test_a_radius_that_cannot_be_is_named(radius):
    with pytest.raises(ValueError, match='^radius: expected'):
        SharpnessAwareAscentLoss(radius=radius)


def test_adam_without_memory_steps_by_the_sign():
    """So no optimizer is needed for signSGD, which makes forgetting last longer in arXiv 2510.00761."""
    weight = torch.tensor([3.0, -2.0], requires_grad=True)
    optimizer = torch.optim.Adam([weight], lr=0.1, betas=(0.0, 0.0))
    for factor in (1.0, 100.0, 0.01):
        weight.grad = factor * torch.tensor([5.0, -0.3])
        optimizer.step()
    torch.testing.assert_close(weight.detach(), torch.tensor([2.7, -1.7]))
