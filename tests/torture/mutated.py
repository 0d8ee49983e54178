"""Damaged versions of a JSON file: cut, of other keys, of other types, nested beyond reason, no text."""
import json
import random
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

DEEP = '[' * 50000 + ']' * 50000
WHOLE = (b'', b' ', b'null', b'[]', b'{}', b'7', b'"text"', b'true', b'\xff\xfe\x00\x01', b'{"a": 1}', DEEP.encode(),
         b'{"a":' * 50000, b'[NaN]', b'{"schema": 2}', b'{"key": "x"}', b'9' * 5000, b'\x00' * 100, b'\xef\xbb\xbf{}')
VALUES = (None, [], {}, '', 'x', 0, -1, 1e308, float('nan'), float('inf'), True, [[]], [None], {'': None}, 10**400,
          '\ud800', 'two\nlines', 'x' * 5000, {'value': None}, {'value': 'x'}, [0], '\x1b[31m')


def mutations(text: str, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """(name, content) of about so many damaged versions of a JSON text, the same for the same seed."""
    rng = random.Random(seed)
    for index, content in enumerate(WHOLE):
        yield f'whole {index}', content
    for share in (0.001, 0.1, 0.5, 0.9, 0.999):
        yield f'cut at {share:.1%}', text.encode()[:int(len(text) * share)]
    places = list(_places(json.loads(text)))
    for _ in range(max(count - len(WHOLE) - 5, 0)):
        path = rng.choice(places)
        kind = rng.choice(('value', 'value', 'gone', 'renamed'))
        content = deepcopy(json.loads(text))
        block = content
        for key in path[:-1]:
            block = block[key]
        if kind == 'value':
            value = rng.choice(VALUES)
            block[path[-1]] = value
            kind = f'{str(value)[:20]!r}'
        elif isinstance(block, dict):
            value = block.pop(path[-1])
            if kind == 'renamed':
                block[rng.choice(('other', '', 'step', '\ud800', '99'))] = value
        else:
            del block[path[-1]]
        yield f'{"/".join(map(str, path))[:60]} {kind}', json.dumps(content).encode()


def _places(content: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths to everything in it; of long lists and of many equal keys the first few."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for number, (key, value) in enumerate(entries):
        if number < 12:
            yield (*path, key)
            yield from _places(value, (*path, key))
