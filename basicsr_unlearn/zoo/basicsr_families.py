"""Settings of the architectures that come with BasicSR 1.4.2, from the shapes of their weights.

Left out are DFDNet, which needs a dictionary file, and BasicVSRPlusPlus, which has other weights without a GPU.
"""
from typing import Any

from basicsr_unlearn.zoo.family import Shapes, count, root, settings_of, tidy_factor

RANGES = (255.0, 1.0)  # of the pixels inside a network; BasicSR's default first
RES_SCALES = (1, 0.1)  # of residual blocks: plain, and of the large networks


def _ends(shapes: Shapes, first: str = 'conv_first', last: str = 'conv_last') -> dict[str, int]:
    num_feat, num_in_ch = shapes[f'{first}.weight'][:2]
    return {'num_in_ch': num_in_ch, 'num_out_ch': shapes[f'{last}.weight'][0], 'num_feat': num_feat}


def _upscale(shapes: Shapes) -> int:
    """Of `upsample`: a convolution for each doubling, or one for three."""
    out, num_feat = shapes.get('upsample.0.weight', (0, 1))[:2]
    return 3 if out == 9 * num_feat else 2 ** count(shapes, r'upsample\.(\d+)\.weight')


@settings_of('SRVGGNetCompact', act_type=('relu', 'leakyrelu'))
def _srvgg(shapes: Shapes) -> dict[str, Any]:
    convolutions = [shape for name, shape in shapes.items() if name.startswith('body.') and len(shape) == 4]
    num_feat, num_in_ch = shapes['body.0.weight'][:2]
    return {'num_in_ch': num_in_ch, 'num_out_ch': num_in_ch, 'num_feat': num_feat, 'num_conv': len(convolutions) - 2,
            'upscale': root(convolutions[-1][0] // num_in_ch),
            **({'act_type': 'prelu'} if 'body.1.weight' in shapes else {})}


@settings_of('RRDBNet')
def _rrdbnet(shapes: Shapes) -> dict[str, Any]:
    ends = _ends(shapes)
    # below x4 the input is folded, so that it has 4 or 16 times the channels
    scale = {1: 4, 4: 2, 16: 1}[ends['num_in_ch'] // ends['num_out_ch']]
    return {**ends, 'num_in_ch': ends['num_out_ch'], 'scale': scale, 'num_block': count(shapes, r'body\.(\d+)\.'),
            'num_grow_ch': shapes['body.0.rdb1.conv1.weight'][0]}


@settings_of('EDSR', res_scale=RES_SCALES, img_range=RANGES)
def _edsr(shapes: Shapes) -> dict[str, Any]:
    return {**_ends(shapes), 'num_block': count(shapes, r'body\.(\d+)\.'), 'upscale': _upscale(shapes)}


@settings_of('RCAN', res_scale=RES_SCALES, img_range=RANGES)
def _rcan(shapes: Shapes) -> dict[str, Any]:
    ends, group = _ends(shapes), r'body\.0\.residual_group\.(\d+)\.'
    squeezed = shapes['body.0.residual_group.0.rcab.3.attention.1.weight'][0]
    factors = (16, *range(1, ends['num_feat'] + 1))
    return {**ends, 'num_group': count(shapes, r'body\.(\d+)\.'), 'num_block': count(shapes, group),
            'squeeze_factor': next((f for f in factors if ends['num_feat'] // f == squeezed), 16),
            'upscale': _upscale(shapes)}


@settings_of('MSRResNet')
def _msrresnet(shapes: Shapes) -> dict[str, Any]:
    ends = _ends(shapes)
    upscale = 4 if 'upconv2.weight' in shapes else root(shapes['upconv1.weight'][0] // ends['num_feat'])
    return {**ends, 'num_block': count(shapes, r'body\.(\d+)\.'), 'upscale': upscale}


@settings_of('ECBSR', with_idt=(False, True), act_type=('relu', 'rrelu', 'softplus', 'linear'))
def _ecbsr(shapes: Shapes) -> dict[str, Any]:
    depth = count(shapes, r'backbone\.(\d+)\.')
    num_channel, num_in_ch = shapes['backbone.0.conv3x3.weight'][:2]
    return {'num_in_ch': num_in_ch, 'num_out_ch': num_in_ch, 'num_block': depth - 2, 'num_channel': num_channel,
            'scale': root(shapes[f'backbone.{depth - 1}.conv3x3.weight'][0] // num_in_ch),
            **({'act_type': 'prelu'} if 'backbone.0.act.weight' in shapes else {})}


@settings_of('RIDNet')  # its range is in its weights
def _ridnet(shapes: Shapes) -> dict[str, Any]:
    mid_channels, in_channels = shapes['head.weight'][:2]
    return {'in_channels': in_channels, 'mid_channels': mid_channels, 'out_channels': shapes['tail.weight'][0],
            'num_block': count(shapes, r'body\.(\d+)\.')}


@settings_of('SwinIR', img_range=(1.0, 255.0))
def _swinir(shapes: Shapes) -> dict[str, Any]:
    embed_dim, in_chans = shapes['conv_first.weight'][:2]
    layers = range(count(shapes, r'layers\.(\d+)\.'))
    block = 'layers.0.residual_group.blocks.0'
    window_size = root(shapes[f'{block}.attn.relative_position_index'][0])
    masks = [shape[0] for name, shape in shapes.items() if name.endswith('.attn_mask')]
    depths = [count(shapes, rf'layers\.{layer}\.residual_group\.blocks\.(\d+)\.') for layer in layers]
    # only shifted blocks have a mask: the second of each layer, unless one window holds the whole image
    img_size = root(masks[0]) * window_size if masks else window_size * (1 if max(depths) > 1 else 8)
    if 'absolute_pos_embed' in shapes:
        img_size = root(shapes['absolute_pos_embed'][1])
    return {'img_size': img_size, 'in_chans': in_chans, 'embed_dim': embed_dim, 'depths': depths,
            'num_heads': [shapes[f'layers.{layer}.residual_group.blocks.0.attn.relative_position_bias_table'][1]
                          for layer in layers],
            'window_size': window_size,
            'mlp_ratio': tidy_factor([(embed_dim, shapes[f'{block}.mlp.fc1.weight'][0])]),
            'qkv_bias': f'{block}.attn.qkv.bias' in shapes,
            'ape': 'absolute_pos_embed' in shapes, 'patch_norm': 'patch_embed.norm.weight' in shapes,
            'resi_connection': '3conv' if 'conv_after_body.0.weight' in shapes else '1conv',
            **_swinir_end(shapes, in_chans)}


def _swinir_end(shapes: Shapes, in_chans: int) -> dict[str, Any]:
    if 'conv_up1.weight' in shapes:
        return {'upscale': 4, 'upsampler': 'nearest+conv'}
    if 'conv_before_upsample.0.weight' in shapes:
        return {'upscale': _upscale(shapes), 'upsampler': 'pixelshuffle'}
    if 'upsample.0.weight' in shapes:
        return {'upscale': root(shapes['upsample.0.weight'][0] // in_chans), 'upsampler': 'pixelshuffledirect'}
    return {'upscale': 1, 'upsampler': ''}


@settings_of('HiFaceGAN')
def _hifacegan(shapes: Shapes) -> dict[str, Any]:
    wide, num_in_ch = shapes['fc.weight'][:2]
    return {'num_in_ch': num_in_ch, 'num_feat': wide // 16}


@settings_of('BasicVSR', frames=True)
def _basicvsr(shapes: Shapes) -> dict[str, Any]:
    return {'num_feat': shapes['fusion.weight'][0], 'num_block': count(shapes, r'forward_trunk\.main\.2\.(\d+)\.')}


@settings_of('IconVSR', frames=True)
def _iconvsr(shapes: Shapes) -> dict[str, Any]:
    num_feat = shapes['forward_fusion.weight'][0]
    return {'num_feat': num_feat, 'num_block': count(shapes, r'forward_trunk\.main\.2\.(\d+)\.'),
            'temporal_padding': (shapes['edvr.fusion.feat_fusion.weight'][1] // num_feat - 1) // 2}


@settings_of('EDVR', frames=True)
def _edvr(shapes: Shapes) -> dict[str, Any]:
    with_predeblur, with_tsa = 'predeblur.conv_first.weight' in shapes, 'fusion.feat_fusion.weight' in shapes
    num_feat, num_in_ch = shapes['predeblur.conv_first.weight' if with_predeblur else 'conv_first.weight'][:2]
    return {'num_in_ch': num_in_ch, 'num_out_ch': shapes['conv_last.weight'][0], 'num_feat': num_feat,
            'num_frame': shapes['fusion.feat_fusion.weight' if with_tsa else 'fusion.weight'][1] // num_feat,
            'deformable_groups': shapes['pcd_align.dcn_pack.l3.conv_offset.weight'][0] // 27,
            'num_extract_block': count(shapes, r'feature_extraction\.(\d+)\.'),
            'num_reconstruct_block': count(shapes, r'reconstruction\.(\d+)\.'),
            'hr_in': 'predeblur.stride_conv_hr1.weight' in shapes, 'with_predeblur': with_predeblur,
            'with_tsa': with_tsa}


@settings_of('DUF', frames=True)
def _duf(shapes: Shapes) -> dict[str, Any]:
    layers = {3: 16, 9: 28, 21: 52}[count(shapes, r'dense_block1\.dense_blocks\.(\d+)\.')]
    return {'scale': root(shapes['conv3d_r2.weight'][0] // 3), 'num_layer': layers}


@settings_of('TOFlow', frames=True)
def _toflow(shapes: Shapes) -> dict[str, Any]:
    shapes['spynet.basic_module.0.basic_module.0.weight']
    return {}
