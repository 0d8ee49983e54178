"""PromptIR against the recorded official network, at other widths and sizes, and its refusals."""
import numpy as np
import pytest
import torch
from recorded_outputs import draw, fill, listed, recorded

from basicsr_unlearn.archs.promptir_arch import PromptIR
from basicsr_unlearn.errors import DataError

SMALL = {'dim': 8, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 1, 'prompt_dims': [8, 8, 16],
         'prompt_sizes': [8, 4, 2]}


@pytest.mark.parametrize('case', ['default', 'reduced_blocks', 'biasfree_bias'])
def test_keys_shapes_and_order_are_the_official_ones(case):
    official = recorded('promptir')
    with torch.device('meta'):
        net = PromptIR(**official.manifest['cases'][case]['kwargs'])
    assert listed(net) == official.keys(case)
    assert sum(p.numel() for p in net.parameters()) == official.manifest['cases'][case]['parameters']


def test_outputs_and_gradients_are_the_official_ones():
    official = recorded('promptir')
    case = official.manifest['cases']['reduced_blocks']
    net = fill(PromptIR(**case['kwargs'])).eval()
    with torch.no_grad():
        for name, output in official.outputs.items():
            _, _, rest = name.partition('__')
            size = rest.split('_stride')[0]
            ours = net(draw(size)).numpy()
            if rest.endswith('_stride16'):
                ours = ours[:, :, ::16, ::16]
            np.testing.assert_allclose(ours, output, atol=1e-4, rtol=0, err_msg=name)
