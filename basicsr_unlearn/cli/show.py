"""The command `basicsr-unlearn show`: an option file with its method spelt out, a method, or what a component takes."""
import difflib
import inspect
import re

from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

import basicsr_unlearn.plugin  # noqa: F401  registers the components
from basicsr_unlearn.core.parts import ANCHORS, EDITS, MASKS
from basicsr_unlearn.engine.entry import Parser, guarded
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.methods.presets import FOLDER, MEANT, PARTS, method_names
from basicsr_unlearn.options.option_file import check_options, load_option_file
from basicsr_unlearn.options.option_text import option_text
from basicsr_unlearn.options.overrides import method_entries, read_options
from basicsr_unlearn.options.schema import schema_line, schema_text

REGISTRIES = (LOSS_REGISTRY, DATASET_REGISTRY, ARCH_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY)


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
    check_options(opt, is_train='train' in opt)
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
    known = {**ANCHORS, **MASKS, **EDITS, **{key: entry for registry in REGISTRIES for key, entry in registry}}
    if name not in known:
        if name.endswith(('.yml', '.yaml')):
            raise OptionError(f'{name} is no component: write -opt {name} for an option file.')
        near = difflib.get_close_matches(name, [*known, *method_names()], 1)
        meant = MEANT.get(name) or (near[0] if near else None)
        raise OptionError(f"There is no method or component '{name}': " + (
            f'did you mean {meant}?' if meant else 'basicsr-unlearn methods lists the methods.'))
    component = known[name]
    parameters = [parameter for parameter in inspect.signature(component).parameters.values()
                  if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)]
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
    required = [f'{p.name}:  # must be given\n' for p in parameters if p.default is p.empty]
    text = inspect.getdoc(component) or 'It has no documentation.'
    function = re.match(r'Module form of `(\w+)`', text)  # which has the arguments
    if function:
        text += '\n\n' + inspect.getdoc(getattr(inspect.getmodule(component), function[1]))
    return f'type: {name}\n{"".join(required)}{option_text(defaults)}\n{text}\n'
