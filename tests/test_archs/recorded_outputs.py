"""Networks filled by rule, so that their outputs can be compared with recorded ones."""
import json
import os
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

PARITY = Path(os.environ.get('BASICSR_UNLEARN_PARITY', Path(__file__).parents[3] / 'shared' / 'parity'))


def fill(net: nn.Module) -> nn.Module:
    """Fill every tensor from its name and shape, by the rule of the recorded outputs. Returns the network."""
    net.load_state_dict({key: torch.from_numpy(_values(key, tuple(tensor.shape)))
                         for key, tensor in net.state_dict().items()})
    return net


def _values(key: str, shape: tuple) -> np.ndarray:
    last = key.rpartition('.')[2]
    if last in ('num_batches_tracked', 'queue_ptr'):
        return np.zeros(shape, np.int64)
    z = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(int(np.prod(shape))).reshape(shape)
    if last == 'queue':
        z = z / np.sqrt((z**2).sum(0))
    elif last in ('running_var', 'temperature'):
        z = 1 + 0.1 * np.abs(z)
    elif last in ('para1', 'para2'):
        z = 1 + 0.1 * z
    elif last == 'prompt_param' or key.endswith('conv_offset_mask.bias'):
        pass
    elif last in ('bias', 'running_mean'):
        z = 0.1 * z
    elif len(shape) == 1:
        z = 1 + 0.1 * z
    else:
        gain = 0.5 if key.endswith('conv_offset_mask.weight') else 0.7 if key.startswith('R.') else 1
        z = gain * z / np.sqrt(np.prod(shape[1:]))
    return z.astype(np.float32)


def draw(name: str) -> torch.Tensor:
    """The input of this name, such as input_1x3x64x48: values in [0, 1)."""
    shape = [int(size) for size in name.rpartition('_')[2].split('x')]
    values = np.random.RandomState(zlib.crc32(name.encode())).random_sample(int(np.prod(shape))).reshape(shape)
    return torch.from_numpy(values.astype(np.float32))


class Recorded:
    """What was recorded of one official network: key lists, settings and outputs."""

    def __init__(self, folder: Path):
        if not folder.is_dir():
            pytest.skip(f'no recorded outputs in {folder}: set BASICSR_UNLEARN_PARITY to the folder that holds them')
        self.folder = folder
        self.manifest = json.loads((folder / 'manifest.json').read_text())
        self.outputs = dict(np.load(folder / 'outputs.npz'))

    def keys(self, case: str) -> list:
        """[key, shape, dtype, kind] of each entry of the state_dict, in order."""
        return json.loads((self.folder / f'keys_{case}.json').read_text())


def recorded(network: str) -> Recorded:
    """What was recorded of 'promptir', 'adair' or 'airnet'; skips the test where the folder is absent."""
    return Recorded(PARITY / network)


def listed(net: nn.Module) -> list:
    """The state_dict of a network in the form of the recorded key lists."""
    kinds = {name: 'parameter' if parameter.requires_grad else 'parameter_no_grad'
             for name, parameter in net.named_parameters()}
    return [[key, list(tensor.shape), str(tensor.dtype).removeprefix('torch.'), kinds.get(key, 'buffer')]
            for key, tensor in net.state_dict().items()]
