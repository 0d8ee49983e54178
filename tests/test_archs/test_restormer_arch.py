"""Restormer, and what it shares with PromptIR and AdaIR: blocks by hand, any image size, refusals."""
import numpy as np
import pytest
import torch
from recorded_outputs import draw, fill
from regression import BLOCKS, NETWORKS, assert_as_before, small

from basicsr_unlearn.archs.restormer_arch import FeedForward, LayerNorm, Restormer, channel_attention
from basicsr_unlearn.errors import DataError


def test_bias_free_norm_divides_by_the_deviation_and_keeps_the_mean():
    norm = LayerNorm(2, 'BiasFree')
    norm.body.weight.data[:] = torch.tensor([1.0, 10.0])
    x = torch.tensor([1.0, 5.0]).view(1, 2, 1, 1)  # mean 3, variance 4
    torch.testing.assert_close(norm(x).flatten(), torch.tensor([1.0, 50.0]) / (4 + 1e-5)**0.5)
    assert [name for name, _ in norm.named_parameters()] == ['body.weight']


def test_norm_with_bias_removes_the_mean():
    norm = LayerNorm(2)
    norm.body.bias.data[:] = 0.5
    x = torch.tensor([1.0, 5.0]).view(1, 2, 1, 1)
    torch.testing.assert_close(norm(x).flatten(), torch.tensor([-2.0, 2.0]) / (4 + 1e-5)**0.5 + 0.5)


def test_channels_attend_to_channels_of_their_own_head():
    q = torch.tensor([[3.0, 0.0], [0.0, 7.0], [3.0, 0.0], [0.0, 7.0]]).view(1, 4, 1, 2)  # 0 and 1 are orthogonal
    v = torch.tensor([[1.0, 2.0], [10.0, 20.0], [4.0, 4.0], [8.0, 8.0]]).view(1, 4, 1, 2)
    temperature = torch.tensor([3.0, 1.0]).log().view(2, 1, 1)  # weights 3/4 and 1/4 in head 0, equal in head 1
    out = channel_attention(q, q, v, temperature)
    expected = torch.tensor([[3.25, 6.5], [7.75, 15.5], [6.0, 6.0], [6.0, 6.0]]).view(1, 4, 1, 2)
    torch.testing.assert_close(out, expected)


def test_hidden_channels_are_cut_to_a_whole_number():
    widths = {dim: FeedForward(dim, 2.66, False).project_out.in_channels for dim in (48, 96, 192, 384)}
    assert widths == {48: 127, 96: 255, 192: 510, 384: 1021}


def test_the_shipped_size():
    with torch.device('meta'):
        net = Restormer()
    assert sum(p.numel() for p in net.parameters()) == 26126644


def test_outputs_are_as_before():
    assert_as_before('Restormer')


@pytest.mark.parametrize('name', NETWORKS)
def test_the_output_is_the_input_plus_a_correction(name):
    net = small(name)
    torch.nn.init.zeros_(net.output.weight)
    image = torch.rand(2, 3, 13, 21)
    assert torch.equal(net(image), image)


@pytest.mark.parametrize('name', NETWORKS)
@torch.no_grad()
def test_other_sizes_are_mirrored_at_the_right_and_lower_border(name):
    net = small(name).eval()
    image = draw('input_1x3x13x21')
    by_hand = torch.from_numpy(np.pad(image.numpy(), ((0, 0), (0, 0), (0, 3), (0, 3)), mode='reflect'))
    assert torch.equal(net(image), net(by_hand)[:, :, :13, :21])
    assert torch.equal(net(image, torch.ones(1)), net(image))  # the second argument is ignored


@pytest.mark.parametrize('name', NETWORKS)
def test_images_too_small_to_be_mirrored_are_refused(name):
    net = small(name)
    assert net(torch.rand(1, 3, 5, 5)).shape == (1, 3, 5, 5)
    with pytest.raises(DataError, match=f'9x4 pixels is too small for {name}.*at least 5 pixels'):
        net(torch.rand(1, 3, 4, 9))


def test_two_views_in_one_image_out():
    net = fill(Restormer(inp_channels=6, out_channels=3, dual_pixel_task=True, **BLOCKS))
    assert net(torch.rand(1, 6, 9, 16)).shape == (1, 3, 9, 16)
    assert list(net.state_dict())[-2:] == ['skip_conv.weight', 'output.weight']
    torch.nn.init.zeros_(net.output.weight)
    assert not net(torch.rand(1, 6, 9, 16)).any()  # no image is added


@pytest.mark.parametrize('settings, named', [
    ({'dim': 7}, 'dim is 7'), ({'dim': 0}, 'dim is 0'), ({'dim': 10, 'heads': [3, 2, 4, 8]}, '3 heads .* 10 channels'),
    ({'heads': [0, 2, 4, 8]}, '0 heads'), ({'num_blocks': [1, 1, 1, 1, 1]}, 'num_blocks has 5'),
    ({'heads': [1]}, 'heads has 1'), ({'inp_channels': 1}, 'inp_channels is 1 and out_channels 3'),
    ({'LayerNorm_type': 'withbias'}, "LayerNorm_type is 'withbias'")])
def test_settings_that_do_not_fit_are_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        Restormer(**{**BLOCKS, **settings})


def test_no_parameter_of_restormer_is_dead():
    net = fill(Restormer(**BLOCKS))
    net(draw('input_1x3x16x16')).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert net.dead_parameters == ()
