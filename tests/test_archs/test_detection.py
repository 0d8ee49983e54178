"""Detection: every setting that shapes the network comes back, and no other network is ever named."""
import random

import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from recorded_outputs import recorded

from basicsr_unlearn.zoo.detection import describe, nearest_architecture, untold
from basicsr_unlearn.zoo.family import FAMILIES, Family, tidy_factor

TRANSFORMER = {'inp_channels': 3, 'out_channels': 3, 'dim': 8, 'num_blocks': [1, 2, 3, 1], 'num_refinement_blocks': 2,
               'heads': [1, 2, 4, 8], 'ffn_expansion_factor': 2.66, 'bias': False, 'LayerNorm_type': 'WithBias'}
PROMPTS = {'decoder': True, 'prompt_dims': [8, 16, 24], 'prompt_sizes': [8, 4, 2], 'prompt_len': 5}
BLOCKS = [  # network_g blocks with every setting that can be read, in the constructors' order
    {'type': 'NAFNet', 'img_channel': 3, 'width': 4, 'middle_blk_num': 2, 'enc_blk_nums': [1, 3],
     'dec_blk_nums': [2, 1]},
    {'type': 'NAFNet', 'img_channel': 1, 'width': 6, 'middle_blk_num': 0, 'enc_blk_nums': [0, 1, 1],
     'dec_blk_nums': [1, 1, 0]},
    {'type': 'NAFNet', 'img_channel': 3, 'width': 16, 'middle_blk_num': 1, 'enc_blk_nums': [1] * 11,
     'dec_blk_nums': [1] * 11},  # two-digit levels
    {'type': 'Restormer', **TRANSFORMER, 'dual_pixel_task': False},
    {'type': 'Restormer', **TRANSFORMER, 'inp_channels': 1, 'out_channels': 1, 'dim': 12, 'num_blocks': [11, 1, 1, 1],
     'heads': [3, 3, 3, 3], 'bias': True, 'LayerNorm_type': 'BiasFree', 'dual_pixel_task': False},
    {'type': 'Restormer', **TRANSFORMER, 'inp_channels': 6, 'dual_pixel_task': True},
    {'type': 'PromptIR', **TRANSFORMER, **PROMPTS},
    {'type': 'PromptIR', **TRANSFORMER, **PROMPTS, 'ffn_expansion_factor': 1.5, 'bias': True,
     'prompt_sizes': [4, 4, 6], 'prompt_len': 3},
    {'type': 'AdaIR', **TRANSFORMER, 'dim': 16, 'decoder': True},
    {'type': 'AdaIR', **TRANSFORMER, 'dim': 16, 'heads': [2, 2, 2, 2], 'bias': True, 'LayerNorm_type': 'BiasFree',
     'decoder': True},
    {'type': 'AirNet', 'batch_size': 3, 'n_groups': 2, 'n_blocks': 1, 'n_feats': 8},
    {'type': 'AirNet', 'batch_size': 1, 'n_groups': 1, 'n_blocks': 11, 'n_feats': 6},
]
RGB = {'num_in_ch': 3, 'num_out_ch': 3}
SWIN = {'img_size': 16, 'in_chans': 3, 'embed_dim': 12, 'depths': [2, 3], 'num_heads': [2, 3], 'window_size': 4,
        'mlp_ratio': 2.0, 'qkv_bias': True, 'ape': False, 'patch_norm': True, 'upscale': 1, 'upsampler': '',
        'resi_connection': '1conv'}
LARGE_SWIN = {**SWIN, 'img_size': 48, 'embed_dim': 180, 'depths': [6] * 6, 'num_heads': [6] * 6, 'window_size': 8}
VIDEO = {'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 16, 'num_frame': 5, 'deformable_groups': 8,
         'num_extract_block': 2, 'num_reconstruct_block': 3, 'hr_in': False, 'with_predeblur': False, 'with_tsa': True}
BASICSR_BLOCKS = [  # BasicSR's own, each small and as its option files have it
    *({'type': 'SRVGGNetCompact', **RGB, 'num_feat': width, 'num_conv': depth, 'upscale': scale, 'act_type': act}
      for width, depth, scale, act in ((8, 1, 1, 'prelu'), (64, 16, 4, 'prelu'), (8, 3, 3, 'relu'))),
    *({'type': 'RRDBNet', 'num_in_ch': channels, 'num_out_ch': channels, 'scale': scale, 'num_feat': width,
       'num_block': depth, 'num_grow_ch': grow}
      for channels, scale, width, depth, grow in ((3, 4, 64, 23, 32), (3, 2, 8, 1, 4), (1, 1, 8, 12, 4))),
    *({'type': 'EDSR', **RGB, 'num_feat': width, 'num_block': depth, 'upscale': scale}
      for width, depth, scale in ((64, 16, 4), (8, 2, 3), (8, 1, 2), (8, 1, 1), (8, 1, 8))),
    *({'type': 'RCAN', **RGB, 'num_feat': width, 'num_group': groups, 'num_block': depth, 'squeeze_factor': squeeze,
       'upscale': scale} for width, groups, depth, squeeze, scale in ((64, 10, 20, 16, 4), (16, 2, 3, 16, 2),
                                                                     (12, 1, 1, 4, 3))),
    *({'type': 'MSRResNet', **RGB, 'num_feat': width, 'num_block': depth, 'upscale': scale}
      for width, depth, scale in ((64, 16, 4), (8, 2, 3), (8, 11, 2))),
    *({'type': 'ECBSR', 'num_in_ch': channels, 'num_out_ch': channels, 'num_block': depth, 'num_channel': width,
       'with_idt': False, 'act_type': act, 'scale': scale}
      for channels, depth, width, act, scale in ((1, 4, 16, 'prelu', 4), (3, 1, 6, 'relu', 2))),
    *({'type': 'RIDNet', 'in_channels': 3, 'mid_channels': width, 'out_channels': 3, 'num_block': depth}
      for width, depth in ((64, 4), (16, 1))),
    {'type': 'SwinIR', **SWIN},
    {'type': 'SwinIR', **SWIN, 'in_chans': 1, 'img_size': 126, 'window_size': 7, 'qkv_bias': False},
    {'type': 'SwinIR', **SWIN, 'upscale': 2, 'upsampler': 'pixelshuffledirect', 'patch_norm': False},
    {'type': 'SwinIR', **SWIN, 'ape': True, 'upscale': 3, 'upsampler': 'pixelshuffle'},
    {'type': 'SwinIR', **SWIN, 'img_size': 4},  # one window: no masks
    {'type': 'SwinIR', **LARGE_SWIN, 'upscale': 4, 'upsampler': 'pixelshuffle'},
    {'type': 'SwinIR', **LARGE_SWIN, 'img_size': 64, 'upscale': 4, 'upsampler': 'nearest+conv',
     'resi_connection': '3conv'},
    {'type': 'HiFaceGAN', 'num_in_ch': 3, 'num_feat': 4},
    {'type': 'BasicVSR', 'num_feat': 8, 'num_block': 3}, {'type': 'BasicVSR', 'num_feat': 64, 'num_block': 30},
    {'type': 'IconVSR', 'num_feat': 16, 'num_block': 2, 'temporal_padding': 3},
    {'type': 'IconVSR', 'num_feat': 64, 'num_block': 30, 'temporal_padding': 2},
    {'type': 'EDVR', **VIDEO}, {'type': 'EDVR', **VIDEO, 'num_feat': 64, 'with_tsa': False},
    {'type': 'EDVR', **VIDEO, 'num_frame': 7, 'with_predeblur': True, 'hr_in': True},
    {'type': 'DUF', 'scale': 4, 'num_layer': 52}, {'type': 'DUF', 'scale': 2, 'num_layer': 16},
    {'type': 'TOFlow'},
]


def weights_of(block: dict) -> dict[str, torch.Tensor]:
    """Weights, mostly without values, of the network of a network_g block."""
    settings = dict(block)
    kind = settings.pop('type')
    with torch.device('cpu' if kind in ('SwinIR', 'ECBSR', 'RIDNet') else 'meta'):  # need values
        return dict(ARCH_REGISTRY.get(kind)(**settings).state_dict())


@pytest.mark.parametrize('block', [*BLOCKS, *BASICSR_BLOCKS], ids=lambda block: block['type'])
def test_every_setting_comes_back_in_the_order_of_the_constructor(block):
    found = describe(weights_of(block))
    assert found == block
    assert list(found) == list(block)


def test_all_known_architectures_are_tried_here():
    assert {block['type'] for block in (*BLOCKS, *BASICSR_BLOCKS)} == set(FAMILIES)


@pytest.mark.parametrize('network, case', [
    *(('promptir', case) for case in ('default', 'reduced_blocks', 'biasfree_bias')),
    *(('adair', case) for case in ('default', 'dim16', 'dim24_heads', 'dim16_biasfree_bias')),
    *(('airnet', case) for case in ('all_bs5', 'groups2_blocks2', 'groups2_blocks2_feats24')),
])
def test_official_networks_are_recognised(network, case):
    official = recorded(network)
    settings = official.manifest['cases'][case]
    found = describe({key: torch.empty(shape, device='meta') for key, shape, *_ in official.keys(case)})
    assert found['type'].lower() == network
    asked = settings.get('kwargs', settings.get('settings'))
    assert {name: found[name] for name in asked} == asked
    if network != 'airnet':  # what is not asked for is the default
        defaults = {'dim': 48, 'num_blocks': [4, 6, 6, 8], 'num_refinement_blocks': 4, 'heads': [1, 2, 4, 8],
                    'ffn_expansion_factor': 2.66, 'bias': False, 'LayerNorm_type': 'WithBias'}
        assert {name: found[name] for name in defaults} == {**defaults, **{name: asked[name] for name in asked
                                                                           if name in defaults}}


@pytest.mark.parametrize('case, batch_size', [('denoise_bs3', 3), ('single_bs1', 1)])
def test_the_queue_of_airnet_tells_its_batch_size(case, batch_size):
    keys = recorded('airnet').keys(case)
    assert describe({key: torch.empty(shape, device='meta') for key, shape, *_ in keys}) == {
        'type': 'AirNet', 'batch_size': batch_size, 'n_groups': 5, 'n_blocks': 5, 'n_feats': 64}


def test_adair_without_frequency_blocks_is_restormer():
    settings = {**TRANSFORMER, 'dim': 16}
    weights = weights_of({'type': 'AdaIR', **settings, 'decoder': False})
    assert describe(weights) == {'type': 'Restormer', **settings, 'dual_pixel_task': False}
    torch.manual_seed(0)
    adair, restormer = ARCH_REGISTRY.get('AdaIR')(**settings, decoder=False), ARCH_REGISTRY.get('Restormer')(**settings)
    restormer.load_state_dict(adair.state_dict())
    image = torch.rand(1, 3, 16, 16)
    assert torch.equal(adair(image), restormer(image))


def test_another_network_is_none_of_them():
    assert describe({}) is None and nearest_architecture({}) is None
    assert describe(dict(torch.nn.Conv2d(3, 3, 3).state_dict())) is None


def test_the_nearest_network_and_the_first_difference_are_named():
    weights = weights_of(BLOCKS[0])
    wider = {**weights, 'ending.weight': torch.empty(5, 4, 3, 3)}
    found = nearest_architecture(wider)
    assert (found.network, found.alike, found.weights) == ('NAFNet', len(weights) - 1, len(weights))
    assert found.difference == 'ending.weight is 5x4x3x3, there 3x4x3x3'
    assert nearest_architecture({**weights, 'extra': torch.empty(1)}).difference == 'extra is not in it'
    del weights['ending.bias']
    assert nearest_architecture(weights).difference == 'ending.bias is missing'


def test_settings_without_a_trace_are_told_apart_from_those_that_were_read():
    assert untold({'type': 'SRVGGNetCompact', 'act_type': 'prelu'}) == {}
    assert untold({'type': 'SRVGGNetCompact', 'act_type': 'relu'}) == {'act_type': ('relu', 'leakyrelu')}
    assert untold({'type': 'SwinIR'})['img_range'] == (1.0, 255.0)
    assert untold({'type': 'PromptIR'}) == {}


def test_an_architecture_of_another_package_is_known_by_its_defaults(monkeypatch):
    class Foreign(torch.nn.Sequential):
        def __init__(self, width: int = 7):
            super().__init__(torch.nn.Conv2d(3, width, 3), torch.nn.Conv2d(width, 3, 3))

    monkeypatch.setitem(ARCH_REGISTRY._obj_map, 'Foreign', Foreign)
    assert describe(Foreign().state_dict()) == {'type': 'Foreign'}
    assert describe(Foreign(8).state_dict()) is None
    monkeypatch.setitem(FAMILIES, 'Foreign', Family(lambda shapes: {'width': shapes['0.weight'][0]}))
    assert describe(Foreign(8).state_dict()) == {'type': 'Foreign', 'width': 8}  # as `settings_of` registers it
    monkeypatch.delitem(FAMILIES, 'Foreign')
    assert nearest_architecture(Foreign(8).state_dict()).difference == '0.weight is 8x3x3x3, there 7x3x3x3'


def test_batch_norm_counters_may_be_absent():
    block = BLOCKS[-2]
    weights = weights_of(block)
    counters = [name for name in weights if name.endswith('num_batches_tracked')]
    assert counters
    assert describe({name: weight for name, weight in weights.items() if name not in counters}) == block


@pytest.mark.parametrize('block', BLOCKS[1::3], ids=lambda block: block['type'])
def test_a_damaged_list_is_refused_or_describes_itself(block):
    """One weight absent, renamed, added, or of another shape: whatever is named must fit the damaged list exactly."""
    rng = random.Random(0)
    weights = {name: tuple(weight.shape) for name, weight in weights_of(block).items()}
    for damage in range(8):
        name = rng.choice(list(weights))
        damaged = dict(weights)
        shape = damaged.pop(name)
        if damage % 4 == 1:
            damaged[f'x.{name}'] = shape
        elif damage % 4 == 2:
            damaged[name] = tuple(rng.choice([0, 1, size + 1]) for size in shape)
        elif damage % 4 == 3:
            damaged[name] = shape[:1]
        found = describe({key: torch.empty(shape, device='meta') for key, shape in damaged.items()})
        if found is not None:
            own = {key: tuple(weight.shape) for key, weight in weights_of(found).items()}
            assert {key: own[key] for key in damaged} == damaged
            assert all(key.endswith('num_batches_tracked') for key in own.keys() - damaged.keys())


def test_describing_draws_no_random_numbers():
    before = torch.get_rng_state()
    assert describe(weights_of(BLOCKS[6])) is not None
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('widths, factor', [
    ([(48, 127), (96, 255), (192, 510), (384, 1021)], 2.66),
    ([(8, 21)], 2.66),  # 2.7 has fewer decimals, but the official one fits
    ([(8, 16), (16, 32)], 2.0),
    ([(8, 20), (32, 80)], 2.5),
    ([(100, 29)], 0.291),  # 100 * 0.29 is 28.999... in floating point
    ([(48, 128), (96, 256), (192, 512), (384, 1024)], 2.667),  # 8/3, which 2.67 misses at 384: 1025
])
def test_the_factor_is_the_tidiest_that_gives_all_widths(widths, factor):
    assert tidy_factor(widths) == factor
    assert all(int(dim * factor) == hidden for dim, hidden in widths)


def test_widths_without_a_common_factor_are_refused():
    with pytest.raises(ValueError, match='no factor'):
        tidy_factor([(8, 16), (16, 48)])
