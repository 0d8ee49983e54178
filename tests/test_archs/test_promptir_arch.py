"""PromptIR against the recorded official network, at other widths, its dead parameters and refusals."""
import numpy as np
import pytest
import torch
from recorded_outputs import draw, fill, listed, recorded
from regression import BLOCKS, NETWORKS, assert_as_before

from basicsr_unlearn.archs.promptir_arch import PromptGenBlock, PromptIR

SMALL = NETWORKS['PromptIR']


@pytest.mark.parametrize('case', ['default', 'reduced_blocks', 'biasfree_bias'])
def test_keys_shapes_and_order_are_the_official_ones(case):
    official = recorded('promptir')
    with torch.device('meta'):
        net = PromptIR(**official.manifest['cases'][case]['kwargs'])
    assert listed(net) == official.keys(case)
    assert sum(p.numel() for p in net.parameters()) == official.manifest['cases'][case]['parameters']


@torch.no_grad()
def test_outputs_and_every_stage_are_the_official_ones():
    official = recorded('promptir')
    case = official.manifest['cases']['reduced_blocks']
    net = fill(PromptIR(**case['kwargs'])).eval()
    seen = {}
    for name, module in net.named_children():
        module.register_forward_hook(lambda module, inputs, output, name=name: seen.__setitem__(name, output.double()))
    for size, stages in case['stage_shape_mean_std_abssum'].items():
        output = net(draw(size))
        for name, (shape, mean, std, abssum) in stages.items():
            assert list(seen[name].shape) == shape
            assert (seen[name].mean().item(), seen[name].std().item()) == pytest.approx((mean, std), abs=1e-5), name
            assert seen[name].abs().sum().item() == pytest.approx(abssum, rel=1e-5), name
        for name, array in official.outputs.items():
            if name == f'reduced_blocks__{size}':
                np.testing.assert_allclose(output, array, atol=1e-4, rtol=0, err_msg=name)
            if name == f'reduced_blocks__{size}_stride16':
                np.testing.assert_allclose(output[:, :, ::16, ::16], array, atol=1e-4, rtol=0, err_msg=name)


def test_outputs_are_as_before():
    assert_as_before('PromptIR')


def test_a_prompt_is_a_mixture_of_its_maps():
    block = PromptGenBlock(dim=1, length=2, size=2, features=1)
    block.prompt_param.data[:] = torch.tensor([[[0.0, 0], [0, 0]], [[4.0, 8], [4, 8]]])[None, :, None]
    block.linear_layer.weight.data[:] = torch.tensor([[0.0], [1.0]])
    block.linear_layer.bias.data.zero_()
    block.conv3x3.weight.data.zero_()[0, 0, 1, 1] = 1  # the identity
    features = torch.full((1, 1, 2, 2), 3.0).log()  # shares 1/4 and 3/4
    torch.testing.assert_close(block(features)[0, 0], torch.tensor([[3.0, 6], [3, 6]]))
    wide = block(features.expand(1, 1, 2, 2).repeat(1, 1, 1, 2))  # resized: a quarter and three quarters of the way
    torch.testing.assert_close(wide[0, 0, 0], torch.tensor([3.0, 3.75, 5.25, 6.0]))


DEAD = {'chnl_reduce1.weight', 'chnl_reduce2.weight', 'chnl_reduce3.weight', 'reduce_noise_channel_1.weight',
        'reduce_noise_channel_2.weight', 'reduce_noise_channel_3.weight'}


def test_the_dead_parameters_are_those_that_no_gradient_reaches():
    net = fill(PromptIR(**{**BLOCKS, 'dim': 48}))
    (net(draw('input_1x3x16x16')) - draw('target_1x3x16x16')).abs().mean().backward()
    without = {name for name, parameter in net.named_parameters() if parameter.grad is None}
    assert set(net.dead_parameters) == without == DEAD
    assert sum(p.numel() for name, p in net.named_parameters() if name in DEAD) == 215296


def test_at_other_widths_no_parameter_is_dead():
    net = fill(PromptIR(**SMALL))
    net(draw('input_1x3x16x16')).sum().backward()
    assert net.dead_parameters == PromptIR.dead_parameters == ()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize('settings, named', [
    ({'decoder': False}, 'decoder: true'), ({'inp_channels': 4}, 'inp_channels is 4 and out_channels 3'),
    ({'num_blocks': [1, 1]}, 'num_blocks has 2'), ({'heads': [1, 2, 4, 8, 8]}, 'heads has 5'),
    ({'dim': 11}, 'dim is 11'), ({'prompt_dims': [8, 8, 14]}, '4 heads .* 78 channels'),
    ({'prompt_dims': [8, 8]}, 'prompt_dims has 2'), ({'prompt_sizes': [8]}, 'prompt_sizes has 1')])
def test_settings_that_do_not_fit_are_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        PromptIR(**{**SMALL, **settings})
