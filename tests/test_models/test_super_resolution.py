"""Scale above 1: BasicSR's own super-resolution network unlearns too, held against the upsampled input."""
import cv2
import numpy as np
import pytest
import torch

from basicsr_unlearn.core.images import degraded_as_output

# isort: split
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.metrics import calculate_psnr

NETWORK = {'num_feat': 4, 'num_conv': 1, 'upscale': 2, 'act_type': 'prelu'}


@pytest.fixture
def halved(folder, pixels) -> dict:
    """Changes that halve the degraded images and use SRVGGNetCompact; its checkpoint is written."""
    rng = np.random.default_rng(1)
    for name in ('haze', 'rain'):
        for i in range(2):
            pixels(folder / name / 'lq' / f'{i}.png', rng.integers(0, 255, (12, 12, 3), dtype=np.uint8))
    torch.manual_seed(0)
    torch.save({'params': SRVGGNetCompact(**NETWORK).state_dict()}, folder / 'base.pth')
    return {'scale': 2, 'network_g': {'type': 'SRVGGNetCompact', **NETWORK}}


def test_super_resolution_unlearns_and_its_identity_baseline_is_bicubic(unlearn, built, halved, folder):
    assert unlearn({**halved, 'train.skill_opt': {'required': False}}) == 0
    model = built[-1]
    assert model.iteration == 6
    by_hand = []
    for i in range(2):
        lq, gt = (cv2.imread(str(folder / 'haze' / kind / f'{i}.png')) for kind in ('lq', 'gt'))
        tensor = torch.from_numpy(lq.transpose(2, 0, 1).copy()).float()[None] / 255
        up = degraded_as_output(tensor, torch.empty(1, 3, 24, 24)).clamp(0, 1)[0].permute(1, 2, 0) * 255
        by_hand.append(calculate_psnr(up.round().numpy(), gt, crop_border=0))
    assert model.tracking.references['haze']['identity']['psnr'] == pytest.approx(np.mean(by_hand), abs=1e-3)


def test_a_wrong_scale_is_one_sentence(unlearn, halved, capsys, folder):
    assert unlearn({**halved, 'scale': 4}) == 2
    assert 'at scale 4' in capsys.readouterr().err
