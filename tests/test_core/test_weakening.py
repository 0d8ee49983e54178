"""Weights weakened, dropped, driven away, and moved along what only the forget set uses; and how an attacker undoes it.
"""
from copy import deepcopy

import pytest
import torch
from torch import nn

from basicsr_unlearn.core.anchors.distance_anchor import DistanceAnchor
from basicsr_unlearn.core.edits.attenuation_edit import WeightAttenuation, WeightDropout
from basicsr_unlearn.core.edits.selection_edit import RepresentationSelection, collapsed, mean_error
from basicsr_unlearn.core.parts import Evidence, restoration_error


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_attenuation_multiplies_all_weights_and_its_inverse_divides_them():
    net = nn.Conv2d(3, 3, 3)
    weak = deepcopy(net)
    WeightAttenuation(0.25)(weak, Evidence(net))
    torch.testing.assert_close(weak.weight, 0.25 * net.weight)
    lq = torch.rand(2, 3, 8, 8)
    back, = WeightAttenuation(0.25).attack(Evidence(weak, [{'lq': lq, 'gt': net(lq).detach()}]))
    torch.testing.assert_close(back.net.weight, net.weight)
    half, = WeightAttenuation(0.25).attack(Evidence(weak, [{'lq': lq, 'gt': 0.5 * net(lq).detach()}]))
    torch.testing.assert_close(half.net.bias, 0.5 * net.bias)


def test_dropout_sets_its_share_to_zero_and_the_runs_seed_tells_which():
    net = nn.Conv2d(20, 20, 3)
    dropped = deepcopy(net)
    WeightDropout(0.2)(dropped, Evidence(net, generator=seeded(3)))
    gone = dropped.weight == 0
    assert float(gone.float().mean()) == pytest.approx(0.2, abs=0.02)
    assert torch.equal(dropped.weight[~gone], net.weight[~gone])
    pairs = [{'lq': torch.rand(2, 20, 8, 8), 'gt': torch.rand(2, 20, 6, 6)}]
    alone, others = WeightDropout(0.2).attack(Evidence(dropped, pairs, generator=seeded(3)))
    assert torch.equal(alone.trains['weight'], gone) and torch.equal(others.trains['weight'], ~gone)


def test_the_distance_is_the_root_of_the_mean_square_and_has_no_pull_at_the_original():
    net, anchor = nn.Conv2d(1, 1, 1), DistanceAnchor(loss_weight=2.0)
    anchor.prepare(Evidence(net))
    moved = deepcopy(net)
    assert float(anchor(moved).detach()) == pytest.approx(-2e-4)
    assert all(not g.any() for g in torch.autograd.grad(anchor(moved), moved.parameters()))
    with torch.no_grad():
        moved.weight += 3.0
        moved.bias -= 4.0
    assert float(anchor(moved).detach()) == pytest.approx(-2 * (25 / 2) ** 0.5)


# ---------------------------------------------------------------- selected directions

def test_the_strongest_shared_direction_is_shrunk_to_the_weakest_of_those_taken():
    """On inputs and on outputs the first of two axes is divided by (3 / 1)^2: their common entry by 81."""
    shared, gradient = torch.diag(torch.tensor([3.0, 1.0, 0.1])), torch.full((3, 3), 81.0)
    found = collapsed(gradient, shared, share=2 / 3, power=2.0)
    torch.testing.assert_close(found, torch.tensor([[1.0, 9.0, 9.0], [9.0, 81.0, 81.0], [9.0, 81.0, 81.0]]))
    torch.testing.assert_close(collapsed(gradient, shared, share=1.0, power=0.0), gradient)
    torch.testing.assert_close(collapsed(gradient, torch.zeros(3, 3), share=1.0), gradient)


class TwoSkills(nn.Module):
    """An image's first channel is lifted by one weight, its second by another: two skills that share nothing."""

    def __init__(self):
        super().__init__()
        self.mix = nn.Conv2d(2, 2, 1, bias=False)
        with torch.no_grad():
            self.mix.weight.copy_(torch.diag(torch.tensor([1.5, 1.5]))[..., None, None])

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        return self.mix(lq)


def batch(channel: int, seed: int) -> dict[str, torch.Tensor]:
    """Dark in one channel, black in the other; what is to come out is a third lighter."""
    lq = torch.zeros(4, 2, 8, 8)
    lq[:, channel] = 0.2 + 0.4 * torch.rand(4, 8, 8, generator=seeded(seed))
    return {'lq': lq, 'gt': 1.5 * lq + 0.02}  # a little more than the network has learned: else there is no gradient


def test_it_takes_one_skill_to_the_input_and_costs_the_other_no_more_than_its_budget():
    net, forget, retain = TwoSkills(), [batch(0, 1)], [batch(1, 2)]
    before = [mean_error(net, pairs, restoration_error) for pairs in (forget, retain)]
    edited = deepcopy(net)
    RepresentationSelection(budget=0.05, iters=5)(edited, Evidence(net, forget, retain))
    after = [mean_error(edited, pairs, restoration_error) for pairs in (forget, retain)]
    untouched = float((forget[0]['lq'] - forget[0]['gt']).abs().mean())
    assert after[0] == pytest.approx(untouched, rel=0.2) and after[0] > 3 * before[0]
    assert after[1] <= 1.05 * before[1]
    starts = RepresentationSelection(iters=5).attack(Evidence(edited, [batch(0, 3)], [batch(1, 4)]))
    assert min(mean_error(start.net, [batch(0, 5)], restoration_error) for start in starts) < 2 * before[0]
    assert RepresentationSelection(iters=5).attack(Evidence(edited, [batch(0, 3)]))  # without retain pairs, too
