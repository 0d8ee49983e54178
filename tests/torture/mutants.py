"""Mutated option files: values replaced by hostile ones, keys taken away, added and repeated, the text spoilt."""
import random
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from basicsr_unlearn.options.loader import load_yaml
from basicsr_unlearn.options.option_text import option_text

GONE, KEY = object(), object()  # the option taken away; a key added to the block
VALUES = [
    GONE, KEY, None, True, False,
    '', 'x', 'None', 'é名\u3000', 'x' * 200, 'x' * 300, 'x/' * 3000, '.', '..', '/', '~', '~nobody/x', '../x', '{}',
    '%s', '*', '1e5', 'nan', '2001-01-01',
    0, 1, 2, 3, -1, -10**30, 10**9, 10**12, 10**30, 10**400,
    0.5, -0.5, 1.5, 1e-320, 1e38, -1e38, 1e308, float('inf'), float('-inf'), float('nan'),
    [], [[]], [None], [0], [-1], [1.5], [10**9], [10**30], [float('nan')], ['x'], [1, 'x'], [{}], [{'type': 'x'}],
    [[[[[[1]]]]]], list(range(1000)),
    {}, {'type': None}, {'type': ''}, {'type': 'x'}, {'type': []}, {'type': ['L1Loss']}, {'type': {}},
    {'type': {'type': 1}}, {'type': 5}, {'x': 1}, {'': 1}, {'x': {'x': {'x': {'x': 1}}}},
]
SNIPPETS = [
    b'\x00', b'\xff', b'\xe2\x80', b'\t', b'\r', b'\x85', b'\xef\xbb\xbf', b'&a ', b'*a', b'!!python/name:os.system ',
    b'!!set ', b'!!binary ', b'<<: *a', b'? ', b'{', b'}', b'[', b']', b'|', b'>', b"'", b'"', b'@', b'`', b'---\n',
    b'...\n', b'%YAML 3.0\n', b'- ' * 60, b'[' * 5000, b'{a: ' * 200, b'!' * 50, b'#' * 99,
]


@dataclass(frozen=True)
class Mutant:
    """A mutated file: which one, what was done to it, and how its content is made."""
    file: str
    what: str
    content: Callable[[], bytes]


def value_mutants(file: str, options: Mapping) -> Iterator[Mutant]:
    """Every option of a file replaced by every hostile value, one at a time."""
    for path in ((), *_paths(options)):
        for value in VALUES if path else (KEY,):
            shown = {id(GONE): 'gone', id(KEY): 'a key more'}.get(id(value), ascii(value)[:60])
            yield Mutant(file, f'{".".join(map(str, path)) or "the whole"} = {shown}',
                         partial(_with_value, options, path, value))


def text_mutants(file: str, content: bytes, seed: int, count: int) -> Iterator[Mutant]:
    """The text of a file cut, with bytes turned, put in and taken out, and lines repeated, moved and indented."""
    rng = random.Random(seed)
    for number in range(count):
        spoilt, done = bytearray(content), []
        for _ in range(rng.choice((1, 1, 2, 5))):
            place = rng.randrange(len(spoilt) + 1)
            kind = rng.choice(('cut', 'turn', 'put in', 'take out', 'repeat line', 'indent', 'move'))
            if kind == 'cut':
                del spoilt[place:]
            elif kind == 'turn' and spoilt:
                spoilt[min(place, len(spoilt) - 1)] ^= 1 << rng.randrange(8)
            elif kind == 'put in':
                spoilt[place:place] = rng.choice(SNIPPETS)
            elif kind == 'take out':
                del spoilt[place:place + rng.randrange(1, 40)]
            else:
                lines = spoilt.splitlines(keepends=True) or [b'\n']
                line = lines[rng.randrange(len(lines))]
                lines.insert(rng.randrange(len(lines)), b'  ' + line if kind == 'indent' else line)
                if kind == 'move':
                    lines.remove(line)
                spoilt = bytearray(b''.join(lines))
            done.append(kind)
        yield Mutant(file, f'text mutant {number}: {", ".join(done)}', partial(bytes, spoilt))


def options_of(path: Path) -> dict:
    """An option file's content, as plain as its mutants are written."""
    return load_yaml(path.read_text(encoding='utf-8'), str(path), plugin=True)


def _paths(block: Any, above: tuple = ()) -> Iterator[tuple]:
    entries = block.items() if isinstance(block, Mapping) else enumerate(block) if isinstance(block, list) else ()
    for key, value in entries:
        if key != 'plugin':
            yield (*above, key)
            yield from _paths(value, (*above, key))


def _with_value(options: dict, path: tuple, value: Any) -> bytes:
    """The text of the options with this value at this place."""
    options = deepcopy(options)
    block = options
    for key in path if value is KEY else path[:-1]:
        block = block[key]
    if value is GONE:
        del block[path[-1]]
    elif value is not KEY:
        block[path[-1]] = deepcopy(value)
    elif isinstance(block, dict):
        block['no_such_option'] = 1
    elif isinstance(block, list):
        block.append(deepcopy(block[-1]) if block else 1)
    if 'plugin' in options:
        return option_text(options).encode()
    return yaml.safe_dump(options, sort_keys=False, allow_unicode=True).encode()
