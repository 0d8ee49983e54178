"""A run of a second to torture: images, a network and two option files for train and one for test, in one folder."""
from pathlib import Path

import cv2
import numpy as np
import torch

from basicsr_unlearn.archs.nafnet_arch import NAFNet

NETWORK = {'width': 4, 'enc_blk_nums': [1], 'middle_blk_num': 1, 'dec_blk_nums': [1]}
SIDE = 24  # pixels of an image
FILES = ('train.yml', 'train_more.yml', 'test.yml')

HEAD = """
plugin: !!python/name:basicsr_unlearn.plugin.__version__ ''
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
  forget_opt: {type: GradientAscentLoss, criterion: l1, bound: none}
  retain_opt: {type: L1Loss, target: teacher}
  mask_opt: {type: SaliencyMask, share: 0.5}
  evidence_batches: 1
  stop_opt: {forget_psnr: 1.0, margin: 0.0, check: train, window: 2, min_iter: 1}
  skill_opt: {required: false}
  grad_clip: 1.0
val:
  val_freq: 2
  save_img: true
  strips: 1
  metrics: {psnr: {type: calculate_psnr, crop_border: 0}}
logger: {print_freq: 1, save_checkpoint_freq: 2, use_tb_logger: true, wandb: {project: ~, resume_id: ~}}
"""

MORE = """
datasets:
  train:
    name: train
    type: ForgetRetainDataset
    gt_size: 16
    epoch_length: 8
    batch_size_per_gpu: 2
    num_worker_per_gpu: 0
    use_rot: false
    cache: true
    forget:
      - {name: haze, type: PairedRestorationDataset, dataroot_lq: hazy, dataroot_gt: clear, only_files: ['0', '1']}
    retain_from: forget_gt
    retain_degradations:
      - ratio: 0.5
        degradations:
          - {type: haze, beta: [0.6, 2.4], airlight: 0.9}
          - {type: rain_streaks, density: 0.01, length: [8, 10], angle: 5, width: 0.5, opacity: 0.5}
          - {type: low_light, exposure: 0.5, gamma: {choices: [1.0, 2.0]}, read_noise: 3}
      - ratio: 1
        degradations: [{type: jpeg, quality: [20, 80]}, {type: gaussian_blur, sigma: 1}]
  val_haze:
    name: haze
    role: forget
    type: PairedRestorationDataset
    dataroot_lq: hazy
    dataroot_gt: clear
    center_crop: 16
    except_files: ['2']
train:
  optim_g: {type: AdamW, lr: !!float 1e-3, weight_decay: 0.0}
  scheduler: {type: CosineAnnealingRestartLR, periods: [4], restart_weights: [1], eta_min: !!float 1e-5}
  total_iter: 3
  warmup_iter: -1
  ema_decay: 0.9
  forget_opt: {type: TargetLoss, target: proxy, loss_weight: 1.0}
  retain_opt: {type: L1Loss, target: gt, loss_weight: 1.0, reduction: mean}
  adversarial_opt:
    type: AdversarialRetainLoss
    criterion: l1
    source: retain
    target: teacher
    attack: {type: pgd, norm: linf, eps: 0.01, step_size: 0.005, steps: 1, random_start: true, network: student}
  anchor_opt:
    - {type: FisherAnchor, loss_weight: 1.0}
    - {type: SparsityAnchor, loss_weight: 0.1}
  mask_opt: {type: LayerMask, include: ['*']}
  edit_opt:
    - {type: SynapticDampening, alpha: 10.0}
    - {type: WeightNoise, std: 0.01}
  evidence_batches: 1
  proxy_opt: {iters: 1, lr: !!float 1e-3, seed: 1}
  phases: [{iters: 1, terms: [forget, adversarial]}, {iters: 1, terms: [retain, anchor]}]
  dual_opt: {retain_budget: 0.5, step_size: 0.1, start: 1.0, maximum: 10.0}
  conflict_opt: {project: true, max_ratio: 2.0}
  skill_opt: {required: false, margin: 1.0}
  stop_opt: {forget_psnr: identity, margin: 0.0, retain_budget: 1.0, check: val, window: 1, min_iter: 1}
  grad_clip: 1.0
  amp: ~
  channels_last: false
  conflict_freq: 1
  over_forget_margin: 1.0
val:
  val_freq: 1
  save_img: false
  pbar: false
  strips: 0
  tile: 32
  tile_overlap: 16
  metrics:
    psnr: {type: calculate_psnr, crop_border: 0, test_y_channel: true}
    ssim: {type: calculate_ssim, crop_border: 2}
logger: {print_freq: 1, save_checkpoint_freq: 2, use_tb_logger: false}
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
    """Write `hazy`, `clear` and `dry` with three images each, `base.pth`, and the option files; the folder.

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
    net = NAFNet(**NETWORK)
    for name, weight in net.named_parameters():
        if name.endswith(('beta', 'gamma')):  # zero at the start, which would hide the blocks from the first steps
            torch.nn.init.constant_(weight, 0.5)
    torch.save({'params': net.state_dict()}, folder / 'base.pth')
    torch.set_rng_state(generator)
    for name, content in zip(FILES, (TRAIN, MORE, TEST)):
        (folder / name).write_text(HEAD + content, encoding='utf-8')
    return folder
