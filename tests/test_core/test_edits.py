from copy import deepcopy

import pytest
import torch
from torch import nn

from basicsr_unlearn.core import EDITS
from basicsr_unlearn.core.edits.dampening_edit import SynapticDampening
from basicsr_unlearn.core.edits.noise_edit import WeightNoise
from basicsr_unlearn.core.edits.reset_edit import (
    ResetAll,
    ResetByFisher,
    ResetLastLayers,
    ResetSmallestGradient,
    reset,
)
from basicsr_unlearn.core.edits.task_negation_edit import TaskNegation
from basicsr_unlearn.core.edits.transposition_edit import TransposeKernels
from basicsr_unlearn.core.layers import convolution_weights, layers_in_order
from basicsr_unlearn.core.parts import Evidence, restoration_error
from basicsr_unlearn.errors import OptionError


class Gains(nn.Module):
    """out = weight x, channel by channel: for a target below, the gradient of the L1 loss in gain c is mean x_c / n."""

    def __init__(self, *weights):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(weights))

    def forward(self, x):
        return x * self.weight.view(-1, 1, 1)


class Mixed(nn.Module):
    """Convolutions defined in another order than they run, a scale of its own, and weights that must never change."""

    dead_parameters = ('dead.weight', 'dead.bias')

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(6, 3, 3, padding=1)
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.dead = nn.Conv2d(6, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.norm.weight.data.uniform_(0.5, 1.5)  # no two values are equal, so that changes can be counted
        self.norm.bias.data.uniform_(-0.5, 0.5)
        self.middle = nn.Sequential(nn.Conv2d(6, 6, 1), nn.GELU(), nn.Conv2d(6, 6, (3, 1), padding=(1, 0)))
        self.scale = nn.Parameter(torch.rand(1, 3, 1, 1))
        self.frozen = nn.Parameter(torch.rand(3, 1, 1), requires_grad=False)

    def forward(self, x):
        return x + self.scale * self.last(self.middle(self.norm(self.first(x)))) + self.frozen


def seeded(make, seed):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def pair(lq, gt=0.0, size=4):
    """A batch of one image of flat channels with the values `lq`, and a target of the value `gt`."""
    lq = torch.tensor(lq).view(1, -1, 1, 1).expand(1, len(lq), size, size).contiguous()
    return {'lq': lq, 'gt': torch.full_like(lq, gt)}


def noise_batches(seed, count=3):
    g = torch.Generator().manual_seed(seed)
    return [{name: torch.rand(2, 3, 8, 8, generator=g) for name in ('lq', 'gt')} for _ in range(count)]


def mixed_evidence(net, seed=0):
    return Evidence(deepcopy(net).eval(), noise_batches(1), noise_batches(2), lambda s: seeded(Mixed, 100 + (s or 0)),
                    torch.Generator().manual_seed(seed))


def weights(net):
    return {name: p.detach().clone() for name, p in net.named_parameters()}


def edited(edit, seed=0):
    net = seeded(Mixed, 7)
    edit(net, mixed_evidence(net, seed))
    return weights(net)


# ---------------------------------------------------------------- every edit

@pytest.mark.parametrize('name', EDITS)
def test_every_edit_changes_live_weights_only_and_leaves_no_traces(name):
    net = seeded(Mixed, 7)
    net.train()
    net.middle.eval()
    evidence = mixed_evidence(net)
    before, buffers, teacher = weights(net), deepcopy(dict(net.named_buffers())), deepcopy(evidence.teacher)
    modes, state = [m.training for m in net.modules()], torch.get_rng_state()
    EDITS[name]()(net, evidence)
    after = weights(net)
    assert any(not torch.equal(after[key], before[key]) for key in before) or name == 'SynapticDampening'
    for key in ('dead.weight', 'dead.bias', 'frozen'):
        assert torch.equal(after[key], before[key])
    assert all(torch.isfinite(value).all() for value in after.values())
    assert all(torch.equal(value, buffers[key]) for key, value in net.named_buffers())
    assert [m.training for m in net.modules()] == modes
    assert [p.requires_grad for p in net.parameters()] == [key != 'frozen' for key in after]
    assert all(p.grad is None for p in (*net.parameters(), *evidence.teacher.parameters()))
    assert all(torch.equal(p, q) for p, q in zip(evidence.teacher.parameters(), teacher.parameters()))
    assert torch.equal(torch.get_rng_state(), state)
    again = edited(EDITS[name]())
    assert all(torch.equal(edited(EDITS[name]())[key], again[key]) for key in again)


@pytest.mark.parametrize('name', [name for name in EDITS if name.startswith('Reset')])
def test_another_seed_resets_to_other_weights(name):
    key = 'last.weight'
    assert not torch.equal(edited(EDITS[name](seed=0))[key], edited(EDITS[name](seed=1))[key])


@pytest.mark.parametrize('edit, message', [
    (lambda: SynapticDampening(alpha=0.0), 'alpha: expected a number above 0'),
    (lambda: SynapticDampening(dampening=-1.0), 'dampening: expected a number of at least 0'),
    (lambda: TaskNegation(scale='1e0'), "scale: .*the text '1e0'"),
    (lambda: TaskNegation(iters=0), 'iters: expected a whole number of at least 1'),
    (lambda: ResetByFisher(share=1.5), 'share: expected a share of at most 1 but got 1.5'),
    (lambda: ResetByFisher(fresh=0.0), 'fresh: expected a number above 0'),
    (lambda: ResetSmallestGradient(share=0.0), 'share: expected a number above 0'),
    (lambda: ResetLastLayers(count=0), 'count: expected a whole number of at least 1'),
    (lambda: ResetLastLayers(seed=-1), 'seed: expected a whole number of at least 0 but got -1'),
    (lambda: ResetByFisher(seed='0'), "seed: .* but got '0'"),
    (lambda: ResetByFisher(granularity='filter'), "granularity: 'filter' is not known"),
    (lambda: ResetByFisher(of='outputs'), "of: 'outputs' is not known, the nearest valid one is 'output_difference'"),
    (lambda: ResetByFisher(granularity='layer', per_layer=True), 'per_layer has no share of a layer'),
    (lambda: ResetSmallestGradient(seed=1.5), 'seed: .* but got 1.5'),
    (lambda: ResetAll(seed=True), 'seed: .* but got True'),
    (lambda: ResetAll(fresh=2.0), 'fresh: expected a share of at most 1'),
    (lambda: TransposeKernels(share=-0.1), 'share: expected a number above 0'),
    (lambda: WeightNoise(std=0.0), 'std: expected a number above 0'),
])
def test_values_out_of_range_are_refused(edit, message):
    with pytest.raises(ValueError, match=message):
        edit()


# ---------------------------------------------------------------- layers

def test_layers_come_in_the_order_of_execution():
    net = Mixed()
    expected = ['first', 'norm', 'middle.0', 'middle.2', 'last']
    assert layers_in_order(net, {'lq': torch.rand(1, 3, 8, 8)}) == expected
    assert not any(module._forward_hooks for module in net.modules())
    twice = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1))
    twice.append(twice[0])  # runs again at the end
    assert layers_in_order(twice, {'lq': torch.rand(1, 3, 4, 4)}) == ['1', '0']


def test_convolution_weights_are_those_that_can_learn():
    assert list(convolution_weights(Mixed())) == ['last.weight', 'first.weight', 'middle.0.weight', 'middle.2.weight']
    assert list(convolution_weights(nn.Conv2d(1, 1, 1))) == ['weight']


# ---------------------------------------------------------------- dampening

@pytest.mark.parametrize('dampening, factor', [(1.0, 1 / 16), (4.0, 1 / 4), (32.0, 1.0), (0.0, 0.0)])
@pytest.mark.parametrize('label_free', [False, True])
def test_dampening_by_hand(dampening, factor, label_free):
    # both importances go with x_c squared: forget over retain is 16 in the first channel, 9 in the second, 0 over 0 in
    # the third
    net = Gains(2.0, 3.0, 4.0)
    SynapticDampening(10.0, dampening, label_free)(net, Evidence(net, [pair([0.8, 0.6, 0.0])], [pair([0.2, 0.2, 0.0])]))
    assert torch.allclose(net.weight, torch.tensor([2.0 * factor, 3.0, 4.0]))
    assert net.weight[1:].tolist() == [3.0, 4.0]


def test_dampening_sets_to_zero_what_the_rest_never_uses():
    net = Gains(2.0, 3.0)
    SynapticDampening()(net, Evidence(net, [pair([0.8, 0.1])], [pair([0.0, 0.1])]))
    assert net.weight.tolist() == [0.0, 3.0]


def test_label_free_dampening_looks_at_outputs_alone():
    batch = pair([0.8])
    batch['gt'][..., :2] = 9.0  # half the pixels want more, half less: no gradient in the loss
    for label_free, expected in ((False, 2.0), (True, 2.0 / 16)):
        net = Gains(2.0)
        SynapticDampening(label_free=label_free)(net, Evidence(net, [batch], [pair([0.2])]))
        assert net.weight.item() == pytest.approx(expected)


# ---------------------------------------------------------------- task negation

def test_one_step_of_negation_by_hand():
    # Adam's first step is lr against the gradient's sign: the loss grows with the first gain and falls with the second
    batch = pair([0.5, 0.5])
    batch['gt'][:, 1] = 9.0
    net = Gains(2.0, 3.0)
    TaskNegation(scale=3.0, iters=1, lr=0.1)(net, Evidence(net, [batch]))
    assert torch.allclose(net.weight, torch.tensor([2.3, 2.7]))


def test_negation_takes_the_batches_in_turn_and_raises_the_loss():
    first, second = pair([0.5, 0.0]), pair([0.0, 0.5])
    net = Gains(2.0, 3.0)
    TaskNegation(iters=2, lr=0.1)(net, Evidence(net, [first, second]))
    assert net.weight[0] > 2.05 and net.weight[1] > 3.05
    net = seeded(Mixed, 7).eval()
    evidence = mixed_evidence(net)
    before = sum(restoration_error(net, batch) for batch in evidence.forget)
    TaskNegation(lr=1e-3)(net, evidence)
    assert sum(restoration_error(net, batch) for batch in evidence.forget) > before


# ---------------------------------------------------------------- resets

def test_reset_mixes_where_chosen_and_keeps_the_bits_elsewhere():
    net, start = Gains(0.1, 0.2, 0.3), Gains(1.0, 2.0, 3.0)
    reset(net, start, {'weight': torch.tensor([True, False, True])}, 0.25)
    assert torch.allclose(net.weight, torch.tensor([0.325, 0.2, 0.975]))
    assert net.weight[1] == torch.tensor(0.2) and start.weight.tolist() == [1.0, 2.0, 3.0]
    reset(net, start, {'weight': torch.tensor([True, False, False])})
    assert net.weight[0] == 1.0
    reset(net, start, {})
    assert net.weight[1] == torch.tensor(0.2)


def test_a_later_edit_of_a_list_still_looks_at_the_original():
    batches = [pair([0.4, 0.2, 0.3, 0.1])], [pair([0.2, 0.4, 0.1, 0.3])]
    for edit in (ResetByFisher(0.5), SynapticDampening(alpha=0.5)):
        original = Gains(1.0, 2.0, 3.0, 4.0)
        evidence = Evidence(original, *batches, lambda seed: Gains(-1.0, -1.0, -1.0, -1.0))
        alone, after = deepcopy(original), Gains(0.0, 0.0, 0.0, 0.0)  # as if an earlier edit had emptied it
        edit(alone, evidence)
        edit(after, evidence)
        assert (alone.weight != original.weight).tolist() == [True, False, True, False]
        assert original.weight.tolist() == [1.0, 2.0, 3.0, 4.0]
        if isinstance(edit, ResetByFisher):
            assert after.weight.tolist() == [-1.0, 0.0, -1.0, 0.0]


def test_reset_by_fisher_by_hand():
    # forget over retain: 4, 1/4, infinite, and 0 over 0
    evidence = Evidence(Gains(1.0, 2.0, 3.0, 4.0), [pair([0.4, 0.2, 0.3, 0.0])], [pair([0.2, 0.4, 0.0, 0.0])],
                        lambda seed: Gains(-1.0, -1.0, -1.0, -1.0))
    for share, expected in ((0.25, [1.0, 2.0, -1.0, 4.0]), (0.5, [-1.0, 2.0, -1.0, 4.0]),
                            (0.75, [-1.0, -1.0, -1.0, 4.0])):
        net = Gains(1.0, 2.0, 3.0, 4.0)
        ResetByFisher(share)(net, evidence)
        assert net.weight.tolist() == expected
    net = Gains(1.0, 2.0, 3.0, 4.0)
    ResetByFisher(0.25, fresh=0.5)(net, evidence)
    assert net.weight.tolist() == [1.0, 2.0, 1.0, 4.0]


KERNELS = {'last.weight', 'first.weight', 'middle.0.weight', 'middle.2.weight'}
VECTORS = {'last.bias', 'first.bias', 'middle.0.bias', 'middle.2.bias', 'norm.weight', 'norm.bias', 'scale'}


@pytest.mark.parametrize('skip_vectors, names', [(False, KERNELS | VECTORS), (True, KERNELS)])
@pytest.mark.parametrize('per_layer', [False, True])
def test_reset_by_fisher_changes_exactly_its_share(per_layer, skip_vectors, names):
    before, start = weights(seeded(Mixed, 7)), weights(seeded(Mixed, 100))
    after = edited(ResetByFisher(0.3, per_layer=per_layer, skip_vectors=skip_vectors))
    moved = {name: after[name] != before[name] for name in before}
    assert all(torch.equal(after[name][moved[name]], start[name][moved[name]]) for name in before)
    changed = {name: int(mask.sum()) for name, mask in moved.items() if mask.any()}
    assert changed.keys() <= names
    if per_layer:
        assert changed == {name: max(1, round(0.3 * before[name].numel())) for name in names}
    else:
        assert sum(changed.values()) == round(0.3 * sum(before[name].numel() for name in names))


def test_whole_channels_and_layers_are_reset():
    """With their biases; what is left keeps its bits."""
    before, start = weights(seeded(Mixed, 7)), weights(seeded(Mixed, 100))
    for granularity in ('channel', 'layer'):
        after = edited(ResetByFisher(0.3, granularity=granularity))
        moved = {name: (after[name] != before[name]) for name in before}
        assert all(torch.equal(after[name][moved[name]], start[name][moved[name]]) for name in before)
        assert any(part.any() for part in moved.values()) and not all(part.all() for part in moved.values())
        for layer in ('last', 'first', 'middle.0', 'middle.2'):
            rows, bias = moved[f'{layer}.weight'].flatten(1), moved[f'{layer}.bias']
            assert torch.equal(rows.all(1), rows.any(1)) and torch.equal(rows.all(1), bias)
            assert granularity == 'channel' or len(bias.unique()) == 1


def test_reset_by_the_output_difference_by_hand():
    """Gain c adds (c - 1) x: the gradient of the mean of its square is 2 (c - 1) x squared / n, whatever is right."""
    evidence = Evidence(Gains(3.0, 1.5), [{'lq': pair([0.4, 0.2])['lq']}], [{'lq': pair([0.2, 0.4])['lq']}],
                        lambda seed: Gains(-1.0, -1.0))
    net = Gains(3.0, 1.5)
    ResetByFisher(0.5, of='output_difference')(net, evidence)  # forget over retain: 4 and 1/4; no gt is looked at
    assert net.weight.tolist() == [-1.0, 1.5]


def test_smallest_gradient_by_hand():
    def net(*values):
        conv = nn.Conv2d(4, 1, 1)
        conv.weight.data = torch.tensor(values).view(1, 4, 1, 1)
        conv.bias.data.fill_(0.5)
        return conv

    def batch(lq):
        return {**pair(lq), 'gt': torch.zeros(1, 1, 4, 4)}

    # retain less forget: 0.1 - 0.9, 0.5 - 0.5, 0.2 - 0.1, 0.9 - 0.2; means over two batches
    evidence = Evidence(net(1.0, 2.0, 3.0, 4.0), [batch([0.8, 0.5, 0.1, 0.2]), batch([1.0, 0.5, 0.1, 0.2])],
                        [batch([0.1, 0.4, 0.2, 0.9]), batch([0.1, 0.6, 0.2, 0.9])],
                        lambda seed: net(-1.0, -1.0, -1.0, -1.0))
    for share, expected in ((0.25, [1.0, -1.0, 3.0, 4.0]), (0.5, [1.0, -1.0, -1.0, 4.0]),
                            (0.75, [1.0, -1.0, -1.0, -1.0])):
        changed = net(1.0, 2.0, 3.0, 4.0)
        ResetSmallestGradient(share)(changed, evidence)
        assert changed.weight.flatten().tolist() == expected and changed.bias.item() == 0.5


def test_smallest_gradient_takes_its_share_of_each_convolution():
    before, after = weights(seeded(Mixed, 7)), edited(ResetSmallestGradient(0.3))
    changed = {name: int((after[name] != before[name]).sum()) for name in before}
    assert {name: count for name, count in changed.items() if count} == {
        'last.weight': 49, 'first.weight': 49, 'middle.0.weight': 11, 'middle.2.weight': 32}  # of 162, 162, 36, 108


def test_more_layers_than_there_are_are_refused():
    with pytest.raises(OptionError, match='count is 6 but the network has 5 layers'):
        edited(ResetLastLayers(count=6))


@pytest.mark.parametrize('count, expected', [(1, {'last'}), (2, {'last', 'middle.2'}),
                                             (3, {'last', 'middle.2', 'middle.0'})])
def test_last_layers_are_reset_whole(count, expected):
    before, after, start = weights(seeded(Mixed, 7)), edited(ResetLastLayers(count)), weights(seeded(Mixed, 100))
    for name in before:
        source = start if name.rpartition('.')[0] in expected else before
        assert torch.equal(after[name], source[name])


def test_reset_all_mixes_all():
    before, after, start = weights(seeded(Mixed, 7)), edited(ResetAll(0.6)), weights(seeded(Mixed, 100))
    for name in ('last.weight', 'first.bias', 'scale', 'norm.weight'):
        assert torch.allclose(after[name], 0.4 * before[name] + 0.6 * start[name])
    assert torch.equal(edited(ResetAll(1.0))['scale'], start['scale'])


# ---------------------------------------------------------------- transposition and noise

def test_transposition_by_hand():
    net = nn.Conv2d(1, 1, 3)
    net.weight.data = torch.arange(9.0).view(1, 1, 3, 3)
    bias = net.bias.item()
    TransposeKernels()(net, Evidence(net))
    assert net.weight.flatten().tolist() == [0, 3, 6, 1, 4, 7, 2, 5, 8] and net.bias.item() == bias
    TransposeKernels()(net, Evidence(net))
    assert net.weight.flatten().tolist() == list(range(9))


def test_transposition_leaves_what_is_not_square_and_takes_its_share():
    before, after = weights(seeded(Mixed, 7)), edited(TransposeKernels(0.5))
    for name in ('last.weight', 'first.weight'):
        turned = (after[name] == before[name].transpose(2, 3)).all(-1).all(-1)
        kept = (after[name] == before[name]).all(-1).all(-1)
        assert turned.sum() == kept.sum() == 9 and (turned ^ kept).all()
    for name in before.keys() - {'last.weight', 'first.weight'}:
        assert torch.equal(after[name], before[name])
    other = edited(TransposeKernels(0.5), seed=1)
    assert not torch.equal(after['last.weight'], other['last.weight'])


def test_noise_has_the_stated_size_and_is_the_generators():
    net = nn.Conv2d(3, 5, 3)
    before = weights(net)
    WeightNoise(0.5)(net, Evidence(net, generator=torch.Generator().manual_seed(3)))
    noise = torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(3))
    spread = (before['weight'] - before['weight'].mean()).square().mean().sqrt()
    assert torch.allclose(net.weight, before['weight'] + 0.5 * spread * noise)
    assert torch.equal(net.bias, before['bias'])


def test_noise_on_all_weights_or_on_convolutions():
    before, convolutions, everything = weights(seeded(Mixed, 7)), edited(WeightNoise()), edited(
        WeightNoise(convs_only=False))
    moved = [{name for name in before if not torch.equal(after[name], before[name])}
             for after in (convolutions, everything)]
    assert moved == [KERNELS, KERNELS | VECTORS]
    assert not torch.equal(convolutions['last.weight'], edited(WeightNoise(), seed=1)['last.weight'])
    flat = Gains(2.0, 2.0)  # no spread
    WeightNoise(convs_only=False)(flat, Evidence(flat))
    assert flat.weight.tolist() == [2.0, 2.0]
