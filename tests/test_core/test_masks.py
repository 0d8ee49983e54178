"""Masks: which weights may move, on networks where that can be told by hand."""
from copy import deepcopy

import pytest
import torch
from torch import nn

from basicsr_unlearn.archs.adair_arch import AdaIR
from basicsr_unlearn.archs.airnet_arch import AirNet
from basicsr_unlearn.archs.nafnet_arch import NAFNet
from basicsr_unlearn.archs.promptir_arch import PromptIR
from basicsr_unlearn.archs.restormer_arch import Restormer
from basicsr_unlearn.core.edits.reset_edit import ResetSmallestGradient
from basicsr_unlearn.core.masks.fisher_mask import FisherMask
from basicsr_unlearn.core.masks.layer_mask import NETWORK_PARTS, LastLayersMask, LayerMask, matches
from basicsr_unlearn.core.masks.saliency_mask import SaliencyMask
from basicsr_unlearn.core.masks.smallest_gradient_mask import SmallestGradientMask
from basicsr_unlearn.core.parts import MASKS, Evidence, live_parameters
from basicsr_unlearn.errors import OptionError

RESTORMER = {'dim': 8, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 1, 'heads': [1, 1, 1, 1]}


class Gains(nn.Module):
    """Channel i of the input times gain i; a dead and a frozen weight beside."""

    dead_parameters = ('dead',)

    def __init__(self, channels: int = 4):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels))
        self.dead = nn.Parameter(torch.ones(3))
        self.frozen = nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        return lq * self.gain.view(1, -1, 1, 1)


def batch(*channels: float) -> dict[str, torch.Tensor]:
    """A flat image of these channel values, whose ground truth is black: the gradient of a gain is as its channel."""
    lq = torch.tensor(channels).view(1, -1, 1, 1).expand(1, -1, 4, 4)
    return {'lq': lq, 'gt': torch.zeros_like(lq)}


def naf(**options) -> NAFNet:
    return NAFNet(width=4, enc_blk_nums=(1, 1), dec_blk_nums=(1, 1), **options)


def moving(mask: dict[str, torch.Tensor]) -> set[str]:
    """Names of the parameters that move as a whole; no other may move in part."""
    assert all(bits.all() or not bits.any() for bits in mask.values())
    return {name for name, bits in mask.items() if bits.all()}


# ---------------------------------------------------------------- by gradient

@pytest.mark.parametrize('share, expected', [(0.25, [0, 0, 1, 0]), (0.5, [0, 1, 1, 0]), (1.0, [1, 1, 1, 1])])
def test_saliency_takes_the_largest_gradients(share, expected):
    evidence = Evidence(Gains(), forget=[batch(0.1, 0.3, 0.4, 0.2)], retain=[batch(0.4, 0.1, 0.1, 0.1)])
    mask = SaliencyMask(share)(evidence)
    assert list(mask) == ['gain'] and mask['gain'].tolist() == expected


def test_saliency_of_the_retain_stream():
    evidence = Evidence(Gains(), forget=[batch(0.1, 0.3, 0.4, 0.2)], retain=[batch(0.4, 0.1, 0.1, 0.1)])
    assert SaliencyMask(0.25, 'retain')(evidence)['gain'].tolist() == [1, 0, 0, 0]
    assert SaliencyMask(stream='retain').needs == ('retain',) and SaliencyMask().needs == ('forget',)


@pytest.mark.parametrize('options, expected', [
    ({}, [1, 1, 0, 1]),                  # the third ratio is (0.2 / 0.3)^2, the last 0 / 0, which counts as 1
    ({'threshold': 2}, [1, 0, 0, 0]),    # (0.3 / 0.1)^2 = 9 and (0.2 / 0.2)^2 = 1
    ({'threshold': 0.4}, [1, 1, 1, 1]),
    ({'threshold': 0.5}, [1, 1, 0, 1]),
    ({'share': 0.25}, [1, 0, 0, 0]),
    ({'share': 0.75}, [1, 1, 0, 1]),
])
def test_fisher_ratio(options, expected):
    evidence = Evidence(Gains(), forget=[batch(0.3, 0.2, 0.2, 0.0)], retain=[batch(0.1, 0.2, 0.3, 0.0)])
    mask = FisherMask(**options)(evidence)
    assert list(mask) == ['gain'] and mask['gain'].tolist() == expected


@pytest.mark.parametrize('scale', [1.0, 0.1])
def test_a_normalised_fisher_ratio_does_not_depend_on_the_scale_of_the_gradients(scale):
    """F_f is 4, 1, 1, 0 and F_r 1, 1, 2, 4 in some unit; over their means, 1.5 and 2: 2.67, 0.67, 0.67, 0 and 0.5, 0.5,
    1, 2."""
    evidence = Evidence(Gains(), forget=[batch(*(scale * value for value in (0.4, 0.2, 0.2, 0.0)))],
                        retain=[batch(0.1, 0.1, 0.1 * 2**0.5, 0.2)])
    assert FisherMask(normalise=True)(evidence)['gain'].tolist() == [1, 1, 0, 0]
    assert FisherMask(1.5, normalise=True)(evidence)['gain'].tolist() == [1, 0, 0, 0]
    raw = FisherMask()(evidence)['gain'].tolist()
    assert raw == ([1, 1, 1, 0] if scale == 1 else [0, 0, 0, 0])
    still = Evidence(Gains(), forget=[batch(0.0, 0.0, 0.0, 0.0)], retain=[batch(0.1, 0.1, 0.2, 0.2)])
    assert FisherMask(normalise=True)(still)['gain'].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize('mask, options', [
    (SaliencyMask, {'share': 0}), (SaliencyMask, {'share': 1.5}), (SaliencyMask, {'stream': 'both'}),
    (SmallestGradientMask, {'share': 0}), (SmallestGradientMask, {'rest': 0}), (SmallestGradientMask, {'rest': 2}),
    (FisherMask, {'threshold': 0}), (FisherMask, {'share': 2}), (FisherMask, {'threshold': 1, 'share': 0.5}),
    (LayerMask, {}), (LayerMask, {'part': 'middle'}), (LayerMask, {'include': []}), (LayerMask, {'exclude': [3]}),
    (LastLayersMask, {'count': 0}), (LastLayersMask, {'count': 1.5}), (LastLayersMask, {'count': True})])
def test_options_out_of_range(mask, options):
    with pytest.raises(ValueError):
        mask(**options)


@pytest.mark.parametrize('share, rest', [(0.3, 0.1), (0.5, 0.25)])
def test_what_the_edit_resets_learns_in_full_and_other_convolution_weights_slower(share, rest):
    torch.manual_seed(0)
    net, fresh = naf().eval(), naf()
    batches = [{'lq': torch.rand(2, 3, 16, 16), 'gt': torch.rand(2, 3, 16, 16)} for _ in range(2)]
    edited = deepcopy(net)
    ResetSmallestGradient(share)(edited, Evidence(net, batches[:1], batches[1:], untrained=lambda seed: fresh))
    factors = SmallestGradientMask(share, rest)(Evidence(net, batches[:1], batches[1:]))
    kernels = {f'{name}.weight' for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    reset = 0
    for (name, before), after in zip(net.named_parameters(), edited.parameters()):
        assert factors[name].equal(torch.where(before != after, 1.0, rest if name in kernels else 1.0)), name
        reset += int((before != after).sum())
    assert reset == sum(round(share * p.numel()) for name, p in net.named_parameters() if name in kernels)


# ---------------------------------------------------------------- by name

@pytest.mark.parametrize('pattern, name, expected', [
    ('ending', 'ending.weight', True), ('ending', 'ending2.weight', False), ('end*', 'ending.bias', True),
    ('*.bias', 'a.b.bias', True), ('E', 'E.E.weight', True), ('e', 'E.E.weight', False), ('weight', 'weight', True),
    ('weight', 'a.weight', False), ('level[0-9]', 'level1.weight', True)])
def test_patterns(pattern, name, expected):
    assert matches(name, pattern) is expected


def test_include_and_exclude():
    evidence = Evidence(naf())
    assert moving(LayerMask(include=['intro', 'ending.*'])(evidence)) == {
        'intro.weight', 'intro.bias', 'ending.weight', 'ending.bias'}
    assert moving(LayerMask(include='ending', exclude='*.bias')(evidence)) == {'ending.weight'}
    every = set(dict(naf().named_parameters()))
    assert moving(LayerMask(exclude='ending')(evidence)) == every - {'ending.weight', 'ending.bias'}
    assert moving(LayerMask(part='encoder', include='ending.bias')(evidence)) == {
        name for name in every if name.startswith(('intro.', 'encoders.', 'downs.', 'middle_blks.'))} | {'ending.bias'}


@pytest.mark.parametrize('options', [{'include': ['intro', 'endign']}, {'part': 'decoder', 'exclude': 'endign'}])
def test_a_pattern_that_matches_nothing_is_named(options):
    with pytest.raises(OptionError, match="'endign'.*intro.weight"):
        LayerMask(**options)(Evidence(naf()))


def test_a_part_that_the_network_lacks():
    with pytest.raises(OptionError, match='prompts'):
        LayerMask(part='prompts')(Evidence(naf()))


def test_parts_of_an_unknown_network_are_refused():
    """'output' would match by chance, and the rest would silently stay."""
    net = nn.ModuleDict({'first': nn.Conv2d(1, 1, 1), 'output': nn.Conv2d(1, 1, 1)})
    with pytest.raises(OptionError, match="'first.weight'.*include"):
        LayerMask(part='decoder')(Evidence(net))


@pytest.mark.parametrize('net, parts', [
    (lambda: naf(), 2), (lambda: Restormer(**RESTORMER), 2), (lambda: AdaIR(**{**RESTORMER, 'dim': 16}), 2),
    (lambda: PromptIR(**RESTORMER), 3), (lambda: AirNet(batch_size=1, n_groups=1, n_blocks=1, n_feats=4), 2)],
    ids=['NAFNet', 'Restormer', 'AdaIR', 'PromptIR', 'AirNet'])
def test_the_parts_are_disjoint_and_make_up_each_known_network(net, parts):
    net = net()
    masks = []
    for part in NETWORK_PARTS:
        try:
            masks.append(LayerMask(part=part)(Evidence(net)))
        except OptionError:
            assert part == 'prompts'
    assert len(masks) == parts and all(any(bits.any() for bits in mask.values()) for mask in masks)
    for name, _ in live_parameters(net):
        assert sum(bool(mask[name].any()) for mask in masks) == 1


def test_prompts_of_promptir():
    names = moving(LayerMask(part='prompts')(Evidence(PromptIR(**RESTORMER))))
    assert {'prompt1.prompt_param', 'prompt3.conv3x3.weight'} <= names
    assert all(name.startswith('prompt') for name in names)


# ---------------------------------------------------------------- by place

class Backwards(nn.Module):
    """Registered in the reverse of the order in which it runs; `unused` never runs."""

    def __init__(self):
        super().__init__()
        self.unused, self.last, self.middle, self.first = (nn.Conv2d(1, 1, 1) for _ in range(4))

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        return self.last(self.middle(self.first(lq)))


@pytest.mark.parametrize('count, expected', [(1, {'last'}), (2, {'last', 'middle'}), (3, {'last', 'middle', 'first'})])
def test_last_layers_by_order_of_execution(count, expected):
    mask = LastLayersMask(count)(Evidence(Backwards(), forget=[batch(0.5)]))
    assert {name.split('.')[0] for name in moving(mask)} == expected and len(mask) == 8


def test_last_layer_of_nafnet_is_its_ending():
    """Which is registered second."""
    evidence = Evidence(naf(), forget=[{'lq': torch.rand(2, 3, 16, 16), 'gt': torch.rand(2, 3, 16, 16)}])
    assert moving(LastLayersMask()(evidence)) == {'ending.weight', 'ending.bias'}


def test_more_layers_than_there_are():
    with pytest.raises(OptionError, match='4.*3 layers'):
        LastLayersMask(4)(Evidence(Backwards(), forget=[batch(0.5)]))


# ---------------------------------------------------------------- all

@pytest.mark.parametrize('mask', [SaliencyMask(), FisherMask(), LayerMask(part='decoder'), LastLayersMask(2)],
                         ids=lambda mask: type(mask).__name__)
def test_a_mask_covers_the_live_weights_and_leaves_the_teacher_alone(mask):
    assert MASKS[type(mask).__name__] is type(mask)
    torch.manual_seed(0)
    net = naf()
    net.intro.bias.requires_grad_(False)
    net.dead_parameters = ('ending.bias',)
    batches = [{'lq': torch.rand(2, 3, 16, 16), 'gt': torch.rand(2, 3, 16, 16)} for _ in range(2)]
    evidence = Evidence(net.eval(), forget=batches[:1], retain=batches[1:])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    first, second = mask(evidence), mask(evidence)
    live = dict(live_parameters(net))
    assert first.keys() == live.keys() == dict(net.named_parameters()).keys() - {'intro.bias', 'ending.bias'}
    for name, bits in first.items():
        assert bits.dtype == torch.bool and bits.shape == live[name].shape and bits.equal(second[name])
    assert 0 < sum(int(bits.sum()) for bits in first.values()) < sum(p.numel() for p in live.values())
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters()) and not net.training and not net.intro.bias.requires_grad
    assert not net.ending._forward_hooks
