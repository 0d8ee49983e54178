"""Reading an option file, and checking it against the grammar before anything runs."""
import difflib
import inspect
import numbers
import os
from collections.abc import Mapping
from typing import Any

import torch
import yaml
from basicsr.utils.options import ordered_yaml
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

import basicsr_unlearn  # noqa: F401  registers the components
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.models.tracking import ValidationTracking
from basicsr_unlearn.option_grammar import (
    BASICSR_DATASET,
    BASICSR_DATASETS,
    BLOCKS,
    DATASET,
    FLAG,
    LIST,
    MAPPING,
    METRIC_EXTRA,
    OPTIMIZERS,
    RETAIN_DEGRADATIONS,
    RUNTIME,
    SCHEDULE,
    SCHEDULERS,
    TOP,
    TRAIN,
    TYPES,
    Component,
    Parts,
    Value,
    either,
    number,
    or_empty,
    whole,
)
from basicsr_unlearn.presets import expand_method
from basicsr_unlearn.tiling import DEFAULT_OVERLAP, check_tile
from basicsr_unlearn.unlearning.dual import DualWeight
from basicsr_unlearn.unlearning.phases import check_phases


def load_option_file(path: str) -> dict:
    """Read an option file as BasicSR does.

    Raises:
        OptionError: the file is missing, no YAML, no mapping, or repeats a key, which YAML readers let pass.
    """
    if os.path.isdir(path):
        raise OptionError(f'The option file {path} is a folder: name the .yml file in it.')
    loader = ordered_yaml()[0]
    try:
        with open(path, encoding='utf-8') as file:
            text = file.read()
        _refuse_repeated_keys(yaml.compose(text, Loader=loader), path)
        opt = yaml.load(text, Loader=loader)  # noqa: S506  the loader of BasicSR, which the plugin tag needs
    except OSError as error:
        raise OptionError(f'The option file {path} cannot be read: {error.strerror}.') from error
    except UnicodeDecodeError as error:
        raise OptionError(f'The option file {path} is no text in UTF-8.') from error
    except yaml.YAMLError as error:
        mark = getattr(error, 'problem_mark', None)
        line = f'Line {mark.line + 1} of the' if mark else 'The'
        problem = getattr(error, 'problem', None) or 'no YAML'
        if 'merge' in problem:
            problem = 'the merge key << is not supported, write the keys out'
        raise OptionError(f'{line} option file {path} cannot be read: {problem}.') from error
    if not isinstance(opt, dict):
        raise OptionError(f'The option file {path} holds no options: it must be a mapping with name, model_type, ...')
    return opt


def check_options(opt: dict, is_train: bool) -> None:
    """Check an option file, as read or as BasicSR's parse_options returns it.

    Raises:
        OptionError: the first option that is unknown, missing, of the wrong type, or out of range, by its full name.
    """
    opt = expand_method(opt)
    strict = opt.get('model_type') in TRAIN
    check_section(opt, TOP, '', strict)
    registered(MODEL_REGISTRY, opt['model_type'], 'model_type')
    for name, block in opt.items():
        if name.startswith('network_') and name != 'network_g':
            _check(block, Component(ARCH_REGISTRY), name)
    for name, metric in ((opt.get('val') or {}).get('metrics') or {}).items():
        _check(metric, Component(METRIC_REGISTRY, METRIC_EXTRA), f'val.metrics.{name}')
    _check_datasets(opt['datasets'], is_train, strict)
    _check_gpu(opt)
    _check_tiling(opt, strict)
    if is_train:
        for name in ('train', 'logger'):
            if not isinstance(opt.get(name), Mapping):
                raise OptionError(f'The option {name} is missing: it must be a block of options.')
        if opt.get('val') and 'val_freq' not in opt['val']:
            raise OptionError('The option val.val_freq is missing: it must be a whole number from 1.')
        check_section(opt['train'], TRAIN.get(opt['model_type'], SCHEDULE), 'train', strict)
        _check_training(opt)
    elif opt.get('val') is None:
        raise OptionError('The option val is missing: a test needs val.save_img and val.metrics.')
    elif opt['val']['save_img'] and 'suffix' not in opt['val']:
        raise OptionError('The option val.suffix is missing: a test that saves images needs it, ~ for none.')


def _check(value: Any, spec: Any, where: str, strict: bool = True) -> None:
    if isinstance(spec, Mapping):
        if value is not None:
            check_section(value, spec, where, strict)
    elif isinstance(spec, Component):
        if value is not None:
            _check_component(value, spec, where)
    elif isinstance(spec, Parts):
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
            _check(value, specs[name], _join(where, name), strict)
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
        raise OptionError(f'The option {where}.type is missing: it must be one of {_names(spec.registry)}.')
    target = registered(spec.registry, block['type'], f'{where}.type')
    parameters = inspect.signature(target).parameters
    # BasicSR's metrics swallow any key, so a misspelt one would go unnoticed: what they name counts.
    is_open = (any(p.kind is p.VAR_KEYWORD for p in parameters.values())
               and not target.__module__.startswith('basicsr.metrics'))
    handed_over = ('img', 'img2', 'params', 'optimizer', 'last_epoch')
    takes = {name: p for name, p in parameters.items()
             if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name not in handed_over}
    arguments = {name: value for name, value in block.items() if name != 'type' and name not in spec.extra}
    for name, value in spec.extra.items():
        if name in block:
            _check(block[name], value, f'{where}.{name}')
    for name, value in arguments.items():
        if name not in takes and not is_open:
            raise OptionError(_unknown(f'{where}.{name}', name, [*takes, *spec.extra]))
        _check_argument(value, takes.get(name), f'{where}.{name}')
    for name, parameter in takes.items():
        if parameter.default is parameter.empty and name not in block:
            raise OptionError(f'The option {where}.{name} is missing: {block["type"]} needs it.')
    _try_building(target, arguments, where)


def _check_argument(value: Any, parameter: inspect.Parameter | None, where: str) -> None:
    """Check the type of an argument where the parameter's default shows one, and that no number is written as text."""
    default = parameter.default if parameter else None
    if isinstance(default, bool):
        _check(value, FLAG, where)
    elif isinstance(default, numbers.Real) and default is not inspect.Parameter.empty:
        _check(value, number(), where)
    for entry in value if isinstance(value, (list, tuple)) else [value]:
        if isinstance(entry, str) and _as_number(entry) is not None and not isinstance(default, str):
            raise OptionError(f'{where} is {_shown(entry, "a number")}.')


def _try_building(target: Any, arguments: dict, where: str) -> None:
    """Let optimizers, schedulers and the losses of this package judge their values themselves: they are quick to build.
    """
    first = []
    if target in SCHEDULERS.values() or target in OPTIMIZERS.values():
        first = [[torch.nn.Parameter(torch.zeros(1))]]
    if target in SCHEDULERS.values():
        first = [torch.optim.SGD(*first, lr=1.0)]
    if not first and not target.__module__.startswith(('basicsr_unlearn.losses', 'basicsr_unlearn.unlearning')):
        return
    try:
        target(*first, **arguments)
    except (ValueError, TypeError, AssertionError) as error:
        raise OptionError(f'{where} does not work: {str(error).rstrip(".")}.') from error


def _check_datasets(datasets: Mapping, is_train: bool, strict: bool) -> None:
    names: dict[str, str] = {}
    for key, block in datasets.items():
        where = f'datasets.{key}'
        phase = str(key).split('_')[0]
        if is_train and key != 'train' and phase != 'val' or not is_train and phase not in ('val', 'test'):
            valid = 'train, val or val_<name>' if is_train else 'test, test_<name>, val or val_<name>'
            raise OptionError(f'{where} is no option: data sets are called {valid}.')
        check_dataset(block, where)
        if block.get('name') is None:
            raise OptionError(f'The option {where}.name is missing: it must be a text.')
        if block['name'] in names and key != 'train':
            raise OptionError(f"{where}.name and {names[block['name']]}.name are both '{block['name']}': results are "
                              'filed under that name, so give each data set its own.')
        if key != 'train':
            names[block['name']] = where
        if isinstance(block.get('dataroot_gt'), (list, tuple)):
            raise OptionError(f'{where}.dataroot_gt is a list, which BasicSR takes only in the sets of a MixedDataset: '
                              'put this data set there.')
        if block.get('persistent_workers') and (key != 'train' or not block.get('num_worker_per_gpu')):
            raise OptionError(f'{where}.persistent_workers is true but there are no workers: take it out, or set '
                              'num_worker_per_gpu of datasets.train.')
    if is_train:
        if 'train' not in datasets:
            raise OptionError('The option datasets.train is missing: it must be a block of options.')
        for name in ('batch_size_per_gpu', 'num_worker_per_gpu'):
            if datasets['train'].get(name) is None:
                raise OptionError(f'The option datasets.train.{name} is missing: it must be {DATASET[name].words}.')
    elif not datasets:
        raise OptionError('datasets is empty: a test needs at least one data set.')


def check_dataset(block: Any, where: str) -> None:
    if not isinstance(block, Mapping):
        raise OptionError(f'{where} is {_shown(block, MAPPING.words)}.')
    if not block.get('type'):
        raise OptionError(f'The option {where}.type is missing: it must be one of {_names(DATASET_REGISTRY)}.')
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


def _check_gpu(opt: dict) -> None:
    there = torch.cuda.device_count()
    if opt['num_gpu'] != 'auto' and opt['num_gpu'] > there:
        raise OptionError(f'num_gpu is {opt["num_gpu"]} but PyTorch sees {there} here: write num_gpu: auto.')
    for name, block in opt['datasets'].items():
        if block.get('prefetch_mode') != 'cuda':
            continue
        if not there or opt['num_gpu'] == 0:
            raise OptionError(f'datasets.{name}.prefetch_mode is cuda but the run uses no GPU: write prefetch_mode: ~.')
        if not block.get('pin_memory'):
            raise OptionError(f'datasets.{name}.prefetch_mode cuda needs pin_memory: true beside it.')


def _check_tiling(opt: dict, strict: bool) -> None:
    val = opt.get('val') or {}
    if not val.get('tile'):
        return
    if not issubclass(registered(MODEL_REGISTRY, opt['model_type'], 'model_type'), ValidationTracking):
        if strict:  # a model of another package may have tiles of its own
            raise OptionError(f'val.tile has no effect on model_type: {opt["model_type"]}, which restores whole images '
                              'only: take it out, or write model_type: UnlearnModel.')
        return
    try:
        check_tile(val['tile'], val.get('tile_overlap', DEFAULT_OVERLAP))
    except ValueError as error:
        raise OptionError(f'val.{error}.') from error


def _check_training(opt: dict) -> None:
    """Options of `train` that must agree with one another or with other sections."""
    train, data = opt['train'], opt['datasets']['train']
    scheduler = train['scheduler']
    if sum(scheduler.get('periods') or [train['total_iter']]) < train['total_iter']:
        raise OptionError(f'train.scheduler.periods end at iteration {sum(scheduler["periods"])}, before '
                          f'train.total_iter {train["total_iter"]}: make them at least as long.')
    wandb = opt['logger'].get('wandb') or {}
    if wandb.get('project') and not opt['logger']['use_tb_logger']:
        raise OptionError('logger.wandb.project needs logger.use_tb_logger: true, which it mirrors.')
    if opt['model_type'] == 'AirNetModel':
        _check_airnet(opt)
    if opt['model_type'] != 'UnlearnModel':
        return
    parts = [name for name in ('forget_opt', 'retain_opt', 'adversarial_opt', 'anchor_opt') if train.get(name)]
    if not parts:
        raise OptionError('train has no forget_opt, retain_opt, adversarial_opt or anchor_opt: give at least one, as '
                          'nothing would be learned or forgotten.')
    for name in parts:
        if name != 'anchor_opt' and train[name].get('reduction') == 'none':
            raise OptionError(f'train.{name}.reduction is none, not mean or sum: training needs one number.')
    uses_retain = [name for name in parts if name == 'retain_opt'
                   or (name == 'adversarial_opt' and _source(train[name]) == 'retain')]
    if uses_retain and data['type'] == 'ForgetRetainDataset' and not (data.get('retain') or data.get('retain_from')):
        raise OptionError(f'train.{uses_retain[0]} needs retain samples: give datasets.train.retain, or retain_from: '
                          'forget_gt with retain_degradations.')
    _check_phases(train, [name.removesuffix('_opt') for name in parts])
    _check_dual(train)
    if train.get('dual_opt') and 'retain_opt' not in parts:
        raise OptionError('train.dual_opt weighs the retain terms by what the retain batches lose: add a retain_opt.')
    if train.get('conflict_opt') and (len(parts) == 1 or 'forget_opt' not in parts):
        raise OptionError('train.conflict_opt needs a forget_opt and a term that holds the rest, whose gradients it '
                          'reconciles.')
    stop = train.get('stop_opt') or {}
    if stop.get('forget_psnr') == 'retrained' and (stop.get('check') != 'val' or
                                                   not opt['path'].get('pretrain_network_retrained')):
        raise OptionError('train.stop_opt.forget_psnr: retrained needs check: val beside it and the checkpoint of a '
                          'retrained network as path.pretrain_network_retrained, or write identity.')
    if stop.get('retain_budget') is not None and stop.get('check') != 'val' and parts == ['forget_opt']:
        raise OptionError('train.stop_opt.retain_budget needs a retain_opt or adversarial_opt that can keep it.')
    roles = [block.get('role', 'retain') for name, block in opt['datasets'].items() if name != 'train']
    if stop.get('check') == 'val' and ('forget' not in roles or not opt.get('val')):
        raise OptionError('train.stop_opt.check is val but no val_ data set has role: forget, or there is no val '
                          'section: add them, or write check: train.')


def _source(block: dict) -> str:
    """The stream that an adversarial loss asks for, by its option or its default."""
    parameters = inspect.signature(registered(LOSS_REGISTRY, block['type'], 'type')).parameters
    return block.get('source') or (parameters['source'].default if 'source' in parameters else 'retain')


def _check_dual(train: dict) -> None:
    try:
        DualWeight(**(train.get('dual_opt') or {}))
    except ValueError as error:
        raise OptionError(f'train.dual_opt: {str(error).rstrip(".")}.') from error


def _check_airnet(opt: dict) -> None:
    network, data, patch = opt['network_g'], opt['datasets']['train'], opt['train']['patch_size']
    if network['type'] != 'AirNet':
        raise OptionError(f'model_type AirNetModel trains AirNet, not network_g.type {network["type"]}: write '
                          'model_type: SRModel.')
    if data.get('gt_size') and patch > data['gt_size']:
        raise OptionError(f'train.patch_size {patch} is larger than datasets.train.gt_size {data["gt_size"]}: lower '
                          'it.')
    if not opt['path'].get('pretrain_network_g') and 256 * network['batch_size'] % data['batch_size_per_gpu']:
        raise OptionError("datasets.train.batch_size_per_gpu does not divide AirNet's queue of 256 * "
                          'network_g.batch_size keys: make the two equal.')


def _check_phases(train: dict, terms: list[str]) -> None:
    for index, phase in enumerate(train.get('phases') or []):
        check_section(phase, {'terms!': LIST, 'iters': or_empty(whole())}, f'train.phases[{index}]')
    if train.get('phases'):
        try:
            check_phases(train['phases'], terms)
        except ValueError as error:
            raise OptionError(f'train.phases: {error}.') from error


def registered(registry: Any, name: Any, where: str) -> Any:
    """What `name` stands for in a registry, with or without BasicSR's suffix. Raises OptionError with the nearest."""
    entries = dict(registry.items() if isinstance(registry, Mapping) else iter(registry))
    for candidate in (name, f'{name}_basicsr'):
        if candidate in entries:
            return entries[candidate]
    near = _nearest(name, _names(registry).split(', '))
    raise OptionError(f"{where} is '{name}', which is not there: " +
                      (f'did you mean {near}?' if near else f'use one of {_names(registry)}.'))


def _names(registry: Any) -> str:
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
    if value is None:
        return f'empty (~), not {words}'
    if isinstance(value, str) and 'number' in words and _as_number(value) is not None:
        plain = value if value.isdigit() else f'!!float {value}'
        return f"the text '{value}', not {words}: write {plain}"
    if isinstance(value, Mapping):
        return f'a block of options, not {words}'
    return f"{f'{value!r}' if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else value}, " \
           f'not {words}'


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _join(where: str, name: str) -> str:
    return f'{where}.{name}' if where else name


def _refuse_repeated_keys(node: yaml.Node | None, path: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                raise OptionError(f'Line {key.start_mark.line + 1} of the option file {path} repeats the key '
                                  f'{key.value}: keep one of them.')
            seen.add(key.value)
            _refuse_repeated_keys(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for entry in node.value:
            _refuse_repeated_keys(entry, path)
