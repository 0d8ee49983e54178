"""Finds the files that register components, as BasicSR does: by their suffix."""
import importlib
import pkgutil


def import_suffixed(package: str, path: list[str], suffix: str) -> None:
    """Import every module of `package` (its `__path__` given) whose name ends with `suffix`, e.g. '_loss'.

    >>> from basicsr_unlearn.core import masks
    >>> import_suffixed(masks.__name__, masks.__path__, '_mask')
    """
    for module in pkgutil.iter_modules(path):
        if module.name.endswith(suffix):
            importlib.import_module(f'{package}.{module.name}')
