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


# ---------------------------------------------------------------- attackers that are drawn

def attacks(loss: RelearningResistanceLoss, net: nn.Module, calls: int) -> list[dict]:
    """The plans of the attacks of so many calls."""
    plans = []
    for _ in range(calls):
        loss(on(net, LQ, GT))
        if loss.attack.steps == 1:
            plans.append(loss.attack.plan)
    return plans


def test_each_attack_has_a_length_a_rate_and_a_number_of_pairs_of_its_own_evenly_on_the_scale_of_logarithms():
    loss = RelearningResistanceLoss(steps=[1, 4], lr=[1e-5, 1e-1], pairs=[1, 64])
    plans = attacks(loss, Gain(), 1500)
    assert len(plans) > 500
    assert {plan['steps'] for plan in plans} == {1, 2, 3, 4}
    assert min(plan['pairs'] for plan in plans) == 1 and max(plan['pairs'] for plan in plans) > 60
    assert sum(plan['pairs'] <= 8 for plan in plans) / len(plans) == pytest.approx(0.51, abs=0.08)
    assert sum(plan['lr'] < 1e-3 for plan in plans) / len(plans) == pytest.approx(0.5, abs=0.08)
    assert all(1e-5 <= plan['lr'] <= 1e-1 for plan in plans)


def test_an_attacker_with_few_pairs_learns_from_the_first_that_come_for_the_whole_attack():
    """They say that doubling is right, what comes later says that nothing is: learning from it would go down."""
    net, loss = Gain(1.0), RelearningResistanceLoss(steps=5, lr=0.1, pairs=2)
    loss(on(net, LQ, 2 * LQ))
    for _ in range(4):
        loss(on(net, LQ, 0 * LQ))
    assert [images.shape[0] for images in loss.attack.pairs] == [2, 2]
    assert loss.attack.net.weight.item() == pytest.approx(1.5, abs=1e-3)
    loss(on(net, LQ, 0 * LQ))  # the next attack
    assert loss.attack.net.weight.item() < 1


def test_pairs_are_collected_over_batches_until_there_are_enough():
    net, loss = Gain(), RelearningResistanceLoss(steps=9, pairs=5)
    for number in range(4):
        loss(on(net, LQ + number, GT + number))
    assert loss.attack.pairs[0][:, 0, 0, 0].tolist() == [0.5, 0.5, 1.5, 1.5, 2.5]


def test_a_saved_attack_with_pairs_goes_on_bit_for_bit():
    def call(loss: nn.Module, net: nn.Module, seed: int) -> torch.Tensor:
        torch.manual_seed(seed)  # as each step of a run has its own
        return loss(on(net, LQ + 0.1 * torch.rand(LQ.shape), GT))

    drawn = {'steps': [2, 9], 'lr': [1e-3, 1e-1], 'pairs': [3, 9]}
    net, loss, resumed = Gain(1.02), RelearningResistanceLoss(**drawn), RelearningResistanceLoss(**drawn)
    for seed in range(4):
        call(loss, net, seed)
    resumed.load_state_dict(deepcopy(loss.state_dict()))
    for seed in range(4, 16):
        assert torch.equal(call(loss, net, seed), call(resumed, deepcopy(net), seed))


def test_a_proxys_output_can_be_what_is_to_be_left():
    net, loss = Gain(1.1), RelearningResistanceLoss(target='proxy')
    sample = on(net, LQ, GT)
    sample.proxy_output = torch.full_like(LQ, 0.25)
    assert loss(sample).item() == pytest.approx(0.3)


@pytest.mark.parametrize('options, sentence', [
    ({'lr': [1e-3]}, r'lr: expected a number or \[low, high\] but got \[0.001\]'),
    ({'lr': [2e-3, 1e-3]}, r'lr: expected a number or \[low, high\]'),
    ({'steps': [0, 5]}, 'steps: expected a whole number of at least 1 but got 0.'),
    ({'pairs': [2, 2.5]}, 'pairs: expected a whole number of at least 1 but got 2.5.'),
    ({'target': 'gt'}, "target: 'gt' is not known"),
])
def test_spans_that_cannot_be_are_named(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        RelearningResistanceLoss(**options)
