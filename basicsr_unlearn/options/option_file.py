"""Reading an option file, and checking it before anything runs."""
import os
from pathlib import Path

import basicsr_unlearn.plugin  # noqa: F401  registers the components
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.methods.presets import expand_method
from basicsr_unlearn.options.components import one
from basicsr_unlearn.options.loader import import_plugins, load_yaml
from basicsr_unlearn.options.rules import check_keys, check_rules
from basicsr_unlearn.options.section_checks import Built, check_section, check_value, registered
from basicsr_unlearn.options.sections import TRAIN, OtherTrain, Run

LARGEST_FILE = 2**20  # bytes of an option file; the longest shipped one has 14,000


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

    The packages that `plugin:` names are imported, once all else has been found to be plain values.

    Raises:
        OptionError: the file is missing, no YAML, no mapping, has a tag of Python elsewhere, or names a plugin that
            cannot be imported; see `load_yaml`.
    """
    file = find_option_file(path)
    if file.is_dir():
        raise OptionError(f'The option file {path} is a folder: name the .yml file in it.')
    where = f'the option file {path}'
    try:
        if not file.is_file() or file.stat().st_size > LARGEST_FILE:
            raise OptionError(f'The option file {path} is no file of options: name a .yml file of less than 1 MB.')
        opt = load_yaml(file.read_text(encoding='utf-8'), where, plugin=True)
    except OSError as error:
        raise OptionError(f'The option file {path} cannot be read: {error.strerror}.') from error
    except UnicodeDecodeError as error:
        raise OptionError(f'The option file {path} is no text in UTF-8.') from error
    if not isinstance(opt, dict):
        raise OptionError(f'The option file {path} holds no options: it must be a mapping with name, model_type, ...')
    if 'plugin' in opt:
        import_plugins(opt['plugin'], where)
    return opt


def is_training(opt: dict) -> bool:
    """Whether an option file is one of training: it has a block `train`, or data for one, whatever it is called."""
    return 'train' in opt or isinstance(opt.get('datasets'), dict) and 'train' in opt['datasets']


def check_options(opt: dict, is_train: bool) -> Built:
    """Check an option file, as read or as BasicSR's parse_options returns it.

    Returns:
        The parts of `train` that were built to check their values, by the name of their option.

    Raises:
        OptionError: the first option that is unknown, missing, of the wrong type, or out of range, by its full name.
    """
    opt, built = expand_method(opt), {}
    is_open = str(opt.get('model_type')) not in TRAIN
    if isinstance(opt.get('datasets'), dict):
        check_keys(opt['datasets'], is_train)
    check_section(opt, Run, '', built, is_open)
    registered('model', opt['model_type'], 'model_type')
    for name, block in opt.items():
        if name.startswith('network_') and name != 'network_g':
            check_value(block, one('network'), name)
    if is_train and opt.get('train') is not None:
        check_section(opt['train'], TRAIN.get(opt['model_type'], OtherTrain), 'train', built)
    check_rules(opt, is_train, is_open, built)
    return built
