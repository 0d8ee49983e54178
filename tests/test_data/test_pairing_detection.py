"""How folders belong together: names of every common kind pair, and what is held out shares no scene with the rest."""
import cv2
import numpy as np
import pytest

from basicsr_unlearn.data.degradation_chain import DegradationChain
from basicsr_unlearn.data.known_degradations import KNOWN, steps_of, word_of_folder
from basicsr_unlearn.data.pairing_detection import find_pairing, find_scale, hold_out
from basicsr_unlearn.data.store import ImageStore
from basicsr_unlearn.errors import DataError


@pytest.mark.parametrize('lq, gt, options, first', [
    (['a', 'b'], ['a', 'b'], {}, ('a', 'a')),
    (['rain-001', 'rain-002'], ['norain-001', 'norain-002'], {'gt_tmpl': 'no{}'}, ('rain-001', 'norain-001')),
    (['0801x4', '0802x4'], ['0801', '0802'], {'lq_tmpl': '{}x4'}, ('0801x4', '0801')),
    (['a_hazy', 'b_hazy'], ['a_GT', 'b_GT'], {'lq_tmpl': '{}hazy', 'gt_tmpl': '{}GT'}, ('a_hazy', 'a_GT')),
    (['in1_x', 'in2_x'], ['out1_y', 'out2_y'], {'lq_tmpl': 'in{}x', 'gt_tmpl': 'out{}y'}, ('in1_x', 'out1_y')),
    (['1400_1', '1400_7', '1401_1'], ['1400', '1401', '1402'], {'pairing': 'prefix'}, ('1400_1', '1400')),
    (['a'], ['a', 'b'], {'pairing': 'prefix'}, ('a', 'a')),  # a clean image without a partner may be left over
])
def test_names_pair_by_the_simplest_rule_that_pairs_all(lq, gt, options, first):
    found, pairs = find_pairing(lq, gt)
    assert found == options and pairs[0] == first and [name for name, _ in pairs] == lq


@pytest.mark.parametrize('lq, gt', [(['a', 'b'], ['c', 'd']), (['a', 'b'], ['a']), (['1400_7'], ['1401'])])
def test_names_that_do_not_pair_are_not_paired(lq, gt):
    assert find_pairing(lq, gt) is None


def test_whole_scenes_are_held_out_by_their_names_and_never_all():
    pairs = [(f'{scene}_{level}', str(scene)) for scene in range(10) for level in range(4)]
    held, clean = hold_out(pairs)
    assert len(held) == 8 and len(clean) == 2  # a fifth
    assert {name.split('_')[0] for name in held} == set(clean)
    assert hold_out(pairs[::-1]) == (held[::-1], clean[::-1])  # by the names, not by the order
    many, _ = hold_out([(str(number), str(number)) for number in range(1000)])
    assert len(many) == 20
    assert len(hold_out([('a_1', 'a'), ('a_2', 'a'), ('b_1', 'b')])[1]) == 1
    with pytest.raises(DataError, match='but one clean image'):
        hold_out([('a_1', 'a'), ('a_2', 'a')])


def test_the_scale_is_that_of_the_sizes(tmp_path):
    for folder, height, width in (('small', 6, 8), ('large', 18, 24), ('odd', 7, 24)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / 'a.png'), np.zeros((height, width, 3), np.uint8))
    small, large, odd = ((ImageStore(str(tmp_path / folder)), 'a') for folder in ('small', 'large', 'odd'))
    assert find_scale(small, large) == 3 and find_scale(large, large) == 1
    with pytest.raises(DataError, match='name the folder of degraded images first'):
        find_scale(large, small)
    with pytest.raises(DataError, match='at a whole scale'):
        find_scale(small, odd)


@pytest.mark.parametrize('folder, word', [
    ('data/derain/Rain100H/input', 'rain'), ('dehaze/SOTS-indoor/train/input', 'haze'), ('hazy', 'haze'),
    ('/a/noisy_images', 'noise'), ('GoPro/blur', 'blur'), ('lowLight', None), ('train/input', None),
    ('restrain/x', None), ('noise/a/b/c/d', None)])
def test_a_folder_speaks_of_a_degradation_by_a_whole_word(folder, word):
    found = word_of_folder(folder)
    assert (found and found[0]) == word


@pytest.mark.parametrize('word', KNOWN)
@pytest.mark.parametrize('scale', [1, 4])
def test_every_known_degradation_can_be_made(word, scale):
    image = np.full((16, 16, 3), 0.5, np.float32)
    for steps in steps_of(word, scale):
        window = slice(0, 16), slice(0, 16)
        made = DegradationChain(steps, scale)(image, np.random.default_rng(0), 'x', (16, 16), window)
        assert made.shape == image.shape and np.isfinite(made).all()
