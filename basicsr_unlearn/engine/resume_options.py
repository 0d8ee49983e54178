"""What an option file may change between a run and its resume: noted with each training state, compared, applied."""
import hashlib
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from basicsr_unlearn.core.building import AUTO, has_auto_rate
from basicsr_unlearn.errors import OptionError

# of datasets.train: how fast the same samples come, and what they are called
SPEED = {'name', 'phase', 'num_worker_per_gpu', 'persistent_workers', 'pin_memory', 'prefetch_mode',
         'num_prefetch_queue', 'cache'}
TRAIN_FREE = {'method', 'total_iter', 'over_forget_margin', 'skill_opt'}  # a method counts by the parts it stands for
# what a state of a run cannot go on with, asked or not
FIXED = ('model_type', 'scale', 'network_', 'path.pretrain_network_g', 'path.param_key_g', 'train.optim_g.type',
         'train.ema_decay', 'train.edit_opt')
SCHEDULE = ('train.optim_', 'train.scheduler', 'train.warmup_iter')
FILES_OPTION = 'datasets.train.files'  # among the options: what folders and lists came to
TOLD = 6  # changes that a sentence names


def noted_options(opt: Mapping) -> dict[str, Any]:
    """The options that set what a training comes to, as {'train.optim_g.lr': 1e-4, ...}; empty ones are left out.

    Args:
        opt: as BasicSR's parse_options returns it, before a resume or a model changes anything in it.
    """
    train, path = opt['train'], opt['path']
    by_validation = (train.get('stop_opt') or {}).get('check') == 'val'
    kept: dict[str, Any] = {key: opt.get(key) for key in opt if key.startswith('network_')}
    kept |= {key: opt.get(key) for key in ('model_type', 'scale', 'manual_seed')}
    kept['path'] = {key: path.get(key) for key in path if key == 'param_key_g' or (
        key.startswith('pretrain_network_') and key not in ('pretrain_network_retrained', 'pretrain_network_original'))}
    kept['train'] = {key: value for key, value in train.items() if key not in TRAIN_FREE or (
        key == 'total_iter' and train.get('anchor_opt'))}  # some anchors go by the share of the run that is done
    kept['datasets'] = {'train': _without(opt['datasets']['train'], SPEED)}
    if by_validation:
        val = opt.get('val') or {}
        kept['val'] = {key: val.get(key) for key in ('val_freq', 'metrics', 'tile', 'tile_overlap')}
        kept['datasets'] |= {key: block for key, block in opt['datasets'].items() if key != 'train'}
        if train['stop_opt'].get('forget_psnr') == 'retrained':
            kept['path']['pretrain_network_retrained'] = path.get('pretrain_network_retrained')
    # images of a batch that all processes share; a run on the CPU and one on a GPU count alike
    kept['processes'] = opt.get('world_size', 1) if opt.get('dist') else max(1, opt.get('num_gpu') or 0)
    return dict(_leaves(kept))


def files_of(dataset: Any) -> str:
    """How many samples a training set has, and a digest of their names: in its own order, without their folders."""
    names, pending = [], [dataset]
    while pending:
        part = pending.pop()
        children = [child for name in ('forget', 'retain', 'sets') for child in getattr(part, name, ())]
        pending += children
        if hasattr(part, 'pairs'):
            names += ['/'.join(pair) for pair in part.pairs]
        elif hasattr(part, 'photographs'):
            names += [name for _, name in part.photographs]
        elif not children:
            names += [''] * len(part)
    return f'{len(names)} samples, {hashlib.sha256(chr(0).join(names).encode()).hexdigest()[:8]}'


def changed_options(before: Mapping, now: Mapping) -> list[dict]:
    """What differs, as {'option': name, 'before': value, 'now': value}; None where an option was or is not set."""
    return [{'option': key, 'before': before.get(key), 'now': now.get(key)}
            for key in sorted({*before, *now}) if before.get(key) != now.get(key)]


def check_changes(changes: list[dict], allowed: bool, state: str) -> None:
    """Refuse changes that nobody asked for, or that no state can go on with.

    Args:
        changes: see `changed_options`.
        allowed: `path.resume_changed` of the option file.
        state: path of the training state.

    Raises:
        OptionError: naming what changed.
    """
    fixed = [change for change in changes if change['option'].startswith(FIXED) or change['now'] == AUTO]
    if fixed:
        raise OptionError(f'{state} cannot go on with other options here: {told(fixed)}. Put them back, or start anew '
                          'without --auto_resume and path.resume_state.')
    if changes and not allowed:
        raise OptionError(f'The options are not those with which {state} was trained: {told(changes)}. Put them back, '
                          'or write path.resume_changed: true to go on with the new ones.')


def told(changes: list[dict]) -> str:
    """The changes in words: `train.optim_g.lr 0.0001 -> 0.001, ...`."""
    words = [f'{change["option"]} {_value(change["before"])} -> {_value(change["now"])}' for change in changes[:TOLD]]
    return ', '.join(words) + (f' and {len(changes) - TOLD} more' if len(changes) > TOLD else '')


def resume_with_changes(model: Any, resume: Callable, state: Mapping, changes: list[dict]) -> None:
    """Resume a model, with a changed optimizer or schedule as if the run had had it from its beginning.

    What the optimizer has gathered stays. BasicSR's own resume brings all settings of the state back, so that the new
    ones would have no effect.
    """
    groups = [[{key: value for key, value in group.items() if key != 'params'} for group in optimizer.param_groups]
              for optimizer in model.optimizers]
    fresh = [dict(scheduler.state_dict()) for scheduler in model.schedulers]
    resume(state)
    if not any(change['option'].startswith(SCHEDULE) for change in changes):
        return
    # a schedule with a fitted rate was built for a rate of 1, and is not fitted again
    rate = model.optimizers[0].param_groups[0]['initial_lr'] if has_auto_rate(model.opt['train']) else 1
    for optimizer, settings in zip(model.optimizers, groups):
        for group, setting in zip(optimizer.param_groups, settings):
            group.update(setting, lr=rate * setting['lr'], initial_lr=rate * setting['initial_lr'])
    for scheduler, start in zip(model.schedulers, fresh):
        scheduler.load_state_dict({**start, 'base_lrs': [rate * base for base in start['base_lrs']]})
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)  # no step of the optimizer between those of the scheduler
        for iteration in range(1, state['iter'] + 1):
            model.update_learning_rate(iteration, warmup_iter=model.opt['train'].get('warmup_iter', -1))


def _without(value: Any, names: set[str]) -> Any:
    if isinstance(value, Mapping):
        return {key: _without(entry, names) for key, entry in value.items() if key not in names}
    return [_without(entry, names) for entry in value] if isinstance(value, (list, tuple)) else value


def _leaves(value: Any, name: str = '') -> Iterator[tuple[str, Any]]:
    if isinstance(value, (Mapping, list, tuple)):
        entries = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, entry in entries:
            yield from _leaves(entry, f'{name}.{key}' if name else str(key))
    elif value is not None:
        yield name, value if isinstance(value, (bool, int, float, str)) else str(value)


def _value(value: Any) -> str:
    return 'not set' if value is None else f"'{value}'" if isinstance(value, str) else str(value)
