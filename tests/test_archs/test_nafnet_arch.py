"""NAFNet: the formulas of its parts, names as in the released checkpoints, any image size."""
import pytest
import torch

from basicsr_unlearn.archs.nafnet_arch import LayerNorm2d, LocalMean, NAFBlock, NAFNet, SimpleGate

SMALL = {'width': 4, 'enc_blk_nums': [1, 1], 'middle_blk_num': 1, 'dec_blk_nums': [1, 1]}


def test_layer_norm_normalises_each_pixel_over_its_channels():
    norm = LayerNorm2d(2)
    x = torch.tensor([[[[1.0, 5.0]], [[3.0, 5.0]]]])  # pixel (1, 3): mean 2, variance 1; pixel (5, 5): constant
    y = norm(x)
    assert torch.allclose(y[0, :, 0, 0], torch.tensor([-1.0, 1.0]), atol=1e-5)
    assert torch.equal(y[0, :, 0, 1], torch.zeros(2))


def test_simple_gate_multiplies_the_halves():
    x = torch.tensor([2.0, 3.0, 5.0, 7.0]).view(1, 4, 1, 1)
    assert SimpleGate()(x).flatten().tolist() == [10.0, 21.0]


def test_local_mean_is_the_mean_of_the_nearest_full_window():
    x = torch.arange(5.0).view(1, 1, 1, 5).expand(1, 1, 4, 5).contiguous()
    assert torch.equal(LocalMean(3)(x)[0, 0, 2], torch.tensor([1.0, 1, 2, 3, 3]))
    assert LocalMean(5)(x).flatten().tolist() == LocalMean(None)(x).flatten().tolist() == [2.0]
    torch.manual_seed(0)
    y = torch.rand(1, 2, 9, 7)
    by_hand = torch.nn.functional.avg_pool2d(y, 3, stride=1)
    assert torch.allclose(LocalMean(3)(y)[:, :, 1:-1, 1:-1], by_hand, atol=1e-6)


def test_pool_size_changes_no_patch_within_the_window_and_no_weight():
    torch.manual_seed(0)
    whole = NAFNet(**SMALL)
    for name, weight in whole.named_parameters():
        if name.endswith(('beta', 'gamma')):
            torch.nn.init.constant_(weight, 0.5)
    local = NAFNet(**SMALL, pool_size=16)
    local.load_state_dict(whole.state_dict())
    small, large = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 40, 24)
    assert torch.equal(local(small), whole(small))
    assert not torch.allclose(local(large), whole(large), atol=1e-5)


def test_a_new_block_is_the_identity():
    x = torch.rand(1, 4, 8, 8)
    assert torch.equal(NAFBlock(4)(x), x)  # beta and gamma start at zero


def test_names_and_shapes_are_those_of_the_released_checkpoints():
    shapes = {name: tuple(value.shape) for name, value in NAFNet(**SMALL).state_dict().items()}
    for name, shape in {'intro.weight': (4, 3, 3, 3), 'ending.bias': (3,), 'encoders.0.0.beta': (1, 4, 1, 1),
                        'encoders.1.0.conv2.weight': (16, 1, 3, 3), 'encoders.0.0.sca.1.weight': (4, 4, 1, 1),
                        'middle_blks.0.norm1.weight': (16,), 'downs.1.weight': (16, 8, 2, 2),
                        'ups.0.0.weight': (32, 16, 1, 1), 'decoders.1.0.conv5.weight': (4, 4, 1, 1)}.items():
        assert shapes.pop(name) == shape
    assert 'ups.0.0.bias' not in shapes


@pytest.mark.parametrize('size', [(8, 8), (9, 13), (1, 1)])
def test_any_size_comes_back(size):
    x = torch.rand(1, 3, *size)
    assert NAFNet(**SMALL)(x).shape == x.shape


def test_the_output_is_the_input_plus_a_residual():
    net = NAFNet(**SMALL).eval()
    torch.nn.init.zeros_(net.ending.weight)
    torch.nn.init.constant_(net.ending.bias, 0.25)
    x = torch.rand(2, 3, 10, 6)
    assert torch.allclose(net(x), x + 0.25, atol=1e-6)


def test_levels_that_differ_are_refused():
    with pytest.raises(ValueError, match='dec_blk_nums'):
        NAFNet(enc_blk_nums=[1, 1], dec_blk_nums=[1])


def test_the_shipped_size():
    net = NAFNet(width=16, enc_blk_nums=[1, 1, 2], middle_blk_num=2, dec_blk_nums=[1, 1, 1])
    assert sum(p.numel() for p in net.parameters()) == 438387
