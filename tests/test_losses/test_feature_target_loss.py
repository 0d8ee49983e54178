import copy

import pytest
import torch
from samples import on
from torch import nn

from basicsr_unlearn.archs.nafnet_arch import NAFNet
from basicsr_unlearn.core.losses.feature_target_loss import FeatureTargetLoss, directions
from basicsr_unlearn.core.losses.target_loss import gaussian_image
from basicsr_unlearn.errors import OptionError


class TwoStages(nn.Module):
    """Stages a x and b a x, then an output that has a part of its own."""

    def __init__(self, a, b):
        super().__init__()
        self.encoders = nn.ModuleList([Times(a), Times(b)])
        self.ending = Times(1.0)

    def forward(self, x):
        return self.ending(self.encoders[1](self.encoders[0](x)))


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x):
        return self.factor * x


def flat(value):
    return torch.full((2, 3, 4, 4), value)


def call(loss, net, lq, teacher=None, **more):
    return loss(on(net, lq, teacher_net=teacher, **more))


def nafnet(seed=0):
    torch.manual_seed(seed)
    net = NAFNet(width=4, enc_blk_nums=[1, 1], middle_blk_num=1, dec_blk_nums=[1, 1])
    for name, weight in net.named_parameters():
        if name.endswith(('beta', 'gamma')):  # zero at the start, which would hide the blocks
            nn.init.constant_(weight, 0.3)
    return net


def test_noise_by_hand():
    # a flat image's Gaussian image is itself: (2 - 1) 0.5 at the first stage, (6 - 4) 0.5 at the second
    net, teacher = TwoStages(2.0, 3.0), TwoStages(1.0, 4.0)
    value = call(FeatureTargetLoss(loss_weight=2.0), net, flat(0.5), teacher)
    assert value.item() == pytest.approx(2 * (0.25 + 1))
    value.backward()
    # d/da: 2 (2 - 1) 0.25 + 2 (6 - 4) 0.25 * 3, d/db: 2 (6 - 4) 0.25 * 2, both times the weight
    assert [p.grad.item() for p in net.encoders.parameters()] == pytest.approx([2 * 3.5, 2 * 2])
    assert net.ending.factor.grad is None and all(p.grad is None for p in teacher.parameters())


def test_the_original_sees_the_noise_and_the_network_the_sample():
    net, lq = TwoStages(1.0, 1.0), torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    value = call(FeatureTargetLoss(layers=['encoders.0']), net, lq, copy.deepcopy(net),
                 generator=torch.Generator().manual_seed(2))
    noise = gaussian_image(lq, generator=torch.Generator().manual_seed(2))
    assert value.item() == pytest.approx((lq - noise).square().mean().item())


def test_directions_have_the_length_and_stay():
    features = {'a': torch.zeros(2, 5, 3, 4), 'b': torch.zeros(2, 7, 6)}
    goals = directions(features, steering=3.0)
    assert torch.allclose(goals['a'].norm(dim=1), torch.tensor(3.0))
    assert torch.allclose(goals['b'].norm(dim=2), torch.tensor(3.0))
    assert torch.equal(goals['a'][0, :, 0, 0], goals['a'][1, :, 2, 3]) and (goals['a'] >= 0).all()
    again = directions({name: torch.ones_like(value) for name, value in features.items()}, steering=3.0)
    assert torch.equal(goals['a'], again['a']) and torch.equal(goals['b'], again['b'])
    assert not torch.equal(goals['a'], directions(features, steering=3.0, seed=1)['a'])


def test_direction_by_hand():
    # one channel: the unit vector is 1, so the goal is the steering itself
    net, lq = TwoStages(2.0, 3.0), torch.full((2, 1, 4, 4), 0.5)
    loss = FeatureTargetLoss('direction', layers=['encoders.0'], steering=4.0)
    assert call(loss, net, lq).item() == pytest.approx(9)
    assert call(FeatureTargetLoss('direction'), net, lq).item() == pytest.approx(1 + 1)  # to 2, from 1 and from 3


@pytest.mark.parametrize('target', ['noise', 'direction'])
def test_descent_moves_the_encoder_only_and_no_part_of_the_teacher(target):
    net, teacher = nafnet().train(), nafnet().train()  # train mode on purpose: the loss must not rely on the caller
    before, teacher_before = copy.deepcopy(net.state_dict()), copy.deepcopy(teacher.state_dict())
    lq, loss = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)), FeatureTargetLoss(target)
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    values = []
    for _ in range(10):
        value = call(loss, net, lq, teacher, generator=torch.Generator().manual_seed(3))
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    assert values[-1] < 0.9 * values[0]
    moved = {name.split('.')[0] for name, value in net.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {'intro', 'encoders', 'downs', 'middle_blks'}
    assert all(torch.equal(value, teacher_before[name]) for name, value in teacher.state_dict().items())
    assert net.training and teacher.training and all(p.grad is None for p in teacher.parameters())


def test_same_seed_same_bits_and_a_wrapper_is_passed_by():
    net, lq, loss = nafnet(), torch.rand(2, 3, 8, 8), FeatureTargetLoss()
    values = [call(loss, net, lq, net, generator=torch.Generator().manual_seed(seed)).item() for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]
    wrapped = nn.DataParallel(net)
    wrapped.forward = None  # calling the wrapper would fail
    assert call(loss, wrapped, lq, net, generator=torch.Generator().manual_seed(0)).item() == values[0]


def test_missing_network_and_unknown_layers():
    with pytest.raises(OptionError, match='asks for the teacher network'):
        call(FeatureTargetLoss(), nafnet(), flat(0.5))
    with pytest.raises(ValueError, match="layers: 'latent' fits no module of NAFNet, which has intro"):
        call(FeatureTargetLoss('direction', layers=['latent']), nafnet(), flat(0.5))


@pytest.mark.parametrize('kwargs, message', [
    ({'target': 'noize'}, "nearest valid one is 'noise'"),
    ({'steering': 2.0}, 'steering has no effect'),
    ({'seed': 1}, 'seed has no effect'),
    ({'target': 'direction', 'steering': 0.0}, 'steering: expected a number above 0'),
    ({'target': 'direction', 'seed': 1.5}, 'seed: expected a whole number'),
    ({'loss_weight': '1e-2'}, "loss_weight: .*text '1e-2'"),
])
def test_options_are_checked_when_built(kwargs, message):
    with pytest.raises(ValueError, match=message):
        FeatureTargetLoss(**kwargs)


def test_build_loss():
    from basicsr.losses import build_loss  # here: only once the plugin is imported does BasicSR import

    loss = build_loss({'type': 'FeatureTargetLoss', 'target': 'direction', 'layers': ['encoders.1'], 'steering': 5.0})
    assert call(loss, TwoStages(2.0, 3.0), torch.full((1, 1, 4, 4), 0.5)).item() == pytest.approx(4)
