import math

import numpy as np
import pytest
import torch
from torch import nn

from basicsr_unlearn.errors import DataError, TrainingError
from basicsr_unlearn.evaluate import evaluate, verdict

METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}, 'ssim': {'type': 'calculate_ssim', 'crop_border': 0}}


class Shift(nn.Module):
    """Adds a constant number of grey levels of 0..255."""

    def __init__(self, levels: float):
        super().__init__()
        self.levels = nn.Parameter(torch.tensor(levels / 255))

    def forward(self, x):
        return x + self.levels


def flat_pairs(offsets: list[int], name: str = 'image{}') -> list[dict]:
    """Grey images of level 100, degraded by adding so many levels: PSNR is 20 log10(255 / offset)."""
    gt = torch.full((3, 16, 20), 100 / 255)
    return [{'lq': gt + offset / 255, 'gt': gt.clone(), 'lq_path': f'folder/{name.format(i)}.png'}
            for i, offset in enumerate(offsets)]


def of_offset(levels: float) -> float:
    return 20 * math.log10(255 / levels)


def test_scores_are_those_of_the_known_errors():
    result = evaluate({'original': Shift(-5), 'unlearned': Shift(10)}, flat_pairs([10, 20]), METRICS)
    expected = {'identity': [10, 20], 'original': [5, 15], 'unlearned': [20, 30]}
    for column, errors in expected.items():
        for i, error in enumerate(errors):
            assert result.per_image[f'image{i}'][column]['psnr'] == pytest.approx(of_offset(error), abs=1e-4)
        assert result.mean[column]['psnr'] == pytest.approx(sum(map(of_offset, errors)) / 2, abs=1e-4)


def test_scores_are_taken_on_8_bit_images():
    result = evaluate({'original': Shift(0.4)}, flat_pairs([10]), METRICS)
    assert result.mean['original']['psnr'] == pytest.approx(of_offset(10), abs=1e-6)


def test_metrics_leave_the_pictures_and_the_items_alone():
    items = flat_pairs([200])  # above 1: what tensor2img clamps in place
    before = items[0]['lq'].clone()
    evaluate({'original': Shift(0)}, items, METRICS)
    assert torch.equal(items[0]['lq'], before)


def test_strips_are_spread_over_the_set_and_in_rgb():
    items = flat_pairs([0] * 5)
    items[4]['gt'] = torch.tensor([1.0, 0.0, 0.0])[:, None, None].expand(3, 16, 20)
    result = evaluate({'original': Shift(0)}, items, METRICS, strips=2)
    assert [strip.name for strip in result.strips] == ['image0', 'image4']
    assert set(result.strips[0].images) == {'identity', 'original', 'gt'}
    assert np.array_equal(result.strips[1].images['gt'][3, 3], [255, 0, 0])


def test_images_of_one_name_are_all_counted():
    result = evaluate({'original': Shift(0)}, flat_pairs([10, 20, 40], name='same'), METRICS)
    assert list(result.per_image) == ['same', 'same (2)', 'same (3)']


@pytest.mark.parametrize('net, items, error, words', [
    (Shift(float('nan')), flat_pairs([10]), TrainingError, 'original network returns values that are not finite'),
    (Shift(0), [], DataError, 'no image to evaluate'),
    (Shift(0), [{'lq': torch.zeros(3, 16, 16), 'lq_path': 'folder/alone.png'}], DataError, 'alone.png has no ground'),
])
def test_what_cannot_be_scored_is_refused(net, items, error, words):
    with pytest.raises(error, match=words):
        evaluate({'original': net}, items, METRICS)


def entry(role: str, **psnr: float) -> dict:
    return {'role': role, 'psnr': {'identity': 11.0, **psnr}}


@pytest.mark.parametrize('unlearned, retrained, words', [
    (11.2, 11.0, 'is forgotten'),
    (11.2, None, 'is forgotten'),
    (13.0, 11.0, 'is only partly forgotten'),
    (21.5, 11.0, 'is not forgotten'),
    (4.5, 11.0, 'is over-forgotten'),
    (4.5, None, 'is over-forgotten'),
    (9.1, 9.0, 'is forgotten'),  # a retrained network below the untouched input is still what counts
])
def test_verdict_on_the_forget_set(unlearned, retrained, words):
    psnr = {'original': 21.6, 'unlearned': unlearned, **({} if retrained is None else {'retrained': retrained})}
    headline, sentence = verdict({'haze': entry('forget', **psnr)})
    assert headline == f'Haze {words}.'
    assert f'from 21.60 to {unlearned:.2f} dB' in sentence
    assert ('the untouched input scores 11.00' if retrained is None else f'retrained network has {retrained:.2f}'
            ) in sentence


def test_verdict_on_the_retain_sets():
    headline, sentence = verdict({
        'haze': entry('forget', original=21.6, unlearned=11.1, retrained=11.0),
        'rain': entry('retain', original=28.9, unlearned=28.85),
        'noise': entry('retain', original=28.0, unlearned=28.1),
        'blur': entry('retain', original=27.0, unlearned=26.7), 'snow': entry('retain', original=27.0, unlearned=20.0)})
    assert headline == 'Haze is forgotten. Snow is damaged. Blur is slightly worse. Rain and noise are kept.'
    assert 'rain loses 0.05 dB, noise gains 0.10 dB, blur loses 0.30 dB and snow loses 7.00 dB' in sentence
