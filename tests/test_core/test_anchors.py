"""Anchors: value and gradient by hand, on networks of two or three weights."""
import math
from copy import deepcopy

import pytest
import torch
from torch import nn

from basicsr_unlearn.core.anchors.fisher_anchor import FisherAnchor
from basicsr_unlearn.core.anchors.repulsion_anchor import RepulsionAnchor
from basicsr_unlearn.core.anchors.sensitivity_anchor import SensitivityAnchor, minmax
from basicsr_unlearn.core.anchors.sparsity_anchor import SparsityAnchor
from basicsr_unlearn.core.parts import ANCHORS, Anchor, Evidence, live_parameters, restoration_error
from basicsr_unlearn.core.tuning import tuned
from basicsr_unlearn.errors import OptionError


class Affine(nn.Module):
    """scale * lq + shift, beside a dead weight."""

    dead_parameters = ('dead',)

    def __init__(self, scale: float = 1.0, shift: float = 0.5):
        super().__init__()
        self.scale, self.shift = (nn.Parameter(torch.tensor([value])) for value in (scale, shift))
        self.dead = nn.Parameter(torch.full((3,), 9.0))

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        return self.scale * lq + self.shift


class Gains(nn.Module):
    """Channel i of the input times gain i."""

    def __init__(self, *gains: float):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gains))

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        return lq * self.gain.view(1, -1, 1, 1)


def image(value: float, channels: int = 1) -> torch.Tensor:
    return torch.full((2, channels, 4, 4), value)


# the output lies above its ground truth: gradients 0.5 (scale) and 1 (shift), so F is 0.25 and 1, on average 0.625
BATCH = {'lq': image(0.5), 'gt': image(0.0)}


def prepared(anchor: Anchor, net: nn.Module, batch: dict = BATCH) -> Anchor:
    anchor.prepare(Evidence(net.eval(), forget=[batch], retain=[batch]))
    return anchor


def value_and_gradient(anchor: Anchor, net: nn.Module) -> tuple[float, list[float]]:
    value = anchor(net)
    assert value.dim() == 0
    found = torch.autograd.grad(value, [p for _, p in live_parameters(net)])
    return value.item(), torch.cat([g.flatten() for g in found]).tolist()


# ---------------------------------------------------------------- quadratic

@pytest.mark.parametrize('options, value, gradient', [
    ({}, 1.0, [0.4, -1.6]),
    ({'loss_weight': 3}, 3.0, [1.2, -4.8]),
    ({'normalise': False}, 0.625, [0.25, -1.0]),
    ({'stream': 'forget'}, 1.0, [0.4, -1.6]),
    ({'per_sample': True, 'normalise': False}, 0.625, [0.25, -1.0]),
])
def test_fisher_anchor(options, value, gradient):
    anchor = prepared(FisherAnchor(**options), Affine(1.0, 0.5))
    found = value_and_gradient(anchor, Affine(2.0, -0.5))  # moved by 1 and -1
    assert found[0] == pytest.approx(value) and found[1] == pytest.approx(gradient)


def test_fisher_anchor_where_nothing_matters():
    """The output is the ground truth: no gradient, no division by zero."""
    anchor = prepared(FisherAnchor(), Affine(0.0, 0.5), {'lq': image(0.5), 'gt': image(0.5)})
    assert value_and_gradient(anchor, Affine(2.0, 1.0)) == (0, [0, 0])


def test_normalised_fisher_does_not_depend_on_the_scale_of_the_loss():
    """Doubled inputs double the gradient of both gains, so F is four times as large."""
    values = [prepared(FisherAnchor(normalise=normalise), Gains(1.0, 1.0), {'lq': image(scale, 2), 'gt': image(0.0, 2)}
                       )(Gains(1.5, 1.0)).item() for normalise in (True, False) for scale in (0.4, 0.8)]
    assert values[0] == pytest.approx(values[1]) and values[3] == pytest.approx(4 * values[2])


def test_sensitivity_anchor():
    """The gradient of the squared output is as the gain: 0, 1, 2, scaled to 0, 0.5, 1; held are 1, 0.5 and 0 of it."""
    anchor = prepared(SensitivityAnchor(residual=False), Gains(0.0, 1.0, 2.0), {'lq': image(0.5, 3)})
    value, gradient = value_and_gradient(anchor, Gains(1.0, 2.0, 3.0))
    assert value == pytest.approx(0.75) and gradient == pytest.approx([1.0, 0.5, 0.0])


def test_sensitivity_of_the_residual():
    """The same gains change the input by -1, 0 and 1 times itself: the first and the last matter alike."""
    anchor = prepared(SensitivityAnchor(loss_weight=10), Gains(0.0, 1.0, 2.0), {'lq': image(0.5, 3)})
    value, gradient = value_and_gradient(anchor, Gains(1.0, 2.0, 3.0))
    assert value == pytest.approx(5.0) and gradient == pytest.approx([0.0, 10.0, 0.0])


def test_minmax_of_equal_values():
    assert minmax(torch.tensor([3.0, 3.0])).tolist() == [0, 0] and minmax(torch.tensor(2.0)).item() == 0


@pytest.mark.parametrize('anchor', [FisherAnchor(), SensitivityAnchor()])
def test_quadratic_anchors_are_zero_at_the_original_and_remember_it(anchor):
    net = Affine()
    prepared(anchor, net)
    assert value_and_gradient(anchor, net) == (0, [0, 0])
    with torch.no_grad():
        net.shift += 1  # what was kept is a copy
    assert anchor(net).item() > 0


# ---------------------------------------------------------------- repulsion

# one step of Adam moves each weight against its gradient by the learning rate: to (0.9, 0.4), d = 0.02 or 0.01
ONE_STEP = {'adapt_iters': 1, 'adapt_lr': 0.1}


@pytest.mark.parametrize('options, value, gradient', [
    ({'form': 'il2', 'reduction': 'sum', 'normalise': False}, 50, -500),
    ({'form': 'il2', 'reduction': 'mean', 'normalise': False}, 100, -1000),
    ({'form': 'nl2', 'reduction': 'sum', 'normalise': False}, -0.02, -0.2),
    ({'form': 'nl2', 'reduction': 'mean', 'normalise': False, 'loss_weight': 4}, -0.04, -0.4),
    ({'form': 'el2', 'reduction': 'sum', 'normalise': False, 'alpha': 5}, math.exp(-0.1), -math.exp(-0.1)),
    ({'form': 'il2'}, 1, -10),
    ({'form': 'nl2', 'reduction': 'sum'}, -1, -10),
    ({}, math.exp(-1), -10 * math.exp(-1)),
])
def test_repulsion_at_the_original(options, value, gradient):
    net = Affine()
    found = value_and_gradient(prepared(RepulsionAnchor(**ONE_STEP, **options), net), net)
    assert found[0] == pytest.approx(value, rel=1e-4) and found[1] == pytest.approx([gradient] * 2, rel=1e-4)


def test_mean_is_over_tensors_of_the_mean_within_each():
    net = nn.ParameterDict({'two': nn.Parameter(torch.tensor([1.0, 2.0])), 'one': nn.Parameter(torch.tensor(3.0))})
    anchor = RepulsionAnchor(form='nl2')
    anchor.adapted, anchor.unit = {'two': torch.zeros(2), 'one': torch.tensor(0.0)}, 1.0
    assert anchor(net).item() == -(2.5 + 9) / 2
    anchor.reduction = 'sum'
    assert anchor(net).item() == -14


@pytest.mark.parametrize('form', ['il2', 'nl2', 'el2'])
def test_descent_on_repulsion_leads_away(form):
    net = Affine()
    anchor = prepared(RepulsionAnchor(form=form, **ONE_STEP), net)
    start = anchor.distance(net).item()
    slopes = value_and_gradient(anchor, net)[1]
    with torch.no_grad():
        for p, slope in zip((net.scale, net.shift), slopes):
            p -= 1e-3 * slope
    assert anchor.distance(net).item() > start


def test_adapting_restores_the_forget_set_better_and_takes_batches_in_turn():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 3, padding=1)).eval()
    batches = [{'lq': torch.rand(2, 1, 8, 8), 'gt': torch.rand(2, 1, 8, 8)} for _ in range(2)]
    adapted = deepcopy(net)
    adapted.load_state_dict({**net.state_dict(), **tuned(net, batches, 20, 1e-2)})
    before, after = (sum(restoration_error(n, batch).item() for batch in batches) for n in (net, adapted))
    assert after < before
    once, twice = (tuned(net, used, 2, 1e-2) for used in (batches, batches[:1]))
    assert not once['0.weight'].equal(twice['0.weight'])


def test_nothing_to_move_away_from():
    with pytest.raises(OptionError, match='moved no weight'):
        prepared(RepulsionAnchor(**ONE_STEP), Affine(0.0, 0.5), {'lq': image(0.5), 'gt': image(0.5)})


# ---------------------------------------------------------------- sparsity

def test_sparsity_anchor():
    anchor = prepared(SparsityAnchor(loss_weight=0.1), Affine())
    value, gradient = value_and_gradient(anchor, Affine(2.0, -0.5))
    assert value == pytest.approx(0.25) and gradient == pytest.approx([0.1, -0.1])


@pytest.mark.parametrize('decay, left', [('linear', 0.25), ('none', 1.0)])
def test_sparsity_falls_as_the_run_goes_on(decay, left):
    anchor = prepared(SparsityAnchor(0.1, decay), Affine())
    anchor.progress = 0.75
    value, gradient = value_and_gradient(anchor, Affine(2.0, -0.5))
    assert value == pytest.approx(0.25 * left) and gradient == pytest.approx([0.1 * left, -0.1 * left])


# ---------------------------------------------------------------- all

@pytest.mark.parametrize('anchor, options', [
    (FisherAnchor, {'loss_weight': -1}), (FisherAnchor, {'stream': 'all'}),
    (SensitivityAnchor, {'loss_weight': '1e-4'}), (SparsityAnchor, {'loss_weight': math.nan}),
    (SparsityAnchor, {'decay': 'cosine'}),
    (RepulsionAnchor, {'form': 'l2'}), (RepulsionAnchor, {'alpha': 0}), (RepulsionAnchor, {'reduction': 'max'}),
    (RepulsionAnchor, {'adapt_iters': 0}), (RepulsionAnchor, {'adapt_iters': 1.5}), (RepulsionAnchor, {'adapt_lr': 0}),
    (RepulsionAnchor, {'loss_weight': -1})])
def test_options_out_of_range(anchor, options):
    with pytest.raises(ValueError):
        anchor(**options)


@pytest.mark.parametrize('name', ['FisherAnchor', 'SensitivityAnchor', 'RepulsionAnchor', 'SparsityAnchor'])
def test_prepare_leaves_the_teacher_alone_and_gives_the_same_twice(name):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)).eval()
    net[0].bias.requires_grad_(False)
    moved = deepcopy(net)
    with torch.no_grad():
        for p in moved.parameters():
            p.add_(torch.randn_like(p), alpha=1e-2)
    before = deepcopy(net.state_dict())
    batches = [{'lq': torch.rand(2, 3, 8, 8), 'gt': torch.rand(2, 3, 8, 8)} for _ in range(3)]
    values = []
    for _ in range(2):
        anchor = ANCHORS[name]()
        with torch.no_grad():  # as some trainers call it
            anchor.prepare(Evidence(net, forget=batches, retain=batches[::-1]))
        values.append(anchor(moved))
    assert values[0].equal(values[1]) and values[0] > 0 and values[0].requires_grad
    assert not list(anchor.parameters())
    assert all(value.equal(before[key]) for key, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters()) and not net.training and not net[0].bias.requires_grad
