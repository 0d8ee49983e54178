"""The options of a component: types and limits from the hints of its signature, a line on each from its docstring."""
import inspect
import re
import warnings
from collections.abc import Iterable, Mapping
from functools import cache, reduce
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, is_typeddict

from annotated_types import Len
from pydantic import Field, create_model

from basicsr_unlearn.core.ascent import Reduction
from basicsr_unlearn.core.hints import Count, NotNegative
from basicsr_unlearn.options.values import FromZero, OpenSection, Section, hint_of

HANDED_OVER = ('img', 'img2', 'identity', 'params', 'optimizer', 'last_epoch')  # by the caller, not by an option
# of parameters without a hint: those of BasicSR's components that take no other type
UNHINTED = {'milestones': list[Count], 'periods': list[Count], 'restarts': list[FromZero],
            'restart_weights': list[float], 'crop_border': FromZero, 'reduction': Reduction,
            'gamma': NotNegative, 'eta_min': NotNegative, 'loss_weight': NotNegative, 'layer_weights': dict[str, float]}
DROPPED = object()


@cache
def section_of(name: str, target: Any, extra: type[Section] | None = None) -> type[Section]:
    """The options that a component takes, as its signature says; `extra` are options beside them.

    Anything goes beside them where the signature ends in `**kwargs`, but for BasicSR's metrics, which swallow any key.
    """
    told, fields, is_open = described(target), {}, False
    for parameter in signature(target).parameters.values():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            is_open |= parameter.kind is parameter.VAR_KEYWORD and not target.__module__.startswith('basicsr.metrics')
        elif parameter.name not in HANDED_OVER and not parameter.name.startswith('_'):
            fields[parameter.name] = (_hint(parameter), Field(
                ... if parameter.default is parameter.empty else parameter.default,
                description=told.get(parameter.name)))
    for key, field in (extra.model_fields if extra else {}).items():
        fields[key] = (hint_of(field), field)
    return section(name, fields, is_open, inspect.getdoc(target))


def section(name: str, fields: dict[str, tuple], is_open: bool, about: str | None) -> type[Section]:
    """The Section of a block whose type is `name`, whatever else it may hold if it is open."""
    base = OpenSection if is_open else Section
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of options that have the name of a method of pydantic
        return create_model(name, __base__=base, __doc__=(about or '').split('\n\n')[0].replace('\n', ' '),
                            type=(Literal[name], Field()), **fields)


def signature(target: Any) -> inspect.Signature:
    """The signature of a component, hints resolved where they can be."""
    try:
        return inspect.signature(target, eval_str=True)
    except NameError:  # a hint that is imported for type checkers only
        return inspect.signature(target)


def _hint(parameter: inspect.Parameter) -> Any:
    default = None if parameter.default is parameter.empty else parameter.default
    if parameter.annotation is not parameter.empty:
        hint = plain(parameter.annotation)
    elif parameter.name in UNHINTED:
        hint = UNHINTED[parameter.name]
    elif isinstance(default, bool):
        hint = bool
    elif isinstance(default, (int, float)):
        hint = float
    elif isinstance(default, tuple) and default and all(isinstance(entry, (int, float)) for entry in default):
        hint = list[float]
    else:
        return Any
    if hint is DROPPED:
        return Any
    return hint | None if parameter.default is None and hint is not Any else hint


def plain(hint: Any) -> Any:
    """A hint without what no option file can hold, lists for all sequences; DROPPED if nothing is left of it."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint in (bool, int, float, str, NoneType, Any) or origin is Literal:
        return hint
    if is_typeddict(hint):
        return _typed_dict(hint)
    if origin is Annotated:
        base = plain(arguments[0])
        return DROPPED if base is DROPPED else Annotated[(base, *arguments[1:])]
    if origin is Union or origin is UnionType:
        kept = [part for part in map(plain, arguments) if part is not DROPPED]
        return reduce(or_, kept) if set(kept) - {NoneType} else DROPPED
    kind = origin or hint
    if kind in (dict, Mapping):
        return dict[str, plain(arguments[1])] if arguments and plain(arguments[1]) is not DROPPED else dict
    if not isinstance(kind, type) or not issubclass(kind, Iterable) or kind.__module__ not in (
            'builtins', 'collections.abc', 'typing'):
        return DROPPED
    inside = [part for part in map(plain, arguments) if part not in (DROPPED, ...)]
    if not inside:
        return list[Any]
    several = kind is tuple and Ellipsis not in arguments
    return Annotated[list[tuple(inside)], Len(len(arguments), len(arguments))] if several else list[inside[0]]


def _typed_dict(hint: Any) -> type[Section]:
    fields = {name: (kind, Field(None) if name in hint.__optional_keys__ else Field())
              for name, kind in inspect.get_annotations(hint, eval_str=True).items()}
    return create_model(hint.__name__, __base__=Section, **fields)


@cache
def described(target: Any) -> dict[str, str]:
    """What a component's documentation says of each of its options, in one line."""
    string = inspect.getdoc(target) or ''
    function = re.match(r'Module form of `(\w+)`', string)  # which has the arguments
    if function:
        string = (inspect.getdoc(getattr(inspect.getmodule(target), function[1], None)) or '') + '\n' + string
    found, names, lines = {}, [], _arguments(string)
    if lines and lines[0].startswith('    opt: '):  # of a data set, whose options stand below it
        lines = [line[4:] for line in lines[1:]]
    for line in lines:
        match = re.match(r' {4}(\w+(?:, \w+)*)(?: \([^)]*\))?: (.*)', line)
        if match:
            names = match[1].split(', ')
            found |= {name: match[2] for name in names}
        else:
            found |= {name: f'{found[name]} {line.strip()}' for name in names}
    return {name: _first_sentence(told) for name, told in found.items()}


def _arguments(string: str) -> list[str]:
    """The lines of the sections `Args:` of a docstring."""
    lines, inside = [], False
    for line in string.splitlines():
        if line.strip() in ('Args:', 'Arguments:'):
            inside = True
        elif line.strip() and not line.startswith(' '):
            inside = False
        elif inside and line.strip():
            lines.append(line)
    return lines


def _first_sentence(string: str) -> str:
    default = re.search(r'(?<=\. )Default: [^.]*(\.\d[^.]*)?', string)
    first = re.split(r'(?<=[\w)\]])[.;](?=\s|$)', string.strip(), maxsplit=1)[0]
    return f'{first}. {default[0]}' if default else first
