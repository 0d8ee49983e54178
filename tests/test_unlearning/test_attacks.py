import pytest
import torch
from torch import nn

from basicsr_unlearn.unlearning.attacks import attack_settings, eval_mode, pgd

SHAPE = (3, 2, 4, 4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def image(seed=0, low=0.3, high=0.7):
    return low + (high - low) * torch.rand(SHAPE, generator=generator(seed))


def linear(weight):
    return lambda x: (x * weight).flatten(1).sum(1)


def distance(a, b, norm):
    delta = (a - b).flatten(1)
    return delta.abs().amax(1) if norm == 'linf' else delta.norm(dim=1)


@pytest.fixture
def weight():
    return torch.randn(SHAPE, generator=generator(9))


def test_linf_reaches_the_corner(weight):
    x = image()
    x_adv = pgd(linear(weight), x, eps=0.1, step_size=0.04, steps=20, generator=generator())
    assert torch.allclose(x_adv, x + 0.1 * weight.sign(), atol=1e-6)


def test_one_step_from_x_is_fgsm(weight):
    x = image()
    x_adv = pgd(linear(weight), x, eps=0.1, step_size=0.03, steps=1, random_start=False)
    assert torch.allclose(x_adv, x + 0.03 * weight.sign(), atol=1e-6)


def test_l2_reaches_the_pole(weight):
    x = image()
    x_adv = pgd(linear(weight), x, eps=0.2, step_size=0.1, steps=60, norm='l2', generator=generator())
    pole = x + 0.2 * weight / weight.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    assert torch.allclose(x_adv, pole, atol=1e-4)


def test_l2_step_has_the_step_size(weight):
    x = image()
    x_adv = pgd(linear(1e-3 * weight), x, eps=0.2, step_size=0.05, steps=1, norm='l2', random_start=False)
    assert torch.allclose(distance(x_adv, x, 'l2'), torch.tensor(0.05), atol=1e-6)


@pytest.mark.parametrize('norm, eps', [('linf', 0.3), ('l2', 3.0)])
@pytest.mark.parametrize('steps', [0, 1, 4])
def test_stays_in_the_ball_and_in_range(norm, eps, steps, weight):
    x = image(low=0.0, high=1.0)
    x_adv = pgd(linear(weight), x, eps, eps, steps, norm, generator=generator())
    assert (distance(x_adv, x, norm) <= eps * (1 + 1e-6)).all() and (distance(x_adv, x, norm) > 0.3 * eps).all()
    assert x_adv.min() >= 0 and x_adv.max() <= 1
    unclipped = pgd(linear(weight), x, eps, eps, steps, norm, generator=generator(), clip=None)
    assert unclipped.min() < 0 and unclipped.max() > 1


def test_pixels_outside_the_range_stay_in_the_ball(weight):
    x = image(low=-0.2, high=1.2)
    x_adv = pgd(linear(weight), x, eps=0.05, step_size=0.05, steps=2, generator=generator())
    assert (distance(x_adv, x, 'linf') <= 0.05 + 1e-6).all()
    assert (x_adv >= x.clamp(max=0)).all() and (x_adv <= x.clamp(min=1)).all()


def test_no_steps(weight):
    x = image()
    x_same = pgd(linear(weight), x, 0.1, 0.1, 0, random_start=False)
    assert torch.equal(x_same, x) and x_same is not x
    start = pgd(linear(weight), x, 0.1, 0.1, 0, generator=generator())
    delta = start - x
    assert (delta.abs() <= 0.1 + 1e-6).all() and delta.abs().max() > 0.08 and abs(delta.mean()) < 0.03


def test_zero_eps_stands_still(weight):
    x = image()
    for norm in ('linf', 'l2'):
        assert torch.equal(pgd(linear(weight), x, 0, 0.1, 2, norm), x)


@pytest.mark.parametrize('norm', ['linf', 'l2'])
def test_same_seed_same_bits(norm):
    def curved(x):
        return (x - 0.5).square().flatten(1).sum(1)

    def run(seed):
        return pgd(curved, image(), 0.1, 0.01, 2, norm, generator=generator(seed))

    assert torch.equal(run(1), run(1)) and not torch.equal(run(1), run(2))


def test_global_seed_without_a_generator(weight):
    x = image()
    torch.manual_seed(3)
    first = pgd(linear(weight), x, 0.1, 0.01, 0)
    second = pgd(linear(weight), x, 0.1, 0.01, 0)
    torch.manual_seed(3)
    assert torch.equal(first, pgd(linear(weight), x, 0.1, 0.01, 0)) and not torch.equal(first, second)


@pytest.mark.parametrize('norm', ['linf', 'l2'])
def test_samples_do_not_influence_each_other(norm):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 3, padding=1)).double()

    def objective(x):
        return net(x).square().flatten(1).mean(1)

    x = image().double()
    other = x.clone()
    other[1:] = 1 - other[1:] * 0.5
    a, b = (pgd(objective, batch, 0.1, 0.02, 3, norm, random_start=False) for batch in (x, other))
    alone = pgd(objective, x[:1], 0.1, 0.02, 3, norm, random_start=False)
    assert torch.allclose(a[0], b[0], atol=1e-12) and torch.allclose(a[:1], alone, atol=1e-12)
    assert not torch.allclose(a[1], b[1], atol=1e-3)


def test_parameter_gradients_stay_as_they_are():
    net = nn.Conv2d(2, 2, 3, padding=1)
    net.weight.grad = torch.full_like(net.weight, 7.0)
    x = image().requires_grad_()
    x_adv = pgd(lambda v: net(v).flatten(1).sum(1), x, 0.1, 0.1, 2)
    assert not x_adv.requires_grad and x.grad is None
    assert (net.weight.grad == 7).all() and net.bias.grad is None and net.weight.requires_grad


def test_works_under_no_grad(weight):
    with torch.no_grad():
        x_adv = pgd(linear(weight), image(), 0.1, 0.1, 1, random_start=False)
        assert not torch.is_grad_enabled()
    assert torch.allclose(x_adv, image() + 0.1 * weight.sign(), atol=1e-6)


@pytest.mark.parametrize('kwargs, message', [
    ({'norm': 'l1'}, "norm: 'l1' is not known"),
    ({'eps': -0.1}, 'eps: expected a number of at least 0'),
    ({'eps': '0.1'}, "eps: .*text '0.1'"),
    ({'step_size': 0}, 'step_size: expected a number above 0'),
    ({'steps': -1}, 'steps: expected a whole number'),
    ({'steps': 1.5}, 'steps: expected a whole number'),
    ({'clip': (1, 0)}, 'clip: expected'),
    ({'objective': lambda x: x.mean()}, r'one value per sample, shape \(3,\)'),
])
def test_pgd_refuses(kwargs, message, weight):
    arguments = {'objective': linear(weight), 'x': image(), 'eps': 0.1, 'step_size': 0.1, 'steps': 1} | kwargs
    with pytest.raises(ValueError, match=message):
        pgd(**arguments)


def test_eval_mode_restores_each_submodule():
    net = nn.Sequential(nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm2d(2), nn.Dropout()))
    net[1][0].eval()
    before = [module.training for module in net.modules()]
    with pytest.raises(RuntimeError), eval_mode(net):
        assert not any(module.training for module in net.modules())
        raise RuntimeError
    assert [module.training for module in net.modules()] == before and len(set(before)) == 2


def test_attack_settings_defaults():
    assert attack_settings() == attack_settings({}) == {
        'type': 'pgd', 'norm': 'linf', 'eps': 4 / 255, 'step_size': 1 / 255, 'steps': 3, 'random_start': True,
        'network': 'student'}
    assert attack_settings({'type': 'one_step', 'eps': 0.1, 'network': None}) == {
        'type': 'one_step', 'norm': 'linf', 'eps': 0.1, 'step_size': 0.1, 'steps': 1, 'random_start': False,
        'network': 'student'}
    l2 = attack_settings({'norm': 'l2'})
    assert (l2['eps'], l2['step_size']) == (2.0, 0.5)


@pytest.mark.parametrize('attack', [{}, {'type': 'one_step'}, {'type': 'none', 'eps': 0.1}, {'norm': 'l2', 'steps': 9}])
def test_attack_settings_are_stable_and_leave_the_input_alone(attack):
    copy = dict(attack)
    settings = attack_settings(attack)
    assert attack_settings(settings) == settings and attack == copy


@pytest.mark.parametrize('attack, message', [
    ({'epsilon': 0.1}, "attack: 'epsilon' .*nearest valid one is 'eps'"),
    ({'stepsize': 0.1}, "nearest valid one is 'step_size'"),
    ({'type': 'pdg'}, "attack type: .*nearest valid one is 'pgd'"),
    ({'norm': 'inf'}, "attack norm: .*nearest valid one is 'linf'"),
    ({'network': 'techer'}, "attack network: .*nearest valid one is 'teacher'"),
    ({'eps': '4e-3'}, "attack eps: .*text '4e-3'.*!!float 4e-3"),
    ({'eps': 4}, r'attack eps: 4 exceeds .*\[0, 1\]'),
    ({'eps': 0}, 'attack eps: expected a number above 0'),
    ({'step_size': '1e-3'}, "attack step_size: .*text '1e-3'"),
    ({'steps': 0}, 'attack steps: expected a number of at least 1'),
    ({'steps': 2.5}, 'attack steps: expected a whole number'),
    ({'steps': '3'}, "attack steps: .*text '3'"),
    ({'type': 'one_step', 'steps': 3}, 'attack steps: expected 1'),
    ({'random_start': 'yes'}, 'attack random_start: expected true or false'),
    ({'type': 'none', 'epsilon': 0.1}, "nearest valid one is 'eps'"),
    ('pgd', "attack: expected keys .*'pgd'"),
])
def test_attack_settings_refuses(attack, message):
    with pytest.raises(ValueError, match=message):
        attack_settings(attack)
