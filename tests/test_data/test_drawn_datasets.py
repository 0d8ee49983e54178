"""The data sets: what an item holds, and that it depends on its seed and index alone."""
import random
from copy import deepcopy

import numpy as np
import pytest
import torch
from basicsr.utils.matlab_functions import imresize
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import DataLoader

from basicsr_unlearn.data.degraded_image_dataset import DegradedImageDataset
from basicsr_unlearn.data.drawn import augmented, centre_window, crop_window
from basicsr_unlearn.data.forget_retain_dataset import ForgetRetainDataset
from basicsr_unlearn.data.image_io import read_image, to_float
from basicsr_unlearn.data.mixed_dataset import MixedDataset
from basicsr_unlearn.data.paired_restoration_dataset import PairedRestorationDataset
from basicsr_unlearn.errors import DataError, OptionError

NOISE = [{'type': 'gaussian_noise', 'sigma': [5, 50]}]


def build(opt, phase='train', **more):
    opt = {'name': 'x', 'phase': phase, 'scale': 1, 'gt_size': 16, 'seed': 3, **deepcopy(opt), **more}
    return DATASET_REGISTRY.get(opt['type'])(opt)


def paired(folders, **more):
    return {'type': 'PairedRestorationDataset', 'dataroot_lq': folders[0], 'dataroot_gt': folders[1], **more}


def degraded(folder, **more):
    return {'type': 'DegradedImageDataset', 'dataroot_gt': folder, 'degradations': NOISE, **more}


def forget_retain(folders, **more):
    return {'type': 'ForgetRetainDataset', 'forget': [paired(folders, name='f')],
            'retain': [degraded(folders[1], name='n', ratio=2), paired(folders, name='p')], **more}


def same(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(value, second[key]) if torch.is_tensor(value) else value == second[key]
        for key, value in first.items())


def as_float(path):
    return to_float(read_image(path)).transpose(2, 0, 1)


def find_patch(patch, image):
    """Whether the patch, turned in any of the eight ways, is a window of the image; both (3, h, w)."""
    size = patch.shape[-1]
    windows = np.lib.stride_tricks.sliding_window_view(image, (size, size), (1, 2))
    for transpose in (False, True):
        for flip in (lambda x: x, np.fliplr, np.flipud, lambda x: np.fliplr(np.flipud(x))):
            turned = np.stack([flip(c.T if transpose else c) for c in patch])[:, None, None]
            if np.abs(windows - turned).max(axis=(0, 3, 4)).min() < 1e-6:
                return True
    return False


# ---- windows and flips

def test_windows():
    assert centre_window(10, 7, 4) == (slice(3, 7), slice(1, 5))
    assert np.zeros((10, 7))[centre_window(10, 7, 8)].shape == (8, 7)  # at most the image
    places = {tuple(s.start for s in crop_window(5, 6, 4, np.random.default_rng(i), 'x')) for i in range(200)}
    assert places == {(top, left) for top in range(2) for left in range(3)}
    with pytest.raises(DataError, match='big.png is 3x5, smaller than the training patch of 4: lower gt_size'):
        crop_window(5, 3, 4, np.random.default_rng(0), 'big.png')


def test_augmentation_turns_all_images_alike_and_only_as_wanted():
    image = np.arange(12).reshape(2, 2, 3)
    seen = {(hflip, rot): set() for hflip in (False, True) for rot in (False, True)}
    for seed in range(100):
        for hflip, rot in seen:
            first, second = augmented([image, 2 * image], hflip, rot, np.random.default_rng(seed))
            np.testing.assert_array_equal(2 * first, second)
            seen[hflip, rot].add(first.tobytes())
    assert {key: len(ways) for key, ways in seen.items()} == {(False, False): 1, (True, False): 2, (False, True): 4,
                                                              (True, True): 8}


# ---- PairedRestorationDataset

def test_paired_validation_items_are_the_files(paired_folders):
    data = build(paired(paired_folders), 'val')
    assert len(data) == 4
    item = data[1]
    np.testing.assert_array_equal(item['lq'], as_float(f'{paired_folders[0]}/b.png'))
    np.testing.assert_array_equal(item['gt'], as_float(f'{paired_folders[1]}/b.png'))
    assert item['lq'].dtype == torch.float32 and item['lq'].is_contiguous()
    assert (item['lq_path'], item['gt_path']) == tuple(f'{folder}/b.png' for folder in paired_folders)
    crop = build(paired(paired_folders), 'val', center_crop=32)[1]
    assert torch.equal(crop['gt'], item['gt'][:, 8:40, 4:36]) and torch.equal(crop['lq'], item['lq'][:, 8:40, 4:36])


def test_paired_patches_of_lq_and_gt_show_the_same_place(paired_folders):
    data = build(paired((paired_folders[1], paired_folders[1])))
    for index in range(8):
        item = data[index]
        assert item['gt'].shape == (3, 16, 16) and torch.equal(item['lq'], item['gt'])
        assert find_patch(item['gt'].numpy(), as_float(item['gt_path']))


def test_scale_two(tmp_path, photos):
    folders = photos(tmp_path / 'lq', ['a'], (20, 24)), photos(tmp_path / 'gt', ['a'], (40, 48))
    item = build(paired(folders), scale=2)[0]
    assert item['lq'].shape == (3, 8, 8) and item['gt'].shape == (3, 16, 16)
    item = build(paired(folders), 'val', scale=2, center_crop=16)[0]
    np.testing.assert_array_equal(item['gt'], as_float(f'{folders[1]}/a.png')[:, 12:28, 16:32])
    np.testing.assert_array_equal(item['lq'], as_float(f'{folders[0]}/a.png')[:, 6:14, 8:16])


def test_sizes_that_do_not_match_are_named(tmp_path, photos):
    folders = photos(tmp_path / 'lq', ['a'], (20, 24)), photos(tmp_path / 'gt', ['a'], (20, 25))
    for phase in ('train', 'val'):
        with pytest.raises(DataError, match='lq/a.png is 24x20 but its clean image .*gt/a.png is 25x20'):
            build(paired(folders), phase)[0]


def test_reside_names_from_files(tmp_path, photos):
    folders = (photos(tmp_path / 'hazy', ['0025_0.8_0.1', '0025_1_0.2', '0026_0.9_0.1'], suffix='.jpg'),
               photos(tmp_path / 'clear', ['0025', '0026']))
    data = build(paired(folders, pairing='prefix'), 'val')
    assert [(item['lq_path'].rpartition('/')[2], item['gt_path'].rpartition('/')[2]) for item in data] == [
        ('0025_0.8_0.1.jpg', '0025.png'), ('0025_1_0.2.jpg', '0025.png'), ('0026_0.9_0.1.jpg', '0026.png')]


def test_only_and_except_files_split_a_set(tmp_path, paired_folders):
    (tmp_path / 'forget.txt').write_text('b.png\nd\n')
    only = build(paired(paired_folders, only_files=str(tmp_path / 'forget.txt')), 'val')
    rest = build(paired(paired_folders, except_files=['b', 'd.png']), 'val')
    names = [[item['lq_path'].rpartition('/')[2] for item in data] for data in (only, rest)]
    assert names == [['b.png', 'd.png'], ['a.png', 'c.png']]


def test_only_files_of_two_folders_are_looked_for_in_both(tmp_path, photos):
    roots = [photos(tmp_path / 'one', ['a', 'b']), photos(tmp_path / 'two', ['c', 'd'])]
    data = build(degraded(roots, only_files=['b', 'c']), 'val')
    assert [item['gt_path'].rpartition('/')[2] for item in data] == ['b.png', 'c.png']
    assert len(build(degraded(roots, except_files=['a', 'c', 'd']), 'val')) == 1
    with pytest.raises(DataError, match='one or .*two has no image named z'):
        build(degraded(roots, only_files=['z']), 'val')


def test_home_folder_and_missing_option(paired_folders, tmp_path, monkeypatch):
    monkeypatch.setenv('HOME', str(tmp_path))
    assert len(build(degraded('~/gt'), 'val')) == 4  # BasicSR expands ~ at the top level of a data set only
    with pytest.raises(OptionError, match='data set x needs the option dataroot_gt'):
        build({'type': 'PairedRestorationDataset', 'dataroot_lq': paired_folders[0]})


# ---- DegradedImageDataset

def test_degraded_training_items(paired_folders):
    data = build(degraded(paired_folders[1]))
    item = data[0]
    assert item['lq'].shape == item['gt'].shape == (3, 16, 16)
    assert find_patch(item['gt'].numpy(), as_float(item['gt_path']))
    assert not torch.equal(item['lq'], item['gt'])
    levels = [(data[i]['lq'] - data[i]['gt']).std() * 255 for i in range(30)]
    assert min(levels) < 15 and max(levels) > 35  # sigma is drawn anew from 5 to 50


def test_validation_depends_on_neither_manual_seed_nor_other_files(tmp_path, photos):
    folder = photos(tmp_path, ['b', 'c'])
    torch.manual_seed(1)
    before = build(degraded(folder), 'val', seed=None)[0]
    photos(tmp_path, ['a'])
    torch.manual_seed(2)
    after = build(degraded(folder), 'val', seed=None)[1]
    assert before['gt_path'].endswith('b.png') and same(before, after)
    assert not same(build(degraded(folder), 'val', seed=9)[1], after)


def test_depth_turns_with_the_photograph(tmp_path, photos):
    """Where depth is the picture's own brightness, haze on black must show it, whichever way the patch is turned."""
    rng = np.random.default_rng(0)
    depth = rng.random((48, 40)).astype(np.float32)
    depth[0, 0] = 1
    (tmp_path / 'depth').mkdir()
    np.save(tmp_path / 'depth' / 'scene.npy', depth)
    (tmp_path / 'gt').mkdir()
    from basicsr_unlearn.data.image_io import write_image
    write_image(tmp_path / 'gt' / 'scene.png', np.repeat(depth[..., None], 3, axis=2))
    data = build(degraded(str(tmp_path / 'gt'), degradations=[
        {'type': 'haze', 'depth': str(tmp_path / 'depth'), 'beta': 1.0, 'airlight': 1.0}]))
    for index in range(16):
        item = data[index]
        t = torch.exp(-item['gt'])
        assert (item['lq'] - (item['gt'] * t + 1 - t)).abs().max() < 0.005  # the photograph is rounded to 8 bits


# ---- reproducibility

@pytest.mark.parametrize('kind', ['paired', 'degraded', 'mixed', 'forget_retain'])
def test_items_differ_by_index_and_seed_and_repeat(paired_folders, kind):
    opt = {'paired': paired(paired_folders), 'degraded': degraded(paired_folders[1]),
           'mixed': {'type': 'MixedDataset', 'sets': [paired(paired_folders), degraded(paired_folders[1])]},
           'forget_retain': forget_retain(paired_folders)}[kind]
    data, again, other = build(opt), build(opt), build(opt, seed=4)
    assert all(same(data[i], again[i]) for i in (5, 0, 3))
    assert not same(data[0], data[1]) and not same(data[0], other[0])


def test_the_default_seed_is_manual_seed_on_every_rank(paired_folders, monkeypatch):
    torch.manual_seed(7)
    alone = build(degraded(paired_folders[1]), seed=None)
    torch.manual_seed(7 + 3)  # as BasicSR seeds rank 3
    monkeypatch.setattr('basicsr_unlearn.data.drawn.get_dist_info', lambda: (3, 4))
    rank_3 = build(degraded(paired_folders[1]), seed=None)
    assert alone.seed == 7 and same(alone[11], rank_3[11])


def test_workers_give_the_same_items(paired_folders):
    data = build(forget_retain(paired_folders), batch_size_per_gpu=2, epoch_length=6)
    assert len(data) == 6
    plain = list(DataLoader(data, 2))
    two = DataLoader(data, 2, num_workers=2, persistent_workers=True)
    for epoch in range(2):  # persistent workers meet the second epoch with their state of the first
        assert all(same(a, b) for a, b in zip(plain, two, strict=True)), epoch


def test_length_is_whole_batches(paired_folders, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 0)
    assert len(build(degraded(paired_folders[1]), batch_size_per_gpu=12, epoch_length=20)) == 24
    assert len(build(degraded(paired_folders[1]), batch_size_per_gpu=12)) == 65544
    monkeypatch.setattr('basicsr_unlearn.data.drawn.get_dist_info', lambda: (1, 3))
    assert len(build(degraded(paired_folders[1]), batch_size_per_gpu=4, epoch_length=20)) == 24
    assert len(build(degraded(paired_folders[1]), 'val', batch_size_per_gpu=12)) == 4


# ---- MixedDataset

def test_mix_follows_its_ratios_and_passes_options_down(paired_folders):
    data = build({'type': 'MixedDataset', 'gt_size': 8, 'sets': [
        paired(paired_folders, name='p', ratio=3), degraded(paired_folders[1], name='d'),
        degraded(paired_folders[1], name='never', ratio=0, gt_size=4)]})
    items = [data[i] for i in range(400)]
    share = np.mean([item['lq_path'] != item['gt_path'] for item in items])
    assert share == pytest.approx(0.75, abs=0.09)  # four standard errors
    assert {tuple(item['lq'].shape) for item in items} == {(3, 8, 8)}


def test_mix_in_validation_is_one_set_after_the_other(paired_folders):
    data = build({'type': 'MixedDataset', 'sets': [paired(paired_folders), degraded(paired_folders[1])]}, 'val')
    assert len(data) == 8
    assert [data[i]['lq_path'] == data[i]['gt_path'] for i in range(8)] == [False] * 4 + [True] * 4
    with pytest.raises(IndexError):
        data[8]


@pytest.mark.parametrize('ratio', [-1, '2', True, 0])
def test_bad_ratios_are_refused(paired_folders, ratio):
    with pytest.raises(OptionError, match='must be numbers from 0 up'):
        build({'type': 'MixedDataset', 'sets': [paired(paired_folders, ratio=ratio)]})


def test_a_stock_data_set_as_child_is_reproducible_and_leaves_the_generators_alone(paired_folders):
    stock = {'type': 'PairedImageDataset', 'name': 's', 'dataroot_lq': paired_folders[0],
             'dataroot_gt': paired_folders[1], 'io_backend': {'type': 'disk'}, 'use_hflip': True, 'use_rot': True}
    data = build({'type': 'MixedDataset', 'sets': [stock]})
    first = [data[i] for i in range(4)]
    random.seed(99), np.random.seed(99), torch.manual_seed(99)
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()
    assert all(same(data[i], item) for i, item in enumerate(first))
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[2])
    np.testing.assert_array_equal(np.random.get_state()[1], states[1])
    assert not same(first[0], first[1]) and first[0]['lq'].shape == (3, 16, 16)


def test_a_child_without_pairs_is_refused(tmp_path, photos):
    data = build({'type': 'MixedDataset', 'sets': [
        {'type': 'SingleImageDataset', 'dataroot_lq': photos(tmp_path, ['a']), 'io_backend': {'type': 'disk'}}]})
    with pytest.raises(OptionError, match='SingleImageDataset cannot be part of a mix: its items have no gt, gt_path'):
        data[0]


# ---- ForgetRetainDataset

def test_forget_retain_items_have_flat_keys(paired_folders):
    item = build(forget_retain(paired_folders))[0]
    assert sorted(item) == sorted(f'{stream}_{key}' for stream in ('forget', 'retain')
                                  for key in ('lq', 'gt', 'lq_path', 'gt_path'))


def test_pairing_of_forget_and_retain_changes_with_the_index(paired_folders):
    data = build(forget_retain(paired_folders))
    partners = {}
    for index in range(100):
        item = data[index]
        partners.setdefault(item['forget_gt_path'], set()).add(item['retain_gt_path'])
    assert all(len(found) == 4 for found in partners.values()) and len(partners) == 4


def test_a_forget_set_of_one_image_fills_batches_of_four(paired_folders):
    data = build({'type': 'ForgetRetainDataset', 'forget': [paired(paired_folders, only_files=['c'])]},
                 batch_size_per_gpu=4, epoch_length=8)
    assert data.count() == 1 and len(data) == 8
    batches = list(DataLoader(data, 4, drop_last=True))
    assert [tuple(batch['forget_lq'].shape) for batch in batches] == [(4, 3, 16, 16)] * 2
    assert not torch.equal(batches[0]['forget_lq'][0], batches[0]['forget_lq'][1])  # other crops of the one image
    assert 'retain_lq' not in batches[0]


def test_retain_from_forget_gt(paired_folders):
    data = build({'type': 'ForgetRetainDataset', 'forget': [paired(paired_folders, only_files=['a', 'c'])],
                  'retain_from': 'forget_gt', 'retain_degradations': [
                      {'ratio': 3, 'degradations': [{'type': 'gaussian_noise', 'sigma': 0}]},
                      {'degradations': [{'type': 'rain_streaks'}]}]})
    items = [data[i] for i in range(300)]
    assert {item['retain_gt_path'].rpartition('/')[2] for item in items} == {'a.png', 'c.png'}
    assert find_patch(items[0]['retain_gt'].numpy(), as_float(items[0]['retain_gt_path']))
    noise_free = np.mean([torch.equal(item['retain_lq'], item['retain_gt']) for item in items])
    assert noise_free == pytest.approx(0.75, abs=0.1)


def test_clean_images_serve_super_resolution_downscaled_as_matlab_does(paired_folders):
    clean = {'name': 'x', 'type': 'DegradedImageDataset', 'dataroot_gt': paired_folders[1], 'only_files': ['c']}
    item = build({**clean, 'degradations': []}, 'val', scale=3)[0]
    whole = as_float(item['gt_path'])
    height, width = (size // 3 * 3 for size in whole.shape[1:])
    assert np.array_equal(item['gt'].numpy(), whole[:, :height, :width])
    small = imresize(np.ascontiguousarray(whole[:, :height, :width].transpose(1, 2, 0)), 1 / 3)
    assert np.allclose(item['lq'].numpy(), np.clip(small, 0, 1).transpose(2, 0, 1), atol=1e-6)
    noisy = build({**clean, 'degradations': [{'type': 'gaussian_noise', 'sigma': 25}]}, 'val', scale=3)[0]
    noise = (noisy['lq'] - item['lq'])[(noisy['lq'] > 0) & (noisy['lq'] < 1)]
    assert float(noise.std()) == pytest.approx(25 / 255, rel=0.3)  # at the small size
    with pytest.raises(OptionError, match='scale 1 only'):
        build({**clean, 'degradations': [{'type': 'haze', 'depth': 'x'}]}, 'val', scale=3)
    with pytest.raises(OptionError, match='must be a list of steps'):
        build({**clean, 'degradations': []}, 'val')


def test_retain_from_forget_gt_at_scale_2(paired_folders):
    data = build({'type': 'ForgetRetainDataset', 'scale': 2, 'gt_size': 16,
                  'forget': [{'type': 'DegradedImageDataset', 'dataroot_gt': paired_folders[1],
                              'degradations': [{'type': 'jpeg', 'quality': 20}]}],
                  'retain_from': 'forget_gt', 'retain_degradations': [{'degradations': []}]}, scale=2)
    item = data[0]
    assert {key: tuple(value.shape) for key, value in item.items() if not isinstance(value, str)} == {
        'forget_lq': (3, 8, 8), 'forget_gt': (3, 16, 16), 'retain_lq': (3, 8, 8), 'retain_gt': (3, 16, 16)}
    assert find_patch(item['retain_gt'].numpy(), as_float(item['retain_gt_path']))
    small = imresize(item['retain_gt'].numpy().transpose(1, 2, 0), 1 / 2).clip(0, 1)
    assert np.allclose(item['retain_lq'].numpy().transpose(1, 2, 0), small, atol=1e-6)


@pytest.mark.parametrize('more, message', [
    ({'retain_from': 'forget_gt'}, 'needs the option retain_degradations'),
    ({'retain_from': 'teacher', 'retain_degradations': [{'degradations': NOISE}]}, "retain_from is 'teacher'"),
    ({'retain_degradations': [{'degradations': NOISE}]}, 'needs retain_from'),
    ({'retain_from': 'forget_gt', 'retain_degradations': [{'degradations': NOISE}], 'retain': [{}]}, 'not both'),
    ({'retain_from': 'forget_gt', 'retain_degradations': ['noise']}, 'retain_degradations needs a list of blocks'),
    ({'retain_from': 'forget_gt', 'retain_degradations': [{'degradations': NOISE, 'ratio': -1}]}, 'from 0 up'),
    ({'forget': {'type': 'PairedRestorationDataset'}}, 'needs a list of blocks'),
    ({'forget': None}, 'needs the option forget'),
])
def test_contradicting_options_are_refused(paired_folders, more, message):
    with pytest.raises(OptionError, match=message):
        build({'type': 'ForgetRetainDataset', 'forget': [paired(paired_folders)]}, **more)


def test_forget_retain_is_for_training_only(paired_folders):
    with pytest.raises(OptionError, match='val_ block'):
        build(forget_retain(paired_folders), 'val')


def test_options_name_what_the_constructors_document():
    for cls in (PairedRestorationDataset, DegradedImageDataset, MixedDataset, ForgetRetainDataset):
        assert cls.OPTIONS and all(key in cls.__doc__ for key in cls.OPTIONS), cls
