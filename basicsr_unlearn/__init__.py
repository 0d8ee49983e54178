"""basicsr_unlearn: machine unlearning for image restoration networks, as a BasicSR plugin.

Importing the package registers its architectures, datasets, losses, metrics and models with BasicSR, so that an option
file can name them. The import prints nothing.
"""
from basicsr_unlearn.installation import explain
from basicsr_unlearn.version import __version__

try:
    from basicsr_unlearn.compat import alias_functional_tensor
    alias_functional_tensor()  # before anything imports basicsr
    from basicsr_unlearn import archs, data, losses, metrics, models  # noqa: F401
except ImportError as error:
    explain(error)
    raise

__all__ = ['__version__']
