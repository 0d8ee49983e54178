from functools import partial

import pytest
import torch
from torch import nn

from basicsr_unlearn.core.leads import Trail, leads_of, worst_lead
from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.image_psnr import psnr_of_images
from basicsr_unlearn.proof.attackers.relearning import relearn

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
    """relearned(net, seed) fine-tunes on two dark images and scores on three others."""
    measure = partial(psnr_of_images, pairs=dark_pairs(3, seed=1))
    return lambda net, seed=0: relearn(net, dark_pairs(), STEPS, 0.01, 16, measure, seed)


def test_a_network_that_nearly_knows_is_ahead(brighten, relearned, untouched):
    sleeping, retrained = brighten(1.8), brighten(1.0)
    with untouched(sleeping, retrained):
        trails = [Trail('plain', 'plain', 2, relearned(net)) for net in (sleeping, retrained)]
    ahead, behind = trails
    assert list(ahead.curve) == list(STEPS) and len(ahead.curve[5]) == 3
    assert all(ahead.mean(step) > behind.mean(step) + 1 for step in (0, 5)) and behind.mean(60) > behind.mean(0) + 10
    assert worst_lead(leads_of([ahead], [[behind]])).value > 5


def test_step_zero_is_the_network_itself(brighten, relearned, dark_pairs):
    assert relearned(brighten(1.5))[0] == psnr_of_images(brighten(1.5), dark_pairs(3, seed=1))


def test_the_seed_decides_everything(brighten, relearned, untouched):
    net = brighten(1.0, dropout=0.5)
    with untouched(net):
        first, second = relearned(net, 0), relearned(net, 1)
    assert first[20] != second[20] and first[0] == second[0]
    assert relearned(net, 1) == second


def test_gradient_descent_steps_as_far_as_the_slope(brighten):
    net = Brighter()
    curve = relearn(net, pairs(), [0, 1, 2], lr=0.1, patch=8, measure=lambda tuned: tuned.bias.item(), optimizer='sgd')
    assert curve == pytest.approx({0: 0, 1: 0.1, 2: 0.29})  # a slope of 1; then 0.9 of the step before is added


def test_only_the_weights_of_a_mask_move_and_none_is_an_error(brighten, dark_pairs, untouched):
    net, found = brighten(1.0, dropout=0.5), []
    mask = {'tail.bias': torch.tensor([True, False, False]), 'head.weight': torch.zeros(3, 3, 1, 1)}

    def keep(tuned):
        before = dict(net.named_parameters())
        found[:] = [{name: p.detach() - before[name] for name, p in tuned.named_parameters()}]

    for optimizer in ('adam', 'sgd'):
        with untouched(net):
            relearn(net, dark_pairs(), [3], 0.1, 16, keep, optimizer=optimizer, trains=mask)
        moved = {name: change for name, change in found[0].items() if change.any()}
        assert list(moved) == ['tail.bias'] and moved['tail.bias'].nonzero().tolist() == [[0]]
    with pytest.raises(ValueError, match='the mask lets none'):
        relearn(net, dark_pairs(), [1], 0.1, 16, keep, trains={'tail.bias': torch.zeros(3)})


def test_a_batch_is_drawn_from_the_pairs(brighten, dark_pairs):
    seen = []

    class Watched(Brighter):
        def forward(self, x):
            if self.training:
                seen.append([round(float(image.mean()), 4) for image in x])
            return super().forward(x)

    ten = [(torch.full((3, 16, 16), i / 10),) * 2 for i in range(10)]
    relearn(Watched(), ten, [30], 1e-3, 16, lambda _: None, batch=4)
    assert all(len(set(batch)) == 4 for batch in seen) and len({tuple(batch) for batch in seen}) > 20
    assert {value for batch in seen for value in batch} == {i / 10 for i in range(10)}


def test_what_cannot_be_relearned(brighten, dark_pairs):
    def attempt(pairs, steps, patch, **others):
        relearn(brighten(), pairs, steps, 0.01, patch, lambda _: 0.0, **others)

    with pytest.raises(DataError, match='pair 0 is 20x24 pixels, smaller than the patch of 32'):
        attempt(dark_pairs(), (0, 1), 32)
    with pytest.raises(DataError, match='no pair'):
        attempt([], (0, 1), 16)
    with pytest.raises(ValueError, match=r'not steps \[-1, 3\]'):
        attempt(dark_pairs(), (-1, 3), 16)
    with pytest.raises(ValueError, match="nearest valid one is 'sgd'"):
        attempt(dark_pairs(), (1,), 16, optimizer='sdg')
