"""A package with networks of one's own, checkpoints of them, and smooth photographs."""
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY

PACKAGE = '''
import basicsr_unlearn.plugin
import torch
from basicsr.utils.registry import ARCH_REGISTRY

@ARCH_REGISTRY.register()
class OwnFilter(torch.nn.Module):
    """One convolution; sides have to be multiples of 4."""

    def __init__(self, side=5):
        super().__init__()
        self.filter = torch.nn.Conv2d(3, 3, side, padding=side // 2, padding_mode='replicate', bias=False)

    def forward(self, lq):
        if lq.shape[2] % 4 or lq.shape[3] % 4:
            raise ValueError('sides of 4, please')
        return self.filter(lq)
'''


@pytest.fixture
def package(in_tmp_path, monkeypatch) -> str:
    """The name of an importable package that registers OwnFilter."""
    Path('ownnets.py').write_text(PACKAGE, encoding='utf-8')
    monkeypatch.syspath_prepend(str(in_tmp_path))
    yield 'ownnets'
    sys.modules.pop('ownnets', None)
    ARCH_REGISTRY._obj_map.pop('OwnFilter', None)


def filter_weights(kernel: np.ndarray) -> dict[str, torch.Tensor]:
    """Weights of OwnFilter that filter each channel by the same kernel."""
    weight = torch.zeros(3, 3, *kernel.shape)
    for channel in range(3):
        weight[channel, channel] = torch.from_numpy(kernel)
    return {'filter.weight': weight}


@pytest.fixture
def brightener(package) -> str:
    """A checkpoint of an OwnFilter that doubles its input."""
    kernel = np.zeros((5, 5), np.float32)
    kernel[2, 2] = 2
    torch.save({'state_dict': filter_weights(kernel)}, 'brightener.pth')
    return 'brightener.pth'


@pytest.fixture
def smoother(package) -> str:
    """A checkpoint of an OwnFilter that takes noise out of smooth images."""
    torch.save({'params': filter_weights(np.full((5, 5), 1 / 25, np.float32))}, 'smoother.pth')
    return 'smoother.pth'


@pytest.fixture
def photos() -> Callable[..., str]:
    """Writes smooth images: photos('clean', 4, factor=0.5, name='{}') -> the folder."""
    def write(folder: str, count: int = 4, factor: float = 1, name: str = '{}',
              size: tuple[int, int] = (46, 50)) -> str:
        Path(folder).mkdir(parents=True)
        for number in range(count):
            coarse = np.random.default_rng(number).integers(40, 250, (4, 4, 3)).astype(np.float32)
            image = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_LINEAR)
            cv2.imwrite(f'{folder}/{name.format(number)}.png', np.rint(image * factor).astype(np.uint8))
        return folder
    return write
