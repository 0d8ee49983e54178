"""The fitted rate, by hand, on networks of a few weights."""
import math

import pytest
import torch
from torch import nn

from basicsr_unlearn.core.rate import fitted_rate


class Affine(nn.Module):
    """unit * scale * lq + shift: `unit` only changes the unit that the weight is counted in."""

    def __init__(self, scale: float = 1.2, shift: float = 0.0, unit: float = 1.0):
        super().__init__()
        self.unit = unit
        self.scale, self.shift = nn.Parameter(torch.tensor(scale / unit)), nn.Parameter(torch.tensor(shift))
        self.frozen = nn.Parameter(torch.tensor(1.0), requires_grad=False)

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        return self.unit * self.scale * lq + self.shift


def images(*values: float) -> torch.Tensor:
    """One flat image for each value, (b, 1, 4, 4)."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)


# output 0.6: error 0.2, of the untouched input 0.3; the gradients are -0.5 for the scale and -1 for the shift
DARK = {'lq': images(0.5, 0.5), 'gt': images(0.8, 0.8)}
WAY = math.log(0.3 / 0.2) * 0.2


@pytest.mark.parametrize(('masks', 'slope'), [
    (None, 1.5),
    ({'scale': torch.tensor(False), 'shift': torch.tensor(True)}, 1.0),
    ({'scale': torch.tensor(1.0), 'shift': torch.tensor(0.5)}, 1.0),
    ({'scale': torch.tensor(True)}, 0.5),
])
def test_by_hand(masks, slope):
    assert fitted_rate(Affine(), [DARK], 0.1, masks) == pytest.approx(0.1 * WAY / slope)


def test_batches_count_by_their_mean():
    """In the last batch output 0.6 and input 0.5 lie above the target 0.4: its gradients point the other way."""
    bright = {'lq': images(0.5), 'gt': images(0.4)}
    error, untouched = 0.2, (2 * 0.3 + 0.1) / 3
    rate = fitted_rate(Affine(), [DARK, DARK, bright], 0.1)
    assert rate == pytest.approx(0.1 * math.log(untouched / error) * error / 1.5)
    steep = {'lq': images(0.9), 'gt': images(1.28)}  # output 1.08: an error of 0.2 too, with gradients 0.9 and 1
    rate = fitted_rate(Affine(), [DARK, steep], 0.1)
    assert rate == pytest.approx(0.1 * math.log((0.3 + 0.38) / 2 / error) * error / 1.7)


@pytest.mark.parametrize('unit', [1.0, 10.0, 0.1])
def test_the_first_step_of_adam_goes_that_far_in_whatever_unit_weights_are_counted(unit):
    """The error is linear in each weight, so the first order is exact."""
    net = Affine(unit=unit)
    optimizer = torch.optim.Adam(net.parameters(), lr=fitted_rate(net, [DARK], 0.1))
    (-(net(DARK['lq']) - DARK['gt']).abs().mean()).backward()
    optimizer.step()
    error = float((net(DARK['lq']) - DARK['gt']).abs().mean().detach())
    assert error == pytest.approx(0.2 * (1 + 0.1 * math.log(1.5)), rel=1e-4)


def test_a_weight_that_counts_ten_times_gets_a_tenth_of_the_rate():
    mask = {'scale': torch.tensor(True)}
    assert fitted_rate(Affine(unit=10.0), [DARK], 0.1, mask) == pytest.approx(
        fitted_rate(Affine(), [DARK], 0.1, mask) / 10)


def test_the_network_is_left_as_it_was():
    net = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 1, 1)).train()
    with torch.no_grad():
        net[1].weight.fill_(1.2)
        net[1].bias.fill_(0)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    fitted_rate(net, [DARK], 0.1)
    assert net.training and all(p.grad is None for p in net.parameters())
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize(('net', 'masks', 'said'), [
    (Affine(scale=1.0), None, 'nothing to forget'),       # the input itself
    (Affine(scale=0.5), None, '0.55'),                    # worse than the input
    (Affine(scale=1.6), None, 'nothing to forget'),       # no error, so that a share of it is none
    (Affine(), {'shift': torch.tensor(False)}, 'gradients'),
    (Affine(scale=float('nan')), None, 'nan'),
])
def test_no_way_or_no_gradient_is_said(net, masks, said):
    with pytest.raises(ValueError, match=said):
        fitted_rate(net, [DARK], 0.1, masks)
