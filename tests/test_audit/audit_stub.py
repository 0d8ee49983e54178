"""A network, images and checkpoints so small that every number of an audit can be worked out by hand.

Dark pairs (to forget) are 0.3 darker than their clean images, tinted ones (to keep) lack 0.2 of blue. The network adds
`dark` to images whose mean is below 0.4, `tint` to the others.
"""
from pathlib import Path

import cv2
import numpy as np
import torch
import yaml
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn


class Shift(nn.Module):
    """Adds a number per channel."""

    def __init__(self):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.value


@ARCH_REGISTRY.register()
class AuditStub(nn.Module):
    def __init__(self, strength: float = 1.0):
        super().__init__()
        self.dark, self.tint, self.strength = Shift(), Shift(), strength

    def forward(self, lq: Tensor) -> Tensor:
        lq = lq * self.strength
        is_dark = (lq.mean((1, 2, 3), keepdim=True) < 0.4).float()
        return is_dark * self.dark(lq) + (1 - is_dark) * self.tint(lq)


def psnr(error: float, channels: int = 3) -> float:
    """Of an error in so many of three channels."""
    return -10 * np.log10(error**2 * channels / 3)


NETWORKS = {  # dark, tint (blue)
    'original': (0.29, 0.19), 'unlearned': (0.0, 0.19), 'retrained': (0.0, 0.19), 'untouched': (0.29, 0.19),
    'ascended': (-0.1, 0.19), 'zeroed': (0.0, 0.0), 'half': (0.15, 0.19), 'damaged': (0.0, 0.17),
    'slightly': (0.01, 0.19), 'two_thirds': (0.18, 0.19)}


def write_checkpoints(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, (dark, tint) in NETWORKS.items():
        net = AuditStub()
        net.dark.value.data.fill_(dark)
        net.tint.value.data[0, 2] = tint
        torch.save({'params': net.state_dict()}, folder / f'{name}.pth')


def write_images(folder: Path, count: int, seed: int) -> None:
    """Clean images of 32x32 with values 0.55 to 0.65, each with its dark and its tinted version."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        clean = np.round(rng.uniform(0.55, 0.65, (32, 32, 3)) * 255)
        blue = np.array([51, 0, 0])  # OpenCV's order
        for name, image in (('clean', clean), ('dark', clean - 76.5 + 0.5), ('tinted', clean - blue)):
            path = folder / name / f'{seed}_{index}.png'
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), image.astype(np.uint8))


ATTACKS = {'train': 'dark_seen', 'test': 'dark', 'images': 3, 'rates': [0.01], 'pairs': [2], 'steps': [2, 5],
           'draws': 2, 'patch': 16}


def option_file(folder: Path, **changes) -> Path:
    """Write images, checkpoints and an option file with all measurements that the stub allows, `changes` at its top."""
    write_checkpoints(folder / 'nets')
    write_images(folder / 'seen', 6, 1)
    write_images(folder / 'new', 6, 2)

    def pairs(role: str, place: str, kind: str) -> dict:
        return {'role': role, 'type': 'PairedRestorationDataset', 'dataroot_lq': str(folder / place / kind),
                'dataroot_gt': str(folder / place / 'clean')}

    options = {
        'name': 'stub', 'num_gpu': 0, 'network_g': {'type': 'AuditStub'},
        'networks': {'original': str(folder / 'nets/original.pth'), 'unlearned': str(folder / 'nets/unlearned.pth'),
                     'retrained': [str(folder / 'nets/retrained.pth')]},
        'datasets': {'dark_seen': pairs('forget', 'seen', 'dark'), 'dark': pairs('unseen', 'new', 'dark'),
                     'tinted': pairs('retain', 'new', 'tinted')},
        'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0},
                    'ssim': {'type': 'calculate_ssim', 'crop_border': 0}},
        'measure': {
            'membership': {'members': 'dark_seen', 'unseen': 'dark'},
            'attacks': None,
            'representation': {'dataset': 'dark', 'images': 3, 'layers': ['dark', 'tint']},
            'robustness': {'images': 2, 'attack': {'type': 'one_step', 'eps': 0.01}}},
        'verdict': {
            'require': 'members', 'metric': 'psnr', 'skill_margin': None,
            'over_forgotten': {'below': 0.5, 'collapsed': 0.5},
            'levels': {'outputs': {'forget_gap': 0.5, 'retain_loss': 0.3},
                       'members': {'forget_gap': 0.2, 'retain_loss': 0.1, 'membership': 0.02},
                       'weights': {'forget_gap': 0.2, 'retain_loss': 0.2, 'lead': 0.5}}},
        **changes}
    path = folder / 'audit.yml'
    path.write_text(yaml.safe_dump(options, sort_keys=False), encoding='utf-8')
    return path
