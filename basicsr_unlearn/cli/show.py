"""The command `basicsr-unlearn show`: an option file with its method spelt out, a method, or what a component takes."""
import difflib
import inspect
import re

import yaml
from pydantic.fields import FieldInfo

from basicsr_unlearn.data import degradations
from basicsr_unlearn.engine.entry import Parser, guarded
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.methods.presets import FOLDER, MEANT, PARTS, method_names
from basicsr_unlearn.options.components import KINDS, Slot, entries
from basicsr_unlearn.options.json_schema import schema_line, schema_text
from basicsr_unlearn.options.option_file import check_options, is_training, load_option_file
from basicsr_unlearn.options.option_text import option_text
from basicsr_unlearn.options.overrides import method_entries, read_options
from basicsr_unlearn.options.values import hint_of, split, words


def main(argv: list[str] | None = None) -> int:
    """Print the option file that `train.method` and `--force_yml` come to, or a component; 0, or 2 for bad input."""
    return guarded(lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    parser = Parser(prog='basicsr-unlearn show', description='Print an option file with its method spelt out, as a '
                    'complete option file, after checking it; or a method; or what a component is and takes.')
    parser.add_argument('component', nargs='?', metavar='NAME', help='a method, loss, mask, edit, anchor, data set, '
                        'network, metric or model, as an option file names it')
    parser.add_argument('-opt', metavar='FILE.yml', help='an option file of train or test')
    parser.add_argument('--schema', action='store_true', help='print the JSON schema of option files, for '
                        'editors; with -opt, with the components of the packages that the file names, too')
    parser.add_argument('--force_yml', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override options of the file, as in train')
    args = parser.parse_args(argv)
    if args.schema and args.component is None:
        if args.opt is not None:
            load_option_file(args.opt)  # which imports its packages
        print(schema_text(), end='')
        return 0
    if (args.opt is None) == (args.component is None):
        raise OptionError('Name an option file (-opt FILE.yml), a method (such as calibrated) or a component (such as '
                          'SaliencyMask), one of them.')
    if args.opt is not None:
        text = file_text(args.opt, args.force_yml)
    else:
        text = (method_text if args.component in method_names() else component_text)(args.component)
    print(text, end='')
    return 0


def file_text(path: str, entries: list[str]) -> str:
    """The option file, complete; above it, where it names a method, a comment on what does not come from that."""
    opt = read_options(path, entries)
    check_options(opt, is_training(opt))
    train = load_option_file(path).get('train') or {}
    beside = [key for key in train if key in PARTS] if train.get('method') and not method_entries(entries) else []
    note = f'# Not of the method but beside it in {path}: {", ".join(beside)}.\n' if beside else ''
    return f'{schema_line()}\n{note}{option_text(opt)}'


def method_text(name: str) -> str:
    """A method: how to use it, then its file with what it needs, costs and is made of."""
    return (f'# Use it by `method: {name}` under train in an option file, or in place of the method that a file has:\n'
            f'#   basicsr-unlearn train -opt FILE.yml --force_yml train:method={name}\n'
            '# needs: streams of the training data. cost: of a step, against one of plain training.\n'
            f'# {FOLDER / name}.yml\n' + (FOLDER / f'{name}.yml').read_text(encoding='utf-8').rstrip() + '\n')


def component_text(name: str) -> str:
    """The options of a component with their defaults, and its documentation.

    Raises:
        OptionError: there is no such component; with the nearest name.
    """
    kind = next((kind for kind in KINDS if name in entries(kind)), None)
    if kind is None:
        if name.endswith(('.yml', '.yaml')):
            raise OptionError(f'{name} is no component: write -opt {name} for an option file.')
        known = [entry for kind in KINDS for entry in entries(kind)]
        near = difflib.get_close_matches(name, [*known, *method_names()], 1)
        meant = MEANT.get(name) or (near[0] if near else None)
        raise OptionError(f"There is no method or component '{name}': " + (
            f'did you mean {meant}?' if meant else 'basicsr-unlearn methods lists the methods.'))
    lines = [f'{_line(key, field):<28}  # {words(hint_of(field))}\n'
             for key, field in Slot(kind).section(name).model_fields.items() if key != 'type']
    component = entries(kind)[name]
    string = inspect.getdoc(component if callable(component) else getattr(degradations, name)) or (
        'It has no documentation.')
    function = re.match(r'Module form of `(\w+)`', string)  # which has the arguments
    if function:
        string += '\n\n' + inspect.getdoc(getattr(inspect.getmodule(component), function[1]))
    return f'type: {name}\n{"".join(lines)}\n{string}\n'


def _line(name: str, field: FieldInfo) -> str:
    """An option with its default; empty where it must be given, a comment where no option file can say the default."""
    if field.default is None and not split(hint_of(field))[1]:
        return f'# {name}:'
    try:
        return f'{name}:' if field.is_required() else option_text({name: field.default}).rstrip('\n')
    except yaml.representer.RepresenterError:
        return f'# {name}:'
