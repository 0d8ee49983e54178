import math

import numpy as np
import pytest
import torch
from torch import nn

from basicsr_unlearn.errors import DataError, TrainingError
from basicsr_unlearn.metrics.evaluation import evaluate, evenly, in_tiles, restorations

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


@pytest.mark.parametrize('val, shapes', [({'tile': 64}, 3 * [64]), ({'tile': 64, 'tile_overlap': 0}, 2 * [64]),
                                         ({'tile': None, 'tile_overlap': 32}, [128]), ({}, [128])])
def test_tiles_are_an_option_and_follow_the_scale(val, shapes):
    """128 pixels in tiles of 64: 3, which share 32 pixels by default, or 2, which share none."""
    seen = []

    def doubled(lq: torch.Tensor) -> torch.Tensor:
        seen.append(lq.shape[3])
        return lq.repeat_interleave(2, 2).repeat_interleave(2, 3)

    lq = torch.rand(1, 3, 8, 128)
    torch.testing.assert_close(in_tiles(doubled, val, 2)(lq), doubled(lq), rtol=0, atol=1e-6)
    assert seen[:-1] == shapes


@pytest.mark.parametrize('training', [True, False])
def test_networks_are_left_in_the_mode_they_had(training):
    net = Shift(0).train(training)
    evaluate({'original': net}, flat_pairs([10]), METRICS)
    assert net.training is training


def test_an_output_of_another_size_than_the_clean_image_is_one_sentence():
    item = {**flat_pairs([10])[0], 'gt': torch.zeros(3, 32, 40)}
    with pytest.raises(DataError, match='image0.png: the output of the original network is 20x16 but the clean image '
                                        'is 40x32'):
        evaluate({'original': Shift(0)}, [item], METRICS)


def test_without_a_clean_image_there_are_pictures_but_no_score_against_it():
    (item,) = flat_pairs([10])
    del item['gt']
    (restored,) = restorations({'original': Shift(5)}, [item], METRICS)
    assert list(restored.images) == ['identity', 'original'] and restored.scores('original') == {}


def test_positions_are_evenly_spread():
    assert evenly(10, 4) == [0, 3, 6, 9] and evenly(3, None) == [0, 1, 2] and evenly(2, 5) == [0, 1]
    assert evenly(3, 0) == []
