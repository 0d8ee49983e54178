"""Options that must agree with one another, with other sections or with the machine: each rule, in one place."""
import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping

import torch

from basicsr_unlearn.core.dual import DualWeight
from basicsr_unlearn.core.hints import Count
from basicsr_unlearn.core.memory import installed_memory
from basicsr_unlearn.core.phases import check_phases
from basicsr_unlearn.core.tiling import DEFAULT_OVERLAP, check_tile
from basicsr_unlearn.data.drawn import DEFAULT_PATCH
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.models.patch_schedule import check_patch_schedule
from basicsr_unlearn.models.unlearn_model import UnlearnModel
from basicsr_unlearn.options.components import DataSet
from basicsr_unlearn.options.section_checks import Built, check_value, registered
from basicsr_unlearn.options.values import hint_of, words

TERMS = ('forget_opt', 'retain_opt', 'adversarial_opt', 'anchor_opt')


def check_rules(opt: Mapping, is_train: bool, is_open: bool, built: Built) -> None:
    """Check what options, each valid by itself, are together.

    Args:
        opt: the options, the method spelt out.
        is_open: whether the model is another package's.
        built: the parts of `train` by the name of their option.

    Raises:
        OptionError: the first rule that is broken.
    """
    for name in ('train', 'logger') if is_train else ():
        if opt.get(name) is None:
            raise OptionError(f'The option {name} is missing: it must be a block of options.')
    _data_sets(opt['datasets'], is_train)
    _machine(opt)
    _tiling(opt, is_open)
    _validation(opt, is_train)
    if not is_train:
        return
    _training(opt)
    if opt['model_type'] in ('UnlearnModel', 'RestorationModel'):
        _patch_schedule(opt)
    if opt['model_type'] == 'RestorationModel':
        _restoration(opt)
    if opt['model_type'] == 'AirNetModel':
        _airnet(opt)
    if opt['model_type'] == 'UnlearnModel':
        _unlearning(opt, built)


def check_keys(datasets: Mapping, is_train: bool) -> None:
    """Check what data sets are called, which says what they are for. Raises OptionError."""
    for key in datasets:
        phase = str(key).split('_')[0]
        if is_train and key != 'train' and phase != 'val' or not is_train and phase not in ('val', 'test'):
            valid = 'train, val or val_<name>' if is_train else 'test, test_<name>, val or val_<name>'
            raise OptionError(f'datasets.{key} is no option: data sets are called {valid}.')


def _data_sets(datasets: Mapping, is_train: bool) -> None:
    names: dict[str, str] = {}
    for key, block in datasets.items():
        where = f'datasets.{key}'
        if block.get('name') is None:
            raise OptionError(f'The option {where}.name is missing: it must be a string.')
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
    if is_train and 'train' not in datasets:
        raise OptionError('The option datasets.train is missing: it must be a block of options.')
    for name in ('batch_size_per_gpu', 'num_worker_per_gpu') if is_train else ():
        if datasets['train'].get(name) is None:
            raise OptionError(f'The option datasets.train.{name} is missing: it must be '
                              f'{words(hint_of(DataSet.model_fields[name]))}.')
    if not datasets:
        raise OptionError('datasets is empty: a test needs at least one data set.')


def _machine(opt: Mapping) -> None:
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


def _tiling(opt: Mapping, is_open: bool) -> None:
    val = opt.get('val') or {}
    if not val.get('tile'):
        return
    if not issubclass(registered('model', opt['model_type'], 'model_type'), UnlearnModel):
        if not is_open:  # a model of another package may have tiles of its own
            raise OptionError(f'val.tile has no effect on model_type: {opt["model_type"]}, which restores whole images '
                              'only: take it out, or write model_type: UnlearnModel.')
        return
    try:
        check_tile(val['tile'], val.get('tile_overlap', DEFAULT_OVERLAP))
    except ValueError as error:
        raise OptionError(f'val.{error}.') from error


def _validation(opt: Mapping, is_train: bool) -> None:
    val = opt.get('val')
    if is_train:
        if val and 'val_freq' not in val:
            raise OptionError('The option val.val_freq is missing: it must be a whole number from 1.')
    elif val is None:
        raise OptionError('The option val is missing: a test needs val.save_img and val.metrics.')
    elif val['save_img'] and 'suffix' not in val:
        raise OptionError('The option val.suffix is missing: a test that saves images needs it, ~ for none.')


def _training(opt: Mapping) -> None:
    train, data, logger = opt['train'], opt['datasets']['train'], opt['logger']
    periods, total_iter = train['scheduler'].get('periods'), train['total_iter']
    if sum(periods or [total_iter]) < total_iter:
        raise OptionError(f'train.scheduler.periods end at iteration {sum(periods)}, before train.total_iter '
                          f'{total_iter}: make them at least as long.')
    project = (logger.get('wandb') or {}).get('project')
    if project and not logger['use_tb_logger']:
        raise OptionError('logger.wandb.project needs logger.use_tb_logger: true, which it mirrors.')
    if project and importlib.util.find_spec('wandb') is None:
        raise OptionError('logger.wandb.project needs the package wandb: pip install wandb, or write project: ~.')
    # a batch of patches fits into the memory of this machine; what the network makes of it is not counted
    size, streams = data.get('gt_size') or 64, 2 if data['type'] == 'ForgetRetainDataset' else 1
    pair = 3 * 4 * size**2 * (1 + 1 / opt.get('scale', 1)**2)  # bytes of float32 images
    needed, there = data['batch_size_per_gpu'] * streams * pair, installed_memory()
    if needed > there:
        raise OptionError(f'datasets.train.batch_size_per_gpu {data["batch_size_per_gpu"]} of patches of {size} pixels '
                          f'takes {needed / 2**30:.0f} GB for a batch, and this machine has {there / 2**30:.0f} GB: '
                          'lower it, or gt_size.')


def _patch_schedule(opt: Mapping) -> None:
    data = opt['datasets']['train']
    try:
        check_patch_schedule(opt['train'].get('patch_schedule') or (), data.get('gt_size') or DEFAULT_PATCH,
                             data['batch_size_per_gpu'], opt.get('scale', 1))
    except ValueError as error:
        raise OptionError(f'train.patch_schedule{error}.') from error


def _restoration(opt: Mapping) -> None:
    compiler = os.environ.get('CXX') or ('clang++' if sys.platform == 'darwin' else 'g++')  # as torch looks for it
    if opt['train'].get('compile') and not (torch.cuda.is_available() and opt['num_gpu'] != 0) \
            and shutil.which(compiler) is None:
        raise OptionError(f'train.compile is true, but there is no C++ compiler {compiler} here, which torch.compile '
                          'needs without a GPU: install one, or write compile: false.')


def _airnet(opt: Mapping) -> None:
    network, data, patch = opt['network_g'], opt['datasets']['train'], opt['train']['patch_size']
    if network['type'] != 'AirNet':
        raise OptionError(f'model_type AirNetModel trains AirNet, not network_g.type {network["type"]}: write '
                          'model_type: SRModel.')
    check_value(network['batch_size'], Count, 'network_g.batch_size')
    if data.get('gt_size') and patch > data['gt_size']:
        raise OptionError(f'train.patch_size {patch} is larger than datasets.train.gt_size {data["gt_size"]}: lower '
                          'it.')
    if not opt['path'].get('pretrain_network_g') and 256 * network['batch_size'] % data['batch_size_per_gpu']:
        raise OptionError("datasets.train.batch_size_per_gpu does not divide AirNet's queue of 256 * "
                          'network_g.batch_size keys: make the two equal.')


def _unlearning(opt: Mapping, built: Built) -> None:
    train = opt['train']
    parts = [name for name in TERMS if train.get(name)]
    if not parts:
        raise OptionError('train has no forget_opt, retain_opt, adversarial_opt or anchor_opt: give at least one, as '
                          'nothing would be learned or forgotten.')
    for name in parts:
        if name != 'anchor_opt' and train[name].get('reduction') == 'none':
            raise OptionError(f'train.{name}.reduction is none, not mean or sum: training needs one number.')
    for name in ('forget_opt', 'adversarial_opt') if not train.get('proxy_opt') else ():
        if getattr(built.get(f'train.{name}'), 'target', None) == 'proxy':
            raise OptionError(f'train.{name}.target is proxy, but there is no such network: add train.proxy_opt.')
    _rate(train)
    _streams(train, opt['datasets']['train'], built)
    try:
        check_phases(train.get('phases') or [], [name.removesuffix('_opt') for name in parts])
    except ValueError as error:
        raise OptionError(f'train.phases: {error}.') from error
    try:
        DualWeight(**(train.get('dual_opt') or {}))
    except ValueError as error:
        raise OptionError(f'train.dual_opt: {str(error).rstrip(".")}.') from error
    if train.get('dual_opt') and 'retain_opt' not in parts:
        raise OptionError('train.dual_opt weighs the retain terms by what the retain batches lose: add a retain_opt.')
    forgetting = [name for name in parts
                  if name == 'forget_opt' or getattr(built.get(f'train.{name}'), 'forgets', False)]
    if train.get('conflict_opt') and not 0 < len(forgetting) < len(parts):
        raise OptionError('train.conflict_opt needs a forget_opt and a term that holds the rest, whose gradients it '
                          'reconciles.')
    if ((train.get('conflict_opt') or {}).get('mask') and set(parts) - set(forgetting) == {'retain_opt'}
            and train['retain_opt'].get('target') == 'teacher' and not train.get('edit_opt')):
        raise OptionError('train.conflict_opt.mask goes by the gradient of retain_opt, which is 0 towards the teacher'
                          ' as long as the network is the original, so that nothing would ever move: write '
                          'train.retain_opt.target: gt.')
    judge, metrics = (train.get('skill_opt') or {}).get('metric'), (opt.get('val') or {}).get('metrics') or {}
    if judge is not None and judge not in metrics:
        raise OptionError(f'train.skill_opt.metric is {judge}, which is not under val.metrics: add it there'
                          + (f', or use {" or ".join(metrics)}.' if metrics else '.'))
    _stop_rule(opt, parts)


def _rate(train: Mapping) -> None:
    if train['optim_g'].get('lr') != 'auto':
        return
    if not train.get('forget_opt'):
        raise OptionError('train.optim_g.lr: auto fits the rate to what a step forgets, but there is no forget_opt: '
                          'write a number.')
    if train['optim_g']['type'] not in ('Adam', 'AdamW'):
        raise OptionError('train.optim_g.lr: auto is for Adam and AdamW, whose first step moves each weight by the '
                          f'rate: write a number for {train["optim_g"]["type"]}.')


def _streams(train: Mapping, data: Mapping, built: Built) -> None:
    """There are retain samples if anything looks at them."""
    if data['type'] != 'ForgetRetainDataset' or data.get('retain') or data.get('retain_from'):
        return
    adversary, stop = built.get('train.adversarial_opt'), train.get('stop_opt') or {}
    asking = ['retain_opt'] if train.get('retain_opt') else []
    asking += ['adversarial_opt'] if train.get('adversarial_opt') and (
        train['adversarial_opt'].get('source') or getattr(adversary, 'source', 'retain')) == 'retain' else []
    asking += ['proxy_opt'] if (train.get('proxy_opt') or {}).get('iters') else []
    asking += [name.removeprefix('train.') for name, part in built.items() if 'retain' in getattr(part, 'needs', ())]
    asking += ['stop_opt.retain_budget'] if stop.get('retain_budget') is not None and stop.get('check') != 'val' else []
    if asking:
        raise OptionError(f'train.{asking[0]} needs retain samples: give datasets.train.retain, or retain_from: '
                          'forget_gt with retain_degradations.')


def _stop_rule(opt: Mapping, parts: list[str]) -> None:
    stop = opt['train'].get('stop_opt') or {}
    if stop.get('forget_psnr') == 'retrained' and (stop.get('check') != 'val' or
                                                   not opt['path'].get('pretrain_network_retrained')):
        raise OptionError('train.stop_opt.forget_psnr: retrained needs check: val beside it and the checkpoint of a '
                          'retrained network as path.pretrain_network_retrained, or write identity.')
    if stop.get('retain_budget') is not None and not {'retain_opt', 'adversarial_opt'} & set(parts):
        raise OptionError('train.stop_opt.retain_budget needs a retain_opt or adversarial_opt that can keep it.')
    if stop.get('check') != 'val':
        return
    roles = [block.get('role', 'retain') for name, block in opt['datasets'].items() if name != 'train']
    if 'forget' not in roles or not opt.get('val'):
        raise OptionError('train.stop_opt.check is val but no val_ data set has role: forget, or there is no val '
                          'section: add them, or write check: train.')
    metrics = (opt['val'].get('metrics') or {}).values()
    if not any(metric['type'] == 'calculate_psnr' for metric in metrics):
        raise OptionError('train.stop_opt.check is val, which goes by PSNR, but val.metrics has no calculate_psnr: add '
                          'psnr: {type: calculate_psnr, crop_border: 0}, or write check: train.')
