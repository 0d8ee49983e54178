"""Published methods as presets: one YAML file each in methods/, with the parts of `train:` that make the method.

A preset file has
    about: one line
    source: where it was published, and what is our choice
    needs: what the run has to give: forget, retain (pairs), proxy ... in words
    cost: arithmetic of a step against one of plain training, in the mean of 200; what comes before the first step
    train: the parts; each key with its source in a comment
"""
import difflib
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from basicsr_unlearn.errors import OptionError

FOLDER = Path(__file__).parent
# what makes a method
PARTS = ('forget_opt', 'retain_opt', 'adversarial_opt', 'anchor_opt', 'mask_opt', 'edit_opt', 'proxy_opt', 'phases',
         'dual_opt', 'conflict_opt', 'stop_opt', 'optim_g', 'forget_step', 'grad_clip', 'evidence_batches')
# of these, a person may choose others for the same method
OPTIMIZATION = ('optim_g', 'forget_step', 'grad_clip', 'evidence_batches')
MEANT = {'published': 'accurate_forgetting'}  # a word that people use -> the name of the method


def method_names() -> list[str]:
    """The presets there are, in alphabetical order."""
    return sorted(path.stem for path in FOLDER.glob('*.yml'))


def read_method(name: str) -> dict[str, Any]:
    """One preset file.

    Raises:
        OptionError: there is no such method; with the nearest name.
    """
    if name not in method_names():
        near = nearest_method(name)
        raise OptionError(f"train.method is '{name}', which is not there: " +
                          (f'did you mean {near}?' if near else f'use one of {", ".join(method_names())}.'))
    return yaml.safe_load((FOLDER / f'{name}.yml').read_text(encoding='utf-8'))


def nearest_method(name: object) -> str | None:
    """The method that a wrong name can mean, if any."""
    near = difflib.get_close_matches(str(name), method_names(), 1)
    return MEANT.get(str(name)) or (near[0] if near else None)


def with_method(opt: dict, name: str | None) -> dict:
    """The options with another method in place of their own and of its PARTS; schedule, steps, data and val stay.

    Raises:
        OptionError: they have no block `train`.
    """
    if not isinstance(opt.get('train'), dict):
        raise OptionError(f'train.method {name} was asked for, but the option file has no block train: name a file '
                          'that trains.')
    own = {key: value for key, value in opt['train'].items() if key != 'method' and key not in PARTS}
    return {**opt, 'train': {'method': name, **own}}


def expand_method(opt: dict) -> dict:
    """The options with `train.method` replaced by the parts it stands for; as they are where there is none.

    Keys beside `method` win: inside a block key by key, unless the block names another `type`, which replaces the
    preset's block; `~` takes a part out.

    Raises:
        OptionError: there is no such method.
    """
    train = opt.get('train')
    if not isinstance(train, dict) or train.get('method') is None:
        return opt
    beside = {key: value for key, value in train.items() if key != 'method'}
    return {**opt, 'train': _merged(read_method(train['method'])['train'], beside)}


def _merged(preset: dict, beside: dict) -> dict:
    merged = deepcopy(preset)
    for key, value in beside.items():
        there = merged.get(key)
        same_part = isinstance(there, dict) and isinstance(value, dict) and (
            'type' not in value or value['type'] == there.get('type'))
        if value is None and key in preset:
            del merged[key]
        else:
            merged[key] = _merged(there, value) if same_part else deepcopy(value)
    return merged


def method_of(train: Mapping[str, Any]) -> str | None:
    """The preset whose parts a block `train` spells out, whatever its optimizer; None where none fits.

    Of several that fit it is the one that says most: `deep_channel` is `deep` and more.
    """
    own = {key: block for key, block in train.items() if key in PARTS and key not in OPTIMIZATION and block}
    fitting: dict[str, int] = {}
    for name in method_names():
        parts = {key: block for key, block in read_method(name)['train'].items() if key not in OPTIMIZATION}
        if own.keys() == parts.keys() and all(_says(own[key], parts[key]) for key in parts):
            fitting[name] = _count(parts)
    return max(fitting, key=fitting.get, default=None)


def _count(options: Any) -> int:
    """How many options are in nested blocks."""
    return sum(map(_count, options.values())) if isinstance(options, Mapping) else 1


def _says(own: Any, preset: Any) -> bool:
    if isinstance(preset, dict):
        return isinstance(own, Mapping) and all(key in own and _says(own[key], value) for key, value in preset.items())
    return own == preset
