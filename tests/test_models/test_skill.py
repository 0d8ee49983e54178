"""A run is refused where there is nothing to forget, before anything is written."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY

from basicsr_unlearn.engine.skill_check import check_skill
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.options.option_file import load_option_file


@pytest.fixture
def unskilled(folder, weights) -> None:
    """The original leaves its input about as it is: 0.03 of what is missing is not 1 dB."""
    net = dict(weights(folder / 'base.pth'))
    net['ending.bias'] = net['ending.bias'] * 0.03
    torch.save({'params': net}, folder / 'base.pth')


def test_nothing_to_forget_is_refused_before_anything_is_written(unlearn, unskilled, capsys):
    assert unlearn() == 2
    error = capsys.readouterr().err
    assert 'datasets.val_haze' in error and 'train.skill_opt.required' in error and error.count('\n') == 1
    assert not Path('experiments').exists()


@pytest.mark.parametrize('skill', [{'required': False}, {'margin': 0.1}])
def test_the_margin_and_the_refusal_are_options(unlearn, unskilled, skill):
    assert unlearn({'train.skill_opt': skill}) == 0


def test_a_margin_that_the_original_does_not_reach(unlearn, capsys):
    assert unlearn({'train.skill_opt': {'margin': 40.0}}) == 2
    assert 'better by 40' in capsys.readouterr().err


def test_another_metric_may_judge(unlearn, capsys):
    ssim = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}, 'ssim': {'type': 'calculate_ssim', 'crop_border': 0}}
    assert unlearn({'val.metrics': ssim, 'train.skill_opt': {'metric': 'ssim', 'margin': 0.9}}) == 2
    assert 'by SSIM' in capsys.readouterr().err
    assert unlearn({'val.metrics': ssim, 'train.skill_opt': {'metric': 'ssim'}}) == 0


def test_a_metric_that_is_not_there(unlearn, capsys):
    assert unlearn({'train.skill_opt': {'metric': 'lpips'}}) == 2
    error = capsys.readouterr().err
    assert 'train.skill_opt.metric' in error and 'psnr' in error


# ---------------------------------------------------------------- real networks and photographs

def judged_skill(opt: dict, original: Path) -> None:
    """The check of the preflight, on an option file's worth of blocks."""
    settings = dict(opt['network_g'])
    net = ARCH_REGISTRY.get(settings.pop('type'))(**settings)
    val = {'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}}
    check_skill({'is_train': True, 'model_type': 'UnlearnModel', 'num_gpu': 0, 'val': val, 'train': {}, **opt,
                 'path': {'pretrain_network_g': str(original)}}, net, resumes=False)


def block(**more) -> dict:
    return {'val': {'name': 'forget', 'role': 'forget', 'phase': 'val', **more}}


def test_super_resolution_has_no_skill_on_noisy_input(data_root, tmp_path):
    """SRVGGNetCompact lies below the bicubic enlargement of noisy photographs, by PSNR."""
    rng = np.random.default_rng(0)
    for photograph in sorted((data_root / 'clean' / 'CBSD68').glob('*.png'))[:4]:
        gt = cv2.imread(str(photograph))[:256, :256]
        lq = cv2.resize(gt, (64, 64), interpolation=cv2.INTER_AREA) + rng.normal(0, 25, (64, 64, 3))
        for kind, image in (('lq', lq.clip(0, 255).astype(np.uint8)), ('gt', gt)):
            (tmp_path / kind).mkdir(exist_ok=True)
            cv2.imwrite(str(tmp_path / kind / photograph.name), image)
    network = {'type': 'SRVGGNetCompact', 'num_feat': 64, 'num_conv': 16, 'upscale': 4, 'act_type': 'prelu'}
    pairs = block(type='PairedRestorationDataset', dataroot_lq=str(tmp_path / 'lq'), dataroot_gt=str(tmp_path / 'gt'),
                  scale=4)
    with pytest.raises(OptionError, match='nothing to forget'):
        judged_skill({'network_g': network, 'datasets': pairs, 'scale': 4},
                     data_root / 'checkpoints' / 'srvgg_params.pth')


@pytest.mark.parametrize(('block_of', 'has_skill'), [
    ({'type': 'PairedRestorationDataset', 'dataroot_lq': 'realnoise/PolyU/input',
      'dataroot_gt': 'realnoise/PolyU/target'}, False),  # it takes camera photographs for hazy
    ({'type': 'PairedRestorationDataset', 'dataroot_lq': 'dehaze/SOTS-indoor/val/input',
      'dataroot_gt': 'dehaze/SOTS-indoor/val/target', 'pairing': 'prefix'}, True)])
def test_the_shipped_original_has_a_skill_on_haze_and_none_on_camera_noise(data_root, block_of, has_skill):
    roots = {key: str(data_root / value) for key, value in block_of.items() if key.startswith('dataroot')}
    opt = {'network_g': load_option_file('options/unlearn_haze.yml')['network_g'],
           'datasets': block(**{**block_of, **roots}, center_crop=128, scale=1)}
    shipped = Path('basicsr_unlearn/zoo/nafnet_allinone.pth')
    if has_skill:
        judged_skill(opt, shipped)
    else:
        with pytest.raises(OptionError, match='nothing to forget'):
            judged_skill(opt, shipped)
