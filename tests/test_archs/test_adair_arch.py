"""AdaIR against the recorded official network, its frequency split by hand, its dead parameters and refusals."""
import zlib

import numpy as np
import pytest
import torch
from recorded_outputs import draw, fill, listed, recorded
from regression import BLOCKS, assert_as_before

from basicsr_unlearn.archs.adair_arch import AdaIR, FreModule, FreRefine
from basicsr_unlearn.archs.restormer_arch import Restormer

CASES = ['default', 'dim16', 'dim24_heads', 'dim16_nodecoder', 'dim16_biasfree_bias']


@pytest.mark.parametrize('case', CASES)
def test_keys_shapes_and_order_are_the_official_ones(case):
    official = recorded('adair')
    with torch.device('meta'):
        net = AdaIR(**official.manifest['cases'][case]['kwargs'])
    assert listed(net) == official.keys(case)
    assert sum(p.numel() for p in net.parameters()) == official.manifest['cases'][case]['parameters']


@torch.no_grad()
def test_outputs_are_the_official_ones():
    official = recorded('adair')
    net = fill(AdaIR(**official.manifest['cases']['dim16']['kwargs'])).eval()
    arrays = {name: array for name, array in official.outputs.items() if name.startswith('dim16__')}
    assert arrays
    for name, array in arrays.items():
        np.testing.assert_allclose(net(draw(name.split('__')[1])), array, atol=1e-4, rtol=0, err_msg=name)


@torch.no_grad()
def test_every_stage_of_the_network_is_the_official_one():
    official = recorded('adair').manifest['cases']['dim16']
    net = fill(AdaIR(**official['kwargs'])).eval()
    seen = {}
    for name, module in net.named_children():
        module.register_forward_hook(lambda module, inputs, output, name=name: seen.__setitem__(name, output.double()))
    for size, stages in official['stage_shape_mean_std_abssum'].items():
        net(draw(size))
        for name, (shape, mean, std, abssum) in stages.items():
            assert list(seen[name].shape) == shape
            assert (seen[name].mean().item(), seen[name].std().item()) == pytest.approx((mean, std), abs=1e-5), name
            assert seen[name].abs().sum().item() == pytest.approx(abssum, rel=1e-5), name


def drawn(name: str, *shape: int) -> torch.Tensor:
    """As draw(), for names that do not hold the shape."""
    return torch.from_numpy(np.random.RandomState(zlib.crc32(name.encode())).random_sample(shape).astype(np.float32))


@torch.no_grad()
@pytest.mark.parametrize('size', ['64x48', '520x392'])
def test_the_frequency_module_is_the_official_one(size):
    official = recorded('adair')
    module = fill(FreModule(16, 4, False)).eval()
    rates = []
    module.rate_conv.register_forward_hook(lambda module, inputs, output: rates.append(output.sigmoid()))
    image = drawn('fre_x', 2, 3, 64, 48)
    output = module(image, drawn(f'fre_y_{size}', 2, 16, *map(int, size.split('x'))))
    stride = {'64x48': 4, '520x392': 16}[size]
    np.testing.assert_allclose(output[:, :, ::stride, ::stride], official.outputs[f'fremodule__{size}__out_s{stride}'],
                               atol=1e-4, rtol=0)
    recorded_low = official.manifest['fremodule'][f'fremodule__{size}']
    x = module.conv1(torch.nn.functional.interpolate(image, output.shape[2:], mode='bilinear'))
    assert module.split(x)[1].max().item() == pytest.approx(recorded_low['low_abs_max'], abs=1e-4)
    half_h, half_w = module.band(x)
    assert [half_h.flatten().tolist(), half_w.flatten().tolist()] == [recorded_low['half_h'], recorded_low['half_w']]
    if rates and (threshold := official.outputs.get(f'fremodule__{size}__threshold')) is not None:
        np.testing.assert_allclose(rates[0].flatten(1), threshold, atol=1e-6, rtol=0)


def test_outputs_are_as_before():
    assert_as_before('AdaIR')


def half_way() -> FreModule:
    """A module whose rates are 1/2, so that its band is one frequency wide at 256 pixels."""
    module = FreModule(16, 4, False)
    torch.nn.init.zeros_(module.rate_conv[2].weight)
    return module


def test_the_low_band_holds_the_mean_and_half_of_the_slowest_wave():
    angle = 2 * torch.pi * torch.arange(256) / 256
    slow, fast = 0.5 * angle.cos(), 0.2 * (5 * angle).cos()
    x = torch.zeros(1, 16, 256, 256) + (3 + fast)
    high, low = half_way().split(x)
    torch.testing.assert_close(low, torch.full_like(x, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(high, (x - 3).abs(), atol=1e-5, rtol=0)
    # cos = (e^i + e^-i) / 2: the band takes frequency -1 and leaves +1, whose absolute value is 1/2 everywhere
    high, low = half_way().split(torch.zeros(1, 16, 256, 256) + slow)
    torch.testing.assert_close(high, torch.full_like(x, 0.25), atol=1e-5, rtol=0)
    torch.testing.assert_close(low, torch.full_like(x, 0.25), atol=1e-5, rtol=0)


def test_no_low_band_below_128_pixels():
    x = torch.randn(1, 16, 127, 300)
    high, low = half_way().split(x)
    assert torch.equal(high, x.abs())
    assert not low.any()


def test_the_split_and_its_gradient_are_those_of_masks_drawn_one_by_one():
    module = fill(FreModule(16, 4, False)).double()  # the gradient of |z| is steep where z is small
    module.rate_conv[0].weight.data.mul_(4)
    torch.manual_seed(0)
    height, width = 385, 270
    x = torch.randn(2, 16, height, width).double() + torch.tensor([4.0, -4.0]).view(2, 1, 1, 1)  # two different bands
    x.requires_grad_()
    rows, columns = (half.flatten().tolist() for half in module.band(x))
    assert rows[0] != rows[1] or columns[0] != columns[1]
    y, x0 = height // 2, width // 2
    mask = torch.zeros(2, 1, height, width)
    for i in range(2):
        mask[i, :, y - rows[i]:y + rows[i], x0 - columns[i]:x0 + columns[i]] = 1
    spectrum = torch.roll(torch.fft.fft2(x), (y, x0), (2, 3))
    by_hand = [torch.fft.ifft2(torch.roll(part, (-y, -x0), (2, 3))).abs()
               for part in (spectrum * (1 - mask), spectrum * mask)]
    ours, theirs = torch.stack(module.split(x)), torch.stack(by_hand)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn(ours.shape)
    torch.testing.assert_close(*(torch.autograd.grad((split * weights).sum(), x)[0] for split in (ours, theirs)))


def test_the_split_survives_half_precision():
    x = torch.randn(1, 16, 256, 256)
    for ours, full in zip(half_way().bfloat16().split(x.bfloat16()), half_way().split(x)):
        assert ours.dtype == torch.bfloat16
        torch.testing.assert_close(ours.float(), full, atol=0.05, rtol=0.02)


def test_refinement_without_gates_joins_half_of_each():
    refine = FreRefine(16)  # gates of zero weights are 1/2
    for name, parameter in refine.named_parameters():
        torch.nn.init.zeros_(parameter)
        if name == 'proj.weight':
            parameter.data[:, :, 0, 0] = torch.eye(16)
    low, high = torch.randn(2, 2, 16, 5, 6)
    torch.testing.assert_close(refine(low, high), (low + high) / 2)


def test_a_new_frequency_module_is_the_identity():
    features = torch.randn(1, 16, 8, 6)
    assert torch.equal(FreModule(16, 4, False)(torch.rand(1, 3, 16, 12), features), features)  # para1 0, para2 1


def test_a_sample_is_restored_alike_alone_and_in_a_batch():
    net = fill(AdaIR(**BLOCKS)).eval()
    images = draw('input_2x3x24x16')
    with torch.no_grad():
        torch.testing.assert_close(net(images)[1:], net(images[1:]), atol=1e-5, rtol=0)


def test_without_its_frequency_modules_it_is_restormer():
    net, restormer = fill(AdaIR(**BLOCKS, decoder=False)), fill(Restormer(**BLOCKS))
    assert listed(net) == listed(restormer)
    image = draw('input_1x3x16x16')
    assert torch.equal(net(image), restormer(image))
    assert net.dead_parameters == ()


@pytest.mark.parametrize('bias', [False, True])
def test_the_dead_parameters_are_those_that_no_gradient_reaches(bias):
    net = fill(AdaIR(**BLOCKS, bias=bias))
    (net(draw('input_1x3x16x16')) - draw('target_1x3x16x16')).abs().mean().backward()
    assert sorted(net.dead_parameters) == sorted(n for n, p in net.named_parameters() if p.grad is None)
    assert len(net.dead_parameters) == 3 * 5
    still = {name for name, p in net.named_parameters() if p.grad is not None and not p.grad.any()}
    if not bias:  # with an empty low band, and no bias in its stead, the query of the lows is zero
        assert {f'fre{i}.channel_cross_h.{part}' for i in (1, 2, 3)
                for part in ('temperature', 'q.weight', 'q_dwconv.weight')} <= still


def test_a_large_image_trains_no_dead_parameter_either():
    module = fill(FreModule(16, 4, False))
    module(torch.ones(1, 3, 50, 49), torch.ones(1, 16, 400, 392)).sum().backward()
    half_h, half_w = module.band(module.conv1(torch.ones(1, 3, 400, 392)))
    assert half_h.item() and half_w.item()
    assert {name.split('.')[0] for name, p in module.named_parameters() if p.grad is None} == set(FreModule.dead_layers)


@pytest.mark.parametrize('channels', [1, 4])
def test_images_of_other_channels(channels):
    image = torch.rand(1, channels, 8, 8)
    net = AdaIR(channels, channels, **BLOCKS)
    torch.nn.init.zeros_(net.output.weight)
    assert torch.equal(net(image), image)


@pytest.mark.parametrize('settings, named', [
    ({'dim': 6}, 'dim'), ({'dim': 9}, 'dim'), ({'dim': 8, 'heads': [1, 2, 3, 8]}, 'heads'),
    ({'dim': 10, 'heads': [1, 2, 8, 8]}, 'heads'), ({'num_blocks': [1, 1, 1]}, 'num_blocks'),
    ({'heads': [1, 2, 4]}, 'heads'), ({'out_channels': 1}, 'out_channels'), ({'LayerNorm_type': 'None'}, 'LayerNorm')])
def test_settings_that_do_not_fit_are_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        AdaIR(**{**BLOCKS, **settings})
