"""Which network a checkpoint is of, and with which settings, read from the names and shapes of its weights.

A further architecture is one more function under `settings_of`, see `family`. One without required arguments, of a
package that registers it, needs none: it is known if its defaults fit.
"""
import io
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from inspect import signature
from typing import Any

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from basicsr_unlearn.zoo import basicsr_families, own_families  # noqa: F401  fill FAMILIES
from basicsr_unlearn.zoo.family import FAMILIES, Shapes

COUNTER = 'num_batches_tracked'  # of BatchNorm: newer than many checkpoints, so it may be absent
KNOWN_PACKAGES = ('basicsr', 'basicsr_unlearn')


@dataclass(frozen=True)
class Nearest:
    """The known network that has most of a checkpoint's weights: `alike` of them, and the first that differs."""
    network: str
    alike: int
    weights: int
    difference: str


def describe(weights: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """The `network_g` block of the network that these weights fill exactly.

    Every answer is confirmed by building that network, mostly without memory for its weights, and comparing all names
    and shapes. Settings that change no weight cannot be read, see `untold`: they are left out where the constructor
    has the usual value by itself.

    Args:
        weights: by name, without the prefixes of wrappers, as `read_weights` returns them; only shapes are looked at.

    Returns:
        `type`, then the settings in the order of the constructor; None if no known architecture fits.
    """
    shapes = _shapes(weights)
    for architecture, family in FAMILIES.items():
        try:
            settings = family.settings(shapes)
        except (LookupError, ValueError, ArithmeticError):
            continue  # a weight is absent, or has another shape than the architecture's
        cls = _class(architecture)
        parameters = signature(cls).parameters
        settings |= {name: values[0] for name, values in family.untold.items()
                     if name not in settings and parameters[name].default != values[0]}
        if _fits(shapes, _built(cls, settings)):
            return {'type': architecture, **{name: settings[name] for name in parameters if name in settings}}
    return describe_foreign(weights)


def describe_foreign(weights: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """`type` of the architecture of a further package that these weights fill with its default settings, if any."""
    shapes = _shapes(weights)
    return next(({'type': name} for name, cls in foreign() if _fits(shapes, _built(cls, {}))), None)


def untold(network: Mapping[str, Any]) -> dict[str, tuple]:
    """Settings of a detected `network_g` that leave no trace in its weights -> the values in use, the usual one first.
    """
    family = FAMILIES.get(network['type'])
    if family is None:
        return {}
    return {name: values for name, values in family.untold.items()
            if name not in network or network[name] in values}


def nearest_architecture(weights: Mapping[str, Tensor]) -> Nearest | None:
    """The known network that shares most names and shapes with these weights, or else names, or else shapes; None if
    it shares none of these with any.
    """
    shapes, best, found = _shapes(weights), (0, 0, 0), None
    for name, cls in [*((name, _class(name)) for name in FAMILIES), *foreign()]:
        try:
            own = _built(cls, FAMILIES[name].settings(shapes))
        except (LookupError, ValueError, ArithmeticError):
            own = None
        own = own or _built(cls, {}) or {}
        alike = sum(own.get(key) == shape for key, shape in shapes.items())
        near = alike, len(own.keys() & shapes.keys()), (Counter(own.values()) & Counter(shapes.values())).total()
        if near > best:
            best, found = near, Nearest(name, alike, len(shapes), _difference(shapes, own))
    return found


def unlike_all(weights: Mapping[str, Tensor]) -> str:
    """The sentence, without full stop, about weights that no known network fills."""
    near = nearest_architecture(weights)
    if near is None:
        return 'No known architecture has weights of such names or shapes'
    return (f'No known architecture fits; {near.network}, the nearest, has {near.alike or "none"} of its '
            f'{near.weights} weights; the first difference: {near.difference}')


def _difference(shapes: Shapes, own: Shapes) -> str:
    for name, shape in shapes.items():
        if name not in own:
            return f'{name} is not in it'
        if own[name] != shape:
            return f'{name} is {_size(shape)}, there {_size(own[name])}'
    return f'{next(name for name in own if name not in shapes)} is missing'


def _size(shape: tuple[int, ...]) -> str:
    return 'x'.join(map(str, shape)) or 'a single number'


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(weight.shape) for name, weight in weights.items()}


def _fits(shapes: Shapes, own: Shapes | None) -> bool:
    return bool(own) and {**{name: shape for name, shape in own.items() if name.endswith(COUNTER)}, **shapes} == own


def _built(cls: type[nn.Module], settings: Mapping[str, Any]) -> dict[str, tuple[int, ...]] | None:
    """Names and shapes of the network's weights; None where it cannot be built so."""
    for device in ('meta', 'cpu'):  # some look at values while they are built, which the first has not
        try:
            with torch.random.fork_rng(devices=[]), torch.device(device), redirect_stdout(io.StringIO()), \
                    warnings.catch_warnings():
                warnings.simplefilter('ignore')
                return _shapes(cls(**settings).state_dict())
        except Exception:  # constructors check their arguments in many ways, or not at all
            continue
    return None


def _class(architecture: str) -> type[nn.Module]:
    """A registered class. BasicSR's own `get` prints a line where its suffix was left out."""
    entries = dict(iter(ARCH_REGISTRY))
    return entries[architecture if architecture in entries else f'{architecture}_basicsr']


def foreign() -> list[tuple[str, type[nn.Module]]]:
    """Registered architectures of further packages, by name. BasicSR's are not tried blindly: some download weights."""
    return [(name, cls) for name, cls in ARCH_REGISTRY
            if name not in FAMILIES and cls.__module__.partition('.')[0] not in KNOWN_PACKAGES]
