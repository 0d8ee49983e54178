"""From blocks of options, as in a preset or an option file, to the parts of an unlearner."""
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import nn

from basicsr_unlearn.core.checks import check_choice
from basicsr_unlearn.core.dual import DualWeight
from basicsr_unlearn.core.objective import Objective, Paired
from basicsr_unlearn.core.parts import ANCHORS, EDITS, LOSSES, MASKS
from basicsr_unlearn.core.preparation import DEFAULT_EVIDENCE_BATCHES, Preparation
from basicsr_unlearn.core.rate import DEFAULT_FORGET_STEP
from basicsr_unlearn.core.seeds import fresh_seed
from basicsr_unlearn.core.stop_rule import StopRule
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.methods.presets import PARTS, expand_method

OPTIMIZERS = {'Adam': torch.optim.Adam, 'AdamW': torch.optim.AdamW, 'SGD': torch.optim.SGD}
AUTO, UNFITTED = 'auto', 1.0  # as optim_g.lr; the rate that optimizer and schedule have until it is fitted
LOSS_TERMS = ('forget', 'retain', 'adversarial')
Options = Mapping[str, Any]
MakeLoss = Callable[[dict], nn.Module]


def build_parts(table: Mapping[str, type], opt: Options | list | None, where: str) -> list:
    """The parts of one option: a block, a list of blocks, or none. Raises OptionError naming the block.

    >>> [type(part).__name__ for part in build_parts(EDITS, {'type': 'WeightNoise', 'std': 0.1}, 'edit_opt')]
    ['WeightNoise']
    """
    parts = []
    for block in opt if isinstance(opt, list) else [opt] if opt else []:
        try:
            parts.append(table[block['type']](**{key: value for key, value in block.items() if key != 'type'}))
        except KeyError as error:
            raise OptionError(f'{where}: {error} is not there, use one of {", ".join(sorted(table))}.') from error
        except (TypeError, ValueError) as error:
            raise OptionError(f'{where}: {str(error).rstrip(".")}.') from error
    return parts


def core_loss(block: dict) -> nn.Module:
    """A loss of the table LOSSES. Raises ValueError or TypeError for what it does not take.

    >>> core_loss({'type': 'L1Loss', 'loss_weight': 2.0}).loss_weight
    2.0
    """
    options = dict(block)
    check_choice('type', kind := options.pop('type', None), LOSSES)
    return LOSSES[kind](**options)


def build_objective(train: Options, seed: int = 0, make_loss: MakeLoss = core_loss, where: str = '') -> Objective:
    """The objective that the blocks `<term>_opt`, `phases`, `dual_opt` and `conflict_opt` describe.

    Args:
        train: the blocks.
        seed: of the run; a loss that draws once and has no seed of its own gets one from it.
        make_loss: makes a loss from a block with `type`.
        where: what comes before the name of an option in a message.

    Raises:
        OptionError: a block cannot be, with its name.

    >>> build_objective({'forget_opt': {'type': 'TargetLoss'}, 'retain_opt': {'type': 'L1Loss'}}).terms
    ['forget', 'retain']
    """
    losses = {}
    for term in LOSS_TERMS:
        if not train.get(f'{term}_opt'):
            continue
        block, target = dict(train[f'{term}_opt']), 'gt'
        if term == 'retain':
            target = block.pop('target', None) or 'gt'
        try:
            loss = make_loss(block)
            losses[term] = loss if hasattr(loss, 'terms') else Paired(loss, target)
        except (TypeError, ValueError) as error:
            raise OptionError(f'{where}{term}_opt: {str(error).rstrip(".")}.') from error
        if getattr(loss, 'seed', 0) is None:
            loss.seed = fresh_seed(seed)
    try:
        dual = DualWeight(**train['dual_opt']) if train.get('dual_opt') else None
    except (TypeError, ValueError) as error:
        raise OptionError(f'{where}dual_opt: {str(error).rstrip(".")}.') from error
    return Objective(losses, build_parts(ANCHORS, train.get('anchor_opt'), f'{where}anchor_opt'), train.get('phases'),
                     dual, train.get('conflict_opt'), where)


def build_preparation(train: Options, seed: int = 0, where: str = '', fits_rate: bool = True) -> Preparation:
    """The preparation that `edit_opt`, `mask_opt`, `proxy_opt`, `optim_g.lr` and `evidence_batches` describe.

    Arguments and errors as `build_objective`; without `fits_rate`, `lr: auto` says nothing.

    >>> build_preparation({'mask_opt': {'type': 'SaliencyMask'}}).needs()
    {'forget': 'mask_opt'}
    """
    proxy = train.get('proxy_opt')
    if proxy is not None:
        proxy = {'seed': fresh_seed(seed), **proxy}
        proxy['edits'] = build_parts(EDITS, proxy.pop('edit_opt', None), f'{where}proxy_opt.edit_opt')
    return Preparation(
        build_parts(EDITS, train.get('edit_opt'), f'{where}edit_opt'),
        build_parts(MASKS, train.get('mask_opt'), f'{where}mask_opt'), proxy,
        (train.get('forget_step') or DEFAULT_FORGET_STEP) if fits_rate and has_auto_rate(train) else None,
        train.get('evidence_batches') or DEFAULT_EVIDENCE_BATCHES, where)


def build_stop_rule(train: Options) -> StopRule | None:
    """The stop rule that `stop_opt` describes, by each step's batch; None where there is none.

    Raises:
        OptionError: it looks at validations, which only the run of an option file has.

    >>> build_stop_rule({'stop_opt': {'forget_psnr': 'identity', 'window': 5}}).gaps.maxlen
    5
    """
    rule = StopRule.of_options(train['stop_opt']) if train.get('stop_opt') else None
    if rule is not None and (rule.check != 'train' or rule.reference == 'retrained'):
        raise OptionError('stop_opt looks at validations, which only the run of an option file makes: write check: '
                          'train, and forget_psnr: identity or a number.')
    return rule


def build_optimizer(block: Options, parameters: Iterable[nn.Parameter], where: str = '') -> torch.optim.Optimizer:
    """The optimizer that a block `optim_g` describes; `lr: auto` is 1 until it is fitted.

    Raises:
        OptionError: it is none of Adam, AdamW and SGD, or has an option that this one has not.

    >>> build_optimizer({'type': 'SGD', 'lr': 0.1}, nn.Conv2d(3, 3, 1).parameters()).param_groups[0]['lr']
    0.1
    """
    options = {**block, 'lr': UNFITTED if block.get('lr') == AUTO else block.get('lr')}
    kind = options.pop('type', None)
    if kind not in OPTIMIZERS:
        raise OptionError(f'{where}optim_g.type is {kind}: use one of {", ".join(OPTIMIZERS)}, or give an optimizer.')
    try:
        return OPTIMIZERS[kind](parameters, **options)
    except (TypeError, ValueError) as error:
        raise OptionError(f'{where}optim_g: {str(error).rstrip(".")}.') from error


def method_options(method: str | None, options: Options) -> dict[str, Any]:
    """The blocks of a preset with those given in place of its own. Raises OptionError for one that there is not.

    >>> sorted(method_options('finetune', {'grad_clip': 1.0}))
    ['grad_clip', 'optim_g', 'retain_opt']
    """
    unknown = [key for key in options if key not in PARTS]
    if unknown:
        raise OptionError(f'{unknown[0]} is no part of a method: these are {", ".join(PARTS)}.')
    if method is None:
        return {key: value for key, value in options.items() if value is not None}
    return expand_method({'train': {'method': method, **options}})['train']


def has_auto_rate(train: Options) -> bool:
    """Whether the rate is fitted to the network.

    >>> has_auto_rate({'optim_g': {'type': 'Adam', 'lr': 'auto'}})
    True
    """
    return (train.get('optim_g') or {}).get('lr') == AUTO
