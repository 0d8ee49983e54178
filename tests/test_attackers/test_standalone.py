"""Attackers and what judges them are importable where BasicSR and what it needs are not."""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import importlib, pkgutil, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('basicsr', 'cv2', 'lmdb', 'torchvision', 'skimage', 'tensorboard'):
            raise ImportError(name + ' is blocked')

sys.meta_path.insert(0, Blocked())
import basicsr_unlearn.core.leads
import basicsr_unlearn.proof.attackers as attackers
for module in pkgutil.iter_modules(attackers.__path__):
    importlib.import_module(f'{attackers.__name__}.{module.name}')

import torch
from basicsr_unlearn.proof.attackers.image_psnr import psnr_of_images
from basicsr_unlearn.proof.attackers.relearning import relearn
pairs = [(torch.full((3, 8, 8), 0.2), torch.full((3, 8, 8), 0.6))]
curve = relearn(torch.nn.Conv2d(3, 3, 1), pairs, [0, 20], 0.05, 8, lambda net: psnr_of_images(net, pairs)[0])
print(curve[20] > curve[0])
"""


def test_attackers_run_without_basicsr():
    found = subprocess.run([sys.executable, '-c', PROGRAM], capture_output=True, text=True, cwd=ROOT,
                           env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'})
    assert found.stdout == 'True\n', found.stderr
