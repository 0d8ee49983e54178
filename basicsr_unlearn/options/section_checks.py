"""Checking blocks of options against their Sections, one option at a time; an error is one sentence."""
from collections.abc import Mapping
from typing import Annotated, Any, get_args, get_origin

import torch
from annotated_types import MinLen

from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.options.components import KINDS, Slot, entries, slot_of, terms_of
from basicsr_unlearn.options.sentences import as_number, join, nearest, shown, unknown
from basicsr_unlearn.options.values import Section, accepts, alternatives, choices_of, hint_of, is_section, split, words

Built = dict[str, Any]  # parts by the name of the option, such as train.mask_opt or train.edit_opt[1]


def check_value(value: Any, hint: Any, where: str, built: Built | None = None, is_open: bool = False) -> None:
    """Check one option, and what is in it, against its type hint.

    Args:
        where: its full name, such as train.stop_opt.window.
        built: receives the components that are quick to build, so that they judge their values themselves.
        is_open: whether sections may hold options that are not known, as those of models of other packages.

    Raises:
        OptionError: the first thing that is wrong.
    """
    kind, may_be_empty = split(hint)
    if value is None and may_be_empty:
        return
    if isinstance(value, Mapping):
        block = next((part for part in alternatives(kind) if slot_of(part) or is_section(part)), None)
        if block is not None and slot_of(block):
            return check_component(value, slot_of(block), where, built)
        if block is not None:
            return check_section(value, block, where, built, is_open)
        if get_origin(kind) is dict and has_blocks(get_args(kind)[1]):
            for name, entry in value.items():
                check_value(entry, get_args(kind)[1], join(where, str(name)), built)
            return None
    if isinstance(value, (list, tuple)):
        entry, notes = _entry(kind), getattr(kind, '__metadata__', ())
        if not value and entry is not None and any(isinstance(note, MinLen) for note in notes):
            raise OptionError(f'{where} is an empty list: give at least one entry.')
        for index, item in enumerate(value if entry is not None else ()):
            check_value(item, entry, f'{where}[{index}]', built)
        if entry is not None and has_blocks(entry):
            return None
    simple = [part for part in alternatives(kind) if not slot_of(part) and not is_section(part) and not (
        get_origin(part) in (list, dict) and has_blocks(get_args(part)[-1]))]
    if not any(accepts(value, part) for part in simple):
        near = nearest(value, choices_of(kind)) if isinstance(value, str) else None
        raise OptionError(f'{where} is {shown(value, words(kind))}' + (f': did you mean {near}?' if near else '.'))
    if kind is Any and isinstance(value, str) and as_number(value) is not None:
        raise OptionError(f'{where} is {shown(value, "a number")}.')
    return None


def _entry(kind: Any) -> Any:
    """The hint of the entries of a list, where only one kind of list is meant."""
    parts = [get_args(part)[0] if get_origin(part) is Annotated and not slot_of(part) else part
             for part in alternatives(kind)]
    lists = [part for part in parts if get_origin(part) is list]
    return get_args(lists[0])[0] if len(lists) == 1 and all(part in lists or slot_of(part) for part in parts) else None


def has_blocks(kind: Any) -> bool:
    """Whether a hint takes blocks that have a hint of their own."""
    return any(slot_of(part) or is_section(part) for part in alternatives(kind))


def check_section(block: Any, section: type[Section], where: str, built: Built | None = None, is_open: bool = False
                  ) -> None:
    """Check a block of options. Raises OptionError."""
    if not isinstance(block, Mapping):
        raise OptionError(f'{where} is {shown(block, words(section))}.')
    fields, is_open = section.model_fields, is_open or section.model_config.get('extra') == 'allow'
    for name, value in block.items():
        if value is None and name in fields and fields[name].is_required():
            continue
        if name in fields:
            check_value(value, hint_of(fields[name]), join(where, name), built, is_open)
        elif not is_open and name not in section.added:
            raise OptionError(unknown(join(where, str(name)), str(name), list(fields)))
    for name, field in fields.items():
        if field.is_required() and block.get(name) is None:
            needs = f'{section.__name__} needs it' if block.get('type') == section.__name__ else (
                f'it must be {words(hint_of(field))}')
            raise OptionError(f'The option {join(where, name)} is missing: {needs}.')


def check_component(block: Any, slot: Slot, where: str, built: Built | None = None) -> None:
    """Check a block with a `type`: that the component fits here, and takes the other options. Raises OptionError."""
    if not isinstance(block, Mapping):
        raise OptionError(f'{where} is {shown(block, words(dict))}.')
    if not block.get('type'):
        raise OptionError(f'The option {where}.type is missing: it must be one of '
                          f'{", ".join(sorted(slot.components()))}.')
    name = component_name(block['type'], slot, f'{where}.type')
    check_section({**block, 'type': name}, slot.section(name), where, built)
    part = _built(slot, name, block, where)
    if built is not None and part is not None:
        built[where] = part


def component_name(name: Any, slot: Slot, where: str) -> str:
    """The name of a component that fits, without BasicSR's suffix.

    Raises:
        OptionError: there is none of this name, or it does not fit; with the nearest, or with those that fit.
    """
    if not isinstance(name, str):
        raise OptionError(f'{where} is {shown(name, "the name of a component")}.')
    fitting, name = slot.components(), name.removesuffix('_basicsr')
    if name in fitting:
        return name
    use = f'use one of {", ".join(sorted(fitting))}.'
    if name in entries(slot.kind):
        *others, last = [f'{term}_opt' for term in terms_of(entries(slot.kind)[name])] or ['']
        meant = f'a loss for {", ".join(others)}{" or " if others else ""}{last}' if last else (
            'which is no loss of an output and its target')
        raise OptionError(f'{where} is {name}, {meant}: {use}')
    other = next((kind for kind in KINDS if name in entries(kind)), None)
    if other is not None:
        raise OptionError(f'{where} is {name}, the name of {_a(other)}, not of {_a(slot.kind)}: {use}')
    near = nearest(name, fitting)
    raise OptionError(f"{where} is '{name}', which is not there: " + (f'did you mean {near}?' if near else use))


def _a(kind: str) -> str:
    return f'{"an" if kind[0] in "aeio" else "a"} {kind}'


def _built(slot: Slot, name: str, block: Mapping, where: str) -> Any:
    """The component, built where that is quick: parts of an unlearning step, optimizers and schedulers; else None."""
    target, first, quick = entries(slot.kind)[name], [], slot.kind in ('edit', 'mask', 'anchor')
    if slot.kind == 'loss':
        quick = target.__module__.startswith('basicsr_unlearn.')
    if slot.kind in ('optimizer', "optimizer of BasicSR's", 'scheduler'):
        quick, first = True, [[torch.nn.Parameter(torch.zeros(1))]]
    if slot.kind == 'scheduler':
        first = [torch.optim.SGD(*first, lr=1.0)]
    if not quick:
        return None
    beside = slot.extra.model_fields if slot.extra else ()
    arguments = {key: value for key, value in block.items() if key != 'type' and (key not in beside)}
    try:
        return target(*first, **arguments)
    except (ValueError, TypeError, AssertionError) as error:
        raise OptionError(f'{where} does not work: {str(error)[:300].rstrip(".")}.') from error


def registered(kind: str, name: Any, where: str) -> Any:
    """What `name` stands for among the components of a kind. Raises OptionError with the nearest."""
    return entries(kind)[component_name(name, Slot(kind), where)]
