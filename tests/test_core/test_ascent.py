import math
import re
from pathlib import Path

import pytest
import torch
from torch import nn

import basicsr_unlearn.core
from basicsr_unlearn.core.ascent import BOUNDS, DEFAULT_BETA, bounded_ascent, reduce_samples, sample_loss
from basicsr_unlearn.core.checks import check_choice, check_number
from basicsr_unlearn.core.images import degraded_as_output

PRED = torch.tensor([0.5, 0.25]).view(2, 1, 1, 1).expand(2, 3, 4, 4)
TARGET = torch.zeros(2, 3, 4, 4)


def push(bound, loss, **kwargs):
    """Value and derivative for a single loss value."""
    loss = torch.tensor([loss], requires_grad=True)
    value = bounded_ascent(loss, bound, **kwargs)
    value.sum().backward()
    return value.item(), loss.grad.item()


@pytest.mark.parametrize('criterion, expected', [
    ('l1', [0.5, 0.25]),
    ('l2', [0.25, 0.0625]),
    ('mse', [0.25, 0.0625]),
    ('charbonnier', [math.sqrt(0.25 + 1e-6), math.sqrt(0.0625 + 1e-6)]),
    (lambda a, b: 2 * (a - b), [1.0, 0.5]),
    (lambda a, b: (a - b).amax(dim=(1, 2, 3)), [0.5, 0.25]),
])
def test_sample_loss_by_hand(criterion, expected):
    assert torch.allclose(sample_loss(PRED, TARGET, criterion), torch.tensor(expected))


def test_sample_loss_is_a_mean_over_pixels_of_one_sample():
    pred = torch.zeros(2, 1, 2, 2)
    pred[1, 0, 0, 0] = 0.8
    assert torch.allclose(sample_loss(pred, torch.zeros_like(pred)), torch.tensor([0.0, 0.2]))


def test_sample_loss_refuses():
    with pytest.raises(ValueError, match=r'\(2, 3, 4, 4\).*\(2, 3, 4, 2\)'):
        sample_loss(PRED, TARGET[..., :2])
    with pytest.raises(ValueError, match="nearest valid one is 'charbonnier'"):
        sample_loss(PRED, TARGET, 'charbonier')
    with pytest.raises(ValueError, match='keep the batch apart'):
        sample_loss(PRED, TARGET, nn.L1Loss())


def test_none_is_the_negative_loss():
    assert push('none', 0.3) == pytest.approx((-0.3, -1))
    assert push(None, 0.3) == pytest.approx((-0.3, -1))


def test_identity_ends_at_the_identity_baseline():
    reference = torch.tensor([0.25])
    assert push('identity', 0.1, reference=reference) == pytest.approx((0.15, -1))
    assert push('identity', 0.25, reference=reference) == (0, 0)
    assert push('identity', 0.4, reference=reference) == (0, 0)


def test_identity_ends_for_each_sample_by_itself():
    loss = torch.tensor([0.1, 0.1], requires_grad=True)
    bounded_ascent(loss, 'identity', reference=torch.tensor([0.3, 0.05])).sum().backward()
    assert loss.grad.tolist() == [-1, 0]


def test_reference_carries_no_gradient():
    reference = torch.tensor([0.3], requires_grad=True)
    loss = torch.tensor([0.1], requires_grad=True)
    for bound in ('identity', 'npo'):
        bounded_ascent(loss, bound, reference=reference).sum().backward()
    assert reference.grad is None and loss.grad.item() < 0


def test_margin_ends_at_the_margin():
    assert push('margin', 0.1, margin=0.3) == pytest.approx((0.2, -1))
    assert push('margin', 0.3, margin=0.3) == (0, 0)


@pytest.mark.parametrize('bound, where', [('npo', {'reference': torch.tensor([0.1])}), ('simnpo', {'margin': 0.1})])
def test_npo_values_by_hand(bound, where):
    # at the reference: log sigmoid(0) = -ln 2, derivative -2 sigmoid(0) = -1
    assert push(bound, 0.1, beta=4.0, **where) == pytest.approx((0.5 * math.log(2), -1))
    # beta (l - ref) = ln 3: sigmoid = 3/4, derivative -2 * 1/4
    value, slope = push(bound, 0.1 + math.log(3) / 4, beta=4.0, **where)
    assert (value, slope) == pytest.approx((-0.5 * math.log(0.75), -0.5), rel=1e-5)


def test_default_beta_fades_within_a_tenth():
    reference = torch.tensor([0.02])
    assert push('npo', 0.02, reference=reference)[0] == pytest.approx(2 / DEFAULT_BETA * math.log(2))
    assert push('npo', 0.07, reference=reference)[1] == pytest.approx(-2 / (1 + math.exp(2.5)), rel=1e-4)
    assert abs(push('npo', 0.12, reference=reference)[1]) < 0.02


def test_adaptive_by_hand():
    # focus 0.5: weights 1 / sqrt(0.04, 0.16) = 5, 2.5 become 4/3, 2/3, of mean 1
    loss = torch.tensor([0.04, 0.16], requires_grad=True)
    values = bounded_ascent(loss, 'adaptive')
    values.sum().backward()
    assert values.tolist() == pytest.approx([-0.16 / 3, -0.32 / 3], rel=1e-5)
    assert loss.grad.tolist() == pytest.approx([-4 / 3, -2 / 3], rel=1e-5)  # the weights are constants
    # focus 1: weights 25, 6.25 become 1.6, 0.4
    assert bounded_ascent(loss, 'adaptive', focus=1.0).tolist() == pytest.approx([-0.064, -0.064], rel=1e-5)


def test_adaptive_pushes_all_alike_without_focus_and_a_single_sample_as_none_does():
    assert bounded_ascent(torch.tensor([0.04, 0.16]), 'adaptive', focus=0).tolist() == pytest.approx([-0.04, -0.16])
    assert push('adaptive', 0.3) == pytest.approx((-0.3, -1))


def test_adaptive_is_finite_at_a_perfect_sample():
    loss = torch.tensor([0.0, 0.1], requires_grad=True)
    bounded_ascent(loss, 'adaptive').sum().backward()
    assert loss.grad.tolist() == pytest.approx([-2, 0], abs=1e-6)


@pytest.mark.parametrize('bound', [bound for bound in BOUNDS if bound != 'adaptive'])  # its weights join the samples
def test_every_bound_falls_as_the_loss_rises_and_all_but_none_end(bound):
    loss = torch.linspace(0, 3, 301, requires_grad=True)
    where = {'reference': torch.full_like(loss, 0.5)} if bound in ('identity', 'npo') else {}
    where |= {'margin': 0.5} if bound in ('margin', 'simnpo') else {}
    values = bounded_ascent(loss, bound, **where)
    values.sum().backward()
    assert (values.diff() <= 0).all() and values[0] > values[60]
    assert loss.grad[0] <= -1
    assert abs(loss.grad[-1]) == (1 if bound == 'none' else pytest.approx(0, abs=1e-6))
    assert bound == 'none' or (values >= 0).all()


@pytest.mark.parametrize('kwargs, message', [
    ({'bound': 'identy'}, "nearest valid one is 'identity'"),
    ({'bound': 'identity'}, "'identity' needs the reference"),
    ({'bound': 'npo'}, "'npo' needs the reference"),
    ({'bound': 'npo', 'reference': torch.zeros(3)}, r'\(2,\).*\(3,\)'),
    ({'bound': 'margin'}, "'margin' needs a margin"),
    ({'bound': 'simnpo'}, "'simnpo' needs a margin"),
    ({'bound': 'margin', 'margin': 0.0}, 'margin: expected a number above 0'),
    ({'bound': 'margin', 'margin': '1e-1'}, "margin: .*text '1e-1'"),
    ({'bound': 'none', 'margin': 0.1}, 'margin has no effect'),
    ({'bound': 'identity', 'beta': 1.0, 'reference': torch.zeros(2)}, 'beta has no effect'),
    ({'bound': 'simnpo', 'margin': 0.1, 'beta': 0.0}, 'beta: expected a number above 0'),
    ({'bound': 'none', 'focus': 0.5}, 'focus has no effect'),
    ({'bound': 'adaptive', 'focus': -0.5}, 'focus: expected a number of at least 0'),
    ({'bound': 'adaptive', 'margin': 0.5}, 'margin has no effect'),
])
def test_bounded_ascent_refuses(kwargs, message):
    with pytest.raises(ValueError, match=message):
        bounded_ascent(torch.zeros(2), **kwargs)


def test_ascent_raises_the_loss_until_the_bound():
    torch.manual_seed(0)
    net = nn.Conv2d(1, 1, 3, padding=1)
    x, y = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
    losses = []
    margin = sample_loss(net(x), y).max().item() + 0.1
    for _ in range(200):
        loss = sample_loss(net(x), y)
        losses.append(loss.detach())
        optimizer.zero_grad()
        bounded_ascent(loss, 'margin', margin=margin).sum().backward()
        optimizer.step()
    assert (losses[1] > losses[0]).all()
    # within one step of the margin for the slower sample, and standing still
    assert losses[-1].min() >= margin and torch.equal(losses[-1], losses[-2])


def test_degraded_as_output():
    lq = torch.rand(1, 3, 4, 4)
    assert degraded_as_output(lq, lq) is lq
    flat = degraded_as_output(torch.full((1, 3, 4, 4), 0.3), torch.zeros(1, 3, 8, 12))
    assert flat.shape == (1, 3, 8, 12) and torch.allclose(flat, torch.tensor(0.3))


def test_reduce_samples():
    values = torch.tensor([1.0, 3.0])
    assert [reduce_samples(values, 'mean').item(), reduce_samples(values, 'sum').item()] == [2, 4]
    assert torch.equal(reduce_samples(values, 'none'), values)
    with pytest.raises(ValueError, match="nearest valid one is 'mean'"):
        reduce_samples(values, 'men')


@pytest.mark.parametrize('value', [float('nan'), float('inf'), True, None, [1], '1e-4', -1])
def test_check_number_refuses(value):
    with pytest.raises(ValueError, match='^eps: '):
        check_number('eps', value)


def test_check_choice_accepts_only_the_choices():
    check_choice('norm', 'l2', ('linf', 'l2'))
    with pytest.raises(ValueError, match="norm: 'l3' .* 'l2'"):
        check_choice('norm', 'l3', ('linf', 'l2'))


def test_unlearning_never_imports_basicsr():
    for path in Path(basicsr_unlearn.core.__file__).parent.glob('*.py'):
        assert not re.search(r'^\s*(from|import) basicsr(\.|\s)', path.read_text(), re.MULTILINE), path
