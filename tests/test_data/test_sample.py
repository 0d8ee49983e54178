"""The sample photographs: laid out once, whole, always the same, with no photograph on two sides."""
import hashlib
from pathlib import Path

import numpy as np
import pytest

from basicsr_unlearn.data import sample
from basicsr_unlearn.data.image_io import read_image, to_float
from basicsr_unlearn.data.paired_restoration_dataset import PairedRestorationDataset
from basicsr_unlearn.data.sample import CROPS, LEVELS, ensure_sample, lay_out_sample, motorcycle_depth
from basicsr_unlearn.data.store import ImageStore
from basicsr_unlearn.errors import DataError


@pytest.fixture(scope='module')
def laid_out(tmp_path_factory):
    folder = tmp_path_factory.mktemp('sample') / 'datasets' / 'sample'
    lay_out_sample(folder)
    return folder


def digests(folder: Path) -> dict:
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
            for p in sorted(folder.rglob('*')) if p.is_file()}


def pairs_of(laid_out, kind, phase):
    return PairedRestorationDataset({'name': 'x', 'phase': 'val', 'scale': 1, 'pairing': 'prefix',
                                     'dataroot_lq': str(laid_out / kind / phase / 'input'),
                                     'dataroot_gt': str(laid_out / kind / phase / 'target')})


def test_every_set_pairs_up_and_validation_stays_cheap(laid_out):
    for kind, levels in LEVELS.items():
        assert len(pairs_of(laid_out, kind, 'train')) == len(levels) * len(CROPS['forget'])
        val = pairs_of(laid_out, kind, 'val')
        assert len(val) == 5 and all(max(item['lq'].shape) <= 256 for item in val)
    assert ImageStore(str(laid_out / 'clean' / 'train')).names == ['camera', 'coffee']
    assert ImageStore(str(laid_out / 'clean' / 'val')).names == sorted(CROPS['val'])


def test_forget_retain_and_validation_share_no_pixel():
    owner = {}
    for group, crops in CROPS.items():
        for file, top, bottom, left, right in crops.values():
            mask = np.zeros((1000, 1000), bool)
            mask[top:bottom, left:right] = True
            for other, others_mask in owner.get(file, []):
                assert not (mask & others_mask).any(), (file, group, other)
            owner.setdefault(file, []).append((group, mask))
    in_two = {file for file, parts in owner.items() if len({group for group, _ in parts}) > 1}
    assert in_two == {'motorcycle_left.png'}


def test_degradations_are_what_they_say(laid_out):
    for kind, low, high in (('haze', 5, 20), ('rain', 15, 25), ('noise', 20, 21)):
        scores = [-10 * np.log10(float(((item['lq'] - item['gt']) ** 2).mean())) for item in
                  pairs_of(laid_out, kind, 'val')]
        assert all(low < score < high for score in scores), (kind, scores)  # sigma 25 is 20.2 dB without clipping


def test_haze_on_the_motorcycle_follows_its_true_depth(laid_out):
    source = sample._photograph_folder()
    depth = motorcycle_depth(np.load(source / 'motorcycle_disp.npz')['arr_0'])[:500, :400]
    clean = to_float(read_image(laid_out / 'haze' / 'train' / 'target' / 'motorcycle.png'))
    hazy = to_float(read_image(laid_out / 'haze' / 'train' / 'input' / 'motorcycle_2.png'))
    t = np.exp(-LEVELS['haze'][1]['beta'] * depth)[..., None]
    expected = clean * t + LEVELS['haze'][1]['airlight'] * (1 - t)
    assert np.abs(hazy - expected).max() <= 0.5 / 255 + 1e-5


def test_depth_from_disparity_by_hand():
    offset = sample.DISPARITY_OFFSET
    disparity = np.array([[10, np.inf, 30], [np.nan, 20, np.inf], [np.inf, np.inf, np.inf]], np.float32)
    filled = np.array([[10, 10, 30], [20, 20, 20], [10, 10, 10]])  # holes take the farther neighbour
    np.testing.assert_allclose(motorcycle_depth(disparity), (10 + offset) / (filled + offset), rtol=1e-6)


def test_the_sample_is_the_same_each_time_and_says_where_it_comes_from(laid_out, tmp_path):
    lay_out_sample(tmp_path / 'again')
    assert digests(tmp_path / 'again') == digests(laid_out)
    readme = (laid_out / 'README.txt').read_text()
    assert all(file.partition('.')[0].partition('_')[0] in readme for crops in CROPS.values()
               for file, *_ in crops.values())


def test_only_a_missing_sample_is_laid_out(in_tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(sample, 'lay_out_sample', lambda folder: (calls.append(folder), folder.mkdir(parents=True)))
    for root in ('datasets/other', '/datasets/sample/haze', 'datasets/sample2/haze', 'elsewhere/datasets/sample'):
        ensure_sample(root)
    assert not calls
    for root in ('datasets/sample/haze', './datasets/../datasets/sample/x', str(in_tmp_path / 'datasets/sample/rain')):
        ensure_sample(root)
    assert calls == [Path('datasets/sample')]  # once: then it is there
    with pytest.raises(DataError, match='The folder datasets/sample/no_such does not exist'):
        ImageStore('datasets/sample/no_such')


def test_an_interrupted_layout_leaves_nothing(in_tmp_path, monkeypatch):
    def interrupted(path, image):
        raise KeyboardInterrupt

    monkeypatch.setattr(sample, 'write_image', interrupted)
    with pytest.raises(KeyboardInterrupt):
        ensure_sample('datasets/sample/haze/val/input')
    assert list((in_tmp_path / 'datasets').iterdir()) == []


def test_the_slower_of_two_processes_takes_the_sample_of_the_faster(in_tmp_path, monkeypatch):
    folder = Path('datasets/sample')

    def write_while_the_other_finishes(source, partial):
        partial.mkdir(parents=True)
        folder.mkdir(parents=True)
        (folder / 'README.txt').write_text('the other was first')

    monkeypatch.setattr(sample, '_write_all', write_while_the_other_finishes)
    lay_out_sample(folder)
    assert (folder / 'README.txt').read_text() == 'the other was first'
    assert [p.name for p in Path('datasets').iterdir()] == ['sample']


def test_a_disk_that_takes_nothing_is_a_clear_error(in_tmp_path):
    (in_tmp_path / 'datasets').write_text('a file where the folder should be')
    with pytest.raises(DataError, match='cannot be written to datasets/sample: Not a directory. Run where you may'):
        ensure_sample('datasets/sample/clean/val')


def test_missing_photographs_are_a_clear_error(in_tmp_path, monkeypatch):
    monkeypatch.setitem(CROPS['val'], 'gone', ('gone.png', 0, 1, 0, 1))
    with pytest.raises(DataError, match='scikit-image lacks gone.png'):
        ensure_sample('datasets/sample/clean/val')
    monkeypatch.setattr(sample.importlib.util, 'find_spec', lambda name: None)
    with pytest.raises(DataError, match='scikit-image, which is not installed'):
        ensure_sample('datasets/sample/clean/val')
    assert list(in_tmp_path.iterdir()) == []
