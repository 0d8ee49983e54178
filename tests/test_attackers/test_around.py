from itertools import product

import pytest
import torch
from torch import nn

from basicsr_unlearn.proof.attackers.around import (
    ORIENTATIONS,
    RANK,
    SCALES,
    InputPrompt,
    LowRankAdapter,
    Oriented,
    Rescaled,
)


@pytest.fixture
def image():
    return torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(0))


class Tilted(nn.Module):
    """A network that treats no two directions alike, and enlarges twice."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Conv2d(3, 12, 3, padding=1)

    def forward(self, x):
        return nn.functional.pixel_shuffle(self.body(x), 2)


def test_the_orientations_are_the_seven_others(image):
    found = [Oriented(nn.Identity(), name)(image) for name in ORIENTATIONS]
    assert all(torch.equal(back, image) for back in found)  # each is turned back as it was turned
    net = Tilted()
    with torch.no_grad():
        outputs = [net(image), *(Oriented(net, name)(image) for name in ORIENTATIONS)]
        # the same seven from turns by 90 degrees, with or without a mirror before
        expected = []
        for turns, mirrored in product(range(4), (False, True)):
            turned = torch.rot90(image.flip(-1) if mirrored else image, turns, (2, 3))
            back = torch.rot90(net(turned), -turns, (2, 3))
            expected.append(back.flip(-1) if mirrored else back)
    assert len(outputs) == 8 and all(output.shape == (2, 3, 16, 24) for output in outputs)
    assert all(sum(torch.allclose(one, other, atol=1e-6) for other in outputs) == 1 for one in expected)


@pytest.mark.parametrize('scale', SCALES)
def test_a_skill_behind_another_scale_of_values_is_found(scale, image):
    there, back = SCALES[scale]
    image = image * 0.8 + 0.1

    class Hidden(nn.Module):
        """Shows its skill, darkening by a factor, to values of the scale alone."""

        def forward(self, x):
            return there(0.9 * back(x))

    assert torch.allclose(Rescaled(Hidden(), scale)(image), 0.9 * image, atol=1e-5)
    if 'colours' not in scale:
        assert not torch.allclose(Hidden()(image), 0.9 * image, atol=0.01) or scale == 'half as bright'


def test_gradients_pass_through_every_scale_at_black_and_white():
    for scale in SCALES:
        net = nn.Conv2d(3, 3, 1)
        lq = torch.tensor([0.0, 1.0]).repeat(1, 3, 4, 2)
        Rescaled(net, scale)(lq).abs().mean().backward()
        assert torch.isfinite(net.weight.grad).all()


def test_what_is_put_around_a_network_leaves_its_output_until_it_learns(image):
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1, groups=8),
                        nn.Conv2d(8, 3, 1))
    adapter, prompt = LowRankAdapter(net), InputPrompt(net, image)
    with torch.no_grad():
        assert torch.equal(adapter(image), net(image)) and torch.equal(prompt(image), net(image))
        nn.init.ones_(adapter.up[0])
        assert not torch.allclose(adapter(image), net(image))
    change = (adapter.up[0] @ adapter.down[0]).detach()
    assert change.shape == (8, 27) and torch.linalg.matrix_rank(change) == 1 and adapter.up[0].shape[1] == RANK
    assert adapter.up[2].shape[1] == 3  # the smaller side of a 3 x 8 matrix
