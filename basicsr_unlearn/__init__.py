"""basicsr_unlearn: machine unlearning for image restoration networks, for any trainer and as a BasicSR plugin.

    from basicsr_unlearn import Unlearner        needs torch alone
    plugin: !!python/name:basicsr_unlearn.plugin.__version__ ''     in an option file: registers all with BasicSR
"""
import sys

__all__ = ['Unlearner', '__version__']


def __getattr__(name: str):
    if name == 'Unlearner':
        from basicsr_unlearn.core.unlearner import Unlearner
        return Unlearner
    if name == '__version__':
        if 'basicsr' in sys.modules:  # option files up to 0.2 have this name as their plugin tag
            import basicsr_unlearn.plugin  # noqa: F401
        from basicsr_unlearn.version import __version__
        return __version__
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
