"""A run is refused where there is nothing to forget, before anything is written."""
from pathlib import Path

import pytest
import torch


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
