"""What a preset says that a step costs is what its passes come to."""
import re

import pytest
import torch

from basicsr_unlearn.archs.nafnet_arch import NAFNet
from basicsr_unlearn.core.unlearner import Unlearner
from basicsr_unlearn.methods.presets import method_names, read_method

STEPS, BATCH = 10, 2
TOLERANCE = 0.35  # of a step of plain training: phases take turns over more steps, and features end a pass early


def batch() -> dict[str, torch.Tensor]:
    gt = torch.rand(BATCH, 3, 16, 16)
    return {'lq': 0.6 * gt + 0.3, 'gt': gt}


def tiny() -> NAFNet:
    return NAFNet(width=4, enc_blk_nums=[1], middle_blk_num=1, dec_blk_nums=[1])


@pytest.mark.parametrize('name', method_names())
def test_a_method_costs_what_it_says(name):
    torch.manual_seed(0)
    unlearner = Unlearner(tiny(), name, fresh=tiny, total_iter=200, stop_opt=None)
    unlearner.preparation.forget_step = None  # an untrained network has no skill that a rate could be fitted to
    unlearner.prepare(*([batch() for _ in range(2)] for _ in range(2)))
    before = unlearner.passes.samples
    for _ in range(STEPS):
        unlearner.step(batch(), batch())
    spent = {kind: count - before.get(kind, 0) for kind, count in unlearner.passes.samples.items()}
    units = sum(count * (2 if kind.endswith('backward') and kind != 'attack_backward' else 1)
                for kind, count in spent.items())
    said = float(re.match(r'[\d.]+', read_method(name)['cost'])[0])
    assert units / (3 * BATCH * STEPS) == pytest.approx(said, abs=TOLERANCE), spent
