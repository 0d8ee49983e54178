"""basicsr_unlearn: machine unlearning for image restoration networks, as a BasicSR plugin.

Importing the package registers its architectures, datasets, losses, metrics and models with BasicSR, so that an option
file can name them. The import prints nothing.
"""
from basicsr_unlearn.compat import alias_functional_tensor

alias_functional_tensor()  # before anything imports basicsr

from basicsr_unlearn import archs, data, losses, metrics, models  # noqa: E402, F401
from basicsr_unlearn.version import __version__  # noqa: E402

__all__ = ['__version__']
