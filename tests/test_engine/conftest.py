"""A tiny training run: an option file, generated images, and a checkpoint to unlearn from."""
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from basicsr_unlearn.archs.nafnet_arch import NAFNet

NETWORK = {'width': 4, 'enc_blk_nums': [1], 'middle_blk_num': 1, 'dec_blk_nums': [1]}

HEAD = """
plugin: !!python/name:basicsr_unlearn.plugin.__version__ ''
name: tiny
model_type: {model_type}
scale: 1
num_gpu: 0
manual_seed: 3
network_g: {{type: NAFNet, width: 4, enc_blk_nums: [1], middle_blk_num: 1, dec_blk_nums: [1]}}
path: {{pretrain_network_g: '{folder}/base.pth', strict_load_g: true, resume_state: ~}}
"""

TRAIN = """
datasets:
  train:
    name: train
    type: {train_type}
    gt_size: 16
    epoch_length: 8
    batch_size_per_gpu: 2
    num_worker_per_gpu: 0
{train_data}
  val_1:
    name: held_out
    type: PairedRestorationDataset
    dataroot_lq: '{folder}/lq'
    dataroot_gt: '{folder}/gt'
train:
  optim_g: {{type: Adam, lr: !!float 1e-3}}
  scheduler: {{type: MultiStepLR, milestones: [1000]}}
  total_iter: 6
{losses}
val:
  val_freq: 100
  save_img: false
  metrics:
    psnr: {{type: calculate_psnr, crop_border: 0}}
logger: {{print_freq: 1, save_checkpoint_freq: 3, use_tb_logger: false}}
"""

TEST = """
datasets:
  test_1:
    name: held_out
    type: PairedRestorationDataset
    dataroot_lq: '{folder}/lq'
    dataroot_gt: '{folder}/gt'
val:
  save_img: true
  suffix: ~
  metrics:
    psnr: {{type: calculate_psnr, crop_border: 0}}
"""

PAIRS = """    dataroot_lq: '{folder}/lq'
    dataroot_gt: '{folder}/gt'"""
STREAMS = """    forget:
      - {{name: f, type: PairedRestorationDataset, dataroot_lq: '{folder}/lq', dataroot_gt: '{folder}/gt'}}
    retain:
      - {{name: r, type: PairedRestorationDataset, dataroot_lq: '{folder}/gt', dataroot_gt: '{folder}/gt'}}"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with images and a checkpoint; the current directory is another one, `work`, in it."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    for name in ('lq', 'gt'):
        (tmp_path / name).mkdir()
        for i in range(3):
            cv2.imwrite(str(tmp_path / name / f'{i}.png'), rng.integers(0, 256, (24, 24, 3), dtype=np.uint8))
    torch.manual_seed(0)
    net = NAFNet(**NETWORK)
    for name, weight in net.named_parameters():
        if name.endswith(('beta', 'gamma')):  # zero at the start, which would hide the blocks from the first steps
            torch.nn.init.constant_(weight, 0.5)
    torch.save({'params': net.state_dict()}, tmp_path / 'base.pth')
    (tmp_path / 'work').mkdir()
    monkeypatch.chdir(tmp_path / 'work')
    return tmp_path


@pytest.fixture
def option_file(folder) -> Callable[..., str]:
    """Writes an option file: restore (BasicSR's SRModel), unlearn (UnlearnModel) or test; returns its path."""
    def write(job: str = 'restore', **changes: str) -> str:
        text = HEAD + (TEST if job == 'test' else TRAIN)
        parts = {'folder': folder, 'model_type': 'SRModel', 'train_type': 'PairedRestorationDataset',
                 'train_data': PAIRS.format(folder=folder), 'losses': '  pixel_opt: {type: L1Loss}'}
        if job == 'unlearn':
            parts.update(model_type='UnlearnModel', train_type='ForgetRetainDataset',
                         train_data=STREAMS.format(folder=folder),
                         losses='  forget_opt: {type: GradientAscentLoss, bound: identity}\n'
                                '  retain_opt: {type: L1Loss, target: gt}')
        text = text.format(**parts)
        for old, new in changes.items():
            assert f'{old}:' in text
            start = text.index(f'{old}:')
            end = min(i for i in (text.find(c, start) for c in ',}\n') if i > 0)
            text = f'{text[:start]}{old}: {new}{text[end:]}'
        path = folder / f'{job}.yml'
        path.write_text(text, encoding='utf-8')
        return str(path)
    return write


@pytest.fixture
def weights() -> Callable[[Path | str], dict]:
    """Reads the weights of a written checkpoint."""
    return lambda path: torch.load(path, weights_only=True)['params']
