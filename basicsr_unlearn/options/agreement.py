"""Options that must agree with one another, with other sections or with the machine."""
import importlib.util
import inspect

import torch
from basicsr.utils.registry import LOSS_REGISTRY, MODEL_REGISTRY

import basicsr_unlearn.plugin  # noqa: F401  registers the components
from basicsr_unlearn.core.dual import DualWeight
from basicsr_unlearn.core.memory import installed_memory
from basicsr_unlearn.core.phases import check_phases
from basicsr_unlearn.core.tiling import DEFAULT_OVERLAP, check_tile
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.models.preparing import has_auto_rate, streams_needed
from basicsr_unlearn.models.tracking import ValidationTracking
from basicsr_unlearn.options.grammar import (
    LIST,
    or_empty,
    whole,
)
from basicsr_unlearn.options.walker import check_section, registered


def check_gpu(opt: dict) -> None:
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


def check_tiling(opt: dict, strict: bool) -> None:
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


def check_training(opt: dict) -> None:
    """Options of `train` that must agree with one another or with other sections."""
    train, data = opt['train'], opt['datasets']['train']
    scheduler = train['scheduler']
    _check_batch(data, opt)
    if sum(scheduler.get('periods') or [train['total_iter']]) < train['total_iter']:
        raise OptionError(f'train.scheduler.periods end at iteration {sum(scheduler["periods"])}, before '
                          f'train.total_iter {train["total_iter"]}: make them at least as long.')
    wandb = opt['logger'].get('wandb') or {}
    if wandb.get('project') and not opt['logger']['use_tb_logger']:
        raise OptionError('logger.wandb.project needs logger.use_tb_logger: true, which it mirrors.')
    if wandb.get('project') and importlib.util.find_spec('wandb') is None:
        raise OptionError('logger.wandb.project needs the package wandb: pip install wandb, or write project: ~.')
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
    looks_at_retain = streams_needed(train).get('retain')
    uses_retain += [looks_at_retain] if looks_at_retain else []
    if uses_retain and data['type'] == 'ForgetRetainDataset' and not (data.get('retain') or data.get('retain_from')):
        raise OptionError(f'train.{uses_retain[0]} needs retain samples: give datasets.train.retain, or retain_from: '
                          'forget_gt with retain_degradations.')
    _check_phases(train, [name.removesuffix('_opt') for name in parts])
    _check_dual(train)
    _check_auto_rate(train)
    if train.get('dual_opt') and 'retain_opt' not in parts:
        raise OptionError('train.dual_opt weighs the retain terms by what the retain batches lose: add a retain_opt.')
    if train.get('conflict_opt') and (len(parts) == 1 or 'forget_opt' not in parts):
        raise OptionError('train.conflict_opt needs a forget_opt and a term that holds the rest, whose gradients it '
                          'reconciles.')
    judge, metrics = (train.get('skill_opt') or {}).get('metric'), (opt.get('val') or {}).get('metrics') or {}
    if judge is not None and judge not in metrics:
        raise OptionError(f'train.skill_opt.metric is {judge}, which is not under val.metrics: add it there'
                          + (f', or use {" or ".join(metrics)}.' if metrics else '.'))
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


def _check_batch(data: dict, opt: dict) -> None:
    """A batch of patches fits into the memory of this machine; what the network makes of it is not counted."""
    if data.get('batch_size_per_gpu') is None:
        return
    size, streams = data.get('gt_size') or 64, 2 if data['type'] == 'ForgetRetainDataset' else 1
    pair = 3 * 4 * size**2 * (1 + 1 / opt.get('scale', 1)**2)  # bytes of float32 images
    needed, there = data['batch_size_per_gpu'] * streams * pair, installed_memory()
    if needed > there:
        raise OptionError(f'datasets.train.batch_size_per_gpu {data["batch_size_per_gpu"]} of patches of {size} pixels '
                          f'takes {needed / 2**30:.0f} GB for a batch, and this machine has {there / 2**30:.0f} GB: '
                          'lower it, or gt_size.')


def _source(block: dict) -> str:
    """The stream that an adversarial loss asks for, by its option or its default."""
    parameters = inspect.signature(registered(LOSS_REGISTRY, block['type'], 'type')).parameters
    return block.get('source') or (parameters['source'].default if 'source' in parameters else 'retain')


def _check_dual(train: dict) -> None:
    try:
        DualWeight(**(train.get('dual_opt') or {}))
    except ValueError as error:
        raise OptionError(f'train.dual_opt: {str(error).rstrip(".")}.') from error


def _check_auto_rate(train: dict) -> None:
    if not has_auto_rate(train):
        return
    if not train.get('forget_opt'):
        raise OptionError('train.optim_g.lr: auto fits the rate to what a step forgets, but there is no forget_opt: '
                          'write a number.')
    if train['optim_g']['type'] not in ('Adam', 'AdamW'):
        raise OptionError('train.optim_g.lr: auto is for Adam and AdamW, whose first step moves each weight by the '
                          f'rate: write a number for {train["optim_g"]["type"]}.')


def _check_airnet(opt: dict) -> None:
    network, data, patch = opt['network_g'], opt['datasets']['train'], opt['train']['patch_size']
    if network['type'] != 'AirNet':
        raise OptionError(f'model_type AirNetModel trains AirNet, not network_g.type {network["type"]}: write '
                          'model_type: SRModel.')
    check_section({'batch_size': network.get('batch_size')}, {'batch_size!': whole()}, 'network_g')
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
