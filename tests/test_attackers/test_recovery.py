from functools import partial

import pytest
import torch
from torch import nn

from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.proof.attackers.image_psnr import psnr_of_images
from basicsr_unlearn.proof.attackers.recovery import TILE, recover


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


def test_a_universal_prompt_undoes_a_constant_shift(brighten, dark_pairs, untouched):
    net, seen = brighten(1.0), []
    with untouched(net):
        curve = recover(net, shifted(dark_pairs()), 'input', watching(shifted(dark_pairs(3, seed=1)), seen), (0, 50),
                        0.01, 16)
    assert curve[0] == [pytest.approx([20] * 3, abs=0.02)]  # of 8-bit images
    assert min(curve[50][0]) > 33
    assert [tuple(p.shape) for p in seen[0].parameters()] == [(1, 3, TILE, TILE)]
    assert seen[0].prompt.mean().item() == pytest.approx(-0.1, abs=0.01)


def test_a_prompt_cannot_bring_back_what_the_weights_lost(brighten, dark_pairs):
    blank = brighten(0.0)
    curve = recover(blank, dark_pairs(), 'input', partial(psnr_of_images, pairs=dark_pairs(1, seed=1)), (0, 20), 0.01,
                    16)
    assert curve[20] == curve[0]


def test_the_last_layer_alone(brighten, dark_pairs, untouched):
    pairs, seen = dark_pairs(), []
    measure = watching(dark_pairs(2, seed=1), seen)
    net = brighten(1.0)
    with untouched(net):
        curve = recover(net, pairs, 'last_layer', measure, (0, 60), 0.02, 16, seeds=(0, 1))
    assert [p.numel() for p in seen[0].parameters()] == [9, 3]
    assert all(min(after) > max(before) + 15 for before, after in zip(curve[0], curve[60]))
    # behind a first layer that lets nothing through, it can learn one colour only
    for p in net.head.parameters():
        nn.init.zeros_(p)
    lost = recover(net, pairs, 'last_layer', measure, (0, 60), 0.02, 16)
    assert max(lost[60][0]) < 12  # a uniform image around its mean: 10 log10 12 = 10.8 dB


def test_own_prompts_alone(dark_pairs, untouched):
    net, seen = Prompted(), []
    net.latent.running_mean.fill_(0.1)  # darkens, which the prompt can undo
    pairs = [(gt * 0.8, gt * 0.8) for _, gt in dark_pairs()]
    with untouched(net):
        curve = recover(net, pairs, 'prompts', watching(pairs, seen), (0, 60), 0.005, 16)
    assert [tuple(p.shape) for p in seen[0].parameters()] == [(1, 3, 1, 1)]
    assert min(curve[60][0]) > 35 > 21 > max(curve[0][0])


def test_parameters_by_pattern(dark_pairs):
    seen = []
    recover(Prompted(), dark_pairs(), ['output.bias', 'prompt1'], watching(dark_pairs(), seen), (0, 1), 0.01, 16)
    assert [p.numel() for p in seen[0].parameters()] == [3, 3]


def test_parts_that_are_not_there(brighten, dark_pairs):
    def attempt(what):
        return recover(brighten(), dark_pairs(), what, lambda _: [0.0], (0, 1), 0.01, 16)

    with pytest.raises(OptionError, match='use include'):
        attempt('prompts')
    with pytest.raises(OptionError, match="'prompt' matches no weight"):
        attempt(['prompt'])
    with pytest.raises(ValueError, match="nearest valid one is 'prompts'"):
        attempt('prompt')
