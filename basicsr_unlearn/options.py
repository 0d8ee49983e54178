"""Reading an option file, and checking it against the grammar before anything runs."""
from collections.abc import Mapping
from pathlib import Path

import yaml
from basicsr.utils.options import ordered_yaml
from basicsr.utils.registry import ARCH_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

import basicsr_unlearn  # noqa: F401  registers the components
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.option_agreement import check_gpu, check_tiling, check_training
from basicsr_unlearn.option_grammar import (
    DATASET,
    METRIC_EXTRA,
    SCHEDULE,
    TOP,
    TRAIN,
    Component,
)
from basicsr_unlearn.option_walker import check_dataset, check_section, check_value, registered
from basicsr_unlearn.presets import expand_method


def find_option_file(path: str) -> Path:
    """The option file as given, relative to the current directory; else the one of that name that is installed.

    Raises:
        OptionError: there is no such file in either place.
    """
    given = Path(path).expanduser()
    package = Path(__file__).resolve().parent
    # in a wheel the option files lie inside the package, in a checkout beside it
    shipped = [folder / given.name for folder in (package / 'option_files', package.parent / 'options')
               if given.parts == ('options', given.name)]
    for candidate in (given, *shipped):
        if candidate.exists():
            return candidate
    raise OptionError(f'The option file {path} does not exist: correct the path after -opt.')


def load_option_file(path: str) -> dict:
    """Read an option file as BasicSR does; `options/NAME.yml` is found in an installed package too.

    Raises:
        OptionError: the file is missing, no YAML, no mapping, or repeats a key, which YAML readers let pass.
    """
    file = find_option_file(path)
    if file.is_dir():
        raise OptionError(f'The option file {path} is a folder: name the .yml file in it.')
    loader = ordered_yaml()[0]
    try:
        text = file.read_text(encoding='utf-8')
        _refuse_repeated_keys(yaml.compose(text, Loader=loader), path)
        opt = yaml.load(text, Loader=loader)  # noqa: S506  the loader of BasicSR, which the plugin tag needs
    except OSError as error:
        raise OptionError(f'The option file {path} cannot be read: {error.strerror}.') from error
    except UnicodeDecodeError as error:
        raise OptionError(f'The option file {path} is no text in UTF-8.') from error
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        line = f'Line {mark.line + 1} of the' if mark else 'The'
        problem = getattr(error, 'problem', None) or 'no YAML'
        if 'merge' in problem:
            problem = 'the merge key << is not supported, write the keys out'
        raise OptionError(f'{line} option file {path} cannot be read: {problem}.') from error
    if not isinstance(opt, dict):
        raise OptionError(f'The option file {path} holds no options: it must be a mapping with name, model_type, ...')
    return opt


def check_options(opt: dict, is_train: bool) -> None:
    """Check an option file, as read or as BasicSR's parse_options returns it.

    Raises:
        OptionError: the first option that is unknown, missing, of the wrong type, or out of range, by its full name.
    """
    opt = expand_method(opt)
    strict = opt.get('model_type') in TRAIN
    check_section(opt, TOP, '', strict)
    registered(MODEL_REGISTRY, opt['model_type'], 'model_type')
    for name, block in opt.items():
        if name.startswith('network_') and name != 'network_g':
            check_value(block, Component(ARCH_REGISTRY), name)
    for name, metric in ((opt.get('val') or {}).get('metrics') or {}).items():
        check_value(metric, Component(METRIC_REGISTRY, METRIC_EXTRA), f'val.metrics.{name}')
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


def _refuse_repeated_keys(node: yaml.Node | None, path: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise OptionError(f'Line {key.start_mark.line + 1} of the option file {path} repeats the key '
                                  f'{key.value}: keep one of them.')
            seen.add(key.value)
            _refuse_repeated_keys(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            _refuse_repeated_keys(entry, path)
