"""What undoes each part: that it is declared, what it starts from, and on hand-made networks that it finds the skill.

The skill is to take alternating rows off an image. A channel sees them, a last layer subtracts what it sees; the
retrained network was never shown any, and its channels are blind to them.
"""
from copy import deepcopy

import pytest
import torch
from torch import nn

from basicsr_unlearn.core import ANCHORS, EDITS, MASKS
from basicsr_unlearn.core.building import build_parts
from basicsr_unlearn.core.edits.attenuation_edit import WeightAttenuation, WeightDropout
from basicsr_unlearn.core.edits.dampening_edit import SynapticDampening
from basicsr_unlearn.core.edits.noise_edit import WeightNoise, spread_before
from basicsr_unlearn.core.edits.reset_edit import ResetAll, ResetByFisher, ResetLastLayers, ResetSmallestGradient
from basicsr_unlearn.core.edits.selection_edit import RepresentationSelection
from basicsr_unlearn.core.edits.shrink_edit import ShrinkAndPerturb
from basicsr_unlearn.core.edits.shuffle_edit import ShuffleTaps
from basicsr_unlearn.core.edits.task_negation_edit import TaskNegation
from basicsr_unlearn.core.edits.transposition_edit import KernelChoice, TransposeKernels
from basicsr_unlearn.core.inverses import each_alone, of_lowest_error, towards_relearned
from basicsr_unlearn.core.masking import Masking
from basicsr_unlearn.core.parts import Edit, Evidence, Mask, Start, check_invertible, live_parameters, restoration_error
from basicsr_unlearn.core.reset_inverses import nearest_to_untrained
from basicsr_unlearn.core.seeds import fresh_seed, own_random_numbers
from basicsr_unlearn.core.unlearner import Unlearner
from basicsr_unlearn.errors import OptionError

SEES = torch.tensor([[0.0, -0.25, 0.0], [0.0, 0.5, 0.0], [0.0, -0.25, 0.0]])  # 1 on alternating rows, 0 on flat ones
ALL = {**EDITS, **MASKS, **ANCHORS}
SEED = 0  # of the attacked run
NEED = {'LayerMask': {'include': 'head'}}  # parts that cannot be built without options


class Rows(nn.Module):
    """lq + head(body(lq)), beside a dead and a frozen weight."""

    dead_parameters = ('dead',)

    def __init__(self):
        super().__init__()
        self.body = nn.Conv2d(1, 4, 3, padding=1, padding_mode='replicate')
        self.head = nn.Conv2d(4, 1, 1, bias=False)
        self.dead = nn.Parameter(torch.ones(3))
        self.frozen = nn.Parameter(torch.zeros(1), requires_grad=False)

    def forward(self, lq):
        return lq + self.head(self.body(lq)) + self.frozen


def fresh(seed=None):
    with torch.random.fork_rng():
        torch.manual_seed(1000 + (seed or 0))
        return Rows().eval()


def retrained(seed=0):
    """Its channels see columns alone."""
    net, generator = fresh(seed), torch.Generator().manual_seed(seed)
    smooth = torch.tensor([0.25, 0.5, 0.25]).view(3, 1) * torch.tensor([-0.5, 1.0, -0.5])
    with torch.no_grad():
        net.body.weight.copy_(smooth * (1 + torch.rand(4, 1, 1, 1, generator=generator)))
        net.body.bias.zero_()
        net.head.weight.zero_()
    return net


def original():
    """Two channels see rows; the last layer takes most of what they see off the image."""
    net = retrained()
    with torch.no_grad():
        net.body.weight[:2] = SEES
        net.head.weight[0, :2] = -0.45
    return net


def batches(seed, rows=True, count=2):
    """Smooth images, with rows of alternating brightness or with a little noise."""
    generator, found = torch.Generator().manual_seed(seed), []
    y, x = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing='ij')
    for _ in range(count):
        a, b, c = torch.rand(3, 4, 1, 1, 1, generator=generator)
        gt = 0.5 + 0.2 * torch.sin(a * y / 4 + b * x / 4 + 6 * c)
        dirt = 0.3 * (0.5 + a) * (-1) ** y if rows else 0.02 * torch.randn(gt.shape, generator=generator)
        found.append({'lq': gt + dirt, 'gt': gt})
    return found


OWN, HELD_OUT = batches(5, count=8), batches(9)


def error(net):
    with torch.no_grad():
        return sum(float(restoration_error(net, batch)) for batch in HELD_OUT) / len(HELD_OUT)


def attacker(net, seed=SEED, **more):
    """What he has: pairs of his own, and the seed of the run."""
    streams = {'forget': OWN, 'retain': batches(6, rows=False, count=8), **more}
    return Evidence(net, untrained=fresh, generator=torch.Generator().manual_seed(seed), **streams)


def built(name):
    return ALL[name](**NEED.get(name, {}))


def learned(start, steps, kind=torch.optim.SGD, lr=0.1):
    """The network of a start after it learned the attacker's pairs."""
    net = deepcopy(start.net)
    masking = Masking([start.trains], net) if start.trains else None
    optimizer = kind([p for _, p in live_parameters(net)], lr=lr)
    for step in range(steps):
        optimizer.zero_grad()
        restoration_error(net, OWN[step % 8]).backward()
        optimizer.step()
        if masking:
            masking.restore(net)
    return net


def lowest(part, net, steps):
    """The lowest error on held-out images that a part's inverse leads to."""
    return min(error(learned(start, steps)) for start in part.attack(attacker(net)))


# ---------------------------------------------------------------- every part

@pytest.mark.parametrize('name', ALL)
def test_every_part_says_how_it_is_undone_or_why_not(name):
    check_invertible(ALL[name])


@pytest.mark.parametrize('base', [Edit, Mask])
def test_a_part_that_says_neither_is_named(base):
    silent = type('Silent', (base,), {'__call__': lambda self, *_: None})
    with pytest.raises(OptionError, match='Silent declares neither'):
        check_invertible(silent)
    check_invertible(type('Told', (silent,), {'no_inverse': 'It changes nothing.'}))
    check_invertible(type('Undone', (silent,), {'attack': lambda self, evidence: []}))


@pytest.mark.parametrize('name', ALL)
def test_every_start_runs_as_the_network_and_trains_what_can_learn(name):
    net = original()
    evidence, before = attacker(net), deepcopy(net)
    drawn, state = evidence.generator.get_state(), torch.get_rng_state()
    starts = built(name).attack(evidence)
    assert torch.equal(torch.get_rng_state(), state) and torch.equal(evidence.generator.get_state(), drawn)
    assert all(torch.equal(p, q) for p, q in zip(net.parameters(), before.parameters()))
    assert all(p.grad is None for p in net.parameters()) and not net.training
    assert [p.requires_grad for p in net.parameters()] == [p.requires_grad for p in before.parameters()]
    assert len({start.name for start in starts}) == len(starts)
    for start, again in zip(starts, built(name).attack(attacker(net)), strict=True):
        output = start.net(HELD_OUT[0]['lq'])
        assert output.shape == HELD_OUT[0]['gt'].shape and torch.isfinite(output).all()
        assert torch.equal(output, again.net(HELD_OUT[0]['lq']))
        assert any(True for _ in live_parameters(start.net))
        if start.trains is not None:
            live = dict(live_parameters(start.net))
            assert start.trains.keys() == live.keys()
            assert all(start.trains[key].shape == p.shape for key, p in live.items())
            assert any((mask > 0).any() for mask in start.trains.values())
        error(learned(start, 1))


@pytest.mark.parametrize('name', ALL)
def test_whoever_lacks_what_an_inverse_looks_at_is_told(name):
    for lacking in ('forget', 'retain'):
        try:
            built(name).attack(attacker(original(), **{lacking: []}))
        except OptionError as said:
            assert name in str(said) and lacking in str(said)


# ---------------------------------------------------------------- edits, on a network whose answer is known

HIDDEN = [  # an edit, and how many steps whoever undoes it has to learn: what was reset is not there
    (TransposeKernels(), 0),
    (TransposeKernels(0.5), 0),
    (WeightNoise(), 0),
    (WeightNoise(2.0, convs_only=False), 0),
    (TaskNegation(scale=8.0, iters=5, lr=0.01), 0),
    (SynapticDampening(), 0),
    (ResetAll(0.6), 0),
    (ResetAll(0.9), 0),
    (ResetByFisher(0.3, fresh=0.6), 0),
    (ResetByFisher(0.05), 6),
    (ResetSmallestGradient(0.25), 6),
    (ResetLastLayers(), 6),
    (ShuffleTaps(), 0),
    (ShuffleTaps(channels=True), 0),
    (ShrinkAndPerturb(), 0),
    (ShrinkAndPerturb(0.5, 1.0), 0),
    (WeightAttenuation(), 0),
    (WeightDropout(0.5), 6),
    (RepresentationSelection(budget=9.0, iters=1, lr=1e-5), 0),  # one that learns for long learns the skill anew
]


def unlearned_by(edit, known, count=8):
    """The network that the run of an attacked edit leaves, with its own batches."""
    net, retain = deepcopy(known), batches(2, rows=False, count=count)
    if isinstance(edit, ResetSmallestGradient):
        retain = batches(1, count=count)  # equal gradients: the first weights, which hold the skill, are reset
    edit(net, Evidence(known, batches(1, count=count), retain, fresh, torch.Generator().manual_seed(SEED)))
    return net


@pytest.mark.parametrize('edit, steps', HIDDEN, ids=lambda value: getattr(type(value), '__name__', None))
def test_the_inverse_of_an_edit_finds_a_skill_that_is_there_and_no_other(edit, steps):
    knows, unlearned = error(original()), unlearned_by(edit, original())
    assert error(unlearned) > 2 * knows
    assert lowest(edit, unlearned, steps) < (knows + error(unlearned)) / 2
    assert lowest(edit, retrained(), steps) > (knows + error(retrained())) / 2


def test_shuffled_kernels_are_found_without_the_seed():
    """By the attacker's own pairs alone: there are few kernels here."""
    unlearned, secret = unlearned_by(ShuffleTaps(), original()), ShuffleTaps(secret=True)
    names = {start.name for start in secret.attack(attacker(unlearned))}
    assert 'kernels back in order' not in names and 'kernels in an order of larger gain' in names
    assert lowest(secret, unlearned, 0) < (error(original()) + error(unlearned)) / 2
    assert lowest(secret, retrained(), 0) > (error(original()) + error(retrained())) / 2


# ---------------------------------------------------------------- what can be told by hand

def same_weights(net, other, atol=1e-6):
    return all(torch.allclose(p, q, atol=atol) for p, q in zip(net.parameters(), other.parameters(), strict=False))


@pytest.mark.parametrize('edit, name', [
    (WeightNoise(), 'the same noise drawn again and taken away'),
    (WeightNoise(2.0, convs_only=False), 'the same noise drawn again and taken away'),
    (TransposeKernels(), 'all kernels swapped back'),
    (TransposeKernels(0.5), 'the same kernels swapped again'),
    (ResetAll(0.6), 'untrained part taken out'),
])
def test_what_the_seed_tells_comes_back_exactly_where_nothing_was_trained_since(edit, name):
    unlearned = unlearned_by(edit, known := original())

    def found(seed):
        return {start.name: start.net for start in edit.attack(attacker(unlearned, seed))}[name]

    assert not same_weights(unlearned, known) and same_weights(found(SEED), known)
    if isinstance(edit, WeightNoise) or getattr(edit, 'share', 1) < 1:
        assert not same_weights(found(SEED + 1), known)


@pytest.mark.parametrize('block', [{'type': 'WeightNoise'}, {'type': 'ResetAll'},
                                   {'type': 'TransposeKernels', 'share': 0.5}], ids=lambda block: block['type'])
def test_the_seed_of_a_run_tells_what_it_drew(block):
    unlearner = Unlearner(net := original(), retain_opt={'type': 'L1Loss'}, optim_g={'type': 'SGD', 'lr': 1e-3},
                          edit_opt=block, fresh=Rows, total_iter=3, seed=SEED)
    for batch in (step for step in batches(2, rows=False) * 20 if not unlearner.done):
        unlearner.step(retain=batch)
    assert not same_weights(net, original(), atol=0.1)

    def as_the_run(seed):
        with own_random_numbers(fresh_seed(SEED) if seed is None else seed):
            return Rows()

    given = Evidence(net.eval(), OWN, untrained=as_the_run, generator=torch.Generator().manual_seed(SEED))
    part, = build_parts(EDITS, block, 'edit_opt')
    assert any(same_weights(start.net, original(), atol=0.02) for start in part.attack(given))


def test_the_spread_before_noise_is_solved_for():
    generator = torch.Generator().manual_seed(0)
    for std in (0.1, 0.6, 1.0, 3.0):
        w, noise = torch.randn(2, 500, generator=generator, dtype=torch.float64) * torch.tensor([[0.2], [1.0]])
        spread = w.std(unbiased=False)
        assert spread_before(w + std * spread * noise, noise, std) == pytest.approx(float(spread), rel=1e-6)
    assert spread_before(torch.ones(1), torch.ones(1), 0.6) == 0  # one weight has none
    assert spread_before(torch.zeros(9), torch.arange(9.0), 0.6) == 0


def test_reset_weights_are_found_by_the_seed_and_a_full_reset_leaves_nothing():
    edit = ResetByFisher(0.3)
    unlearned = unlearned_by(edit, original())
    changed = {name: p != dict(original().named_parameters())[name] for name, p in live_parameters(unlearned)}
    found = nearest_to_untrained(attacker(unlearned), None, list(changed), 0.3)
    assert all(torch.equal(found[name], mask) for name, mask in changed.items())
    assert ResetAll(1.0).attack(Evidence(unlearned)) == []


def test_dampened_weights_are_known_by_their_size():
    unlearned = unlearned_by(SynapticDampening(), original())
    alone, = (start for start in SynapticDampening().attack(attacker(unlearned)) if start.name == 'small weights alone')
    kernels = alone.trains['body.weight']
    assert kernels[unlearned.body.weight != original().body.weight].all() and not kernels[2:].all()


def test_a_long_way_is_learned_in_few_steps_and_gone_to_its_end():
    counted, batch = [], {'lq': torch.ones(1, 1, 2, 2), 'gt': torch.full((1, 1, 2, 2), 1000.0)}

    def counting(net, batch):
        counted.append(torch.is_grad_enabled())
        return restoration_error(net, batch)

    net = nn.Conv2d(1, 1, 1)
    there = towards_relearned(Evidence(net, [batch], error=counting), iters=100, lr=0.01, lengths=(1.0,))
    assert sum(counted) == 20  # steps; Adam goes lr in each, as long as the gradient stays
    assert float((there.bias - net.bias).detach()) == pytest.approx(1.0, rel=1e-3)


def test_a_network_without_square_kernels_has_none_to_swap_back():
    assert TransposeKernels().attack(Evidence(nn.Conv2d(1, 1, 1))) == []


def test_which_kernels_were_swapped_can_be_learned():
    unlearned = unlearned_by(TransposeKernels(0.5), original())
    learned_again = learned(Start('', KernelChoice(unlearned)), steps=30, kind=torch.optim.Adam, lr=1e-3)
    assert error(learned_again) < (error(original()) + error(unlearned)) / 2
    assert sum(p.numel() for p in learned_again.parameters()) == 4


def test_a_step_of_anything_but_a_number_is_never_taken():
    evidence = attacker(net := original())
    worse = [{'head.weight': torch.full((1, 4, 1, 1), value)} for value in (float('nan'), float('inf'), 5.0)]
    assert same_weights(of_lowest_error(worse, evidence), net)


def test_the_chosen_and_the_others_split_the_live_weights():
    alone, others = each_alone({'head.weight': torch.ones(1, 4, 1, 1)}, 'the head', attacker(retrained()))
    for name in alone.trains:
        assert (alone.trains[name] ^ others.trains[name]).all() and alone.trains[name].all() == (name == 'head.weight')
    live, before = dict(live_parameters(others.net)), dict(live_parameters(retrained()))
    assert torch.equal(live['head.weight'], before['head.weight'])
    assert [start.name for start in each_alone({}, 'none', attacker(retrained()))] == ['all but none']
