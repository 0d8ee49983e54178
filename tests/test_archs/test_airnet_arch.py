"""AirNet against the recorded official network, its contrast by hand, queues of other widths, and its refusals."""
import copy

import numpy as np
import pytest
import torch
from recorded_outputs import draw, fill, listed, recorded
from torch.nn import functional as F

from basicsr_unlearn.archs.airnet_arch import AirNet
from basicsr_unlearn.errors import DataError

# isort: split
from basicsr.models.base_model import BaseModel

SMALL = {'batch_size': 2, 'n_groups': 1, 'n_blocks': 1, 'n_feats': 8}
CASE = {'batch_size': 5, 'n_groups': 2, 'n_blocks': 2}  # of the recorded outputs
QUERY, KEY = 'train_query_5x3x32x32', 'train_key_5x3x32x32'
SETTINGS = {'all_bs5': {'batch_size': 5}, 'denoise_bs3': {'batch_size': 3}, 'single_bs1': {'batch_size': 1},
            'groups2_blocks2': CASE, 'groups2_blocks2_feats24': {**CASE, 'n_feats': 24}}


@pytest.fixture(scope='module')
def small() -> AirNet:
    return fill(AirNet(**SMALL))


@pytest.fixture
def net(small) -> AirNet:
    """A small network in training mode, filled by rule."""
    return copy.deepcopy(small).train()


@pytest.fixture
def crops() -> tuple[torch.Tensor, torch.Tensor]:
    """Query and key of a batch of two."""
    return draw('query_2x3x20x16'), draw('key_2x3x20x16')


def state(net: AirNet) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def changed(net: AirNet, before: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in net.state_dict().items() if not torch.equal(value, before[name])}


# ---------------------------------------------------------------- the official network

@pytest.mark.parametrize('case', SETTINGS)
def test_keys_shapes_and_order_are_the_official_ones(case):
    official = recorded('airnet')
    with torch.device('meta'):
        net = AirNet(**SETTINGS[case])
    assert listed(net) == official.keys(case)
    counts = official.manifest['cases'][case]
    if 'parameters' in counts:
        assert sum(p.numel() for p in net.parameters()) == counts['parameters']
        assert sum(p.numel() for p in net.parameters() if p.requires_grad) == counts['trainable']


def test_outputs_are_the_official_ones():
    official = recorded('airnet')
    net = fill(AirNet(**CASE)).eval()
    with torch.no_grad():
        restored = net(draw('input_1x3x64x48')).numpy()
        feature = net.E(*[draw('input_1x3x64x48')] * 2)[0].numpy()
    name = 'groups2_blocks2__input_1x3x64x48'
    np.testing.assert_allclose(restored, official.outputs[name], atol=2e-5, rtol=0)
    np.testing.assert_allclose(feature, official.outputs[f'{name}__enc_eval_fea'], atol=2e-5, rtol=0)


def test_every_stage_is_the_official_one():
    official = recorded('airnet')
    net = fill(AirNet(**CASE)).eval()
    for size, stages in official.manifest['cases']['groups2_blocks2']['stage_shape_mean_std_abssum'].items():
        seen = {}
        hooks = [net.get_submodule(name).register_forward_hook(
            lambda _, __, output, name=name, seen=seen: seen.update({name: output.double()})) for name in stages]
        with torch.no_grad():
            net(draw(size))
        for name, (shape, mean, std, total) in stages.items():
            assert list(seen[name].shape) == shape
            assert [float(seen[name].mean()), float(seen[name].std())] == pytest.approx([mean, std], abs=1e-6), name
            assert float(seen[name].abs().sum()) == pytest.approx(total, rel=1e-6)
        for hook in hooks:
            hook.remove()


def test_training_mode_is_the_official_one():
    official = recorded('airnet')
    net = fill(AirNet(**CASE)).train()
    _, logits, labels, _ = net.E(draw(QUERY), draw(KEY))
    np.testing.assert_allclose(logits.detach().numpy(), official.outputs['groups2_blocks2__enc_train_logits'],
                               atol=2e-5, rtol=0)
    assert np.array_equal(net.E.E.queue_ptr.numpy(), official.outputs['groups2_blocks2__after_queue_ptr'])
    assert labels.tolist() == [0] * 5


# Written from this network when it agreed with the recorded outputs; for places where these are absent.
BEFORE = {'sum': -161.1549, 'abssum': 396.4932, 'logits': [-1.69994, 1.78299, 0.08997]}


def test_outputs_are_as_before(small, net, crops):
    with torch.no_grad():
        restored = small.eval()(draw('input_2x3x21x13')).double()
        logits = net(*crops, restore=False)[1].double()
    assert float(restored.sum()) == pytest.approx(BEFORE['sum'], abs=1e-2)
    assert float(restored.abs().sum()) == pytest.approx(BEFORE['abssum'], abs=1e-2)
    assert logits[0, [0, 1, -1]].tolist() == pytest.approx(BEFORE['logits'], abs=1e-3)


# ---------------------------------------------------------------- training with and without contrast

def test_the_three_results_and_the_logits_by_hand(net, crops):
    query, key = crops
    fresh, old = copy.deepcopy(net), state(net)
    restored, logits, labels = net(query, key)
    encoder_q, encoder_k = fresh.E.E.encoder_q, fresh.E.E.encoder_k
    with torch.no_grad():
        for name, parameter in encoder_k.named_parameters():
            parameter.copy_(0.999 * old[f'E.E.encoder_k.{name}'] + 0.001 * old[f'E.E.encoder_q.{name}'])
        q, k = F.normalize(encoder_q(query)[1]), F.normalize(encoder_k(key)[1])
        expected = torch.cat([(q * k).sum(1, keepdim=True), q @ old['E.E.queue']], 1) / 0.07
    assert restored.shape == query.shape and logits.shape == (2, 1 + 512) and labels.tolist() == [0, 0]
    torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-4)
    for name, parameter in net.E.E.encoder_k.named_parameters():
        torch.testing.assert_close(parameter, encoder_k.get_parameter(name))
    torch.testing.assert_close(net.E.E.queue[:, :2], k.T)
    assert torch.equal(net.E.E.queue[:, 2:], old['E.E.queue'][:, 2:]) and net.E.E.queue_ptr.tolist() == [2]
    # the key encoder's statistics are those of its own batches
    assert torch.equal(net.E.E.encoder_k.E_pre.shortcut[1].running_mean, encoder_k.E_pre.shortcut[1].running_mean)


def test_the_queue_starts_again_at_its_end(net, crops):
    net.E.E.queue_ptr[0] = 510
    net(*crops, restore=False)
    net(*crops, restore=False)
    assert net.E.E.queue_ptr.tolist() == [2]


def test_contrast_reaches_all_but_the_key_encoder(net, crops):
    restored, logits, labels = net(*crops)
    ((restored - draw('target_2x3x20x16')).abs().mean() + 0.1 * F.cross_entropy(logits, labels)).backward()
    assert {name for name, p in net.named_parameters() if p.grad is None} == \
        {name for name, _ in net.named_parameters() if name.startswith('E.E.encoder_k.')}


def test_without_a_key_it_trains_as_any_network_and_the_contrast_rests(net, crops):
    before = state(net)
    restored = net(crops[0])
    restored.sum().backward()
    frozen = {name for name, p in net.named_parameters() if not p.requires_grad}
    assert {name for name, p in net.named_parameters() if p.grad is None} - frozen == set(net.dead_parameters)
    assert net.dead_parameters and all(not name.startswith('E.E.encoder_k') for name in net.dead_parameters)
    statistics = {f'E.E.encoder_q.E_pre.{norm}.{part}' for norm in ('backbone.1', 'backbone.4', 'shortcut.1')
                  for part in ('running_mean', 'running_var', 'num_batches_tracked')}
    assert changed(net, before) == statistics


def test_with_a_key_the_restored_image_is_the_same_as_without(net, crops):
    other = copy.deepcopy(net)
    assert torch.equal(net(*crops)[0], other(crops[0]))


def test_eval_ignores_the_key_and_changes_nothing(net, crops):
    net.eval()
    before = state(net)
    with torch.no_grad():
        assert torch.equal(net(*crops), net(crops[0]))
    assert changed(net, before) == set()


def test_without_restoration_there_is_the_contrast_alone(net, crops):
    other = copy.deepcopy(net)
    restored, logits, _ = net(*crops, restore=False)
    assert restored is None and torch.equal(logits, other(*crops)[1])


def test_a_new_network_bends_nothing_and_its_key_encoder_is_a_copy():
    """Its offsets are zero, so a deformable convolution is half a convolution: the factors are sigmoid(0)."""
    net = AirNet(**SMALL)
    for name, parameter in net.E.E.encoder_q.named_parameters():
        assert torch.equal(parameter, net.E.E.encoder_k.get_parameter(name))
    layer, x = net.R.body[0].body[0].dgm1.dcn, torch.rand(1, 8, 9, 7)
    torch.testing.assert_close(layer(x, x), F.conv2d(x, layer.weight, padding=1) / 2)
    torch.testing.assert_close(net.E.E.queue.norm(dim=0), torch.ones(512))


# ---------------------------------------------------------------- queues of other widths, refusals

@pytest.mark.parametrize('width', [256, 1280, 300])
def test_the_queue_takes_the_width_of_the_loaded_weights(net, crops, width):
    weights = state(net)
    weights['E.E.queue'], weights['E.E.queue_ptr'] = F.normalize(torch.rand(256, width), dim=0), torch.tensor([4])
    net.load_state_dict(weights)
    assert changed(net, weights) == set() and net.E.E.queue.shape == (256, width)
    assert net(*crops)[1].shape == (2, 1 + width) and net.E.E.queue_ptr.tolist() == [6]
    assert 'E.E.queue' in AirNet.resizable_buffers


def test_basicsr_loads_another_queue_strictly(tmp_path, net):
    torch.save({'params': AirNet(**{**SMALL, 'batch_size': 3}).state_dict()}, tmp_path / 'three.pth')
    BaseModel({'num_gpu': 0, 'is_train': False}).load_network(net, str(tmp_path / 'three.pth'), True, 'params')
    assert net.E.E.queue.shape == (256, 768)


def test_a_queue_of_another_height_is_not_taken(net):
    weights = {**state(net), 'E.E.queue': torch.rand(128, 512)}
    with pytest.raises(RuntimeError, match='E.E.queue'):
        net.load_state_dict(weights)


def test_a_batch_that_does_not_divide_the_queue_is_refused_and_changes_nothing(net):
    before = state(net)
    with pytest.raises(DataError, match='A batch of 3 does not divide .* 512 keys'):
        net(draw('query_3x3x16x16'), draw('key_3x3x16x16'))
    assert changed(net, before) == set()
    assert net(draw('query_3x3x16x16')).shape == (3, 3, 16, 16)  # without contrast any batch will do


@pytest.mark.parametrize('name', SMALL)
def test_numbers_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f'{name} is 0'):
        AirNet(**{**SMALL, name: 0})
