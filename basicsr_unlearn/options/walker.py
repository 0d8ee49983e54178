"""Checking blocks of options against the grammar, one option at a time."""
import difflib
import inspect
import numbers
from collections.abc import Mapping
from typing import Any

import torch
from basicsr.utils.registry import DATASET_REGISTRY, METRIC_REGISTRY

import basicsr_unlearn.plugin  # noqa: F401  registers the components
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.options.grammar import (
    BASICSR_DATASET,
    BASICSR_DATASETS,
    BLOCKS,
    DATASET,
    FLAG,
    LARGEST_WHOLE,
    LIST,
    MAPPING,
    METRIC_EXTRA,
    NUMBERS,
    OPTIMIZERS,
    RETAIN_DEGRADATIONS,
    RUNTIME,
    SCHEDULERS,
    TYPES,
    Component,
    Parts,
    Value,
    either,
    number,
    or_empty,
)


def check_value(value: Any, spec: Any, where: str, strict: bool = True) -> None:
    if isinstance(spec, Mapping):
        if value is not None:
            check_section(value, spec, where, strict)
    elif isinstance(spec, Component):
        if value is not None:
            _check_component(value, spec, where)
    elif isinstance(spec, Parts):
        check_value(value, or_empty(either(MAPPING, LIST)), where)
        blocks = {where: value} if isinstance(value, Mapping) else {
            f'{where}[{index}]': block for index, block in enumerate(value or [])}
        for place, block in blocks.items():
            _check_component(block, Component(spec.registry), place)
    elif not spec.accepts(value):
        raise OptionError(f'{where} is {_shown(value, spec.words)}.')


def check_section(block: Any, table: Mapping, where: str, strict: bool = True) -> None:
    if not isinstance(block, Mapping):
        raise OptionError(f'{where} is {_shown(block, MAPPING.words)}.')
    specs = {name.rstrip('!'): spec for name, spec in table.items()}
    for name, value in block.items():
        if name in specs:
            check_value(value, specs[name], _join(where, name), strict)
        elif strict and name not in RUNTIME.get(where, ()):
            raise OptionError(_unknown(_join(where, str(name)), str(name), list(specs)))
    for name, spec in table.items():
        if name.endswith('!') and block.get(name[:-1]) is None:
            words = spec.words if isinstance(spec, Value) else MAPPING.words
            raise OptionError(f'The option {_join(where, name[:-1])} is missing: it must be {words}.')


def _check_component(block: Any, spec: Component, where: str) -> None:
    if not isinstance(block, Mapping):
        raise OptionError(f'{where} is {_shown(block, MAPPING.words)}.')
    if not block.get('type'):
        raise OptionError(f'The option {where}.type is missing: it must be one of {names_in(spec.registry)}.')
    target = registered(spec.registry, block['type'], f'{where}.type')
    parameters = inspect.signature(target).parameters
    # BasicSR's metrics swallow any key, so a misspelt one would go unnoticed: what they name counts.
    is_open = (any(p.kind is p.VAR_KEYWORD for p in parameters.values())
               and not target.__module__.startswith('basicsr.metrics'))
    handed_over = ('img', 'img2', 'identity', 'params', 'optimizer', 'last_epoch')
    takes = {name: p for name, p in parameters.items()
             if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name not in handed_over}
    arguments = {name: value for name, value in block.items() if name != 'type' and name not in spec.extra}
    for name, value in spec.extra.items():
        if name in block:
            check_value(block[name], value, f'{where}.{name}')
    for name, value in arguments.items():
        if name not in takes and not is_open:
            raise OptionError(_unknown(f'{where}.{name}', name, [*takes, *spec.extra]))
        _check_argument(value, takes.get(name), f'{where}.{name}')
        if target in OPTIMIZERS.values() and isinstance(takes[name].default, tuple):
            check_value(value, _numbers(len(takes[name].default)), f'{where}.{name}')
        if target in SCHEDULERS.values() and name in ('milestones', 'periods'):  # their signatures show no type
            check_value(value, NUMBERS, f'{where}.{name}')
    for name, parameter in takes.items():
        if parameter.default is parameter.empty and name not in block:
            raise OptionError(f'The option {where}.{name} is missing: {block["type"]} needs it.')
    _try_building(target, arguments, where)


def _check_argument(value: Any, parameter: inspect.Parameter | None, where: str) -> None:
    """Check the type of an argument where the parameter's default shows one, and that no number is written as text."""
    default = parameter.default if parameter else None
    for entry in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(entry, str) and _as_number(entry) is not None and not isinstance(default, str):
            raise OptionError(f'{where} is {_shown(entry, "a number")}.')
    if isinstance(default, bool):
        check_value(value, FLAG, where)
    elif isinstance(default, numbers.Real):
        check_value(value, number(whole=parameter.annotation is int), where)
    elif isinstance(default, tuple) and all(isinstance(entry, numbers.Real) for entry in default):
        check_value(value, NUMBERS, where)


def _numbers(count: int) -> Value:
    return Value(f'a list of {count} numbers', lambda v: NUMBERS.accepts(v) and len(v) == count)


def _try_building(target: Any, arguments: dict, where: str) -> None:
    """Let optimizers, schedulers and the losses of this package judge their values themselves: they are quick to build.
    """
    first = []
    if target in SCHEDULERS.values() or target in OPTIMIZERS.values():
        first = [[torch.nn.Parameter(torch.zeros(1))]]
    if target in SCHEDULERS.values():
        first = [torch.optim.SGD(*first, lr=1.0)]
    if not first and not target.__module__.startswith(('basicsr_unlearn.core.losses', 'basicsr_unlearn.core')):
        return
    try:
        target(*first, **arguments)
    except (ValueError, TypeError, AssertionError) as error:
        raise OptionError(f'{where} does not work: {str(error)[:300].rstrip(".")}.') from error


def check_metrics(metrics: Mapping, where: str) -> None:
    """Check the blocks of `val.metrics` or an audit's `metrics`. Raises OptionError."""
    for name, metric in metrics.items():
        if metric is None:
            raise OptionError(f'{where}.{name} is {_shown(metric, MAPPING.words)}.')
        check_value(metric, Component(METRIC_REGISTRY, METRIC_EXTRA), f'{where}.{name}')


def check_dataset(block: Any, where: str) -> None:
    if not isinstance(block, Mapping):
        raise OptionError(f'{where} is {_shown(block, MAPPING.words)}.')
    if not block.get('type'):
        raise OptionError(f'The option {where}.type is missing: it must be one of {names_in(DATASET_REGISTRY)}.')
    cls = registered(DATASET_REGISTRY, block['type'], f'{where}.type')
    table, strict = dict(DATASET), False
    if getattr(cls, 'OPTIONS', None) is not None:
        strict = True
        for name, kinds in cls.OPTIONS.items():
            kinds = kinds if isinstance(kinds, tuple) else (kinds,)
            table[name] = or_empty(either(*(TYPES[kind] for kind in kinds)))
    elif block['type'] in BASICSR_DATASETS:
        table, strict = {**table, **BASICSR_DATASET}, True
    check_section(block, table, where, strict)
    for name in BLOCKS:
        for index, child in enumerate(block.get(name) or [] if strict else []):
            check_dataset(child, f'{where}.{name}[{index}]')
    for index, child in enumerate(block.get('retain_degradations') or [] if strict else []):
        check_section(child, RETAIN_DEGRADATIONS, f'{where}.retain_degradations[{index}]')


def registered(registry: Any, name: Any, where: str) -> Any:
    """What `name` stands for in a registry, with or without BasicSR's suffix. Raises OptionError with the nearest."""
    if not isinstance(name, str):
        raise OptionError(f'{where} is {_shown(name, "the name of a component")}.')
    entries = dict(registry.items() if isinstance(registry, Mapping) else iter(registry))
    for candidate in (name, f'{name}_basicsr'):
        if candidate in entries:
            return entries[candidate]
    near = _nearest(name, names_in(registry).split(', '))
    raise OptionError(f"{where} is '{name}', which is not there: " +
                      (f'did you mean {near}?' if near else f'use one of {names_in(registry)}.'))


def names_in(registry: Any) -> str:
    return ', '.join(sorted(name.removesuffix('_basicsr') for name in registry.keys()))


def _unknown(where: str, name: str, valid: list[str]) -> str:
    near = _nearest(name, valid)
    parent = where.rpartition('.')[0]
    return f'{where} is no option: ' + (f'did you mean {_join(parent, near)}?' if near else
                                        f'use {", ".join(sorted(valid))}.')


def _nearest(name: Any, valid: list[str]) -> str | None:
    by_lower = {entry.lower(): entry for entry in valid}
    near = difflib.get_close_matches(str(name).lower(), by_lower, 1)
    return by_lower[near[0]] if near else None


def _shown(value: Any, words: str) -> str:
    """How an error shows a value that is not what `words` say."""
    if 'number' in words and isinstance(value, numbers.Real) and abs(value) > LARGEST_WHOLE:
        return f'{short(value)}, which is none of the numbers that are {words} and of use'
    if value is None:
        return f'empty (~), not {words}'
    if isinstance(value, str) and 'number' in words and _as_number(value) is not None:
        plain = value if value.isdigit() else f'!!float {value}'
        return f"the text '{value}', not {words}: write {plain}"
    if isinstance(value, Mapping):
        return f'a block of options, not {words}'
    return f'{short(value)}, not {words}'


def short(value: Any) -> str:
    """A value as an option file has it, at most 60 characters of it."""
    if isinstance(value, numbers.Integral) and abs(value) > LARGEST_WHOLE:
        return f'{float(value):.0e}' if abs(value) < 1e300 else 'beyond 1e300'
    shown = str(value).lower() if isinstance(value, bool) else repr(value) if isinstance(value, str) else str(value)
    return shown if len(shown) <= 60 else f'{shown[:57]}...'


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _join(where: str, name: str) -> str:
    return f'{where}.{name}' if where else name
