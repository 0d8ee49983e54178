import pytest
import torch
from samples import having
from torch import nn

from basicsr_unlearn.core.losses import TargetLoss
from basicsr_unlearn.core.losses.target_loss import TARGETS, boundary_output, gaussian_image, target_loss
from basicsr_unlearn.errors import OptionError


def flat(*values, size=4):
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, size, size).contiguous()


PRED, GT, LQ, TEACHER = flat(0.5, 0.3), flat(0.2, 0.8), flat(0.6, 0.6), flat(0.5, 0.7)


@pytest.mark.parametrize('target, expected', [
    ('degraded', [0.1, 0.3]),
    ('teacher', [0.0, 0.4]),
    ('noise', [0.3, 0.5]),  # constant ground truths have no spread: the noise image is the ground truth's mean
    ('other', [0.3, 0.1]),  # rolled by one: the targets are 0.8 and 0.2
])
def test_values_by_hand(target, expected):
    values = TargetLoss(target, reduction='none')(having(PRED, GT, LQ, TEACHER))
    assert values.tolist() == pytest.approx(expected, abs=1e-6)
    mean = TargetLoss(target, loss_weight=2.0)(having(PRED, GT, LQ, TEACHER))
    assert mean.item() == pytest.approx(sum(expected), abs=1e-6)
    assert target_loss(PRED, GT, LQ, TEACHER, target, reduction='sum').item() == pytest.approx(sum(expected), abs=1e-6)


def test_gradient_pulls_towards_the_target_and_spares_it():
    pred, teacher = flat(0.5).requires_grad_(), flat(0.7).requires_grad_()
    TargetLoss('teacher')(having(pred, flat(0.1), teacher=teacher)).backward()
    assert (pred.grad < 0).all() and teacher.grad is None


def test_degraded_is_upsampled():
    value = TargetLoss()(having(flat(0.5, size=8), lq=flat(0.9, size=2)))
    assert value.item() == pytest.approx(0.4, abs=1e-6)


def test_noise_has_the_mean_and_std_of_each_channel():
    generator = torch.Generator().manual_seed(0)
    gt = torch.tensor([0.3, 0.5, 0.7]).view(1, 3, 1, 1) + 0.05 * torch.randn(2, 3, 64, 64, generator=generator)
    gt[1] = gt[1] * 0.5
    noise = gaussian_image(gt, generator=generator)
    assert torch.allclose(noise.mean((2, 3)), gt.mean((2, 3)), atol=5e-3)
    assert torch.allclose(noise.std((2, 3)), gt.std((2, 3)), atol=3e-3)
    correlation = torch.corrcoef(torch.stack([noise[0, 0].flatten(), gt[0, 0].flatten()]))[0, 1]
    assert abs(correlation) < 0.1


def test_noise_is_clamped_and_takes_a_given_std():
    gt = torch.full((1, 3, 64, 64), 0.5)
    assert torch.equal(gaussian_image(gt), gt)
    generator = torch.Generator().manual_seed(0)
    assert gaussian_image(gt, 0.1, generator).std().item() == pytest.approx(0.1, abs=5e-3)
    wide = gaussian_image(gt, 1.0, generator)
    assert wide.min() == 0 and wide.max() == 1


def test_noise_follows_the_generator():
    loss = TargetLoss('noise', noise_std=0.2)
    values = [loss(having(PRED, GT, generator=torch.Generator().manual_seed(seed))).item() for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


class Scale(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor), requires_grad=False)
        self.drop = nn.Dropout(0.5)

    def forward(self, x):
        return self.drop(self.factor * x)


def test_proxy_by_hand():
    values = TargetLoss('proxy', reduction='none')(having(PRED, GT, LQ, TEACHER, proxy=flat(0.9, 0.4)))
    assert values.tolist() == pytest.approx([0.4, 0.1])


def test_boundary_by_hand():
    # |0.5 x - gt| with x = 0.6: grows with x for gt 0.2, as x falls for gt 0.8; outputs 0.5 (0.6 +- 0.1)
    net = Scale(0.5).train()
    assert boundary_output(net, LQ, GT, eps=0.1)[:, 0, 0, 0].tolist() == pytest.approx([0.35, 0.25])
    values = TargetLoss('boundary', eps=0.1, reduction='none')(having(PRED, GT, LQ, teacher_net=net))
    assert values.tolist() == pytest.approx([0.15, 0.05])
    assert net.training and net.drop.training and net.factor.grad is None


def test_boundary_stays_within_the_default_eps():
    # an identity moves by eps at most, and to where the error is larger
    output = boundary_output(Scale(1.0), LQ, GT)
    assert torch.allclose((output - GT).abs(), (LQ - GT).abs() + 4 / 255, atol=1e-6)


@pytest.mark.parametrize('target, needs', [
    ('degraded', ['lq']), ('teacher', ['teacher']), ('proxy', ['proxy']), ('boundary', ['gt', 'lq', 'teacher_net']),
    ('noise', ['gt']), ('other', ['gt'])])
def test_only_what_is_used_is_asked_for(target, needs):
    """So the degraded input, the teacher or the proxy serve as targets without any ground truth."""
    loss = TargetLoss(target)
    inputs = {'gt': GT, 'lq': LQ, 'teacher': TEACHER, 'proxy': TEACHER, 'teacher_net': Scale(0.5)}
    given = {name: inputs[name] for name in needs}
    assert loss(having(PRED, **given)) >= 0
    for missing in needs:
        left = {name: value for name, value in given.items() if name != missing}
        with pytest.raises(OptionError, match=f'no {missing}|asks for the {missing.partition("_")[0]} network'):
            loss(having(PRED, **left))
        with pytest.raises(ValueError, match=f'needs {missing}, '):
            target_loss(PRED, **left, target=target)


@pytest.mark.parametrize('target', TARGETS)
def test_no_gradient_enters_the_target(target):
    inputs = {'lq': LQ, 'teacher': TEACHER, 'proxy': TEACHER}
    inputs = {name: value.clone().requires_grad_() for name, value in inputs.items()}
    pred = PRED.clone().requires_grad_()
    TargetLoss(target)(having(pred, GT, **inputs, teacher_net=Scale(0.5))).backward()
    assert pred.grad is not None and all(value.grad is None for value in inputs.values())


def test_other_refuses_a_batch_of_one():
    with pytest.raises(ValueError, match='batch of at least 2'):
        TargetLoss('other')(having(PRED[:1], GT[:1]))


@pytest.mark.parametrize('kwargs, message', [
    ({'target': 'degrade'}, "nearest valid one is 'degraded'"),
    ({'criterion': 'l3'}, 'criterion'),
    ({'reduction': 'avg'}, 'reduction'),
    ({'loss_weight': '1e-2'}, "loss_weight: .*text '1e-2'"),
    ({'noise_std': 0.1}, 'noise_std has no effect'),
    ({'target': 'noise', 'noise_std': -0.1}, 'noise_std'),
    ({'eps': 0.1}, "eps has no effect with target 'degraded'.*use target 'boundary'"),
    ({'target': 'boundary', 'eps': 0.0}, 'eps: expected a number above 0'),
])
def test_options_are_checked_when_built(kwargs, message):
    with pytest.raises(ValueError, match=message):
        TargetLoss(**kwargs)


def test_build_loss():
    from basicsr.losses import build_loss  # here: only once the plugin is imported does BasicSR import

    loss = build_loss({'type': 'TargetLoss', 'target': 'degraded', 'criterion': 'l2', 'loss_weight': 3.0})
    assert loss(having(flat(0.5), flat(0.1), flat(0.7))).item() == pytest.approx(0.12)
