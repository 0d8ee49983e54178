"""A run of a second to torture: images, a network and an option file for each of train and test, in one folder."""
from pathlib import Path

import cv2
import numpy as np
import torch

from basicsr_unlearn.archs.nafnet_arch import NAFNet

NETWORK = {'width': 4, 'enc_blk_nums': [1], 'middle_blk_num': 1, 'dec_blk_nums': [1]}
SIDE = 24  # pixels of an image

HEAD = """
plugin: !!python/name:basicsr_unlearn.__version__ ''
name: tiny
model_type: UnlearnModel
scale: 1
num_gpu: 0
manual_seed: 3
network_g: {type: NAFNet, width: 4, enc_blk_nums: [1], middle_blk_num: 1, dec_blk_nums: [1]}
path: {pretrain_network_g: base.pth, strict_load_g: true, resume_state: ~}
"""

TRAIN = """
datasets:
  train:
    name: train
    type: ForgetRetainDataset
    gt_size: 16
    epoch_length: 8
    batch_size_per_gpu: 2
    num_worker_per_gpu: 0
    forget:
      - {name: haze, type: PairedRestorationDataset, dataroot_lq: hazy, dataroot_gt: clear}
    retain:
      - name: rain
        type: DegradedImageDataset
        dataroot_gt: dry
        degradations: [{type: rain_streaks}]
  val_haze:
    name: haze
    role: forget
    type: PairedRestorationDataset
    dataroot_lq: hazy
    dataroot_gt: clear
train:
  optim_g: {type: Adam, lr: !!float 1e-3, betas: [0.9, 0.99]}
  scheduler: {type: MultiStepLR, milestones: [1000], gamma: 0.5}
  total_iter: 4
  forget_opt: {type: GradientAscentLoss, criterion: l1, bound: identity}
  retain_opt: {type: L1Loss, target: teacher}
  mask_opt: {type: SaliencyMask, share: 0.5}
  evidence_batches: 1
  stop_opt: {forget_psnr: 1.0, margin: 0.0, check: train, window: 2, min_iter: 1}
  grad_clip: 1.0
val:
  val_freq: 2
  save_img: true
  strips: 1
  metrics: {psnr: {type: calculate_psnr, crop_border: 0}}
logger: {print_freq: 1, save_checkpoint_freq: 2, use_tb_logger: true, wandb: {project: ~, resume_id: ~}}
"""

TEST = """
datasets:
  test_haze:
    name: haze
    role: forget
    type: PairedRestorationDataset
    dataroot_lq: hazy
    dataroot_gt: clear
val:
  save_img: true
  suffix: ~
  metrics: {psnr: {type: calculate_psnr, crop_border: 0}}
"""


def lay_out(folder: Path) -> Path:
    """Write `hazy`, `clear` and `dry` with three images each, `base.pth`, `train.yml` and `test.yml`; the folder.

    The original brings nothing back, which is no matter here: what is tested is how a run ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for name in ('hazy', 'clear', 'dry'):
        (folder / name).mkdir(exist_ok=True)
        for index in range(3):
            pixels = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name / f'{index}.png'), pixels)
    generator = torch.get_rng_state()
    torch.manual_seed(0)
    torch.save({'params': NAFNet(**NETWORK).state_dict()}, folder / 'base.pth')
    torch.set_rng_state(generator)
    (folder / 'train.yml').write_text(HEAD + TRAIN, encoding='utf-8')
    (folder / 'test.yml').write_text(HEAD + TEST, encoding='utf-8')
    return folder
