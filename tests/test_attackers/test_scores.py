import math

import pytest
import torch
from torch import nn

from basicsr_unlearn.errors import DataError, TrainingError
from basicsr_unlearn.proof.attackers.scores import psnr_of_images


def test_psnr_of_each_image_by_hand(brighten, untouched):
    net = brighten(1.0)
    grey = torch.full((3, 4, 4), 0.5)
    pairs = [(grey, grey + 0.1), (grey[:, :2], grey[:, :2] + 0.01), (grey, grey), (grey + 1, grey + 0.5)]
    with untouched(net):
        found = psnr_of_images(net, pairs)
    # the last output, 1.5, is clamped to 1 and equals its clean image
    assert found == pytest.approx([20, 40, 100, 100], abs=1e-3)


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
