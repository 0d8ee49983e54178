from functools import partial

import pytest
import torch
from torch import nn

from basicsr_unlearn.core.judgement import largest_lead, leads
from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.image_psnr import psnr_of_images
from basicsr_unlearn.proof.attackers.relearning import mean_curve, relearn, relearning_curve

STEPS = (0, 5, 20, 60)


class Brighter(nn.Module):
    """Enlarges by repetition and adds one learned number: a network whose learning can be followed by hand."""

    def __init__(self, scale: int = 1):
        super().__init__()
        self.bias, self.scale = nn.Parameter(torch.zeros(())), scale

    def forward(self, x):
        return x.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2) + self.bias


def pairs(scale: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
    lq = [torch.full((3, 12, 10), 0.2), torch.full((3, 9, 14), 0.4)]
    return [(image, Brighter(scale)(image).detach() + 0.5) for image in lq]


@pytest.mark.parametrize('scale', [1, 2])
def test_each_step_of_adam_moves_a_weight_by_the_learning_rate(scale):
    net = Brighter(scale)
    curve = relearn(net, pairs(scale), [0, 1, 4], lr=0.1, patch=8, measure=lambda tuned: tuned.bias.item())
    # the gradient of L1 has the same sign while the image is too dark
    assert curve == pytest.approx({0: 0, 1: 0.1, 4: 0.4})
    assert net.bias.item() == 0 and net.bias.grad is None


def test_patches_are_of_the_given_size_and_the_seed_decides_which():
    torch.manual_seed(0)
    noisy = [(torch.rand(3, 20, 20), torch.rand(3, 20, 20)) for _ in range(3)]
    shapes = []

    class Watched(nn.Conv2d):
        def forward(self, x):
            if self.training:
                shapes.append(tuple(x.shape))
            else:
                assert not torch.is_grad_enabled()
            return super().forward(x)

    net = Watched(3, 3, 3, padding=1)
    first, again, other = (relearn(net, noisy, [3], 0.01, 8, lambda tuned: tuned(noisy[0][0]).sum(), seed)[3]
                           for seed in (0, 0, 1))
    assert first == again != other and set(shapes) == {(3, 3, 8, 8)}


@pytest.fixture
def relearned(dark_pairs):
    """relearned(net, seeds) fine-tunes on two dark images and scores on three others."""
    measure = partial(psnr_of_images, pairs=dark_pairs(3, seed=1))
    return lambda net, seeds=(0,): relearning_curve(net, dark_pairs(), measure, STEPS, 0.01, 16, seeds)


def test_a_network_that_nearly_knows_is_ahead(brighten, relearned, untouched):
    sleeping, retrained = brighten(1.8), brighten(1.0)
    with untouched(sleeping, retrained):
        ahead, behind = relearned(sleeping), relearned(retrained)
    assert list(ahead) == list(STEPS) and [len(images) for images in ahead[5]] == [3]
    ahead, behind = mean_curve(ahead), mean_curve(behind)
    assert all(ahead[step] > behind[step] + 1 for step in (0, 5)) and behind[60] > behind[0] + 10
    assert largest_lead(leads(ahead, behind)) > 5


def test_step_zero_is_the_network_itself(brighten, relearned, dark_pairs):
    assert relearned(brighten(1.5))[0] == [psnr_of_images(brighten(1.5), dark_pairs(3, seed=1))]


def test_seeds_decide_everything(brighten, relearned, untouched):
    net = brighten(1.0, dropout=0.5)
    with untouched(net):
        both = relearned(net, (0, 1))
    assert both[20][0] != both[20][1] and both[0][0] == both[0][1]
    assert relearned(net, (1,))[20] == both[20][1:]


def test_what_cannot_be_relearned(brighten, dark_pairs):
    with pytest.raises(DataError, match='pair 0 is 20x24 pixels, smaller than the patch of 32'):
        relearning_curve(brighten(), dark_pairs(), lambda _: [0.0], (0, 1), 0.01, 32)
    with pytest.raises(DataError, match='no pair'):
        relearning_curve(brighten(), [], lambda _: [0.0], (0, 1), 0.01, 16)
    with pytest.raises(ValueError, match=r'not steps \[-1, 3\]'):
        relearning_curve(brighten(), dark_pairs(), lambda _: [0.0], (-1, 3), 0.01, 16)
