import math

import pytest
import torch
from samples import having
from torch import nn

from basicsr_unlearn.core.losses import GradientAscentLoss
from basicsr_unlearn.core.losses.gradient_ascent_loss import gradient_ascent_loss
from basicsr_unlearn.errors import OptionError


def flat(*values, size=4):
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, size, size).contiguous()


def test_none_is_the_negative_mean_l1():
    assert GradientAscentLoss(loss_weight=2.0)(having(flat(0.5, 0.3), flat(0.4, 0.4))).item() == pytest.approx(-0.2)


def test_identity_by_hand():
    # losses 0.1 and 0.3, identity baselines 0.25 and 0.2: 0.15 left for the first, the second is done
    pred, gt, lq = flat(0.5, 0.7).requires_grad_(), flat(0.4, 0.4), flat(0.65, 0.6)
    values = GradientAscentLoss(bound='identity', reduction='none')(having(pred, gt, lq))
    assert values.tolist() == pytest.approx([0.15, 0])
    values.sum().backward()
    assert (pred.grad[0] < 0).all() and (pred.grad[1] == 0).all()  # descent moves the first away from its gt


def test_identity_upsamples_the_degraded_input():
    loss = GradientAscentLoss(bound='identity')
    value = loss(having(flat(0.5, size=8), flat(0.4, size=8), flat(0.65, size=2)))
    assert value.item() == pytest.approx(0.15, abs=1e-6)


def test_npo_by_hand():
    loss = GradientAscentLoss(bound='npo', beta=10.0)
    gt, teacher = flat(0.4), flat(0.5)
    assert loss(having(flat(0.3), gt, teacher=teacher)).item() == pytest.approx(0.2 * math.log(2))  # l = l_ref = 0.1
    far = loss(having(flat(0.9), gt, teacher=teacher))
    assert far.item() == pytest.approx(0.2 * math.log(1 + math.exp(-4)), rel=1e-4)


def test_margin_and_simnpo_by_hand():
    pred, gt = flat(0.5), flat(0.4)
    assert GradientAscentLoss(bound='margin', margin=0.3)(having(pred, gt)).item() == pytest.approx(0.2)
    value = GradientAscentLoss(bound='simnpo', margin=0.1, beta=10.0)(having(pred, gt)).item()
    assert value == pytest.approx(0.2 * math.log(2))


def test_adaptive_by_hand():
    # losses 0.1 and 0.4, focus 0.5: weights in the ratio 2 : 1, that is 4/3 and 2/3
    loss = GradientAscentLoss(bound='adaptive', reduction='none')
    assert loss(having(flat(0.5, 0.8), flat(0.4, 0.4))).tolist() == pytest.approx([-0.4 / 3, -0.8 / 3], rel=1e-4)
    even = GradientAscentLoss(bound='adaptive', focus=0.0)(having(flat(0.5, 0.8), flat(0.4, 0.4)))
    assert even.item() == pytest.approx(-0.25)


def test_away_from_the_teacher_by_hand():
    pred, gt, teacher, lq = flat(0.5), flat(0.9), flat(0.3), flat(0.1)
    plain = GradientAscentLoss(away_from='teacher')(having(pred, gt, teacher=teacher))
    assert plain.item() == pytest.approx(-0.2, abs=2e-6)
    # as far from the teacher as the degraded input is: 0.2 all told, none of it left
    loss = GradientAscentLoss(away_from='teacher', bound='identity')
    assert loss(having(flat(0.4), gt, lq, teacher)).item() == pytest.approx(0.1, abs=5e-6)
    assert loss(having(pred, gt, lq, teacher)).item() == pytest.approx(0, abs=5e-6)
    # the original is at distance 0 from itself
    loss = GradientAscentLoss(away_from='teacher', bound='npo', beta=10.0)
    assert loss(having(pred, gt, teacher=teacher)).item() == pytest.approx(0.2 * math.log(1 + math.exp(-2)), rel=1e-4)


@pytest.mark.parametrize('gt, direction', [(0.9, 1), (0.1, -1)])
def test_a_network_that_agrees_with_its_teacher_leaves_the_ground_truth(gt, direction):
    pred = flat(0.5).requires_grad_()
    GradientAscentLoss(away_from='teacher', loss_weight=48.0)(having(pred, flat(gt), teacher=flat(0.5))).backward()
    assert torch.equal(pred.grad, torch.full_like(pred, direction))  # 48 pixels: descent goes the other way


def test_reductions_and_criterion():
    pred, gt = flat(0.5, 0.7), flat(0.4, 0.4)
    assert GradientAscentLoss('l2', reduction='none')(having(pred, gt)).tolist() == pytest.approx([-0.01, -0.09])
    assert GradientAscentLoss('l2', reduction='sum')(having(pred, gt)).item() == pytest.approx(-0.1)
    assert GradientAscentLoss('l2')(having(pred, gt)).item() == pytest.approx(-0.05)
    assert gradient_ascent_loss(pred, gt, criterion='l2').item() == pytest.approx(-0.05)


@pytest.mark.parametrize('bound, extra, lq, teacher', [
    ('none', {}, False, False), (None, {}, False, False), ('identity', {}, True, False),
    ('margin', {'margin': 0.3}, False, False), ('npo', {}, False, True), ('simnpo', {'margin': 0.3}, False, False),
    ('adaptive', {}, False, False), ('none', {'away_from': 'teacher'}, False, True)])
def test_only_what_is_used_is_asked_for(bound, extra, lq, teacher):
    loss = GradientAscentLoss(bound=bound, **extra)
    inputs = {'lq': flat(0.8)} if lq else {}
    inputs |= {'teacher': flat(0.45)} if teacher else {}
    needed = loss(having(flat(0.5), flat(0.4), **inputs))
    assert torch.equal(needed, loss(having(flat(0.5), flat(0.4), **({'lq': flat(0.1), 'teacher': flat(0.2)} | inputs))))
    if inputs:
        with pytest.raises(OptionError, match='no lq' if lq else 'asks for the teacher'):
            loss(having(flat(0.5), flat(0.4)))


@pytest.mark.parametrize('kwargs, message', [
    ({'bound': 'margn', 'margin': 0.1}, "nearest valid one is 'margin'"),
    ({'bound': 'margin'}, 'needs a margin'),
    ({'margin': 0.1}, 'margin has no effect'),
    ({'beta': 5.0}, 'beta has no effect'),
    ({'focus': 0.5}, 'focus has no effect'),
    ({'away_from': 'techer'}, "nearest valid one is 'teacher'"),
    ({'criterion': 'l3'}, 'criterion'),
    ({'reduction': 'avg'}, 'reduction'),
    ({'loss_weight': '1e-2'}, "loss_weight: .*text '1e-2'"),
    ({'loss_weight': -1.0}, 'loss_weight'),
])
def test_options_are_checked_when_built(kwargs, message):
    with pytest.raises(ValueError, match=message):
        GradientAscentLoss(**kwargs)


def test_build_loss_and_a_step_of_sgd_raises_the_error():
    from basicsr.losses import build_loss  # here: only once the plugin is imported does BasicSR import

    torch.manual_seed(0)
    net = nn.Conv2d(3, 3, 3, padding=1)
    lq, gt = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8)
    loss = build_loss({'type': 'GradientAscentLoss', 'criterion': 'l1', 'bound': 'none', 'loss_weight': 0.5})
    before = (net(lq) - gt).abs().mean()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loss(having(net(lq), gt)).backward()
    optimizer.step()
    assert (net(lq) - gt).abs().mean() > before + 1e-3
