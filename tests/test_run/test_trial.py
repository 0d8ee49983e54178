"""Trying a network: its scale, the sizes it takes, and settings that only its outputs tell."""
import pytest
import torch
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.archs.swinir_arch import SwinIR
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from basicsr_unlearn.engine.trial import Trial
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.zoo.detection import describe, untold

SWIN = {'img_size': 16, 'window_size': 8, 'embed_dim': 4, 'depths': (2,), 'num_heads': (2,), 'upscale': 1}


def tried(net: nn.Module) -> Trial:
    return Trial(describe(net.state_dict()), net.state_dict(), 'net.pth')


@pytest.mark.parametrize('net, scale, multiple', [
    (SRVGGNetCompact(num_feat=4, num_conv=1, upscale=3), 3, 1),
    (SwinIR(**SWIN), 1, 8),
    (SwinIR(**{**SWIN, 'img_size': 14, 'window_size': 7, 'upscale': 2}, upsampler='pixelshuffledirect'), 2, 7),
], ids=['any size', 'windows of 8', 'windows of 7'])
def test_scale_and_sizes_are_found_by_trying(net, scale, multiple):
    trial = tried(net)
    assert (trial.scale, trial.multiple) == (scale, multiple)


def test_a_setting_without_a_trace_is_the_one_that_restores_best(in_tmp_path, photos):
    torch.manual_seed(0)
    net = EDSR(3, 3, num_feat=4, num_block=1, upscale=2, img_range=1.)
    for _ in range(60):  # enough to be better with its own range than with 255
        lq = torch.rand(4, 3, 8, 8)
        gt = nn.functional.interpolate(lq, scale_factor=2, mode='bilinear')
        loss = (net(lq) - gt).abs().mean()
        for weight, gradient in zip(net.parameters(), torch.autograd.grad(loss, list(net.parameters()))):
            weight.data -= 0.005 * gradient.sign()
    trial = tried(net)
    block = {'type': 'DegradedImageDataset', 'dataroot_gt': photos('clean', count=2), 'degradations': []}
    open_settings = {'img_range': untold(trial.network)['img_range']}
    (best, score), (other, worse) = trial.best_of(open_settings, block)
    assert best == {'img_range': 1.0} and other == {'img_range': 255.0} and score > worse
    assert trial.network['img_range'] == trial.net.img_range == 1.0


class Several(nn.Module):
    """Returns two images."""

    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(3, 3, 1)

    def forward(self, lq):
        return self.last(lq), lq


class Grey(nn.Conv2d):
    """Takes one channel."""

    def __init__(self):
        super().__init__(1, 1, 3)


@pytest.mark.parametrize('cls, words', [(Several, 'returns tuple'), (Grey, 'expected input')])
def test_what_is_not_from_one_rgb_image_to_another_is_refused_with_the_cure(monkeypatch, cls, words):
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, cls.__name__, cls)
    with pytest.raises(OptionError, match='wrapper') as caught:
        tried(cls())
    assert words in str(caught.value)
