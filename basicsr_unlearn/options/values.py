"""What a single option may hold: type hints with limits, how they read in a sentence, and whether a value fits.

Hints say it once, here and in the constructors of components: pydantic checks values by them and makes the JSON schema.
"""
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from annotated_types import Len, MinLen
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter
from pydantic import ValidationError as Misfit

from basicsr_unlearn.core.hints import Limit

LARGEST_WHOLE, LARGEST = 10**9, 1e30  # where an option has no limit of its own; our choice, float32 ends at 3e38
NAME_BYTES = 200  # of a name that becomes part of file names, which may have 255
STRICT = ConfigDict(extra='forbid', strict=True, allow_inf_nan=False, protected_namespaces=())


@dataclass(frozen=True)
class Words:
    """How a hint reads in a sentence, where its type does not say enough."""
    string: str


def _name(value: str) -> str:
    if set(value) & set('/\\') or value[:1] == '.' or len(value.encode()) > NAME_BYTES:
        raise ValueError
    return value


Text = Annotated[str, MinLen(1)]
Plugin = Annotated[Any, Words('a tag !!python/name:PACKAGE.__version__, or a list of such')]
Name = Annotated[Text, AfterValidator(_name),
                 Words(f'a name for files: no / or \\, no dot in front, at most {NAME_BYTES} bytes')]
FromZero = Annotated[int, Limit(at_least=0)]
MinusOneOn = Annotated[int, Limit(at_least=-1)]
RunSeed = Annotated[int, Limit(at_least=0, at_most=4 * 10**9)]  # numpy takes 32 bits, and BasicSR adds the rank
Scale = Annotated[int, Limit(at_least=1, at_most=64)]
Decay = Annotated[float, Limit(at_least=0, below=1)]


class Section(BaseModel):
    """A block of options. Its fields are the options, `needed` or `option`; checks.py says what is wrong with a block.

    `added` names what BasicSR adds to the block when it parses a file.
    """
    model_config = STRICT
    added: ClassVar[tuple[str, ...]] = ()


class OpenSection(Section):
    """A block that may hold options beside those that are known."""
    model_config = ConfigDict(**{**STRICT, 'extra': 'allow'})


def needed(description: str) -> Any:
    """An option that must be there."""
    return Field(description=description)


def option(description: str, default: Any = None) -> Any:
    """An option that may be left out, and what it is then, as far as one value says it."""
    return Field(default, description=description)


def hint_of(field: Any) -> Any:
    """The type hint of a field of a Section, limits and all."""
    return field.rebuild_annotation()


def split(hint: Any) -> tuple[Any, bool]:
    """A hint without None, and whether None was in it."""
    kept = [part for part in alternatives(hint) if part is not NoneType]
    return (reduce(or_, kept), len(kept) < len(alternatives(hint))) if kept and hint is not Any else (hint, True)


def alternatives(hint: Any) -> tuple:
    """The parts of a union, or the hint itself."""
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def choices_of(hint: Any) -> list[str]:
    """The words that a hint allows."""
    return [str(choice) for part in alternatives(hint) if get_origin(part) is Literal for choice in get_args(part)]


def words(hint: Any) -> str:
    """A hint as it reads in a sentence: 'a whole number from 1 or auto'."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        base, *notes = arguments
        said = next((note.string for note in notes if isinstance(note, Words)), None)
        limit = next((str(note) for note in notes if isinstance(note, Limit)), '')
        length = next((note.min_length for note in notes if isinstance(note, Len) and note.min_length == note.max_length
                       ), None)
        told = said or words(base) + limit
        return told if length is None else told.replace('a list of', f'a list of {length}', 1)
    if origin is Literal:
        *others, last = map(str, arguments)
        return f'{", ".join(others)} or {last}' if others else last
    if origin in (Union, UnionType):
        return ' or '.join(dict.fromkeys(map(words, arguments)))
    if origin is list:
        entry = words(arguments[0])
        if entry == 'a block of options':
            return 'a list of blocks'
        is_plain = entry.startswith('a ') and ' or ' not in entry
        noun, _, rest = entry.removeprefix('a whole ').removeprefix('a ').partition(' ')
        whole = 'whole ' if entry.startswith('a whole ') else ''
        return f'a list of {whole}{noun}s {rest}'.strip() if is_plain and noun in ('number', 'string') else 'a list'
    names = {bool: 'true or false', int: 'a whole number', float: 'a number', str: 'a string', NoneType: '~',
             list: 'a list', Any: 'anything'}
    return names[hint] if hint in names else 'a block of options'


@cache
def _adapter(hint: Any) -> TypeAdapter:
    return TypeAdapter(hint, config=STRICT)


def accepts(value: Any, hint: Any) -> bool:
    """Whether a value is of a hint's type and within its limits, and no number that is too large for any use."""
    try:
        _adapter(hint).validate_python(_listed(value))
    except (Misfit, OverflowError):
        return False
    return not is_huge(value, hint)


def is_huge(value: Any, hint: Any) -> bool:
    """Whether a number in `value` is beyond what a run could use, and the hint sets no limit of its own."""
    if hint in (dict, Any):
        return False
    if isinstance(value, (list, tuple)):
        return any(is_huge(entry, hint) for entry in value)
    if isinstance(value, Mapping):
        return any(is_huge(entry, hint) for entry in value.values())
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    limited = any(isinstance(note, Limit) and note.at_most is not None for note in getattr(hint, '__metadata__', ()))
    largest = LARGEST if isinstance(value, float) else LARGEST_WHOLE
    return not limited and abs(value) > largest


def _listed(value: Any) -> Any:
    return [_listed(entry) for entry in value] if isinstance(value, (list, tuple)) else value


def is_section(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, Section)

