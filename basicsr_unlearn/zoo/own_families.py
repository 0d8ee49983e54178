"""Settings of the architectures of this package, from the shapes of their weights."""
from typing import Any

from basicsr_unlearn.zoo.family import Shapes, count, settings_of, tidy_factor

QUEUE_PER_SAMPLE = 256  # columns of AirNet's queue for each sample of a batch


# 240 is what the shipped networks are used with, 384 one and a half of the patch of 256 that NAFNet trains on (TLC)
@settings_of('NAFNet', pool_size=(None, 240, 384))
def _nafnet(shapes: Shapes) -> dict[str, Any]:
    width, img_channel = shapes['intro.weight'][:2]
    levels = range(count(shapes, r'downs\.(\d+)\.'))
    return {'img_channel': img_channel, 'width': width, 'middle_blk_num': count(shapes, r'middle_blks\.(\d+)\.'),
            'enc_blk_nums': [count(shapes, rf'encoders\.{level}\.(\d+)\.') for level in levels],
            'dec_blk_nums': [count(shapes, rf'decoders\.{level}\.(\d+)\.') for level in levels]}


def _transformer(shapes: Shapes) -> dict[str, Any]:
    """What Restormer, PromptIR and AdaIR have in common."""
    dim, inp_channels = shapes['patch_embed.proj.weight'][:2]
    stages = ('encoder_level1', 'encoder_level2', 'encoder_level3', 'latent')
    return {'inp_channels': inp_channels, 'out_channels': shapes['output.weight'][0], 'dim': dim,
            'num_blocks': [count(shapes, rf'{stage}\.(\d+)\.') for stage in stages],
            'num_refinement_blocks': count(shapes, r'refinement\.(\d+)\.'),
            'heads': [shapes[f'{stage}.0.attn.temperature'][0] for stage in stages],
            'ffn_expansion_factor': tidy_factor(shape[:2] for name, shape in shapes.items()
                                                if name.endswith('.ffn.project_out.weight')),
            'bias': 'output.bias' in shapes,
            'LayerNorm_type': 'WithBias' if 'latent.0.norm1.body.bias' in shapes else 'BiasFree'}


@settings_of('PromptIR')
def _promptir(shapes: Shapes) -> dict[str, Any]:
    lengths, dims, sizes = zip(*(shapes[f'prompt{level}.prompt_param'][1:4] for level in (1, 2, 3)))
    return {**_transformer(shapes), 'decoder': True, 'prompt_dims': list(dims), 'prompt_sizes': list(sizes),
            'prompt_len': lengths[0]}


@settings_of('Restormer')  # before AdaIR, which without its frequency blocks (decoder: false) is the same network
def _restormer(shapes: Shapes) -> dict[str, Any]:
    return {**_transformer(shapes), 'dual_pixel_task': 'skip_conv.weight' in shapes}


@settings_of('AdaIR')
def _adair(shapes: Shapes) -> dict[str, Any]:
    return {**_transformer(shapes), 'decoder': 'fre1.para1' in shapes}


@settings_of('AirNet')
def _airnet(shapes: Shapes) -> dict[str, Any]:
    return {'batch_size': shapes['E.E.queue'][1] // QUEUE_PER_SAMPLE,
            'n_groups': count(shapes, r'R\.body\.(\d+)\.body\.'),
            'n_blocks': count(shapes, r'R\.body\.0\.body\.(\d+)\.dgm1\.'),
            'n_feats': shapes['R.head.0.weight'][0]}
