"""A barrier half way back to the original."""
import pytest
import torch
from samples import on
from torch import nn

from basicsr_unlearn.core.losses import ConnectivityLoss
from basicsr_unlearn.core.samples import Sample


class Gain(nn.Module):
    def __init__(self, weight: float):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weight))

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        return lq * self.weight


def images(value: float) -> torch.Tensor:
    return torch.full((2, 3, 4, 4), value)


def test_the_error_half_way_is_pushed_up_to_the_margin():
    """Half way between 1.0 and 2.0 the output is 0.75, 0.05 above the clean image, 0.15 short of the margin."""
    net, original = Gain(2.0), Gain(1.0)
    value = ConnectivityLoss(margin=0.2)(on(net, images(0.5), images(0.7), original))
    assert value.item() == pytest.approx(0.15)
    value.backward()
    assert net.weight.grad.item() == pytest.approx(-0.25)  # half of what the middle's own weight would feel
    assert original.weight.grad is None


def test_beyond_the_margin_there_is_no_push():
    net = Gain(2.0)
    ConnectivityLoss(margin=0.04)(on(net, images(0.5), images(0.7), Gain(1.0))).backward()
    assert net.weight.grad.item() == 0


def test_it_looks_at_the_retain_samples_too_where_there_are_any():
    """0.15 short on the forget samples, as above; half way retain samples of 0.1 have an error of 0.05 too."""
    net, streams = Gain(2.0), {}
    for stream, lq, gt in (('forget', 0.5, 0.7), ('retain', 0.1, 0.0), ('other', 1.0, 9.0)):
        streams[stream] = Sample({'lq': images(lq), 'gt': images(gt)}, net, Gain(1.0), stream=stream, streams=streams)
    assert ConnectivityLoss(margin=0.2)(streams['forget']).item() == pytest.approx((0.15 + 0.05) / 2)


@pytest.mark.parametrize('options', [{'margin': 0}, {'criterion': 'l3'}])
def test_what_cannot_be_is_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ConnectivityLoss(**options)
