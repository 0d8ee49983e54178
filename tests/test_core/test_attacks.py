import pytest
import torch
from torch import nn

from basicsr_unlearn.core.attacks import CarriedPerturbation, attack_settings, pgd
from basicsr_unlearn.core.modes import eval_mode

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


class Weighted(nn.Module):
    """Sum of factor * weight * x, whose gradient with respect to x is known; the first parameter plays no part."""

    def __init__(self, weight):
        super().__init__()
        self.idle = nn.Parameter(torch.ones(3))
        self.factor = nn.Parameter(torch.tensor(2.0))
        self.weight = weight

    def forward(self, x):
        return (self.factor * self.weight * x).sum()


def differentiate(loss, net, by):
    if by == 'backward':
        loss.backward()
    else:  # as for two separate gradients: with respect to the weights alone
        torch.autograd.grad(loss, list(net.parameters()), retain_graph=True, materialize_grads=True, allow_unused=True)


@pytest.mark.parametrize('by', ['backward', 'grad'])
def test_carried_moves_at_the_backward_pass(by, weight):
    net, x = Weighted(weight), image()
    attack = CarriedPerturbation(eps=0.1, step_size=0.04, random_start=False)
    moves = []
    for _ in range(4):
        moved = attack(x, net)
        moves.append((moved - x).detach())
        differentiate(net(moved), net, by)
    for move, length in zip(moves, [0, 0.04, 0.08, 0.1]):  # the ball ends at 0.1
        assert torch.allclose(move, length * weight.sign(), atol=1e-6)


def test_carried_moves_once_a_step_and_not_without_a_gradient(weight):
    net, x = Weighted(weight), image()
    attack = CarriedPerturbation(eps=0.1, step_size=0.04, random_start=False)
    loss = net(attack(x, net))
    for _ in range(2):  # as where a step also measures the conflict of gradients
        differentiate(loss, net, 'grad')
    loss.backward()
    assert torch.equal(attack.delta, 0.04 * weight.sign())
    with torch.no_grad():
        seen = attack(x, net)
    attack(x, net)
    assert torch.equal(attack.delta, 0.04 * weight.sign()) and torch.allclose(seen, x + attack.delta)


@pytest.mark.parametrize('by', ['backward', 'grad'])
def test_carried_leaves_the_gradients_of_the_weights_alone(by):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 2, 3, padding=1))
    attack = CarriedPerturbation(0.1, 0.04)
    moved = attack(image(), net)
    gradients = []
    for x in (moved, moved.detach()):
        found = torch.autograd.grad(net(x).square().mean(), list(net.parameters()), retain_graph=True)
        gradients.append(found)
        net(x).square().mean().backward()
    assert all(torch.equal(a, b) for a, b in zip(*gradients))
    assert all(torch.equal(p.grad, 2 * a) for p, a in zip(net.parameters(), gradients[0]))


def test_carried_starts_in_the_ball_and_anew_when_the_batch_changes(weight):
    net, x, attack = Weighted(weight), image(), CarriedPerturbation(0.1, 0.04)
    start = (attack(x, net, generator(1)) - x).detach()
    assert start.abs().max() <= 0.1 + 1e-6 and start.abs().max() > 0.08 and abs(start.mean()) < 0.03
    assert torch.equal(attack(x, net, generator(2)).detach() - x, start)  # carried, not drawn
    fresh = attack(x[:2], net, generator(2)).detach() - x[:2]
    assert attack.delta.shape == x[:2].shape and not torch.allclose(fresh, start[:2], atol=0.01)


def test_carried_stays_in_range():
    x = torch.stack([torch.full((2, 4, 4), value) for value in (0.0, 1.0, 1.2)])
    net = Weighted(torch.ones(SHAPE))
    attack = CarriedPerturbation(0.1, 0.1, random_start=False)
    net(attack(x, net)).backward()
    assert torch.allclose(attack(x, net).detach(), x + torch.tensor([0.1, 0, 0]).view(3, 1, 1, 1))


def test_carried_goes_on_exactly_from_its_state():
    torch.manual_seed(0)
    net = nn.Conv2d(2, 2, 3, padding=1)

    def run(attack, seeds):
        for seed in seeds:
            net(attack(image(seed), net, generator(seed))).square().mean().backward()
        return attack

    whole = run(CarriedPerturbation(0.1, 0.03), range(4))
    state = run(CarriedPerturbation(0.1, 0.03), range(2)).state_dict()
    resumed = CarriedPerturbation(0.1, 0.03)
    resumed.load_state_dict({key: value.clone() for key, value in state.items()}, strict=False)
    assert torch.equal(run(resumed, range(2, 4)).delta, whole.delta) and not torch.equal(whole.delta, state['delta'])
    fresh = CarriedPerturbation(0.1, 0.03)
    assert fresh.state_dict() == {}  # nothing before the first step, and nothing to load from it
    fresh.load_state_dict({}, strict=False)
    assert fresh.delta is None


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
    assert attack_settings({'type': 'carried', 'eps': 0.1}) == {
        'type': 'carried', 'norm': 'linf', 'eps': 0.1, 'step_size': 0.1, 'steps': 1, 'random_start': True,
        'network': 'student'}
    l2 = attack_settings({'norm': 'l2'})
    assert (l2['eps'], l2['step_size']) == (2.0, 0.5)


@pytest.mark.parametrize('attack', [{}, {'type': 'one_step'}, {'type': 'none', 'eps': 0.1}, {'norm': 'l2', 'steps': 9},
                                    {'type': 'carried'}])
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
    ({'type': 'one_step', 'steps': 3}, 'attack steps: expected 1 with type one_step'),
    ({'type': 'carried', 'steps': 2}, 'attack steps: expected 1 with type carried'),
    ({'type': 'carried', 'norm': 'l2'}, "attack norm: type carried works with linf only, not with 'l2'"),
    ({'type': 'carried', 'network': 'teacher'}, 'attack network: type carried works with student only'),
    ({'random_start': 'yes'}, 'attack random_start: expected true or false'),
    ({'type': 'none', 'epsilon': 0.1}, "nearest valid one is 'eps'"),
    ('pgd', "attack: expected keys .*'pgd'"),
])
def test_attack_settings_refuses(attack, message):
    with pytest.raises(ValueError, match=message):
        attack_settings(attack)
