"""Regression fixtures: a few numbers of small networks, kept in fixtures/*.json.

They are not the authors' numbers. Each file was written from this package's own network, at a time when the network
agreed with the recorded outputs of the official one (see recorded_outputs.py) or, for Restormer, shared the code of two
that did. To write the files again after an intended change:

    python tests/test_archs/regression.py
"""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from recorded_outputs import draw, fill

from basicsr_unlearn.archs.adair_arch import AdaIR
from basicsr_unlearn.archs.promptir_arch import PromptIR
from basicsr_unlearn.archs.restormer_arch import Restormer, RestormerFamily

FIXTURES = Path(__file__).parent / 'fixtures'
BLOCKS = {'dim': 8, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 1}
NETWORKS = {
    'Restormer': BLOCKS,
    'PromptIR': {**BLOCKS, 'prompt_dims': [8, 8, 16], 'prompt_sizes': [8, 4, 2]},
    'AdaIR': BLOCKS,
}
CLASSES = {cls.__name__: cls for cls in (Restormer, PromptIR, AdaIR)}
INPUT = 'input_2x3x21x40'  # one side that has to be padded and one that has not


def figures(output: torch.Tensor) -> dict:
    """Sum, sum of absolute values, and five single values of an output (b, c, h, w)."""
    flat = output.double().flatten()
    places = np.linspace(0, len(flat) - 1, 5).astype(int)
    return {'sum': flat.sum().item(), 'abssum': flat.abs().sum().item(),
            'values': {str(place): flat[place].item() for place in places}}


def assert_as_before(name: str) -> None:
    """The network of this name, filled by rule, gives the numbers of its fixture: values to 1e-4, sums to 1e-4 a pixel.
    """
    before, now = json.loads((FIXTURES / f'{name.lower()}.json').read_text()), run(name)
    assert (before['input'], before['settings']) == (INPUT, NETWORKS[name])
    count = draw(INPUT).numel()
    for key in ('sum', 'abssum'):
        assert now[key] == pytest.approx(before[key], abs=1e-4 * count)
    assert now['values'] == pytest.approx(before['values'], abs=1e-4)


@torch.no_grad()
def run(name: str) -> dict:
    return figures(small(name).eval()(draw(INPUT)))


def small(name: str) -> RestormerFamily:
    """The network of this name at its settings in NETWORKS, filled by rule."""
    return fill(CLASSES[name](**NETWORKS[name]))


if __name__ == '__main__':
    FIXTURES.mkdir(exist_ok=True)
    for network in NETWORKS:
        note = 'Regression fixture, written by tests/test_archs/regression.py, which says what it is.'
        content = {'note': note, 'settings': NETWORKS[network], 'input': INPUT, **run(network)}
        (FIXTURES / f'{network.lower()}.json').write_text(json.dumps(content, indent=2) + '\n')
