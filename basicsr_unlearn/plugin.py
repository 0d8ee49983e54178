"""Importing this registers the architectures, data sets, losses, metrics and models with BasicSR. It prints nothing.

An option file imports it by its first line, `plugin: !!python/name:basicsr_unlearn.plugin.__version__ ''`.
"""
import importlib.util
import sys
from types import ModuleType

from basicsr_unlearn.installation import explain
from basicsr_unlearn.version import __version__


def alias_functional_tensor() -> None:
    """Bring back `torchvision.transforms.functional_tensor`, gone since torchvision 0.17.

    BasicSR 1.4.2 from PyPI imports `rgb_to_grayscale` from there as soon as it is imported. A DataLoader worker that
    is spawned imports this module first too, so the alias is there as well.
    """
    name = 'torchvision.transforms.functional_tensor'
    if name in sys.modules or importlib.util.find_spec(name) is not None:
        return
    from torchvision.transforms.functional import rgb_to_grayscale
    module = ModuleType(name, 'Alias made by basicsr_unlearn for BasicSR.')
    module.rgb_to_grayscale = rgb_to_grayscale
    sys.modules[name] = module


try:
    alias_functional_tensor()  # before anything imports basicsr
    import basicsr.losses  # noqa: F401  BasicSR's own, whose names come first
    from basicsr.utils.registry import LOSS_REGISTRY

    from basicsr_unlearn import archs, data, metrics, models
    from basicsr_unlearn.core import LOSSES, losses
    for name, loss in LOSSES.items():
        if name not in LOSS_REGISTRY:
            LOSS_REGISTRY.register(loss)
except ImportError as error:
    explain(error)
    raise

__all__ = ['__version__', 'archs', 'data', 'losses', 'metrics', 'models']
