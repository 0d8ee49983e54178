"""Reading YAML of unknown origin: nothing that it names is run, and none that is made to exhaust a reader is read.

BasicSR's own loader is PyYAML's unsafe one, which runs whatever function a file names. This one reads plain values in
BasicSR's order, and one tag of Python: `plugin: !!python/name:PACKAGE.ATTRIBUTE ''`, which names a package to import; a
list of such tags names several.
"""
import importlib
import os
import sys
import unicodedata
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import yaml

from basicsr_unlearn.errors import OptionError

PREFIX = 'tag:yaml.org,2002:'
NAME_TAG = f'{PREFIX}python/name:'
PLUGIN_KEY = 'plugin'
PLUGIN = 'basicsr_unlearn.plugin.__version__'  # this package's own
PLUGIN_FORM = "!!python/name:PACKAGE.__version__ ''"
PLAIN_TAGS = {PREFIX + kind for kind in ('str', 'int', 'float', 'bool', 'null', 'timestamp', 'seq', 'map')}
DEPTH = 50           # blocks within blocks; our choice, as are the next two
VALUES = 100_000     # with aliases spelt out
LONGEST_NAME = 255   # bytes of a name: what file systems take


class _Loader(getattr(yaml, 'CSafeLoader', yaml.SafeLoader)):
    """PyYAML's safe loader with BasicSR's ordered blocks, and the name of the plugin as a text."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, KeyError, AttributeError) as error:  # what PyYAML's readers of single values raise
            raise yaml.constructor.ConstructorError(
                None, None, f'{_short(node)} is no {_tag(node).strip("!")}', node.start_mark) from error


_Loader.add_constructor(f'{PREFIX}map', lambda loader, node: OrderedDict(loader.construct_pairs(node)))
_Loader.add_multi_constructor(NAME_TAG, lambda loader, suffix, node: suffix)


def load_yaml(string: str, where: str, plugin: bool = False) -> Any:
    """The content of a YAML document.

    Args:
        string: the document.
        where: what to call it in an error, such as 'the option file a.yml'.
        plugin: the top-level key `plugin` may name a package or a list of them, and then must; its value is
            `PACKAGE.ATTRIBUTE` or a list of such. Nothing is imported here, see `import_plugins`.

    Raises:
        OptionError: no YAML; a tag that would run code, by its line; a repeated key; a block within itself, or more
            and deeper ones than an option file needs; a character or a length that no name has.
    """
    if any(unicodedata.category(character) == 'Cs' for character in string):  # of a command line that is no UTF-8
        raise OptionError(f'{where[:1].upper() + where[1:]} is no text in UTF-8.')
    try:
        _check_size(string, where)
        loader = _Loader(string)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _check_node(node, where, (), plugin)
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        place = f'Line {mark.line + 1} of {where}' if mark else where[:1].upper() + where[1:]
        raise OptionError(f'{place} cannot be read: {_problem(error)}.') from error


def import_plugins(plugin: str | list[str], where: str) -> None:
    """Import the package of `PACKAGE.ATTRIBUTE`, or of each in a list, in its order. Raises OptionError."""
    for name in [plugin] if isinstance(plugin, str) else plugin:
        import_plugin(name, where)


def plugins_of(*files: Mapping) -> list[str]:
    """What option files name as their plugins, each once; this package where they name none."""
    named = [file['plugin'] for file in files if file.get('plugin')]
    return list(dict.fromkeys(name for entry in named for name in ([entry] if isinstance(entry, str) else entry))) or [
        PLUGIN]


def import_plugin(name: str, where: str) -> None:
    """Import the package of `PACKAGE.ATTRIBUTE`, whose components are registered by that; say so if it is not ours.

    Raises:
        OptionError: there is no such package or attribute, or the package fails while it is imported.
    """
    package, _, attribute = name.rpartition('.')
    if not package or not all(part.isidentifier() for part in name.split('.')):
        raise OptionError(f'{where} has plugin: !!python/name:{name}, which names no package: write {PLUGIN_FORM}.')
    if package not in sys.modules and int(os.environ.get('RANK', 0)) == 0:
        print(f'Importing the package {package}, which {where} names as its plugin.', file=sys.stderr, flush=True)
    try:
        module = importlib.import_module(package)
    except Exception as error:  # another's code: whatever it raises
        missing = isinstance(error, ModuleNotFoundError) and error.name in (package, package.partition('.')[0])
        raise OptionError(f'{where} names the plugin {package}, which cannot be imported: ' + (
            'there is none; install it, or put the folder that it lies in into PYTHONPATH.' if missing else
            f'{type(error).__name__}, {" ".join(str(error).split()).rstrip(".")}.')) from error
    if not hasattr(module, attribute):
        raise OptionError(f'{where} has plugin: !!python/name:{name}, but {package} has no {attribute}.')


def _check_size(string: str, where: str) -> None:
    """Refuse what would be too deep or too large to walk through, before anything does."""
    sizes: dict[str, int] = {}       # anchor -> values below it
    blocks: list[tuple[str | None, int]] = []  # open ones: anchor, values so far
    count = 0
    for event in yaml.parse(string, Loader=_Loader):
        line = event.start_mark.line + 1
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            blocks.append((event.anchor, count))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            anchor, before = blocks.pop()
            if anchor is not None:
                sizes[anchor] = count - before
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in [anchor for anchor, _ in blocks]:
                raise OptionError(f'Line {line} of {where} puts the block &{event.anchor} into itself: write out what '
                                  'is meant.')
            count += sizes.get(event.anchor, 1)
        else:
            count += 1
        if len(blocks) > DEPTH:
            raise OptionError(f'Line {line} of {where} lies within more than {DEPTH} blocks: no option is so deep.')
        if count > VALUES:
            raise OptionError(f'{where} holds more than {VALUES} values by line {line}: no option file is so long.')


def _check_node(node: yaml.Node, where: str, path: tuple[str | int, ...], plugin: bool) -> None:
    line = f'Line {node.start_mark.line + 1} of {where}'
    is_plugin = plugin and path in ((PLUGIN_KEY,), (PLUGIN_KEY, 0))
    if is_plugin and (isinstance(node, yaml.MappingNode) or node.value == [] or node.tag == f'{PREFIX}null'
                      or len(path) == 2 and node.tag == f'{PREFIX}seq'):
        raise OptionError(f'{line} has a plugin that names no package: write plugin: {PLUGIN_FORM}.')
    if is_plugin and isinstance(node, yaml.ScalarNode) and node.tag in PLAIN_TAGS:
        raise OptionError(f'{line} has a plugin that is not imported, as it has no tag: write plugin: {PLUGIN_FORM}.')
    if is_plugin and node.tag.startswith(NAME_TAG) and node.value == '':
        return
    if 'python' in node.tag:
        raise OptionError(f'{line} has the tag {_tag(node)}, which is not read, as such tags run code: take it out. '
                          f'The only one that is read is plugin: {PLUGIN_FORM}.')
    if node.tag not in PLAIN_TAGS:
        raise OptionError(f'{line} has the tag {_tag(node)}, which no option needs: write a plain value.')
    if isinstance(node, yaml.MappingNode):
        _check_keys(node, where)
        for key, value in node.value:
            _check_node(value, where, (*path, key.value), plugin)
    elif isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            _check_node(entry, where, (*path, 0), plugin)
    else:
        _check_string(node.value, line)


def _check_keys(block: yaml.MappingNode, where: str) -> None:
    seen = set()
    for key, _ in block.value:
        line = f'Line {key.start_mark.line + 1} of {where}'
        if key.tag == f'{PREFIX}merge':
            raise OptionError(f'{line} has the merge key <<, which is not supported: write the keys out.')
        if key.tag != f'{PREFIX}str':
            if 'python' in key.tag or isinstance(key, yaml.CollectionNode):
                _check_node(key, where, ('', ''), False)
            raise OptionError(f'{line} has a key that is no text but {_short(key)}: put it into quotes.')
        _check_string(key.value, line)
        if key.value in seen:
            raise OptionError(f'{line} repeats the key {_short(key)}: keep one of them.')
        seen.add(key.value)


def _check_string(string: str, line: str) -> None:
    """Names and paths go to the file system, which cannot take everything that YAML can write."""
    bad = next((character for character in string if unicodedata.category(character) in ('Cc', 'Cs')), None)
    if bad is not None:
        raise OptionError(f'{line} holds the character {ascii(bad)}, which no name or path can have: take it out.')
    longest = max((len(part.encode('utf-8')) for part in string.split('/')), default=0)
    if longest > LONGEST_NAME or len(string) > 16 * LONGEST_NAME:
        raise OptionError(f'{line} holds a value of {len(string)} characters: no name has more than '
                          f'{LONGEST_NAME} bytes.')


def _tag(node: yaml.Node) -> str:
    return ascii(node.tag.replace(PREFIX, '!!'))[1:-1][:100]


def _short(node: yaml.Node) -> str:
    value = node.value if isinstance(node, yaml.ScalarNode) else 'a list or a block'
    return value if len(value) <= 40 and value.isprintable() else f'{ascii(value)[1:38]}...'


def _problem(error: yaml.YAMLError) -> str:
    problem = getattr(error, 'problem', None) or getattr(error, 'reason', None) or 'no YAML'
    return ' '.join(str(problem).split()).rstrip('.')
