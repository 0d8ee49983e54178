import pytest
import torch
from torch import nn

from basicsr_unlearn.core.relearning import relearn


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
