"""Reading an option file, and checking it against the grammar before anything runs."""
import os
from collections.abc import Mapping
from pathlib import Path

from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY

import basicsr_unlearn.plugin  # noqa: F401  registers the components
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.methods.presets import expand_method
from basicsr_unlearn.options.agreement import check_gpu, check_tiling, check_training
from basicsr_unlearn.options.grammar import (
    DATASET,
    SCHEDULE,
    TOP,
    TRAIN,
    Component,
)
from basicsr_unlearn.options.loader import import_plugin, load_yaml
from basicsr_unlearn.options.walker import check_dataset, check_metrics, check_section, check_value, registered

LARGEST = 2**20  # bytes of an option file; the longest shipped one has 14,000


def find_option_file(path: str) -> Path:
    """The option file as given, relative to the current directory; else the one of that name that is installed.

    Raises:
        OptionError: there is no such file in either place.
    """
    given = Path(os.path.expanduser(path))
    package = Path(__file__).resolve().parents[1]
    # in a wheel the option files lie inside the package, in a checkout beside it
    shipped = [folder / given.name for folder in (package / 'option_files', package.parent / 'options')
               if given.parts == ('options', given.name)]
    for candidate in (given, *shipped):
        if os.path.exists(candidate):  # Path.exists raises where a name is too long
            return candidate
    raise OptionError(f'The option file {path} does not exist: correct the path after -opt.')


def load_option_file(path: str) -> dict:
    """Read an option file as BasicSR does, but run nothing of it; `options/NAME.yml` is found in an installed package.

    The package that `plugin:` names is imported, once all else has been found to be plain values.

    Raises:
        OptionError: the file is missing, no YAML, no mapping, has a tag of Python elsewhere, or names a plugin that
            cannot be imported; see `load_yaml`.
    """
    file = find_option_file(path)
    if file.is_dir():
        raise OptionError(f'The option file {path} is a folder: name the .yml file in it.')
    where = f'the option file {path}'
    try:
        if not file.is_file() or file.stat().st_size > LARGEST:
            raise OptionError(f'The option file {path} is no file of options: name a .yml file of less than 1 MB.')
        opt = load_yaml(file.read_text(encoding='utf-8'), where, plugin=True)
    except OSError as error:
        raise OptionError(f'The option file {path} cannot be read: {error.strerror}.') from error
    except UnicodeDecodeError as error:
        raise OptionError(f'The option file {path} is no text in UTF-8.') from error
    if not isinstance(opt, dict):
        raise OptionError(f'The option file {path} holds no options: it must be a mapping with name, model_type, ...')
    if 'plugin' in opt:
        import_plugin(opt['plugin'], where)
    return opt


def check_options(opt: dict, is_train: bool) -> None:
    """Check an option file, as read or as BasicSR's parse_options returns it.

    Raises:
        OptionError: the first option that is unknown, missing, of the wrong type, or out of range, by its full name.
    """
    opt = expand_method(opt)
    strict = str(opt.get('model_type')) in TRAIN
    check_section(opt, TOP, '', strict)
    registered(MODEL_REGISTRY, opt['model_type'], 'model_type')
    for name, block in opt.items():
        if name.startswith('network_') and name != 'network_g':
            check_value(block, Component(ARCH_REGISTRY), name)
    check_metrics((opt.get('val') or {}).get('metrics') or {}, 'val.metrics')
    _check_datasets(opt['datasets'], is_train, strict)
    check_gpu(opt)
    check_tiling(opt, strict)
    if is_train:
        for name in ('train', 'logger'):
            if not isinstance(opt.get(name), Mapping):
                raise OptionError(f'The option {name} is missing: it must be a block of options.')
        if opt.get('val') and 'val_freq' not in opt['val']:
            raise OptionError('The option val.val_freq is missing: it must be a whole number from 1.')
        check_section(opt['train'], TRAIN.get(opt['model_type'], SCHEDULE), 'train', strict)
        check_training(opt)
    elif opt.get('val') is None:
        raise OptionError('The option val is missing: a test needs val.save_img and val.metrics.')
    elif opt['val']['save_img'] and 'suffix' not in opt['val']:
        raise OptionError('The option val.suffix is missing: a test that saves images needs it, ~ for none.')


def _check_datasets(datasets: Mapping, is_train: bool, strict: bool) -> None:
    names: dict[str, str] = {}
    for key, block in datasets.items():
        where = f'datasets.{key}'
        phase = str(key).split('_')[0]
        if is_train and key != 'train' and phase != 'val' or not is_train and phase not in ('val', 'test'):
            valid = 'train, val or val_<name>' if is_train else 'test, test_<name>, val or val_<name>'
            raise OptionError(f'{where} is no option: data sets are called {valid}.')
        check_dataset(block, where)
        if block.get('name') is None:
            raise OptionError(f'The option {where}.name is missing: it must be a text.')
        if block['name'] in names and key != 'train':
            raise OptionError(f"{where}.name and {names[block['name']]}.name are both '{block['name']}': results are "
                              'filed under that name, so give each data set its own.')
        if key != 'train':
            names[block['name']] = where
        if isinstance(block.get('dataroot_gt'), (list, tuple)):
            raise OptionError(f'{where}.dataroot_gt is a list, which BasicSR takes only in the sets of a MixedDataset: '
                              'put this data set there.')
        if block.get('persistent_workers') and (key != 'train' or not block.get('num_worker_per_gpu')):
            raise OptionError(f'{where}.persistent_workers is true but there are no workers: take it out, or set '
                              'num_worker_per_gpu of datasets.train.')
    if is_train:
        if 'train' not in datasets:
            raise OptionError('The option datasets.train is missing: it must be a block of options.')
        for name in ('batch_size_per_gpu', 'num_worker_per_gpu'):
            if datasets['train'].get(name) is None:
                raise OptionError(f'The option datasets.train.{name} is missing: it must be {DATASET[name].words}.')
    elif not datasets:
        raise OptionError('datasets is empty: a test needs at least one data set.')

