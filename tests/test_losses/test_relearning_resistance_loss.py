"""The attacker who learns the forget set again, and what the network is told about it."""
from copy import deepcopy

import pytest
import torch
from samples import on
from torch import nn

from basicsr_unlearn.core.losses import RelearningResistanceLoss

LQ, GT = torch.full((2, 3, 4, 4), 0.5), torch.full((2, 3, 4, 4), 0.75)


class Gain(nn.Module):
    """lq * weight, and a weight that nothing uses."""

    def __init__(self, weight: float = 1.0):
        super().__init__()
        self.weight, self.unused = nn.Parameter(torch.tensor(weight)), nn.Parameter(torch.tensor(0.0))

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        return lq * self.weight


def value_and_gradient(loss: nn.Module, net: nn.Module) -> tuple[float, float]:
    value = loss(on(net, LQ, GT))
    return value.item(), torch.autograd.grad(value, net.weight)[0].item()


def test_the_value_is_the_error_at_the_attackers_weights_which_follow_the_network_and_start_anew():
    net, loss = Gain(1.1), RelearningResistanceLoss(steps=2, lr=0.1)
    # Adam goes a whole lr a step: the attacker has 1.1, then 1.2; each error is half of what is above 1
    assert value_and_gradient(loss, net) == pytest.approx((0.05, 0.5), abs=1e-5)
    with torch.no_grad():
        net.weight += 0.2  # the attacker moves along, to 1.4
    assert value_and_gradient(loss, net) == pytest.approx((0.2, 0.5), abs=1e-5)
    assert value_and_gradient(loss, net) == pytest.approx((0.15, 0.5), abs=1e-5)  # a new attack, from 1.3
    assert net.weight.item() == pytest.approx(1.3) and net.weight.grad is None


def test_the_weight_scales_both():
    value, gradient = value_and_gradient(RelearningResistanceLoss(loss_weight=4.0), Gain(1.1))
    assert (value, gradient) == (pytest.approx(0.2), pytest.approx(2.0))


@pytest.mark.parametrize('calls', [3, 9])  # within an attack, and at its end
def test_a_saved_attack_goes_on_bit_for_bit(calls):
    net, loss = Gain(1.02), RelearningResistanceLoss(steps=9, lr=0.03)
    for _ in range(calls):
        loss(on(net, LQ, GT))
    with torch.no_grad():
        net.weight += 0.01
    resumed = RelearningResistanceLoss(steps=9, lr=0.03)
    resumed.load_state_dict(deepcopy(loss.state_dict()))
    assert torch.equal(resumed.state_dict()['_extra_state']['net']['weight'], loss.attack.net.weight)  # not yet used
    for _ in range(8):  # past the start of another attack
        assert torch.equal(loss(on(net, LQ, GT)), resumed(on(deepcopy(net), LQ, GT)))


@pytest.mark.parametrize('options, sentence', [
    ({'steps': 0}, 'steps: expected a whole number of at least 1 but got 0.'),
    ({'steps': 2.5}, 'steps: expected a whole number of at least 1 but got 2.5.'),
    ({'lr': 0}, 'lr: expected a number above 0'),
    ({'criterion': 'l3'}, 'criterion'),
])
def test_options_out_of_range_are_named(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        RelearningResistanceLoss(**options)
