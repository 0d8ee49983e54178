import copy

import pytest
import torch
from samples import on
from torch import nn

from basicsr_unlearn.core.losses import AdversarialRetainLoss
from basicsr_unlearn.core.losses.adversarial_retain_loss import adversarial_input
from basicsr_unlearn.errors import OptionError

NONE = {'type': 'none'}


class Scale(nn.Module):
    """y = factor * x: everything can be computed by hand."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x):
        return self.factor * x


def flat(value):
    return torch.full((2, 3, 4, 4), value)


def net_with_batchnorm(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Tanh(), nn.Conv2d(6, 3, 3, padding=1))


def pair(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, 8, 8, generator=generator), torch.rand(2, 3, 8, 8, generator=generator)


def state(net):
    return {key: value.clone() for key, value in net.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[key], b[key]) for key in a)


def test_plain_values_by_hand():
    net, teacher = Scale(0.5), Scale(1.0)
    assert AdversarialRetainLoss(attack=NONE)(on(net, flat(0.4), flat(0.3))).item() == pytest.approx(0.1)
    loss = AdversarialRetainLoss(target='teacher', attack=NONE, loss_weight=2.0)
    assert loss(on(net, flat(0.4), teacher_net=teacher)).item() == pytest.approx(0.4)


def test_one_step_to_the_ground_truth_by_hand():
    # |0.5 x - 0.3| with x = 0.4 grows as x falls: x_adv = 0.3, loss 0.15
    loss = AdversarialRetainLoss(attack={'type': 'one_step', 'eps': 0.1})
    assert loss(on(Scale(0.5), flat(0.4), flat(0.3))).item() == pytest.approx(0.15)


def test_student_and_teacher_are_driven_apart_by_hand():
    # |0.5 x - x| grows with x: x_adv = 0.5; the goal is the teacher's output there, 0.5
    loss = AdversarialRetainLoss(target='teacher', attack={'type': 'one_step', 'eps': 0.1})
    net = Scale(0.5)
    value = loss(on(net, flat(0.4), teacher_net=Scale(1.0)))
    assert value.item() == pytest.approx(0.25)
    value.backward()
    assert net.factor.grad.item() == pytest.approx(-0.5)  # d |f x - x| / d f = -x, none of it through x_adv


def test_attack_on_the_teacher_ignores_the_student():
    # teacher |1 x - 0.5| with x = 0.4 grows as x falls; the student |2 x - 0.5| would make it rise
    attack = {'type': 'one_step', 'eps': 0.1, 'network': 'teacher'}
    x_adv = adversarial_input(Scale(2.0), flat(0.4), flat(0.5), Scale(1.0), attack=attack)
    assert torch.allclose(x_adv, flat(0.3))
    x_adv = adversarial_input(Scale(2.0), flat(0.4), flat(0.5), attack=attack | {'network': 'student'})
    assert torch.allclose(x_adv, flat(0.5))


def test_teacher_is_driven_from_its_clean_output():
    # |T(x) - T(0.4)| is largest at the rim: every pixel ends at 0.4 +- eps, on the side where it started
    attack = {'eps': 0.1, 'step_size': 0.1, 'steps': 3, 'network': 'teacher'}
    x_adv = adversarial_input(Scale(2.0), flat(0.4), teacher_net=Scale(1.0), target='teacher', attack=attack,
                              generator=torch.Generator().manual_seed(0))
    assert torch.allclose((x_adv - 0.4).abs(), torch.tensor(0.1), atol=1e-6)
    assert 0.2 < (x_adv > 0.4).float().mean() < 0.8


@pytest.mark.parametrize('target', ['gt', 'teacher'])
@pytest.mark.parametrize('norm, eps', [('linf', 8 / 255), ('l2', 1.0)])
def test_adversarial_loss_exceeds_the_plain_loss(target, norm, eps):
    net, teacher = net_with_batchnorm(0).eval(), net_with_batchnorm(1).eval()
    lq, gt = pair()
    plain = AdversarialRetainLoss(target=target, attack=NONE)(on(net, lq, gt, teacher))
    loss = AdversarialRetainLoss(target=target, attack={'norm': norm, 'eps': eps, 'steps': 5})
    adversarial = loss(on(net, lq, gt, teacher, torch.Generator().manual_seed(0)))
    assert adversarial > plain + 0.003  # a random point of the ball changes it by a tenth of that


@pytest.mark.parametrize('target, on', [('gt', 'student'), ('gt', 'teacher'), ('teacher', 'student'),
                                        ('teacher', 'teacher')])
def test_attack_moves_no_buffer_gives_no_gradient_and_restores_modes(target, on):
    net, teacher = net_with_batchnorm(0).train(), net_with_batchnorm(1).train()
    net[1].eval()  # as with frozen batch norm
    before, teacher_before = state(net), state(teacher)
    lq, gt = pair()
    x_adv = adversarial_input(net, lq, gt, teacher, target=target, attack={'network': on})
    assert same(before, state(net)) and same(teacher_before, state(teacher))
    assert all(p.grad is None and p.requires_grad for p in [*net.parameters(), *teacher.parameters()])
    assert (net.training, net[0].training, net[1].training, teacher[1].training) == (True, True, False, True)
    assert 0 < (x_adv - lq).abs().max() <= 4 / 255 + 1e-6 and x_adv.min() >= 0 and x_adv.max() <= 1


def test_teacher_never_changes_while_the_student_learns():
    net = net_with_batchnorm(0).train()
    teacher = copy.deepcopy(net)  # in train mode on purpose: the loss must not rely on the caller
    before, student_before = state(teacher), state(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    loss = AdversarialRetainLoss(target='teacher')
    for step in range(2):
        optimizer.zero_grad()
        loss(on(net, pair(step)[0], teacher_net=teacher)).backward()
        optimizer.step()
    assert same(before, state(teacher)) and all(p.grad is None for p in teacher.parameters())
    assert not same(student_before, state(net))


def test_same_seed_same_bits():
    net, (lq, gt) = net_with_batchnorm(0).eval(), pair()
    loss = AdversarialRetainLoss()
    values = [loss(on(net, lq, gt, generator=torch.Generator().manual_seed(seed))).item() for seed in (0, 0, 1)]
    assert values[0] == values[1] != values[2]


def test_a_data_parallel_wrapper_is_passed_by():
    net, (lq, gt) = net_with_batchnorm(0).eval(), pair()
    attack = {'random_start': False}
    expected = adversarial_input(net, lq, gt, attack=attack)
    wrapped = nn.DataParallel(net)
    wrapped.forward = None  # calling the wrapper would fail
    assert torch.equal(adversarial_input(wrapped, lq, gt, attack=attack), expected)


def test_carried_reaches_what_one_step_reaches_by_hand():
    # |0.5 x - 0.3| with x = 0.4 is 0.1 and grows as x falls: 0.15 at 0.3, one backward pass later
    loss = AdversarialRetainLoss(attack={'type': 'carried', 'eps': 0.1, 'step_size': 0.1, 'random_start': False})
    net, values = Scale(0.5), []
    for _ in range(2):
        value = loss(on(net, flat(0.4), flat(0.3)))
        value.backward()
        values.append(value.item())
    assert values == pytest.approx([0.1, 0.15])
    assert torch.allclose(loss.state_dict()['carried.delta'], flat(-0.1))


def test_carried_drives_student_and_teacher_apart_by_hand():
    # |0.5 x - x| grows with x, though |0.5 x - 0.4| with the teacher's output held fixed would fall
    loss = AdversarialRetainLoss(target='teacher', attack={'type': 'carried', 'eps': 0.1, 'random_start': False})
    net, teacher, values = Scale(0.5), Scale(1.0), []
    for _ in range(2):
        value = loss(on(net, flat(0.4), teacher_net=teacher))
        net.factor.grad = None
        value.backward()
        values.append(value.item())
    assert values == pytest.approx([0.2, 0.25])
    assert net.factor.grad.item() == pytest.approx(-0.5)  # d |f x - x| / d f = -x, as with a fixed goal
    assert teacher.factor.grad is None and teacher.factor.requires_grad


@pytest.mark.parametrize('target', ['gt', 'teacher'])
def test_carried_takes_no_pass_of_its_own(target):
    net, teacher, calls = net_with_batchnorm(0).train(), net_with_batchnorm(1).eval().requires_grad_(False), []
    net.register_forward_hook(lambda *_: calls.append('student'))
    teacher.register_forward_hook(lambda *_: calls.append('teacher'))
    loss = AdversarialRetainLoss(target=target, attack={'type': 'carried'})
    loss(on(net, *pair(), teacher)).backward()
    assert sorted(calls) == (['student'] if target == 'gt' else ['student', 'teacher'])


@pytest.mark.parametrize('target', ['gt', 'teacher'])
def test_carried_raises_the_loss_of_the_batches_to_come(target):
    net, teacher = net_with_batchnorm(0).eval(), net_with_batchnorm(1).eval().requires_grad_(False)
    loss = AdversarialRetainLoss(target=target, attack={'type': 'carried', 'eps': 8 / 255})
    torch.manual_seed(0)
    for seed in range(20):
        loss(on(net, *pair(seed), teacher)).backward()
    lq, gt = pair(99)
    plain, random = (AdversarialRetainLoss(target=target, attack=attack)(on(net, lq, gt, teacher)) for attack in (
        NONE, {'type': 'pgd', 'eps': 8 / 255, 'steps': 1, 'step_size': 1e-9}))
    assert loss(on(net, lq, gt, teacher)) > plain + 2 * abs(random - plain)


def test_the_function_alone_cannot_carry():
    with pytest.raises(ValueError, match='carried goes on from step to step'):
        adversarial_input(Scale(0.5), flat(0.4), flat(0.3), attack={'type': 'carried'})


@pytest.mark.parametrize('target, attack, gt, teacher', [
    ('gt', {'type': 'carried'}, True, False), ('teacher', {'type': 'carried'}, False, True),
    ('gt', None, True, False), ('gt', {'network': 'teacher'}, True, True),
    ('gt', {'type': 'none', 'network': 'teacher'}, True, False),
    ('teacher', None, False, True), ('teacher', NONE, False, True)])
def test_only_what_is_used_is_asked_for(target, attack, gt, teacher):
    loss = AdversarialRetainLoss(target=target, attack=attack)
    given = {'gt': flat(0.3)} if gt else {}
    given |= {'teacher_net': Scale(1.0)} if teacher else {}
    assert loss(on(Scale(0.5), flat(0.4), **given)) > 0
    for missing in given:
        with pytest.raises(OptionError, match='no gt' if missing == 'gt' else 'asks for the teacher'):
            loss(on(Scale(0.5), flat(0.4), **{key: value for key, value in given.items() if key != missing}))


@pytest.mark.parametrize('kwargs, message', [
    ({'target': 'techer'}, "nearest valid one is 'teacher'"),
    ({'source': 'forgot'}, "nearest valid one is 'forget'"),
    ({'criterion': 'l3'}, 'criterion'),
    ({'loss_weight': '1e-2'}, "loss_weight: .*text '1e-2'"),
    ({'attack': {'epsilon': 0.1}}, "'epsilon' .*'eps'"),
    ({'attack': {'eps': '1e-2'}}, "attack eps: .*text '1e-2'"),
    ({'target': 'teacher', 'attack': {'network': 'teacher', 'random_start': False}}, 'random_start must be true'),
    ({'target': 'teacher', 'attack': {'network': 'teacher', 'type': 'one_step'}}, 'random_start must be true'),
])
def test_options_are_checked_when_built(kwargs, message):
    with pytest.raises(ValueError, match=message):
        AdversarialRetainLoss(**kwargs)


def test_build_loss():
    from basicsr.losses import build_loss  # here: only once the plugin is imported does BasicSR import

    options = {'type': 'AdversarialRetainLoss', 'criterion': 'l1', 'source': 'forget', 'loss_weight': 2.0,
               'attack': {'type': 'one_step', 'eps': 0.1}}
    loss = build_loss(options)
    assert loss.source == 'forget' and options['attack'] == {'type': 'one_step', 'eps': 0.1}
    assert loss(on(Scale(0.5), flat(0.4), flat(0.3))).item() == pytest.approx(0.3)
