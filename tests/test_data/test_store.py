"""Folders and LMDBs: the same items, whoever reads them and from whichever process."""
import os
import pickle
from urllib.parse import unquote

import cv2
import lmdb
import numpy as np
import pytest
import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import DataLoader

from basicsr_unlearn.data import image_io
from basicsr_unlearn.data import store as store_module
from basicsr_unlearn.data.store import ImageStore, lmdb_environment
from basicsr_unlearn.errors import DataError

NAMES = ['0025_0.8_0.1', 'mit Leerzeichen', 'Straße 雨', '100%', 'a%2Eb']


@pytest.fixture
def lmdb_pair(paired_folders, create_lmdb):
    """The LMDBs of paired_folders."""
    for folder in paired_folders:
        create_lmdb.create_lmdb(folder, f'{folder}.lmdb')
    return tuple(f'{folder}.lmdb' for folder in paired_folders)


def forget_retain(folders, **more):
    pair = {'type': 'PairedRestorationDataset', 'dataroot_lq': folders[0], 'dataroot_gt': folders[1]}
    return DATASET_REGISTRY.get('ForgetRetainDataset')({
        'name': 'x', 'phase': 'train', 'scale': 1, 'gt_size': 16, 'seed': 1, 'epoch_length': 8,
        'forget': [{**pair, 'name': 'f', 'only_files': ['a']}],
        'retain': [{**pair, 'name': 'r', 'except_files': ['a']}], **more})


def items(data, **loader):
    return [{k: v for k, v in batch.items() if torch.is_tensor(v)} for batch in DataLoader(data, 2, **loader)]


def assert_same(first, second):
    for a, b in zip(first, second, strict=True):
        assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# ---- the script

def test_names_come_back_from_an_lmdb(tmp_path, photos, create_lmdb):
    folder = photos(tmp_path / 'in', NAMES)
    assert create_lmdb.main([folder, str(tmp_path / 'out.lmdb'), '--compress-level', '9']) == 0
    plain, packed = ImageStore(folder), ImageStore(str(tmp_path / 'out.lmdb'))
    assert packed.names == plain.names == sorted(NAMES)
    for name in NAMES:
        np.testing.assert_array_equal(packed.read(name), plain.read(name))
        assert os.path.splitext(os.path.basename(packed.path(name)))[0] == name  # BasicSR names results by it


@pytest.mark.parametrize('name', NAMES)
def test_keys_are_ascii_without_dots_and_reversible(name, create_lmdb):
    key = create_lmdb.encode_key(name)
    assert key.isascii() and '.' not in key and ' ' not in key and unquote(key) == name


def test_an_lmdb_keeps_16_bits_grey_and_alpha(tmp_path, pixels, create_lmdb, monkeypatch):
    rng = np.random.default_rng(0)
    kinds = {'deep': rng.integers(0, 65536, (9, 8, 3), dtype=np.uint16), 'grey': rng.integers(0, 256, (9, 8), np.uint8),
             'alpha': rng.integers(0, 256, (9, 8, 4), np.uint8)}
    for name, image in kinds.items():
        pixels(tmp_path / 'in' / f'{name}.png', image)
    monkeypatch.setattr(image_io, '_warned_alpha', True)
    create_lmdb.create_lmdb(str(tmp_path / 'in'), str(tmp_path / 'out.lmdb'))
    packed = ImageStore(str(tmp_path / 'out.lmdb'))
    np.testing.assert_array_equal(packed.read('deep'), kinds['deep'])
    np.testing.assert_array_equal(packed.read('grey'), np.repeat(kinds['grey'][..., None], 3, 2))
    with lmdb_environment(str(tmp_path / 'out.lmdb')).begin() as transaction:
        assert cv2.imdecode(np.frombuffer(transaction.get(b'alpha'), np.uint8), -1).shape == (9, 8, 4)


def test_a_small_first_image_does_not_limit_the_room(tmp_path, pixels, create_lmdb):
    rng = np.random.default_rng(0)
    for name, size in (('a', 8), ('b', 600), ('c', 600)):
        pixels(tmp_path / 'in' / f'{name}.png', rng.integers(0, 256, (size, size, 3), np.uint8))
    assert create_lmdb.create_lmdb(str(tmp_path / 'in'), str(tmp_path / 'out.lmdb')) == 3
    assert ImageStore(str(tmp_path / 'out.lmdb')).read('c').shape == (600, 600, 3)


@pytest.mark.parametrize('case, message', [
    ('missing', 'does not exist'), ('broken', 'b.png cannot be read as an image'), ('exists', 'exists already'),
    ('suffix', 'must end in .lmdb'), ('twins', 'differ only in their suffix'), ('is_lmdb', 'an LMDB already'),
    ('long', 'too long for an LMDB'), ('blocked', 'cannot be written')])
def test_the_script_refuses_with_exit_code_2_and_writes_nothing(tmp_path, photos, create_lmdb, capsys, case, message):
    folder, output = photos(tmp_path / 'in', ['a', 'b']), str(tmp_path / 'out.lmdb')
    if case == 'missing':
        folder = str(tmp_path / 'none')
    elif case == 'broken':
        (tmp_path / 'in' / 'b.png').write_bytes((tmp_path / 'in' / 'b.png').read_bytes()[:100])
    elif case == 'exists':
        (tmp_path / 'out.lmdb').mkdir()
    elif case == 'suffix':
        output = str(tmp_path / 'out')
    elif case == 'twins':
        photos(tmp_path / 'in', ['a'], suffix='.jpg')
    elif case == 'is_lmdb':
        folder = str(tmp_path / 'other.lmdb')
    elif case == 'long':
        photos(tmp_path / 'in', ['雨' * 70])
    elif case == 'blocked':
        (tmp_path / 'file').write_text('')
        output = str(tmp_path / 'file' / 'out.lmdb')
    before = sorted(tmp_path.rglob('*'))
    assert create_lmdb.main([folder, output]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1
    assert sorted(tmp_path.rglob('*')) == before


def test_an_interrupted_script_leaves_nothing(tmp_path, photos, create_lmdb, monkeypatch):
    folder = photos(tmp_path / 'in', ['a', 'b'])

    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(cv2, 'imencode', interrupted)  # after the LMDB was opened
    with pytest.raises(KeyboardInterrupt):
        create_lmdb.create_lmdb(folder, str(tmp_path / 'out.lmdb'))
    assert [p.name for p in tmp_path.iterdir()] == ['in']


# ---- reading

def test_folder_and_lmdb_give_identical_training_items(paired_folders, lmdb_pair):
    assert_same(items(forget_retain(paired_folders)), items(forget_retain(lmdb_pair)))


def test_one_lmdb_serves_forget_retain_and_validation_at_once(lmdb_pair):
    train = forget_retain(lmdb_pair)
    val = DATASET_REGISTRY.get('PairedRestorationDataset')(
        {'name': 'v', 'phase': 'val', 'scale': 1, 'dataroot_lq': lmdb_pair[0], 'dataroot_gt': lmdb_pair[1]})
    assert train[0]['retain_lq'].shape == (3, 16, 16) and val[3]['gt'].shape == (3, 48, 40)
    assert len(store_module._environments.keys() & {os.path.realpath(path) for path in lmdb_pair}) == 2


@pytest.mark.parametrize('persistent', [False, True])
def test_workers_that_fork_while_the_lmdb_is_open(lmdb_pair, persistent):
    data = forget_retain(lmdb_pair)
    expected = items(data)
    environment = lmdb_environment(lmdb_pair[0])
    loader = DataLoader(data, 2, num_workers=2, multiprocessing_context='fork', persistent_workers=persistent)
    for _ in range(2):
        iterator = iter(loader)
        batch = {k: v for k, v in next(iterator).items() if torch.is_tensor(v)}
        assert_same([batch], expected[:1])
        assert_same([{k: v for k, v in data[i].items() if torch.is_tensor(v)} for i in (1,)],
                    [{k: v[1] for k, v in expected[0].items()}])  # the parent reads on while the workers do
        assert len(list(iterator)) == 3
    assert lmdb_environment(lmdb_pair[0]) is environment  # and was never closed


def test_a_forked_child_opens_its_own(lmdb_pair):
    mine = lmdb_environment(lmdb_pair[0])
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            inherited = len(store_module._environments)
            own = lmdb_environment(lmdb_pair[0]) is not mine and ImageStore(lmdb_pair[0]).read('a').shape
            os.write(write_end, repr((inherited, own)).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write_end)
    assert os.read(read_end, 1000) == b'(0, (48, 40, 3))'
    os.close(read_end)


@pytest.mark.timeout(180)
def test_spawned_workers_after_the_data_set_was_used(lmdb_pair):
    data = forget_retain(lmdb_pair, cache=True)
    expected = items(data)  # now environments are open and images cached
    spawned = items(data, num_workers=2, multiprocessing_context='spawn')
    assert_same(spawned, expected)


def test_a_used_data_set_pickles_without_its_images(lmdb_pair):
    data = forget_retain(lmdb_pair, cache=True)
    fresh = len(pickle.dumps(data))
    first = data[0]
    assert any(child.lq._cache for child in data.forget + data.retain)
    assert len(pickle.dumps(data)) <= fresh + 100
    copy = pickle.loads(pickle.dumps(data))
    assert torch.equal(copy[0]['forget_lq'], first['forget_lq'])


def test_cache_reads_each_file_once(paired_folders):
    store = ImageStore(paired_folders[0], cache=True)
    image = store.read('a')
    os.remove(f'{paired_folders[0]}/a.png')
    assert store.read('a') is image
    gone = ImageStore(paired_folders[1])
    os.remove(f'{paired_folders[1]}/a.png')
    with pytest.raises(DataError, match='gt/a.png cannot be read: No such file'):
        gone.read('a')


def test_stock_basicsr_reads_the_lmdb(lmdb_pair, paired_folders):
    store_module._close_environments()  # BasicSR opens its own, once per data set
    stock = DATASET_REGISTRY.get('PairedImageDataset')(
        {'name': 's', 'phase': 'val', 'scale': 1, 'dataroot_lq': lmdb_pair[0], 'dataroot_gt': lmdb_pair[1],
         'io_backend': {'type': 'lmdb'}})
    found = {item['lq_path']: item['lq'] for item in (stock[i] for i in range(len(stock)))}
    assert sorted(found) == ['a', 'b', 'c', 'd']
    expected = ImageStore(paired_folders[0]).read('c').transpose(2, 0, 1) / np.float32(255)
    np.testing.assert_array_equal(found['c'], expected)


def test_unusable_lmdbs_are_named(tmp_path, lmdb_pair):
    (tmp_path / 'bare.lmdb').mkdir()
    with pytest.raises(DataError, match='bare.lmdb is no BasicSR LMDB, as .*meta_info.txt is missing'):
        ImageStore(str(tmp_path / 'bare.lmdb'))
    (tmp_path / 'bare.lmdb' / 'meta_info.txt').write_text('a.png (4,4,3) 1\n')
    with pytest.raises(DataError, match='bare.lmdb cannot be opened'):
        ImageStore(str(tmp_path / 'bare.lmdb')).read('a')
    with open(f'{lmdb_pair[0]}/meta_info.txt', 'a') as file:
        file.write('ghost.png (4,4,3) 1\n')
    with pytest.raises(DataError, match='lists ghost in meta_info.txt but does not hold it'):
        ImageStore(lmdb_pair[0]).read('ghost')


def test_an_lmdb_opened_by_someone_else_is_a_clear_error(lmdb_pair):
    store_module._close_environments()
    other = lmdb.open(lmdb_pair[0], readonly=True, lock=False)
    try:
        with pytest.raises(DataError, match='cannot be opened .*already open'):
            ImageStore(lmdb_pair[0]).read('a')
    finally:
        other.close()


def test_two_files_of_one_name_are_refused(tmp_path, photos):
    photos(tmp_path, ['a'])
    photos(tmp_path, ['a'], suffix='.jpg')
    with pytest.raises(DataError, match='two images named a that differ only in their suffix'):
        ImageStore(str(tmp_path))
