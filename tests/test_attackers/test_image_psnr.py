import math

import pytest
import torch
from torch import nn

from basicsr_unlearn.errors import DataError, TrainingError
from basicsr_unlearn.metrics.image_scores import image_scores, to_image
from basicsr_unlearn.proof.attackers.image_psnr import psnr_of_images


def test_psnr_is_of_8_bit_images_as_basicsr_takes_it(brighten):
    torch.manual_seed(0)
    lq, gt = torch.rand(3, 12, 14) * 1.2 - 0.1, torch.rand(3, 12, 14)
    expected = image_scores(to_image(lq[None]), {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}},
                            to_image(gt[None]))['psnr']
    assert psnr_of_images(brighten(1.0), [(lq, gt)])[0] == pytest.approx(expected, abs=1e-9)


def test_psnr_of_each_image_by_hand(brighten, untouched):
    net = brighten(1.0)
    grey = torch.full((3, 4, 4), 0.4)  # 102 levels
    pairs = [(grey, grey + 0.2), (grey[:, :2], grey[:, :2] + 0.02), (grey, grey), (grey + 1, grey + 0.6)]
    with untouched(net):
        found = psnr_of_images(net, pairs)
    # 51 and 5 levels of difference; the last output, 1.4, is clamped to 1 and equals its clean image
    assert found == pytest.approx([20 * math.log10(255 / 51), 20 * math.log10(255 / 5), 100, 100], abs=1e-9)


def test_what_cannot_be_scored(brighten):
    grey = torch.full((3, 4, 4), 0.5)
    with pytest.raises(DataError, match='no pair'):
        psnr_of_images(brighten(), [])
    with pytest.raises(DataError, match=r'image 1 has shape \(3, 4, 4\) but its clean image has \(3, 8, 8\)'):
        psnr_of_images(brighten(), [(grey, grey), (grey, torch.ones(3, 8, 8))])
    broken = brighten()
    nn.init.constant_(broken.tail.bias, math.nan)
    with pytest.raises(TrainingError, match='image 0 is not finite'):
        psnr_of_images(broken, [(grey, grey)])
