"""Preflight: bad data, checkpoints and disks are found before the first step; unusual but honest input passes."""
import os
import random
from collections import namedtuple
from copy import deepcopy
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY
from torch import nn
from torch.utils.data import Dataset

from basicsr_unlearn.data import image_io
from basicsr_unlearn.data.store import ImageStore
from basicsr_unlearn.engine import image_check
from basicsr_unlearn.engine import preflight as module
from basicsr_unlearn.engine.preflight import preflight
from basicsr_unlearn.errors import CheckpointError, DataError, OptionError

Usage = namedtuple('Usage', 'total used free')


def write(path: Path, height: int = 24, width: int = 20, seed: int = 0, **kwargs) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, kwargs.get('pixels', pixels))[1].tobytes())


def folder(root: str, names: str = 'abcd', seed: int = 0) -> None:
    for i, name in enumerate(names):
        write(Path(root) / f'{name}.png', seed=seed + i)


class PreflightNet(nn.Module):
    """A network of one layer, so that the tests do not hang on a real one."""

    def __init__(self, width: int = 4):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3)
        self.last = nn.Conv2d(width, 3, 3)


@pytest.fixture
def opt(tmp_path, monkeypatch) -> dict:
    """A small unlearning run that is in order, in an empty folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(ARCH_REGISTRY._obj_map, 'PreflightNet', PreflightNet)
    for seed, root in enumerate(('hazy', 'clear', 'rainy', 'dry')):
        folder(root, seed=10 * seed)
    torch.manual_seed(0)
    torch.save({'params': PreflightNet().state_dict()}, 'net.pth')

    def pairs(name: str, lq: str, gt: str, phase: str) -> dict:
        return {'name': name, 'type': 'PairedRestorationDataset', 'dataroot_lq': lq, 'dataroot_gt': gt, 'phase': phase,
                'scale': 1}

    train = {'name': 'train', 'type': 'ForgetRetainDataset', 'phase': 'train', 'scale': 1, 'gt_size': 16,
             'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0, 'forget': [pairs('haze', 'hazy', 'clear', 'train')],
             'retain': [pairs('rain', 'rainy', 'dry', 'train')]}
    return {'name': 'run', 'model_type': 'UnlearnModel', 'num_gpu': 0, 'is_train': True, 'auto_resume': False,
            'datasets': {'train': train, 'val_haze': pairs('haze', 'hazy', 'clear', 'val')},
            'network_g': {'type': 'PreflightNet'}, 'train': {'total_iter': 10},
            'path': {'pretrain_network_g': 'net.pth', 'experiments_root': str(tmp_path / 'experiments' / 'run')},
            'logger': {'save_checkpoint_freq': 5}}


def refused(opt: dict, kind: type) -> str:
    """The sentence with which preflight refuses; checks that it is one, and that nothing was written."""
    before = sorted(Path('.').rglob('*'))
    with pytest.raises(kind) as caught:
        preflight(opt)
    assert '\n' not in str(caught.value) and type(caught.value) is kind
    assert sorted(Path('.').rglob('*')) == before
    return str(caught.value)


def test_a_run_in_order_passes_and_leaves_no_trace(opt, capsys):
    before, options = sorted(Path('.').rglob('*')), deepcopy(opt)
    states = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    preflight(opt)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1] == states[1]).all() and random.getstate() == states[2]
    assert sorted(Path('.').rglob('*')) == before and opt == options
    assert capsys.readouterr() == ('', '')


def test_the_logger_is_not_created(opt, monkeypatch):
    from basicsr.utils import logger
    monkeypatch.setattr(logger, 'initialized_logger', {})
    preflight(opt)
    assert logger.initialized_logger == {}


def cut(path: str, share: float = 0.6) -> None:
    content = Path(path).read_bytes()
    Path(path).write_bytes(content[:int(len(content) * share)])


def rename_missing(opt):
    opt['datasets']['train']['forget'][0]['dataroot_lq'] = 'nowhere'


def make_empty(opt):
    Path('empty').mkdir()
    opt['datasets']['train']['forget'][0]['dataroot_lq'] = 'empty'


@pytest.mark.parametrize('spoil, words', [
    (rename_missing, ['The folder nowhere does not exist']),
    (make_empty, ['The folder empty holds no image']),
    (lambda opt: os.remove('clear/b.png'), ['b has no partner in clear']),
    (lambda opt: write(Path('clear/c.png'), 24, 22), ['hazy/c.png is 20x24', 'clear/c.png is 22x24']),
    (lambda opt: cut('dry/d.png'), ['dry/d.png', 'truncated']),
    (lambda opt: Path('rainy/a.png').write_text('no image\n'), ['rainy/a.png cannot be read as an image']),
    (lambda opt: Path('rainy/a.png').write_bytes(b''), ['rainy/a.png cannot be read as an image']),
    (lambda opt: opt['datasets']['train'].update(gt_size=21), ['is 20x24, smaller than the training patch of 21']),
    (lambda opt: opt['datasets']['train']['retain'][0].update(dataroot_lq='hazy', dataroot_gt='clear'),
     ['hazy/a.png is in the forget and in the retain stream', '(4 such images)']),
])
def test_bad_data(opt, spoil, words):
    spoil(opt)
    sentence = refused(opt, DataError)
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.bmp'])
def test_damage_is_found_in_every_file_of_a_large_set(opt, monkeypatch, suffix):
    monkeypatch.setattr(image_check, 'DECODED', 2)
    for root in ('many', 'many_clear'):
        for i in range(8):
            write(Path(root) / f'{i}{suffix}', 64, 64, seed=i)
    opt['datasets']['val_many'] = {**opt['datasets']['val_haze'], 'name': 'many', 'dataroot_lq': 'many',
                                   'dataroot_gt': 'many_clear'}
    preflight(opt)
    cut(f'many/7{suffix}')
    assert f'many/7{suffix}' in refused(opt, DataError)


def test_clean_images_may_serve_both_streams(opt):
    opt['datasets']['train']['retain'] = [{'name': 'noise', 'type': 'DegradedImageDataset', 'dataroot_gt': 'clear',
                                           'degradations': [{'type': 'gaussian_noise', 'sigma': 25}]}]
    preflight(opt)
    opt['datasets']['train']['forget'] = deepcopy(opt['datasets']['train']['retain'])
    assert 'clear/a.png is in the forget and in the retain stream' in refused(opt, DataError)
    opt['datasets']['train']['forget'][0]['only_files'] = ['a']
    opt['datasets']['train']['retain'][0]['except_files'] = ['a']
    preflight(opt)
    opt['datasets']['train'].update(retain=None, retain_from='forget_gt', retain_degradations=[
        {'degradations': [{'type': 'jpeg', 'quality': 30}]}])
    preflight(opt)


def test_a_data_set_of_ones_own_is_asked_what_it_offers_and_nothing_else(opt, monkeypatch):
    class Plain(Dataset):
        """Knows nothing of what preflight may ask."""

        def __init__(self, opt: dict):
            self.opt = opt

        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> dict:
            return {'forget_lq': torch.zeros(3, 8, 8), 'lq_path': 'x'}

    class Telling(Plain):
        def inner(self) -> dict:
            return {}

        def images(self) -> list:
            return [(ImageStore('hazy'), 'a')]

        def inputs(self) -> set:
            return set()

        def check(self, sizes: dict) -> None:
            raise DataError(f'{sizes} will not do.')

    for cls in (Plain, Telling):
        monkeypatch.setitem(DATASET_REGISTRY._obj_map, cls.__name__, cls)
    lines = []
    opt['datasets']['train'] = {'type': 'Plain', 'phase': 'train'}
    preflight(opt, tell=lines.append)
    assert any("another package's data set" in line for line in lines)
    opt['datasets']['train'] = {'type': 'Telling', 'phase': 'train'}
    assert refused(opt, DataError) == "{'hazy/a.png': (24, 20)} will not do."


def test_depth_map_that_is_missing(opt):
    Path('depth').mkdir()
    for name in 'abc':
        np.save(f'depth/{name}.npy', np.ones((24, 20)))
    opt['datasets']['val_synthetic'] = {'name': 's', 'type': 'DegradedImageDataset', 'phase': 'val',
                                        'dataroot_gt': 'clear', 'degradations': [{'type': 'haze', 'depth': 'depth'}]}
    assert 'depth has no map named d' in refused(opt, DataError)


@pytest.mark.parametrize('spoil, kind, words', [
    (lambda opt: opt['path'].update(pretrain_network_g='none.pth'), CheckpointError, 'none.pth does not exist'),
    (lambda opt: opt['path'].update(pretrain_network_g=None), OptionError, 'pretrain_network_g is empty'),
    (lambda opt: opt['path'].update(param_key_g='params_ema'), CheckpointError, "'params_ema': it holds params"),
    (lambda opt: opt['path'].update(pretrain_network_retrained='none.pth'), CheckpointError, 'none.pth does not exist'),
    (lambda opt: opt['network_g'].update(width=5), CheckpointError, 'net.pth does not fit the PreflightNet'),
    (lambda opt: opt.update(network_g={'type': 'NAFNet', 'width': 4}), CheckpointError,
     'it looks like PreflightNet'),
    (lambda opt: opt['network_g'].update(width='x'), OptionError, 'network_g does not work'),
    (lambda opt: torch.save(PreflightNet(), 'net.pth'), CheckpointError, 'whole pickled module'),
    (lambda opt: cut('net.pth'), CheckpointError, 'damaged or incomplete'),
])
def test_bad_checkpoints(opt, spoil, kind, words):
    spoil(opt)
    assert words in refused(opt, kind)


def test_lenient_loading_needs_no_fit(opt):
    opt['network_g']['width'] = 5
    opt['path']['strict_load_g'] = False
    preflight(opt)


def test_a_plain_data_set_gives_nothing_to_unlearn(opt):
    opt['datasets']['train'] = {**opt['datasets']['val_haze'], 'phase': 'train', 'gt_size': 16}
    assert 'use ForgetRetainDataset' in refused(opt, OptionError)
    opt['model_type'] = 'SRModel'
    preflight(opt)


def test_no_space(opt, monkeypatch):
    # 4 * 3 * 9 + 4 + 3 * 4 * 9 + 3 = 223 numbers of 4 bytes; 2 checkpoints of 3 times that, and the latest
    needed = 223 * 4 * (2 * 3 + 1)
    monkeypatch.setattr(module.shutil, 'disk_usage', lambda _: Usage(10**9, 0, needed))
    preflight(opt)
    monkeypatch.setattr(module.shutil, 'disk_usage', lambda _: Usage(10**9, 0, needed - 1))
    sentence = refused(opt, CheckpointError)
    assert sentence.startswith('No space left on ') and 'for 2 checkpoints' in sentence
    assert 'logger.save_checkpoint_freq 5' in sentence
    opt['path']['resume_state'] = '5.state'
    preflight(opt)


def test_folder_that_cannot_be_written(opt, monkeypatch):
    def refuse(dir):  # noqa: A002
        raise PermissionError(13, 'Permission denied')

    monkeypatch.setattr(module.tempfile, 'TemporaryFile', refuse)
    assert 'Results cannot be written to' in refused(opt, CheckpointError)


def test_test_files(opt):
    opt.update(is_train=False, datasets={'test': opt['datasets']['val_haze']})
    del opt['train'], opt['logger']
    preflight(opt)
    opt['path']['pretrain_network_g'] = None
    assert 'to test' in refused(opt, OptionError)


def test_unusual_but_honest_images(opt, monkeypatch):
    rng = np.random.default_rng(0)
    for root in ('odd', 'odd_clear'):
        write(Path(root) / 'sixteen bits.png', pixels=rng.integers(0, 65536, (24, 20, 3), dtype=np.uint16))
        write(Path(root) / 'grey.0.8_0.1.png', pixels=rng.integers(0, 256, (24, 20), dtype=np.uint8))
        write(Path(root) / 'Größe 北.png', pixels=rng.integers(0, 256, (24, 20, 4), dtype=np.uint8))
        write(Path(root) / 'grey16.png', pixels=rng.integers(0, 65536, (24, 20), dtype=np.uint16))
        write(Path(root) / 'sixteen.tif', pixels=rng.integers(0, 65536, (24, 20, 3), dtype=np.uint16))
        write(Path(root) / 'photo.JPG', seed=3)
        with open(Path(root) / 'photo.JPG', 'ab') as file:
            file.write(b'appended by the camera')
        for path in Path(root).iterdir():
            path.chmod(0o444)
        Path(root).chmod(0o555)
    opt['datasets']['train']['forget'][0].update(dataroot_lq='odd', dataroot_gt='odd_clear')
    monkeypatch.setattr(image_io, '_warned_alpha', True)  # the warning has its own test
    preflight(opt)


def test_lmdb(opt):
    import lmdb
    for root in ('hazy', 'clear'):
        environment = lmdb.open(f'{root}.lmdb', map_size=2**20)
        with environment.begin(write=True) as transaction:
            for path in Path(root).iterdir():
                transaction.put(path.stem.encode(), path.read_bytes())
        environment.close()
        Path(f'{root}.lmdb/meta_info.txt').write_text(''.join(f'{name}.png (24,20,3) 1\n' for name in 'abcd'))
    opt['datasets']['train']['forget'][0].update(dataroot_lq='hazy.lmdb', dataroot_gt='clear.lmdb')
    preflight(opt)
    Path('clear.lmdb/meta_info.txt').write_text(''.join(f'{name}.png (24,20,3) 1\n' for name in 'abce'))
    assert 'd has no partner in clear.lmdb' in refused(opt, DataError)


def test_data_sets_of_others(opt, monkeypatch):
    class Theirs(torch.utils.data.Dataset):
        def __init__(self, opt):
            self.count = opt['count']

        def __len__(self):
            return self.count

        def __getitem__(self, index):
            raise RuntimeError('no\nluck')

    monkeypatch.setitem(DATASET_REGISTRY._obj_map, 'Theirs', Theirs)
    opt['datasets']['val_x'] = {'name': 'x', 'type': 'Theirs', 'phase': 'val'}
    assert 'datasets.val_x.count is missing' in refused(opt, OptionError)
    opt['datasets']['val_x']['count'] = 0
    assert 'datasets.val_x holds no image' in refused(opt, DataError)
    opt['datasets']['val_x']['count'] = 1
    assert refused(opt, DataError) == 'The first image of datasets.val_x cannot be read: no luck.'
    opt['datasets']['val_x'] = {'name': 'x', 'type': 'PairedImageDataset', 'phase': 'val', 'scale': 1,
                                'dataroot_lq': 'hazy', 'dataroot_gt': 'nowhere', 'io_backend': {'type': 'disk'}}
    assert 'nowhere' in refused(opt, DataError)
    opt['datasets']['val_x']['dataroot_gt'] = 'clear'
    preflight(opt)


def test_a_mask_that_names_no_weight(opt):
    opt['train']['mask_opt'] = {'type': 'LayerMask', 'include': 'decoders'}
    with pytest.raises(OptionError, match="the pattern 'decoders' matches no weight .* such as first.weight"):
        preflight(opt)
    opt['train']['mask_opt'] = {'type': 'LayerMask', 'include': 'last'}
    preflight(opt)


def test_an_image_too_small_for_the_network(opt, monkeypatch):
    monkeypatch.setattr(PreflightNet, 'min_size', 21, raising=False)
    assert 'a.png is 20x24, but PreflightNet needs at least 21 pixels a side' in refused(opt, DataError)
    monkeypatch.setattr(PreflightNet, 'min_size', 20)
    preflight(opt)
