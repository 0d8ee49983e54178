"""The contract of every loss of the package, found in its table and by listing losses/."""
import importlib
import pkgutil
from copy import deepcopy

import pytest
import torch
from contract_stub import blocks, restoring_net

from basicsr_unlearn.core import LOSSES, losses
from basicsr_unlearn.core.objective import Paired
from basicsr_unlearn.core.samples import Sample
from basicsr_unlearn.core.seeds import own_random_numbers
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.methods.presets import method_names, read_method
from basicsr_unlearn.options.components import Slot
from basicsr_unlearn.options.section_checks import check_component

# isort: split
from basicsr.utils.registry import LOSS_REGISTRY

REGISTERED = dict(LOSSES)
PIXEL = ('L1Loss', 'MSELoss', 'CharbonnierLoss')  # BasicSR's names, for where it is not there
PGD = {'type': 'pgd', 'eps': 0.05, 'steps': 2}

# By class: the options it is tried with, one set for each way of working, and whether it draws random numbers then.
CASES = {
    'GradientAscentLoss': [({}, False), ({'bound': 'adaptive'}, False), ({'bound': 'identity'}, False),
                           ({'bound': 'margin', 'margin': 0.5}, False), ({'bound': 'npo'}, False),
                           ({'bound': 'simnpo', 'margin': 0.1}, False), ({'away_from': 'teacher'}, False)],
    'TargetLoss': [({'target': 'degraded'}, False), ({'target': 'teacher'}, False), ({'target': 'proxy'}, False),
                   ({'target': 'boundary'}, False), ({'target': 'noise'}, True), ({'target': 'other'}, False)],
    'FeatureTargetLoss': [({'target': 'noise'}, True), ({'target': 'direction'}, False)],
    'AdversarialRetainLoss': [({'attack': PGD}, True), ({'attack': {**PGD, 'random_start': False}}, False),
                              ({'attack': {'type': 'one_step', 'eps': 0.05}}, False),
                              ({'attack': {'type': 'carried', 'eps': 0.05}}, True),
                              ({'attack': {**PGD, 'network': 'teacher'}, 'target': 'teacher'}, True)],
    'SharpnessAwareAscentLoss': [({}, False), ({'bound': 'none', 'radius': 0.05}, False)],
    'ConnectivityLoss': [({}, False), ({'margin': 0.05, 'criterion': 'charbonnier'}, False)],
    'PerturbedRetainLoss': [({}, True)],
    'RelearningResistanceLoss': [({}, False), ({'criterion': 'charbonnier', 'steps': 1}, False),
                                 ({'steps': [1, 9], 'lr': [1e-4, 1e-3], 'pairs': [1, 4]}, False),
                                 ({'target': 'proxy'}, False)],
    'ContrastLoss': [({}, False)],
    **{name: [({}, False)] for name in PIXEL},
}
NO_PRESET = {'ContrastLoss': 'trains AirNet from the start; nothing is unlearned by it',
             **{name: 'as L1Loss, for those who trained with it' for name in PIXEL[1:]}}

every_case = pytest.mark.parametrize('name, options, draws', [
    pytest.param(name, options, draws, id='-'.join([name, *(str(value) for value in options.values())]))
    for name, cases in CASES.items() for options, draws in cases])


class World:
    """A network, its teacher, which it has left a little, and whatever a loss may ask for by the name of an input."""

    def __init__(self):
        torch.set_num_threads(1)
        self.net, self.teacher_net = restoring_net(), restoring_net().requires_grad_(True)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for p in self.net.parameters():
                p.add_(0.01 * torch.randn(p.shape, generator=generator))
        self.lq, grain, self.proxy = (0.1 + 0.6 * torch.rand(3, 3, 16, 16, generator=generator) for _ in range(3))
        with torch.no_grad():  # restored well enough, so that a bounded ascent has not ended yet
            self.gt = self.teacher_net(self.lq) + 0.02 * grain
        self.net.train()
        self.net.middle_blks.eval()  # a mode of its own, which must come back

    def value(self, loss: torch.nn.Module, seed: int = 0) -> torch.Tensor:
        with own_random_numbers(seed):
            if isinstance(loss, losses.ContrastLoss):
                return loss(self.net(self.lq).mean((2, 3)), torch.tensor([0, 1, 2]))
            sample = Sample({'lq': self.lq, 'gt': self.gt}, self.net, self.teacher_net, lambda _: self.proxy)
            return (loss if hasattr(loss, 'terms') else Paired(loss))(sample)


@pytest.fixture
def world() -> World:
    return World()


def build(name: str, options: dict, **more) -> torch.nn.Module:
    return REGISTERED[name](**deepcopy(options), **more)


# ---------------------------------------------------------------- the table

def test_every_file_registers_a_loss():
    for module in pkgutil.iter_modules(losses.__path__):
        assert module.name.endswith('_loss'), f'losses/{module.name}.py is not found when BasicSR looks for losses'
        path = f'basicsr_unlearn.core.losses.{module.name}'
        importlib.import_module(path)
        assert any(cls.__module__ == path for cls in REGISTERED.values()), f'{path} registers no loss'


def test_basicsr_finds_every_loss_and_its_own_under_its_own_names():
    for name, cls in REGISTERED.items():
        assert (LOSS_REGISTRY.get(name) is cls) == (name not in PIXEL)


@pytest.mark.parametrize('name', PIXEL)
@pytest.mark.parametrize('reduction', ['mean', 'sum', 'none'])
def test_pixel_losses_are_those_of_basicsr_to_the_bit(name, reduction):
    pred, target = torch.rand(2, 3, 9, 7), torch.rand(2, 3, 9, 7)
    ours, theirs = (cls(loss_weight=0.3, reduction=reduction) for cls in (REGISTERED[name], LOSS_REGISTRY.get(name)))
    assert torch.equal(ours(pred, target), theirs(pred, target))


def test_every_loss_has_its_cases():
    missing = sorted(set(REGISTERED) - set(CASES))
    assert not missing, (f'add {missing[0]} to CASES of tests/test_contract/test_loss_contract.py: the options it is '
                         'tried with, and whether it draws random numbers')
    assert set(CASES) <= set(REGISTERED)


def test_every_loss_is_in_a_preset_or_says_why_not():
    used = {block.get('type') for name in method_names() for _, block in blocks(read_method(name)['train'])}
    without = sorted(set(REGISTERED) - used - set(NO_PRESET))
    assert not without, (f'{without[0]} is in no preset: add one to basicsr_unlearn/methods/, or say why not in '
                         'NO_PRESET of tests/test_contract/test_loss_contract.py')
    assert not used & set(NO_PRESET) and set(NO_PRESET) <= set(REGISTERED)


# ---------------------------------------------------------------- options

@pytest.mark.parametrize('name', sorted(set(REGISTERED) - set(PIXEL)))
def test_an_unknown_option_is_refused(name):
    with pytest.raises(TypeError, match='nosuch'):
        REGISTERED[name](nosuch=1)
    with pytest.raises(OptionError, match=r'^train\.x_opt\.nosuch is no option: [^\n]*\.$'):
        check_component({'type': name, 'nosuch': 1}, Slot('loss', REGISTERED[name].terms[0]), 'train.x_opt')


@pytest.mark.parametrize('name', sorted(set(REGISTERED) - set(PIXEL)))
@pytest.mark.parametrize('weight', [-1.0, float('nan'), '1e-3'])
def test_a_weight_that_is_no_number_of_at_least_0_is_refused(name, weight):
    with pytest.raises(ValueError, match=r'^loss_weight: expected .*\.$'):
        REGISTERED[name](loss_weight=weight)


# ---------------------------------------------------------------- values and gradients

@every_case
def test_a_loss_is_a_finite_number_scaled_by_its_weight(world, name, options, draws):
    values = [world.value(build(name, options, loss_weight=weight)) for weight in (1.0, 3.0, 0.0)]
    assert values[0].dim() == 0 and torch.isfinite(values[0]) and values[0] != 0
    torch.testing.assert_close(values[1], 3 * values[0])
    assert values[2] == 0


@every_case
def test_its_gradient_reaches_the_network_and_nothing_else_is_touched(world, name, options, draws):
    nets = {'net': world.net, 'teacher': world.teacher_net}
    before = {key: deepcopy(net.state_dict()) for key, net in nets.items()}
    modes = {key: [module.training for module in net.modules()] for key, net in nets.items()}
    images = [image.clone() for image in (world.lq, world.gt, world.proxy)]
    world.value(build(name, options)).backward()
    assert sum(p.grad.abs().sum() for p in world.net.parameters() if p.grad is not None) > 0
    assert all(p.grad is None and p.requires_grad for p in world.teacher_net.parameters())
    for key, net in nets.items():
        assert all(torch.equal(value, before[key][entry]) for entry, value in net.state_dict().items())
        assert [module.training for module in net.modules()] == modes[key]
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in net.modules())
    assert all(torch.equal(*pair) for pair in zip(images, (world.lq, world.gt, world.proxy)))


@every_case
def test_a_small_step_against_its_gradient_lowers_it(world, name, options, draws):
    first = world.value(build(name, options))
    weights = [p for p in world.net.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(first, weights, allow_unused=True)
    length = sum(g.square().sum() for g in gradients if g is not None).sqrt()
    with torch.no_grad():
        for p, g in zip(weights, gradients):
            if g is not None:
                p.sub_(1e-3 * g / length)
    assert world.value(build(name, options)) < first


@every_case
def test_the_seed_decides_what_it_draws(world, name, options, draws):
    first, again, other = (world.value(build(name, options), seed) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert torch.equal(first, other) != draws
