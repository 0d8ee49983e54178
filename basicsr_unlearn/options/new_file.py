"""A complete option file for unlearning, written from what is known of a network and its data."""
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from basicsr_unlearn.methods.presets import read_method
from basicsr_unlearn.options.json_schema import schema_line
from basicsr_unlearn.options.loader import PLUGIN
from basicsr_unlearn.options.option_text import option_text

COMMENT_COLUMN = 34  # where comments begin, as in the shipped files
INLINE = ('psnr', 'ssim', 'wandb', 'dist_params')
VALIDATIONS, PRINTS = 8, 20  # in a run; our choice


@dataclass(frozen=True)
class DataSource:
    """One data set: its blocks for training and for validation, which share no image.

    Args:
        name: of the data set in tables.
        train: block of a training set; or, made of the forget set's clean images, {'degradations': [...]}.
        val: block of a validation set.
    """
    name: str
    train: Mapping[str, Any]
    val: Mapping[str, Any]


@dataclass(frozen=True)
class Plan:
    """What an option file for unlearning says.

    Args:
        name: of the experiment.
        checkpoint, param_key: the original.
        network: its `network_g` block.
        scale: clean size over degraded size.
        forget, keep: the data. Those to keep are all pairs of their own, or all made of the forget set's clean images.
        method: a preset.
        steps, batch, patch: of the training; the patch in pixels of the clean image.
        own: options that override the preset.
        plugin: PACKAGE.ATTRIBUTE of the package that registers the network, beside this one.
        cache: whether decoded images are kept in memory.
    """
    name: str
    checkpoint: str
    network: Mapping[str, Any]
    scale: int
    forget: DataSource
    keep: Sequence[DataSource]
    method: str
    steps: int
    batch: int
    patch: int
    param_key: str | None = None
    own: Mapping[str, Any] = field(default_factory=dict)
    plugin: str | None = None
    cache: bool = False


COMMENTS = {
    'plugin': 'makes any BasicSR entry point load this plugin',
    'name': 'results go to experiments/ and tb_logger/ under this name',
    'scale': 'clean size over degraded size',
    'num_gpu': 'all GPUs there are, 0 without one',
    'manual_seed': 'sets data order, crops and degradations',
    'datasets.train.gt_size': 'training patch in pixels of the clean image',
    'datasets.train.cache': 'keep decoded images in memory; leave out for large sets',
    'datasets.train.batch_size_per_gpu': 'forget samples a step, and as many retain samples',
    'datasets.train.num_worker_per_gpu': 'processes that read images; 0: the run itself does',
    'datasets.train.forget': 'what the network is to lose',
    'datasets.train.retain': 'what it is to keep',
    'datasets.train.retain_from': "the forget set's clean images, degraded in other ways",
    'datasets.train.forget.except_files': 'held out for the validation',
    'datasets.train.retain.except_files': 'held out for the validation',
    'datasets.val_forget.role': 'is to fall to where a retrained network is',
    'datasets.val_keep.role': 'is to stay where the original is',
    'datasets.val_forget.only_files': 'not seen in training',
    'datasets.val_keep.only_files': 'not seen in training',
    'datasets.val_forget.center_crop': 'a size that the network takes',
    'datasets.val_keep.center_crop': 'a size that the network takes',
    'network_g': 'the architecture of the checkpoint below',
    'path.pretrain_network_g': 'the original: any container of weights will do',
    'path.param_key_g': 'the name of the weights in it',
    'path.pretrain_network_retrained': 'a network trained without the forget set, if there is one: only shown',
    'path.resume_state': 'or use --auto_resume',
    'train.method': '`basicsr-unlearn methods` lists others, `show -opt FILE` spells it out',
    'train.warmup_iter': 'no warm-up',
    'train.over_forget_margin': 'warn when so many dB below the retrained network or the untouched input',
    'train.skill_opt.metric': 'what forgetting is judged by',
    'train.skill_opt.margin': 'by how much the original has to be better than the untouched input',
    'train.retain_opt': "beside the method's own options",
    'train.retain_opt.target': 'the clean image: the original is not to be followed on these',
    'val.strips': 'images a set in TensorBoard and in the report',
    'val.save_img': 'whether each validation writes its outputs',
    'logger.use_tb_logger': 'tensorboard --logdir tb_logger',
}


def option_file(plan: Plan, title: Sequence[str], folder: Path) -> str:
    """The text of the option file, a comment beside what needs one.

    Args:
        title: lines of the comment on top.
        folder: where it is to lie.
    """
    head = [schema_line(folder), *(f'# {line}' for line in title)]
    return '\n'.join(head) + '\n' + _commented(_inlined(option_text(options_of(plan))), COMMENTS)


def options_of(plan: Plan) -> dict[str, Any]:
    """The options themselves."""
    train = {'name': 'train', 'type': 'ForgetRetainDataset', 'gt_size': plan.patch, 'use_hflip': True, 'use_rot': True,
             **({'cache': True} if plan.cache else {}), 'batch_size_per_gpu': plan.batch, 'num_worker_per_gpu': 0,
             'forget': [{'name': plan.forget.name, **plan.forget.train}], **_retain(plan.keep)}
    datasets = {'train': train, f'val_{plan.forget.name}': {'name': plan.forget.name, 'role': 'forget',
                                                           **plan.forget.val}}
    datasets |= {f'val_{source.name}': {'name': source.name, 'role': 'retain', **source.val} for source in plan.keep}
    key = {'param_key_g': plan.param_key} if plan.param_key else {}
    often = min(max(5, plan.steps // VALIDATIONS), plan.steps)
    psnr, ssim = ({'type': f'calculate_{name}', 'crop_border': 0, 'test_y_channel': False} for name in ('psnr', 'ssim'))
    return {
        'plugin': [PLUGIN, plan.plugin] if plan.plugin else PLUGIN, 'name': plan.name, 'model_type': 'UnlearnModel',
        'scale': plan.scale,
        'num_gpu': 'auto', 'manual_seed': 0, 'datasets': datasets, 'network_g': dict(plan.network),
        'path': {'pretrain_network_g': plan.checkpoint, **key, 'strict_load_g': True,
                 'pretrain_network_retrained': None, 'resume_state': None},
        'train': {'method': plan.method, **plan.own, 'scheduler': _schedule(plan), 'total_iter': plan.steps,
                  'warmup_iter': -1, 'over_forget_margin': 1.0},
        'val': {'val_freq': often, 'save_img': False, 'strips': 2, 'metrics': {'psnr': psnr, 'ssim': ssim}},
        'logger': {'print_freq': max(1, plan.steps // PRINTS), 'save_checkpoint_freq': max(1, plan.steps // 2),
                   'use_tb_logger': True, 'wandb': {'project': None, 'resume_id': None}},
        'dist_params': {'backend': 'nccl', 'port': 29500}}


def _retain(keep: Sequence[DataSource]) -> dict[str, Any]:
    if not keep:
        return {}
    if all('type' not in source.train for source in keep):
        return {'retain_from': 'forget_gt', 'retain_degradations': [{'ratio': 1, **source.train} for source in keep]}
    return {'retain': [{'name': source.name, 'ratio': 1, **source.train} for source in keep]}


def _schedule(plan: Plan) -> dict[str, Any]:
    method = read_method(plan.method)['train']
    if 'stop_opt' in method or (method.get('optim_g') or {}).get('lr') == 'auto':  # the rate has to stay
        return {'type': 'MultiStepLR', 'milestones': [plan.steps + 1], 'gamma': 0.5}
    return {'type': 'CosineAnnealingRestartLR', 'periods': [plan.steps], 'restart_weights': [1], 'eta_min': 1e-6}


def _inlined(text: str) -> str:
    """YAML with the small blocks of INLINE, and the steps of degradations, on one line each, as people write them."""
    lines, inside = text.splitlines(), None
    merged: list[str] = []
    for line in lines:
        indent = len(line) - len(line.lstrip())
        if inside is not None and indent > inside and not line.lstrip().startswith('- '):
            merged[-1] = f'{merged[-1].removesuffix("}")}{"" if merged[-1].endswith("{") else ", "}{line.strip()}}}'
            continue
        inside = None
        key = line.strip().removesuffix(':')
        if key in INLINE and line.endswith(':'):
            inside, line = indent, f'{line} {{'
        elif re.fullmatch(r' *- type: \w+', line):
            inside, line = indent, line.replace('- ', '- {') + '}'
        merged.append(line)
    return '\n'.join(merged) + '\n'


def _commented(text: str, comments: Mapping[str, str]) -> str:
    """YAML with comments by option, at the end of lines on which the option's value is complete."""
    lines, path, first_val = [], [], None
    for line in text.splitlines():
        match = re.match(r'( *)((?:- )*)(\w+):', line)
        if match:
            indent = len(match[1]) + len(match[2])
            path = [(depth, key) for depth, key in path if depth < indent] + [(indent, match[3])]
            keys = [key for _, key in path]
            if len(keys) > 1 and keys[1].startswith('val_'):
                first_val = first_val or keys[1]
                keys[1] = 'val_forget' if keys[1] == first_val else 'val_keep'
            comment = comments.get('.'.join(keys))
            if comment and line.count('[') == line.count(']') and len(f'{line:<{COMMENT_COLUMN - 2}}') + 4 \
                    + len(comment) <= 120:
                line = f'{line:<{COMMENT_COLUMN - 2}}  # {comment}'
        lines.append(line)
    return '\n'.join(lines) + '\n'
