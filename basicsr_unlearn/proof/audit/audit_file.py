"""audit.json as it is read back: what must be there, and what earlier versions called otherwise."""
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.audit.audit_plan import FORMER_LEVELS
from basicsr_unlearn.proof.cache import is_number

SCHEMA = 3  # what is written, and the newest that is understood

# What a comparison reads. A type or a shape for each key; `!` for a key that must be there, `*` for any key, `#` for
# any step. Null stands for a number or a named key that is absent.
VALUE = {'value': float}
SHAPES = {
    'scores': {'mean': {'*': {'*': {'*': VALUE}}}},
    'forgetting': {'*': {'gap': VALUE}},
    'keeping': {'*': {'loss': VALUE}},
    'attacks': {'worst': {'value': float, 'beyond': float, 'attacker': str}, 'families': {'*': {'beyond': float}}},
    'membership': {'attacks': {'*': {'auc': {'*': VALUE}, 'difference': {'*': {'value!': float}}}}},
    'weights': {'*': {'changed': float}},
    'cost': {'share': {'*': float}},
}
AUDIT = {
    'name!': str, 'quick!': bool, 'options': {'verdict': {}}, 'networks!': {'*': {'sha256!': str}},
    'datasets!': {'*': {'role!': str, 'sha256': str}},
    'verdict!': {'outcome!': str, 'required!': str, 'passed!': bool, 'metric': {'key!': str, 'unit!': str},
                 'worst_gap': {'dataset': str, 'value': float},
                 'levels!': {'*': {'state!': str}}},
    'measurements!': {'*': {}, **{name: {'result': shape} for name, shape in SHAPES.items()}},
}


def read_audit_file(file: str) -> dict:
    """What an audit.json holds.

    Raises:
        DataError: the file cannot be read, is no JSON, is no audit, or was written by a newer version. In one of
            schema 1 levels get the names that they have now.
    """
    try:
        audit = json.loads(Path(file).read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise DataError(f'{file} does not exist: name an audit.json that basicsr-unlearn audit has written.') from error
    except OSError as error:
        raise DataError(f'{file} cannot be read, {error.strerror}: name an audit.json that basicsr-unlearn audit has '
                        'written.') from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested beyond any audit
        raise DataError(f'{file} is no JSON, so no audit: name an audit.json that basicsr-unlearn audit has '
                        'written.') from error
    schema = audit.get('schema') if isinstance(audit, dict) else None
    if isinstance(schema, int) and schema > SCHEMA:
        raise DataError(f'{file} has schema {schema} but schema {SCHEMA} is the newest known here: update '
                        'basicsr_unlearn.')
    if schema not in range(1, SCHEMA + 1) or not has_shape(audit, AUDIT):
        raise DataError(f'{file} is JSON but no audit: name an audit.json that basicsr-unlearn audit has written.')
    return _renamed(audit) if schema == 1 else audit


def has_shape(content: Any, shape: Any) -> bool:
    """Whether what JSON held has a shape as AUDIT; keys that it does not name may hold anything."""
    if not isinstance(shape, Mapping):
        if shape is float:
            return is_number(content)
        return isinstance(content, shape) and (shape is not str or content.isprintable())
    if not isinstance(content, Mapping) or any(content.get(key[:-1]) is None for key in shape if key.endswith('!')):
        return False
    parts = {key.rstrip('!'): part for key, part in shape.items()}
    for key, value in content.items():
        if '#' in parts and not key.isdecimal() or '*' in parts and not key.isprintable():
            return False
        part = parts.get(key, parts.get('*', parts.get('#')))
        absent = value is None and (key in parts or part is float)
        if part is not None and not absent and not has_shape(value, part):
            return False
    return True


def _renamed(audit: dict) -> dict:
    """An audit of schema 1 with the levels' names of today."""
    verdict = audit['verdict']
    return {**audit, 'verdict': {
        **verdict, 'levels': {FORMER_LEVELS.get(name, name): level for name, level in verdict['levels'].items()},
        **{key: FORMER_LEVELS.get(verdict[key], verdict[key]) for key in ('outcome', 'required')}}}
