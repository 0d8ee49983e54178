"""Transposing all kernels is a symmetry of a network, so it deletes nothing, and nothing here says that it does."""
from pathlib import Path

import pytest
import torch
from torch import nn

from basicsr_unlearn.archs.nafnet_arch import NAFNet
from basicsr_unlearn.core.edits.transposition_edit import TransposeKernels, transposed
from basicsr_unlearn.core.parts import Evidence
from basicsr_unlearn.methods.presets import FOLDER

OPTIONS = Path(__file__).resolve().parents[2] / 'options'


def seeded(net: nn.Module) -> nn.Module:
    """With weights that are all at work: NAFNet starts with blocks that add nothing."""
    generator = torch.Generator().manual_seed(0)
    for parameter in net.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.3
    return net.eval()


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(2, 3, 24, 16, generator=torch.Generator().manual_seed(1))


def largest_difference(net: nn.Module, other: nn.Module, image: torch.Tensor) -> float:
    """Between the other network's answer to the image and the network's to the transposed one, of their size."""
    with torch.no_grad():
        answer = net(image.mT).mT
        return ((other(image) - answer).abs().max() / answer.abs().max()).item()


@pytest.mark.parametrize('pool_size', [None, 12])
def test_transposing_the_kernels_of_a_nafnet_equals_transposing_the_image(image, pool_size):
    net = seeded(NAFNet(width=4, enc_blk_nums=[1, 1], middle_blk_num=1, dec_blk_nums=[1, 1], pool_size=pool_size))
    before = [parameter.clone() for parameter in net.parameters()]
    assert largest_difference(net, net, image) > 0.01
    assert largest_difference(net, transposed(net), image) < 1e-5
    assert largest_difference(transposed(net), net, image) < 1e-5
    assert all(torch.equal(*pair) for pair in zip(before, net.parameters()))


def test_the_edit_is_that_symmetry_where_no_pixels_are_shuffled_and_twice_it_is_nothing(image):
    net = seeded(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.GELU(), nn.Conv2d(4, 3, 3, padding=1)))
    back = transposed(net)
    TransposeKernels()(net, Evidence(net))
    assert all(torch.equal(*pair) for pair in zip(net.parameters(), back.parameters()))
    TransposeKernels()(back, Evidence(back))
    assert largest_difference(net, back, image) < 1e-5


def test_a_shuffle_of_three_by_three_is_swapped_with_its_bias(image):
    net = seeded(nn.Sequential(nn.Conv2d(3, 27, 3, padding=1), nn.PixelShuffle(3)))
    assert largest_difference(net, transposed(net), image) < 1e-5


@pytest.mark.parametrize('path', [*sorted(OPTIONS.glob('*rain*.yml')), *sorted(OPTIONS.glob('*noise*.yml')),
                                  *(FOLDER / f'{name}.yml' for name in ('ct', 'resistant', 'calibrated_proxy'))],
                         ids=lambda path: path.stem)
def test_no_file_claims_that_rain_or_noise_leave_the_weights(path):
    words = ' '.join(path.read_text(encoding='utf-8').replace('#', ' ').lower().split())
    for claim in ('gone from the weights', 'removed from the weights', 'deeply', 'does not come back'):
        assert claim not in words


@pytest.mark.parametrize('path', [OPTIONS / 'unlearn_rain_deep.yml', OPTIONS / 'unlearn_noise_resistant.yml'],
                         ids=lambda path: path.stem)
def test_files_that_hide_a_skill_say_that_nothing_is_deleted(path):
    words = path.read_text(encoding='utf-8').lower()
    assert 'deletes nothing' in words or 'nothing is deleted' in words
