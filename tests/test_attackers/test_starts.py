from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import nn

from basicsr_unlearn.core.parts import ANCHORS, EDITS, MASKS, Edit, Start
from basicsr_unlearn.errors import CheckpointError, OptionError
from basicsr_unlearn.proof.attackers.around import TILE
from basicsr_unlearn.proof.attackers.attack_plan import Material
from basicsr_unlearn.proof.attackers.image_psnr import psnr_of_images
from basicsr_unlearn.proof.attackers.relearning import relearn
from basicsr_unlearn.proof.attackers.starts import (
    FEW,
    evidence_of,
    few_weights,
    inverses,
    known_parts,
    line_search,
    merges,
    quantised,
)


class Prompted(nn.Module):
    """A network with names as PromptIR has them, which adds its prompt to the image."""

    def __init__(self):
        super().__init__()
        self.encoder_level1, self.prompt1, self.output = nn.Conv2d(3, 3, 1), nn.Module(), nn.Conv2d(3, 3, 1)
        self.prompt1.prompt_param = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.latent = nn.BatchNorm2d(3)  # frozen, it must keep its statistics
        for layer in (self.encoder_level1, self.output):
            nn.init.zeros_(layer.bias)
            layer.weight.data = torch.eye(3).view(3, 3, 1, 1)

    def forward(self, x):
        return self.output(self.latent(self.encoder_level1(x)) + self.prompt1.prompt_param)


def shifted(pairs, by=0.1):
    return [(gt * 0.8 + by, gt * 0.8) for _, gt in pairs]


def watching(pairs, seen):
    """Measure PSNR, and keep the network of the last measurement."""
    def measure(net):
        seen[:] = [net]
        return psnr_of_images(net, pairs)
    return measure


def recover(net, pairs, what, measure, steps, lr):
    """Train few weights of a network, as the sweep does, and measure on the way."""
    attacked = deepcopy(net).eval()
    [found] = few_weights(attacked, what, evidence_of(attacked, Material(pairs), 16))
    return relearn(found.start.net, pairs, steps, lr, 16, measure, trains=found.start.trains)


def moved(start, seen):
    """Sizes of the parameters that moved."""
    before = dict(start.named_parameters())
    return [tuple(p.shape) for name, p in seen[0].named_parameters() if name not in before
            or not torch.equal(p, before[name])]


def test_a_universal_prompt_undoes_a_constant_shift(brighten, dark_pairs, untouched):
    net, seen = brighten(1.0), []
    with untouched(net):
        curve = recover(net, shifted(dark_pairs()), 'input prompt', watching(shifted(dark_pairs(3, seed=1)), seen),
                        (0, 50), 0.01)
    assert curve[0] == pytest.approx([20] * 3, abs=0.02)  # of 8-bit images
    assert min(curve[50]) > 33
    assert moved(net, [seen[0]])[0] == (1, 3, TILE, TILE) and moved(net, [seen[0].net]) == []
    assert seen[0].prompt.mean().item() == pytest.approx(-0.1, abs=0.01)


def test_a_prompt_cannot_bring_back_what_the_weights_lost(brighten, dark_pairs):
    blank = brighten(0.0)
    curve = recover(blank, dark_pairs(), 'input prompt', partial(psnr_of_images, pairs=dark_pairs(1, seed=1)), (0, 20),
                    0.01)
    assert curve[20] == curve[0]


def test_the_last_layer_alone(brighten, dark_pairs, untouched):
    pairs, seen = dark_pairs(), []
    measure = watching(dark_pairs(2, seed=1), seen)
    net = brighten(1.0)
    with untouched(net):
        curve = recover(net, pairs, 'last layer', measure, (0, 60), 0.02)
    assert moved(net, seen) == [(3, 3, 1, 1), (3,)]
    assert min(curve[60]) > max(curve[0]) + 15
    # behind a first layer that lets nothing through, it can learn one colour only
    for p in net.head.parameters():
        nn.init.zeros_(p)
    lost = recover(net, pairs, 'last layer', measure, (0, 60), 0.02)
    assert max(lost[60]) < 12  # a uniform image around its mean: 10 log10 12 = 10.8 dB


def test_own_prompts_alone(dark_pairs, untouched):
    net, seen = Prompted(), []
    net.latent.running_mean.fill_(0.1)  # darkens, which the prompt can undo
    pairs = [(gt * 0.8, gt * 0.8) for _, gt in dark_pairs()]
    with untouched(net):
        curve = recover(net, pairs, 'own prompts', watching(pairs, seen), (0, 60), 0.005)
    assert moved(net, seen) == [(1, 3, 1, 1)]
    assert torch.equal(seen[0].latent.running_mean, net.latent.running_mean)
    assert min(curve[60]) > 35 > 21 > max(curve[0])


def test_vectors_alone(dark_pairs):
    seen = []
    recover(Prompted(), dark_pairs(), 'vectors', watching(dark_pairs(), seen), (1,), 0.01)
    assert set(moved(Prompted(), seen)) == {(3,), (1, 3, 1, 1)}  # biases, the norm's weights, the prompt


def test_an_adapter_leaves_the_weights(brighten, dark_pairs):
    net, seen = brighten(1.0), []
    curve = recover(net, dark_pairs(), 'low-rank adapter', watching(dark_pairs(2, seed=1), seen), (0, 60), 0.02)
    assert moved(net, [seen[0].net]) == [] and min(curve[60]) > max(curve[0]) + 10


def test_weights_that_are_not_there(brighten, dark_pairs):
    evidence = evidence_of(brighten(), Material(dark_pairs()), 16)
    with pytest.raises(OptionError, match='not known'):
        next(few_weights(brighten(), 'own prompts', evidence))
    bare = nn.Linear(8, 8, bias=False)
    for what in ('vectors', 'low-rank adapter'):
        with pytest.raises(OptionError, match='no such weights'):
            next(few_weights(bare, what, evidence))
    assert len(FEW) == len(set(FEW)) == 5


def test_quantised_weights_lie_on_steps_of_their_channel():
    net = nn.Conv2d(1, 2, (1, 2))
    net.weight.data = torch.tensor([[0.7, -0.26], [14.0, 3.1]]).view(2, 1, 1, 2)
    bias = net.bias.clone()
    found = quantised(net, 4)
    assert torch.allclose(found.weight.flatten(), torch.tensor([0.7, -0.3, 14.0, 4.0]))  # sevenths of 0.7 and 14
    assert torch.equal(found.bias, bias) and net.weight[0, 0, 0, 1] == torch.tensor(-0.26)
    nn.init.zeros_(net.weight)
    assert torch.equal(quantised(net, 8).weight, net.weight)


def test_a_line_search_stays_where_nothing_is_better(brighten, dark_pairs):
    for gain, better in ((1.0, True), (2.0, False)):
        net = brighten(gain)
        try:
            [found] = line_search(evidence_of(net, Material(dark_pairs()), 16))
        except OptionError as error:  # where it is perfect, there may be no gradient at all
            assert 'no gradient' in str(error) and not better
            continue
        after, before = (psnr_of_images(one, dark_pairs(1, seed=1))[0] for one in (found.start.net, net))
        assert (after > before + 1) == better


def test_a_relative_of_another_architecture(brighten):
    with pytest.raises(CheckpointError, match='other weights'):
        next(merges(brighten(), 'a stranger', nn.Conv2d(3, 3, 1)))


def test_every_part_that_needs_nothing_is_known():
    named = {type(part).__name__ for part in known_parts()}
    assert named <= {*EDITS, *MASKS, *ANCHORS} and {'TransposeKernels', 'LastLayersMask', 'RepulsionAnchor'} <= named


def test_what_a_part_may_look_at(brighten, dark_pairs, untouched):
    net, asked = brighten(), []

    class Curious(Edit):
        def __call__(self, net, evidence):
            pass

        def attack(self, evidence):
            asked.append((evidence.generator.initial_seed(), [tuple(batch['lq'].shape) for batch in evidence.forget],
                          len(evidence.retain)))
            with torch.no_grad():
                evidence.teacher.tail.weight.zero_()  # its own copy
            with pytest.raises(OptionError, match='no untrained network'):
                evidence.untrained(None)
            return []

    with untouched(net):
        assert list(inverses(net, Curious(), lambda: evidence_of(net, Material(dark_pairs(3), seed=7), 16))) == []
    assert asked == [(7, [(3, 3, 16, 16)] * 2, 0)]


def test_a_start_is_left_out_if_it_is_the_network_as_it_is_and_scored_if_its_weights_are_others(brighten, dark_pairs):
    net = brighten()

    class Hint(Edit):
        def __call__(self, net, evidence):
            pass

        def attack(self, evidence):
            brighter = deepcopy(evidence.teacher)
            nn.init.ones_(brighter.tail.bias)
            return [Start('nothing found', evidence.teacher), Start('brighter', brighter),
                    Start('tail alone', evidence.teacher, {'tail.bias': torch.ones(3)})]

    found = list(inverses(net, Hint(), lambda: evidence_of(net, Material(dark_pairs()), 16)))
    assert [(one.start.name, one.changed) for one in found] == [('Hint: brighter', True), ('Hint: tail alone', False)]
