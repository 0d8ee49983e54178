"""Shuffled kernels, and shrunk and shaken weights: what is done, and how it is turned back."""
from copy import deepcopy

import pytest
import torch
from torch import nn

from basicsr_unlearn.core.edits.shrink_edit import ShrinkAndPerturb
from basicsr_unlearn.core.edits.shuffle_edit import ShuffleTaps
from basicsr_unlearn.core.parts import Evidence
from basicsr_unlearn.core.seeds import evenly_drawn


class Net(nn.Module):
    """A convolution of many taps, a grouped one, one of a single tap, and scales."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.grouped = nn.Conv2d(8, 8, (3, 1), padding=(1, 0), groups=8, bias=False)
        self.last = nn.Conv2d(8, 3, 1)
        self.scale = nn.Parameter(torch.rand(1, 3, 1, 1))

    def forward(self, x):
        return x + self.scale * self.last(self.grouped(self.first(x)))


def network(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Net()


def batches(seed):
    generator = torch.Generator().manual_seed(seed)
    return [{name: torch.rand(2, 3, 8, 8, generator=generator) for name in ('lq', 'gt')} for _ in range(2)]


def evidence(net, seed=5):
    return Evidence(deepcopy(net).eval(), batches(1), batches(2), generator=torch.Generator().manual_seed(seed))


def edited(edit, net, seed=5):
    net = deepcopy(net)
    edit(net, evidence(net, seed))
    return net


def weights(net):
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def starts(edit, net, seed=5):
    return {start.name: start for start in edit.attack(evidence(net, seed))}


# ---------------------------------------------------------------- drawn numbers

def test_drawn_numbers_are_even_and_those_of_the_system_cannot_be_drawn_again():
    for generator in (torch.Generator().manual_seed(0), None):
        numbers = evenly_drawn((100, 100), generator)
        assert numbers.dtype == torch.float64 and 0 <= numbers.min() and numbers.max() < 1
        counts = torch.histc(numbers, 10, 0, 1)
        assert (counts - 1000).abs().max() < 150  # 5 standard deviations
    assert not torch.equal(evenly_drawn((4,), None), evenly_drawn((4,), None))


# ---------------------------------------------------------------- shuffling

def test_each_kernel_keeps_its_taps_in_an_order_of_its_own():
    net, after = network(), edited(ShuffleTaps(), network())
    for name in ('first', 'grouped'):
        old, new = (getattr(which, name).weight.flatten(2) for which in (net, after))
        assert torch.equal(old.sort(2).values, new.sort(2).values)
        orders = {tuple(row.tolist()) for row in (old.flatten(0, 1)[:, None] == new.flatten(0, 1)[..., None]).int(
            ).argmax(2)}
        assert len(orders) > (20 if name == 'first' else 3)  # of 24 kernels of 9 taps, and of 8 of 3
    for name in ('first.bias', 'last.weight', 'last.bias', 'scale'):
        assert torch.equal(after.get_parameter(name), net.get_parameter(name))


def test_a_share_of_the_kernels_is_shuffled():
    net, after = network(), edited(ShuffleTaps(share=0.5), network())
    moved = (after.first.weight != net.first.weight).flatten(2).any(2)
    assert 8 <= int(moved.sum()) <= 12  # of 24; an order may be the old one


def test_those_of_highest_ratio():
    """Of one channel at a time: red is in the forget images alone, so its kernels go."""
    net = nn.Conv2d(3, 4, 3, padding=1)
    red, green = (torch.zeros(2, 3, 8, 8) for _ in range(2))
    red[:, 0], green[:, 1] = torch.rand(2, 8, 8), torch.rand(2, 8, 8)
    given = Evidence(deepcopy(net), [{'lq': red, 'gt': torch.ones(2, 4, 8, 8)}],
                     [{'lq': green, 'gt': torch.ones(2, 4, 8, 8)}])
    after = deepcopy(net)
    ShuffleTaps(share=1 / 3, of_highest_ratio=True)(after, given)
    moved = (after.weight != net.weight).flatten(2).any(2)
    assert moved[:, 0].all() and not moved[:, 1:].any()


def test_channels_change_places_with_their_biases():
    net, after = network(), edited(ShuffleTaps(channels=True), network())
    before = {tuple(row.tolist()): bias for row, bias in zip(net.last.weight[..., 0, 0], net.last.bias.tolist())}
    now = {tuple(row.tolist()): bias for row, bias in zip(after.last.weight[..., 0, 0], after.last.bias.tolist())}
    assert before == now
    assert not torch.equal(net.first.bias, after.first.bias)
    assert torch.equal(net.first.bias.sort().values, after.first.bias.sort().values)


@pytest.mark.parametrize('edit', [ShuffleTaps(), ShuffleTaps(share=0.4), ShuffleTaps(channels=True),
                                  ShuffleTaps(share=0.6, channels=True)])
def test_who_knows_the_seed_has_everything_back(edit):
    net = network()
    after = edited(edit, net)
    assert not torch.equal(weights(after), weights(net))
    assert torch.equal(weights(starts(edit, after)['kernels back in order'].net), weights(net))
    assert not torch.equal(weights(starts(edit, after, seed=6)['kernels back in order'].net), weights(net))
    middle = starts(edit, after)['kernels half way back in order'].net
    torch.testing.assert_close(weights(middle), (weights(net) + weights(after)) / 2)


def test_an_attack_leaves_the_network_and_the_generator_as_they_were():
    given = evidence(network())
    before, state = weights(given.teacher), given.generator.get_state()
    for edit in (ShuffleTaps(channels=True, of_highest_ratio=True), ShrinkAndPerturb()):
        edit.attack(given)
        assert torch.equal(weights(given.teacher), before) and torch.equal(given.generator.get_state(), state)


@pytest.mark.parametrize('edit', [ShuffleTaps(secret=True), ShrinkAndPerturb(secret=True)])
def test_what_is_secret_nobody_draws_again(edit):
    net, given = network(), evidence(network())
    state = given.generator.get_state()
    edit(net, given)
    assert torch.equal(given.generator.get_state(), state)
    assert not torch.equal(weights(net), weights(edited(edit, network())))
    assert not any('back' in name or 'taken away' in name for name in starts(edit, net))


def test_the_largest_tap_comes_to_the_middle():
    net = network()
    net.first.weight.data[1, 2] = torch.tensor([[1.0, 2, 3], [4, 5, 6], [7, -9, 8]])
    found = starts(ShuffleTaps(secret=True), net)['largest tap in the middle'].net
    assert found.first.weight[1, 2].tolist() == [[1, 2, 3], [4, -9, 6], [7, 5, 8]]
    assert net.first.weight[1, 2, 1, 1] == 5


def test_shuffled_weights_are_trained_alone_or_left():
    found = starts(ShuffleTaps(), network())
    alone, others = (found[name].trains for name in ('shuffled weights alone', 'all but shuffled weights'))
    assert {name for name, mask in alone.items() if mask.all()} == {'first.weight', 'grouped.weight'}
    assert {name for name, mask in others.items() if mask.all()} == {'first.bias', 'last.weight', 'last.bias', 'scale'}


# ---------------------------------------------------------------- shrinking

def test_shrink_and_perturb_by_hand():
    net, after = network(), edited(ShrinkAndPerturb(alpha=0.25, beta=0.5), network())
    for name in ('first.bias', 'last.bias', 'scale'):
        torch.testing.assert_close(after.get_parameter(name), 0.75 * net.get_parameter(name))
    for name, fans in (('first', 9 * (3 + 8)), ('grouped', 3 * (1 + 8)), ('last', 8 + 3)):
        noise = (after.get_parameter(f'{name}.weight') - 0.75 * net.get_parameter(f'{name}.weight')) / (0.25 * 0.5)
        bound = (6 / fans) ** 0.5
        assert noise.abs().max() <= bound * (1 + 1e-5)
        if name == 'first':
            assert noise.std().item() == pytest.approx(bound / 3**0.5, rel=0.15)


def test_without_noise_it_only_shrinks():
    net, after = network(), edited(ShrinkAndPerturb(alpha=0.5, beta=0.0), network())
    assert torch.equal(weights(after), weights(net) / 2)


def test_who_knows_the_seed_takes_the_noise_away():
    net, edit = network(), ShrinkAndPerturb(alpha=0.6, beta=1.0)
    given = evidence(edited(edit, net))
    for batch in given.forget:  # of images that the original restores, so that the attacker knows when he is there
        batch['gt'] = net(batch['lq']).detach()
    found = {start.name: start for start in edit.attack(given)}
    torch.testing.assert_close(weights(found['noise taken away, scaled up again'].net), weights(net))
    assert (weights(found['scaled up again'].net) - weights(net)).abs().max() > 0.05


@pytest.mark.parametrize('edit, message', [
    (lambda: ShuffleTaps(share=0.0), 'share: expected a number above 0'),
    (lambda: ShrinkAndPerturb(alpha=1.0), 'alpha: expected a number below 1 but got 1.0: ResetAll starts anew'),
    (lambda: ShrinkAndPerturb(alpha=0), 'alpha: expected a number above 0'),
    (lambda: ShrinkAndPerturb(beta=-1.0), 'beta: expected a number of at least 0'),
])
def test_values_out_of_range_are_refused(edit, message):
    with pytest.raises(ValueError, match=message):
        edit()
