"""The contract of every edit, mask and anchor, found in the tables of parts and by listing unlearning/."""
import importlib
import pkgutil

import pytest
import torch
from contract_stub import blocks
from torch import nn

from basicsr_unlearn import core as unlearning
from basicsr_unlearn.core.parts import ANCHORS, EDITS, MASKS, Anchor, Edit, Evidence, Mask, live_parameters
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.methods.presets import method_names, read_method
from basicsr_unlearn.models.checkpoints import weights_digest
from basicsr_unlearn.options.option_file import check_options

TABLES = {'edit': (EDITS, Edit), 'mask': (MASKS, Mask), 'anchor': (ANCHORS, Anchor)}
REGISTERED = {name: cls for table, _ in TABLES.values() for name, cls in table.items()}

# By class: the options it is tried with, one set for each way of working. For an edit also what decides what it draws:
# the 'generator' of the evidence, an option 'seed' (the run's where it is not given), or None, if it draws nothing.
EDIT_CASES = {
    'SynapticDampening': [({'alpha': 1.0, 'dampening': 0.5}, None), ({'alpha': 1.0, 'label_free': True}, None)],
    'TaskNegation': [({'iters': 3}, None)],
    'ResetByFisher': [({}, 'seed'), ({'per_layer': True}, 'seed'), ({'skip_vectors': True, 'fresh': 0.5}, 'seed'),
                      ({'granularity': 'channel', 'of': 'output_difference'}, 'seed'),
                      ({'granularity': 'layer'}, 'seed')],
    'ResetSmallestGradient': [({}, 'seed')],
    'ResetLastLayers': [({'count': 2}, 'seed')],
    'ResetAll': [({}, 'seed')],
    'TransposeKernels': [({}, None), ({'share': 0.5}, 'generator')],
    'ShuffleTaps': [({}, 'generator'), ({'share': 0.5, 'of_highest_ratio': True, 'channels': True}, 'generator')],
    'ShrinkAndPerturb': [({}, 'generator')],
    'WeightNoise': [({}, 'generator'), ({'convs_only': False}, 'generator')],
    'WeightAttenuation': [({}, None)],
    'WeightDropout': [({}, 'generator')],
    'RepresentationSelection': [({'iters': 3}, None), ({'iters': 3, 'share': 1.0, 'power': 0.0}, None)],
}
MASK_CASES = {
    'SaliencyMask': [{}, {'stream': 'retain', 'share': 0.2}],
    'FisherMask': [{}, {'normalise': True}, {'share': 0.3}],
    'LayerMask': [{'include': 'middle'}, {'exclude': ['first', 'norm.*']}],
    'LastLayersMask': [{}, {'count': 3}],
    'SmallestGradientMask': [{}, {'share': 0.5, 'rest': 0.25}],
}
ANCHOR_CASES = {
    'FisherAnchor': [{}, {'stream': 'forget', 'normalise': False, 'per_sample': True}],
    'SensitivityAnchor': [{}, {'residual': False}],
    'RepulsionAnchor': [{'adapt_iters': 3, 'adapt_lr': 0.05}, {'adapt_iters': 3, 'form': 'il2', 'reduction': 'sum'},
                        {'adapt_iters': 3, 'form': 'nl2', 'normalise': False}],
    'SparsityAnchor': [{}, {'decay': 'none'}],
    'DistanceAnchor': [{}],
}
CASES = {'edit': EDIT_CASES, 'mask': MASK_CASES, 'anchor': ANCHOR_CASES}
NO_PRESET = {
    'FisherAnchor': 'elastic weight consolidation was made to learn more, not to forget; to be set beside any method',
}


def every(kind: str) -> pytest.MarkDecorator:
    cases = [(name, *(case if kind == 'edit' else [case])) for name, found in CASES[kind].items() for case in found]
    return pytest.mark.parametrize('name, options, draws' if kind == 'edit' else 'name, options', [
        pytest.param(*case, id='-'.join([case[0], *(f'{key}={value}' for key, value in case[1].items())]))
        for case in cases])


class Stage(nn.Module):
    """Convolutions defined in another order than they run, statistics, scales, dead and frozen weights."""

    dead_parameters = ('dead.weight', 'dead.bias')

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(6, 3, 3, padding=1)
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.dead = nn.Conv2d(6, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.middle = nn.Sequential(nn.Conv2d(6, 6, 1), nn.GELU(), nn.Conv2d(6, 6, (3, 1), padding=(1, 0)))
        self.scale = nn.Parameter(torch.rand(1, 3, 1, 1) + 0.5)
        self.level = nn.Parameter(torch.rand(()))
        self.frozen = nn.Parameter(torch.rand(3, 1, 1), requires_grad=False)
        for p in (self.norm.weight, self.norm.bias):  # no two alike, else a mean or a spread of them would say nothing
            p.data.uniform_(0.5, 1.5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.scale * self.last(self.middle(self.norm(self.first(x)))) + self.level + self.frozen


def seeded(seed: int) -> Stage:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Stage()


def batches(seed: int) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [{name: torch.rand(2, 3, 8, 8, generator=generator) for name in ('lq', 'gt')} for _ in range(2)]


class Scene:
    """A network in training, and evidence that has those streams alone which the part says it needs."""

    def __init__(self, part: Edit | Mask | Anchor, seed: int = 0):
        torch.set_num_threads(1)
        self.part, self.net = part, seeded(1).train()
        self.net.middle.eval()  # a mode of its own, which must come back
        streams = {'forget': batches(2), 'retain': batches(3)}
        assert set(part.needs) <= set(streams)
        self.evidence = Evidence(seeded(1).eval(), **{stream: streams[stream] for stream in part.needs},
                                 untrained=lambda number: seeded(100 + (seed if number is None else 10 + number)),
                                 generator=torch.Generator().manual_seed(seed))

    def traces(self) -> dict:
        """What no part may change, besides the live weights of the network."""
        found = {'rng': torch.get_rng_state().tolist(), 'teacher': weights_digest(self.evidence.teacher)}
        for key, net in (('net', self.net), ('teacher', self.evidence.teacher)):
            modules = list(net.modules())
            found[key, 'modes'] = [module.training for module in modules]
            found[key, 'hooks'] = [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules]
            found[key, 'asked'] = [p.requires_grad for p in net.parameters()]
            found[key, 'grad'] = [p.grad is None for p in net.parameters()]
            found[key, 'buffers'] = [buffer.tolist() for buffer in net.buffers()]
        found['others'] = [p.tolist() for name, p in self.net.named_parameters() if name.startswith(('dead', 'frozen'))]
        return found


def weights(net: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for _, p in live_parameters(net)])


# ---------------------------------------------------------------- the tables

@pytest.mark.parametrize('kind', TABLES)
def test_every_file_registers_its_parts(kind):
    table, base = TABLES[kind]
    for module in pkgutil.iter_modules(unlearning.__path__):
        if not module.name.endswith(f'_{kind}'):
            continue
        found = importlib.import_module(f'basicsr_unlearn.core.{module.name}')
        own = [cls for cls in vars(found).values() if isinstance(cls, type) and issubclass(cls, base)
               and cls.__module__ == found.__name__]
        assert any(cls in table.values() for cls in own), f'{found.__name__} registers no {kind}'
        lost = [cls for cls in own if cls not in table.values() and not cls.__subclasses__()]
        assert not lost, f'{lost[0].__name__} is not registered: add @registered_in({kind.upper()}S)'


@pytest.mark.parametrize('kind', TABLES)
def test_every_part_has_its_cases(kind):
    missing = sorted(set(TABLES[kind][0]) - set(CASES[kind]))
    assert not missing, (f'add {missing[0]} to {kind.upper()}_CASES of tests/test_contract/test_part_contract.py: the '
                         'options it is tried with')
    assert set(CASES[kind]) <= set(TABLES[kind][0])


def test_every_part_is_in_a_preset_or_says_why_not():
    used = {block.get('type') for name in method_names() for _, block in blocks(read_method(name)['train'])}
    without = sorted(set(REGISTERED) - used - set(NO_PRESET))
    assert not without, (f'{without[0]} is in no preset: add one to basicsr_unlearn/methods/, or say why not in '
                         'NO_PRESET of tests/test_contract/test_part_contract.py')
    assert not used & set(NO_PRESET) and set(NO_PRESET) <= set(REGISTERED)


@pytest.mark.parametrize('kind, name', [(kind, name) for kind, (table, _) in TABLES.items() for name in table])
def test_an_unknown_option_is_refused(stub, kind, name):
    with pytest.raises(TypeError):
        REGISTERED[name](nosuch=1)
    with pytest.raises(OptionError, match=rf'^train\.{kind}_opt\.nosuch is no option: [^\n]*\.$'):
        check_options(stub.options({'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'retain_opt': {'type': 'L1Loss'},
                                    f'{kind}_opt': {'type': name, 'nosuch': 1}}, {'forget', 'retain'}), is_train=True)


# ---------------------------------------------------------------- edits

def edited(name: str, options: dict, seed: int = 0) -> torch.Tensor:
    scene = Scene(EDITS[name](**options), seed)
    scene.part(scene.net, scene.evidence)
    return weights(scene.net)


@every('edit')
def test_an_edit_changes_live_weights_only(name, options, draws):
    scene = Scene(EDITS[name](**options))
    before, start = scene.traces(), weights(scene.net)
    scene.part(scene.net, scene.evidence)
    assert not torch.equal(weights(scene.net), start) and torch.isfinite(weights(scene.net)).all()
    assert scene.traces() == before


@every('edit')
def test_the_seed_decides_what_an_edit_draws(name, options, draws):
    first = edited(name, options)
    assert torch.equal(edited(name, options), first)
    assert torch.equal(edited(name, options, seed=1), first) == (draws is None)
    if draws == 'seed':
        given = edited(name, {**options, 'seed': 1})
        assert not torch.equal(given, first) and torch.equal(given, edited(name, {**options, 'seed': 1}, seed=1))
        assert not torch.equal(given, edited(name, {**options, 'seed': 2}))


# ---------------------------------------------------------------- masks

@every('mask')
def test_a_mask_covers_every_live_weight_and_lets_some_move(name, options):
    scene = Scene(MASKS[name](**options))
    before = scene.traces()
    mask = scene.part(scene.evidence)
    live = dict(live_parameters(scene.net))
    assert set(mask) == set(live)
    assert all(part.shape == live[key].shape for key, part in mask.items())
    assert all(part.dtype == torch.bool or ((part >= 0) & (part <= 1)).all() for part in mask.values())
    in_full = sum(int((part == 1).sum()) for part in mask.values())
    assert 0 < in_full < len(weights(scene.net))
    assert scene.traces() == before


@every('mask')
def test_a_mask_is_the_same_whenever_it_is_made(name, options):
    """So a resumed run finds those of the uninterrupted one; random numbers of the evidence must not matter."""
    first, again = (scene.part(scene.evidence) for scene in (Scene(MASKS[name](**options), seed) for seed in (0, 1)))
    assert all(torch.equal(first[key], again[key]) for key in first)


# ---------------------------------------------------------------- anchors

def prepared(name: str, options: dict, seed: int = 0) -> Scene:
    """With a network that has left the original."""
    scene = Scene(ANCHORS[name](**options), seed)
    scene.part.prepare(scene.evidence)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for _, p in live_parameters(scene.net):
            p.add_(0.05 * torch.randn(p.shape, generator=generator))
    return scene


@every('anchor')
def test_an_anchor_is_a_finite_number_that_pulls_at_every_live_tensor(name, options):
    scene = prepared(name, options)
    before = scene.traces()
    value = scene.part(scene.net)
    assert value.dim() == 0 and torch.isfinite(value) and value != 0
    names, parameters = zip(*scene.net.named_parameters())
    asked = [p for p in parameters if p.requires_grad]
    found = dict(zip((n for n, p in zip(names, parameters) if p.requires_grad),
                     torch.autograd.grad(value, asked, allow_unused=True)))
    pulled = {key for key, g in found.items() if g is not None and g.abs().sum() > 0}
    assert pulled == {key for key, _ in live_parameters(scene.net)}
    assert scene.traces() == before


@every('anchor')
def test_an_anchor_leaves_no_traces_where_it_measures_and_measures_the_same_each_time(name, options):
    scene = Scene(ANCHORS[name](**options))
    before = scene.traces()
    scene.part.prepare(scene.evidence)
    assert scene.traces() == before
    first, again = prepared(name, options), prepared(name, options, seed=1)
    assert torch.equal(first.part(first.net), again.part(again.net))


@every('anchor')
def test_a_small_step_against_its_gradient_lowers_an_anchor(name, options):
    scene = prepared(name, options)
    first = scene.part(scene.net)
    parameters = [p for _, p in live_parameters(scene.net)]
    pull = torch.autograd.grad(first, parameters)
    length = sum(g.square().sum() for g in pull).sqrt()
    with torch.no_grad():
        for p, g in zip(parameters, pull):
            p.sub_(1e-3 * g / length)
    assert scene.part(scene.net) < first


@every('anchor')
def test_the_weight_scales_an_anchor(name, options):
    one, three = prepared(name, {**options, 'loss_weight': 1.0}), prepared(name, {**options, 'loss_weight': 3.0})
    torch.testing.assert_close(three.part(three.net), 3 * one.part(one.net))
