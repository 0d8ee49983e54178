"""Every attacker on a network made by hand, of which it is known who brings the skill back and who cannot.

The skill is to take vertical stripes off smooth images. A directional kernel does it at once, and a network without it
learns it slowly.
"""
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from basicsr_unlearn.core.edits.transposition_edit import transposed
from basicsr_unlearn.core.leads import family_leads, leads_of, worst_lead
from basicsr_unlearn.core.parts import Edit, Mask, Start
from basicsr_unlearn.errors import DataError, OptionError, TrainingError
from basicsr_unlearn.proof.attackers.attack_plan import AttackPlan, Material
from basicsr_unlearn.proof.attackers.image_psnr import psnr_of_images
from basicsr_unlearn.proof.attackers.starts import known_parts
from basicsr_unlearn.proof.attackers.sweep import sweep

ACROSS = torch.tensor([[0, 0, 0], [0.25, 0.5, 0.25], [0, 0, 0]])  # the mean over a stripe and its neighbours
PLAN = AttackPlan(rates=(2e-4, 1e-3), sgd_rate=0.01, pairs=(2, 8), draws=2, steps=(5, 10, 30), patch=8)


class Kernel(nn.Module):
    """One 3x3 convolution of each colour, x + switch * (convolution - x): no skill where the switch is 0."""

    def __init__(self, kernel=ACROSS, switch=1.0):
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1, padding_mode='reflect', bias=False)
        self.switch = nn.Parameter(torch.tensor([switch]))
        with torch.no_grad():
            self.body.weight.zero_()
            for colour in range(3):
                self.body.weight[colour, colour] = kernel

    def forward(self, x):
        return x + self.switch * (self.body(x) - x)


def untrained(seed: int | None) -> Kernel:
    """A network that returns its input but for small random weights: it never knew of stripes."""
    net, generator = Kernel(torch.zeros(3, 3)), torch.Generator().manual_seed(seed or 0)
    with torch.no_grad():
        net.body.weight[range(3), range(3), 1, 1] = 1.0
        net.body.weight += 0.002 * torch.randn(net.body.weight.shape, generator=generator)
    return net


def striped(count: int, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Smooth images, 3x16x20, with vertical stripes one pixel wide, and without."""
    means = torch.rand(count, 3, 1, 1, generator=torch.Generator().manual_seed(seed)) * 0.5 + 0.25
    clean = means.expand(count, 3, 16, 20).contiguous()
    stripes = 0.1 * (torch.arange(20) % 2 * 2 - 1)
    return [(gt + stripes, gt) for gt in clean]


def plain(count: int, seed: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """What is kept: images that are returned as they are."""
    return [(gt, gt) for _, gt in striped(count, seed)]


def material(**others) -> Material:
    return Material(**{'forget': striped(16, 0), 'retain': plain(8, 1), 'untrained': untrained, 'parts': [], **others})


def score(net: nn.Module) -> float:
    return float(np.mean(psnr_of_images(net, striped(3, 2))))


@pytest.fixture(scope='module')
def retrained() -> list:
    """What attackers reach from networks that never knew."""
    return [sweep(untrained(seed), material(), PLAN, score).trails for seed in (1, 2)]


class Transposition(Edit):
    """A part that was used, and says how it is undone."""

    def __call__(self, net, evidence):
        net.load_state_dict(transposed(net).state_dict())

    def attack(self, evidence):
        return [Start('kernels transposed back', transposed(evidence.teacher))]


def hidden() -> Kernel:
    net = Kernel()
    Transposition()(net, None)
    return net


def test_transposed_kernels_are_found_before_any_step(retrained):
    assert score(Kernel()) > 40 > 21 > score(hidden())
    trails = sweep(hidden(), material(parts=[Transposition()]), PLAN, score).trails
    found = family_leads(trails, retrained)
    assert {name for name, lead in found.items() if lead.beyond > 10} >= {'inverse', 'orientation'}
    assert found['inverse'].step == 0 and found['inverse'].attacker == 'Transposition: kernels transposed back'
    assert found['orientation'].step == 0 == found['orientation'].pairs
    assert found['plain'].beyond < 5
    assert worst_lead(leads_of(trails, retrained)).beyond > 10


def test_a_switched_off_skill_comes_back_by_a_few_weights(retrained):
    # the skill lies 100 times stronger behind a switch at 0
    sleeping = Kernel(100 * ACROSS - 99 * torch.tensor([[0, 0, 0], [0, 1, 0], [0, 0, 0]]), 0.0)
    assert score(sleeping) == pytest.approx(20, abs=0.1)
    found = family_leads(sweep(sleeping, material(), PLAN, score).trails, retrained)
    assert found['few weights'].beyond > 5 and found['few weights'].attacker.startswith('norms, scales')
    assert found['orientation'].step > 0  # as it is, no direction shows it


def test_a_network_that_never_knew_leads_nowhere(retrained):
    leads = leads_of(sweep(untrained(3), material(), PLAN, score).trails, retrained)
    assert {(lead.pairs, lead.step) for lead in leads} == {(k, s) for k in (0, 2, 8) for s in (0, 5, 10, 30)}
    assert worst_lead(leads).beyond < 0.5


def test_the_original_is_known_to_every_family(retrained):
    trails = sweep(Kernel(), material(relatives={'another': untrained(9)}), PLAN, score).trails
    found = family_leads(trails, retrained)
    assert set(found) == {'plain', 'orientation', 'input', 'quantisation', 'line search', 'merging', 'loosening',
                          'few weights', 'retain'}
    assert min(lead.beyond for lead in found.values()) > 5


def test_quantisation_brings_back_what_a_small_change_hid(retrained):
    net = Kernel()
    with torch.no_grad():
        for colour in range(3):
            net.body.weight[colour, (colour + 1) % 3] -= 0.03  # less than half a step of 4 bits, 0.5 / 7
    found = {trail.attacker: trail for trail in sweep(net, material(), PLAN, score).trails if 0 in trail.curve}
    assert found['untouched'].mean(0) < 18 < 25 < found['weights of 4 bits'].mean(0)


def test_two_relatives_cancel_what_was_added_to_one(retrained):
    net, relative, generator = Kernel(), Kernel(), torch.Generator().manual_seed(0)
    with torch.no_grad():
        change = 0.2 * torch.randn(net.body.weight.shape, generator=generator)
        net.body.weight += change
        relative.body.weight -= change
    found = {trail.attacker: trail for trail in sweep(net, material(relatives={'it': relative}), PLAN, score).trails
             if 0 in trail.curve}
    assert found['50% of it merged in'].mean(0) == pytest.approx(score(Kernel()))
    assert found['50% of it merged in'].mean(0) > found['untouched'].mean(0) + 10


def test_retain_pairs_alone_bring_back_a_skill_that_they_share(retrained):
    dimmed = Kernel(0.8 * ACROSS)  # an unlearned network that darkens everything
    trails = sweep(dimmed, material(), PLAN, score).trails
    alone = next(trail for trail in trails if trail.attacker == 'retain pairs alone')
    assert alone.pairs == 0 and alone.family == 'retain' and list(alone.curve) == [5, 10, 30]
    assert alone.mean(30) > score(dimmed) + 0.5
    first = next(trail for trail in trails if trail.attacker == 'retain pairs for 30 steps, then forget pairs')
    assert first.mean(0) == alone.mean(30) and first.pairs == 8


def test_a_line_search_is_chosen_on_the_attackers_own_pairs():
    weak = Kernel(0.9 * ACROSS)
    other = [(lq, 1 - gt) for lq, gt in striped(3, 2)]  # what is scored pulls elsewhere
    for measured in (striped(3, 2), other):
        measure = partial(lambda pairs, net: float(np.mean(psnr_of_images(net, pairs))), measured)
        trails = sweep(weak, material(), PLAN, measure).trails
        line = next(trail for trail in trails if trail.family == 'line search')
        untouched = measure(weak)
        assert (line.mean(0) > untouched) == (measured is not other)


def test_draws_and_budgets(retrained):
    trails = [trail for trail in retrained[0] if trail.family == 'plain' and trail.pairs]
    assert sorted((trail.attacker, trail.pairs) for trail in trails) == sorted(
        (f'plain, {learner}', pairs) for learner in ('Adam 0.0002', 'Adam 0.001', 'SGD 0.01') for pairs in (2, 8))
    for pairs in (2, 8):  # the best learner of each is repeated
        assert sorted(len(trail.curve[30]) for trail in trails if trail.pairs == pairs) == [1, 1, 2]
    followed = [trail for trail in retrained[0] if trail.family != 'plain' and 30 in trail.curve and trail.pairs]
    assert len({trail.family for trail in followed}) == len(followed) == 2
    assert all(len(trail.curve[30]) == 2 for trail in followed)
    again = sweep(untrained(1), material(), PLAN, score).trails
    assert again == retrained[0]


def test_each_draw_learns_from_other_pairs():
    seen: list[float] = []

    class Watched(Kernel):
        def forward(self, x):
            if self.training:
                seen.extend(x.mean((1, 2, 3)).tolist())
            return super().forward(x)

    plan = AttackPlan(rates=(1e-4,), sgd_rate=1e-4, pairs=(2,), draws=3, steps=(1,), patch=16)
    sweep(Watched(), Material(striped(6, 0), parts=[]), plan, lambda net: 0.0)
    means = [round(value, 3) for value in seen[:8]]  # Adam, SGD and two draws more of two pairs each
    assert set(means[:2]) == set(means[2:4])
    assert len(set(means[2:])) == 6


def test_who_undoes_a_part_looks_at_the_pairs_that_he_learns_from_and_at_every_retain_set():
    seen = {}

    class Curious(Transposition):
        def attack(self, evidence):
            for name in ('forget', 'retain'):
                batches = getattr(evidence, name)
                seen[name] = {round(float(image.mean()), 3) for batch in batches for image in batch['gt']}
            return []

    black, white = ([(torch.full((3, 16, 20), value),) * 2] * 16 for value in (0.0, 1.0))
    numbered = [(torch.full((3, 16, 20), i / 16),) * 2 for i in range(16)]
    learned = set()

    class Watched(Kernel):
        def forward(self, x):
            if self.training:
                learned.update(round(float(image.mean()), 3) for image in x)
            return super().forward(x)

    sweep(Watched(), Material(numbered, [*black, *white], parts=[Curious()]),
          AttackPlan(pairs=(4,), steps=(1,), patch=16, quick=True), lambda net: 0.0)
    assert seen['forget'] == learned and len(learned) == 4
    assert seen['retain'] == {0.0, 1.0}


class Stuck(Kernel):
    """The same with a switch that lets no gradient through below 0."""

    def forward(self, x):
        return x + torch.relu(self.switch) * (self.body(x) - x)


def test_loosened_weights_learn_where_stuck_ones_cannot(retrained):
    def fresh(seed: int | None) -> Stuck:
        net = Stuck()
        net.load_state_dict(untrained(seed).state_dict())
        return net

    trails = sweep(Stuck(switch=-0.2), material(untrained=fresh), PLAN, score).trails
    assert max(trail.mean(30) for trail in trails if trail.family == 'plain' and trail.pairs) == trails[0].mean(0)
    found = family_leads(trails, retrained)
    assert found['loosening'].beyond > 1 and '40%' in found['loosening'].attacker


def test_quick_undoes_edits_alone():
    class Still(Mask):
        def __call__(self, evidence):
            return {}

        def attack(self, evidence):
            return [Start('free', transposed(evidence.teacher))]

    for quick, families in ((True, set()), (False, {'inverse'})):
        found = sweep(untrained(1), material(parts=[Still()]), replace(PLAN, quick=quick, pairs=(2,), draws=1), score)
        assert {trail.family for trail in found.trails} & {'inverse'} == families


def test_quick_takes_three_families_and_one_draw():
    found = sweep(untrained(1), material(parts=[Transposition()]), AttackPlan(quick=True, patch=8), score)
    assert {trail.family for trail in found.trails} == {'plain', 'inverse', 'orientation'}
    assert {(trail.attacker, trail.pairs, max(trail.curve)) for trail in found.trails if trail.family == 'plain'} == {
        ('untouched', 0, 0), ('plain, Adam 0.001', 8, 100), ('plain, Adam 0.002', 8, 100)}
    assert all(len(scores) == 1 for trail in found.trails for scores in trail.curve.values())
    assert max(step for trail in found.trails for step in trail.curve if trail.family != 'plain') == 10


def test_every_registered_part_has_its_turn_and_its_lack_is_said():
    plan = AttackPlan(rates=(1e-3,), pairs=(2,), draws=1, patch=8, steps=(1,))
    found = sweep(untrained(1), material(parts=None), plan, score)
    undone = {trail.attacker.partition(':')[0] for trail in found.trails if trail.family == 'inverse'}
    can = {type(part).__name__ for part in known_parts() if not part.no_inverse}
    assert undone <= can and not any('Undoing' in sentence for sentence in found.left_out)
    assert {'TransposeKernels', 'ResetByFisher', 'TaskNegation', 'FisherMask', 'RepulsionAnchor'} <= undone
    bare = sweep(untrained(1), material(parts=None, retain=(), untrained=None), plan, score)
    assert any('ResetByFisher' in sentence and 'retain' in sentence for sentence in bare.left_out)
    assert any('ResetAll' in sentence and 'untrained' in sentence for sentence in bare.left_out)


def test_what_is_left_out_is_said():
    class Needy(Transposition):
        needs = ('forget', 'retain')

    relatives = {'a stranger': nn.Conv2d(3, 3, 1)}
    found = sweep(Kernel(), Material(striped(3, 0), parts=[Needy()], relatives=relatives), PLAN, score)
    left_out = ' '.join(found.left_out)
    for what in ('8 pairs', 'retain pairs', 'Undoing Needy', 'Merging with a stranger', 'Loosening', 'own prompts'):
        assert what in left_out
    assert len(found.left_out) == 6 and {trail.pairs for trail in found.trails} == {0, 2}


def test_a_network_that_diverges_on_the_way_is_scored_up_to_there():
    plan = AttackPlan(rates=(1e-3, 1e30), sgd_rate=1e30, pairs=(2,), draws=1, steps=(1, 5, 20), patch=8)
    found = sweep(Kernel(), material(), plan, score).trails
    assert all(np.isfinite(scores).all() for trail in found for scores in trail.curve.values())
    assert next(trail for trail in found if trail.attacker == 'plain, Adam 0.001').curve.keys() == {1, 5, 20}
    broken = Kernel()
    nn.init.constant_(broken.body.weight, torch.nan)
    with pytest.raises(TrainingError, match='no finite score'):
        sweep(broken, material(), plan, score)


def test_a_network_that_enlarges(untouched):
    net = nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))
    pairs = [(torch.rand(3, 8, 12), torch.rand(3, 16, 24)) for _ in range(3)]
    plan = AttackPlan(steps=(1,), pairs=(2,), draws=1, patch=8)
    with untouched(net):
        found = sweep(net, Material(pairs, pairs, parts=[Transposition()]), plan,
                      lambda one: float(np.mean(psnr_of_images(one, pairs))))
    assert {'inverse', 'orientation', 'input', 'few weights'} <= {trail.family for trail in found.trails}


def test_bad_input():
    with pytest.raises(DataError, match='needs forget pairs'):
        Material([])
    with pytest.raises(DataError, match='16x20 pixels, smaller than the patch of 32'):
        sweep(Kernel(), material(), AttackPlan(patch=32), score)

    class Undeclared(Edit):
        def __call__(self, net, evidence):
            pass

    with pytest.raises(OptionError, match='Undeclared declares neither'):
        sweep(Kernel(), material(parts=[Undeclared()]), PLAN, score)
    for field, value, what in (('steps', [10, 5], 'rising'), ('pairs', [0, 2], 'at least 1'), ('rates', [], 'list'),
                               ('rates', ['1e-3'], '!!float'), ('draws', 0, 'at least 1')):
        with pytest.raises(OptionError, match=what):
            AttackPlan(**{field: value})
