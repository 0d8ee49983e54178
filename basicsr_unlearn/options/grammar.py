"""The grammar of the option file: what each section may hold.

A name ending in `!` must be there; OPEN takes anything. What a component takes is
read from its own signature, so a new loss or architecture needs no line here.
"""
import inspect
import numbers
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from basicsr.models import lr_scheduler
from basicsr.models.base_model import BaseModel
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY

import basicsr_unlearn.plugin  # noqa: F401  registers the components
from basicsr_unlearn.core.parts import ANCHORS, EDITS, MASKS

LARGEST_WHOLE, LARGEST = 10**9, 1e30  # where an option has no limit of its own; our choice, float32 ends at 3e38
NAME_BYTES = 200  # of a name that becomes part of file names, which may have 255


@dataclass(frozen=True)
class Value:
    """What one option may hold: `words` as they stand in an error, and the test."""
    words: str
    accepts: Callable[[Any], bool]


@dataclass(frozen=True)
class Component:
    """A block whose `type` is looked up in `registry` and whose other keys go to it; `extra` keys are ours."""
    registry: Any
    extra: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Parts:
    """One block of a `type` in `registry`, or a list of such blocks."""
    registry: dict


def number(above: float | None = None, at_least: float | None = None, below: float | None = None,
           at_most: float | None = None, whole: bool = False) -> Value:
    """A finite number within limits, which are told; beyond LARGEST and LARGEST_WHOLE is none that a run could use."""
    kind, largest = (numbers.Integral, LARGEST_WHOLE) if whole else (numbers.Real, LARGEST)
    limits = ((' above', above), (' from', at_least), (' below', below), (' to', at_most))
    words = ('a whole number' if whole else 'a number') + ''.join(f'{w} {v}' for w, v in limits if v is not None)
    at_most = largest if at_most is None else at_most
    return Value(words, lambda v: isinstance(v, kind) and not isinstance(v, bool) and (above is None or v > above)
                 and (at_least is None or v >= at_least) and (below is None or v < below) and -largest <= v <= at_most)


def whole(at_least: int = 1, at_most: int | None = None) -> Value:
    return number(at_least=at_least, at_most=at_most, whole=True)


def choice(*names: str) -> Value:
    return Value(' or '.join(names), lambda v: isinstance(v, str) and v in names)


def either(*values: Value) -> Value:
    return Value(' or '.join(v.words for v in values), lambda v: any(value.accepts(v) for value in values))


def or_empty(value: Value) -> Value:
    return either(value, Value('~', lambda v: v is None))


FLAG = Value('true or false', lambda v: isinstance(v, bool))
TEXT = Value('a text', lambda v: isinstance(v, str) and v != '')
NAME = Value(f'a name for files: no / or \\, no dot in front, at most {NAME_BYTES} bytes',
             lambda v: TEXT.accepts(v) and not set(v) & set('/\\') and v[0] != '.' and len(v.encode()) <= NAME_BYTES)
MAPPING = Value('a block of options', lambda v: isinstance(v, Mapping))
LIST = Value('a list', lambda v: isinstance(v, (list, tuple)))
TEXTS = Value('a list of texts', lambda v: LIST.accepts(v) and all(TEXT.accepts(entry) for entry in v))
NUMBERS = Value('a list of numbers', lambda v: LIST.accepts(v) and all(number().accepts(entry) for entry in v))
OPEN = Value('anything', lambda v: True)

SEED = whole(0, at_most=4 * 10**9)  # numpy takes 32 bits, and BasicSR adds the rank
SCALE = whole(at_most=64)

LOSS = Component(LOSS_REGISTRY)
OPTIMIZERS = {name: getattr(torch.optim, name) for name in ('Adam', 'AdamW', 'Adamax', 'SGD', 'ASGD', 'RMSprop',
                                                            'Rprop')}
# BasicSR 1.4.2 as released has Adam alone, its repository the others
BASICSR_OPTIMIZERS = {name: optimizer for name, optimizer in OPTIMIZERS.items()
                      if f"'{name}'" in inspect.getsource(BaseModel.get_optimizer)}
SCHEDULERS = {'MultiStepLR': lr_scheduler.MultiStepRestartLR, 'MultiStepRestartLR': lr_scheduler.MultiStepRestartLR,
              'CosineAnnealingRestartLR': lr_scheduler.CosineAnnealingRestartLR}

SCHEDULE = {
    'total_iter!': whole(),
    'warmup_iter': whole(-1),              # -1: none
    'scheduler!': Component(SCHEDULERS),
    'ema_decay': number(at_least=0, below=1),
}
TRAIN = {
    'UnlearnModel': {
        **SCHEDULE,
        'method': TEXT,                     # a preset of methods/, which stands for some of the keys below
        'optim_g!': Component({name: OPTIMIZERS[name] for name in ('Adam', 'AdamW', 'SGD')},
                              {'lr': either(number(at_least=0), choice('auto'))}),  # auto: fitted by forget_step
        'forget_step': number(above=0, below=1),     # share of the way to the untouched input
        'forget_opt': LOSS,
        'retain_opt': Component(LOSS_REGISTRY, {'target': choice('gt', 'teacher')}),
        'adversarial_opt': LOSS,
        'anchor_opt': Parts(ANCHORS),
        'mask_opt': Parts(MASKS),
        'edit_opt': Parts(EDITS),
        'evidence_batches': whole(),
        'proxy_opt': {'iters': whole(0), 'lr': number(above=0), 'seed': whole(0), 'edit_opt': Parts(EDITS)},
        'phases': LIST,
        'dual_opt': {'retain_budget': number(at_least=0), 'step_size': number(above=0), 'start': number(at_least=0),
                     'maximum': number(above=0)},
        'conflict_opt': {'project': FLAG, 'max_ratio': or_empty(number(above=0))},
        'stop_opt': {
            'forget_psnr': either(choice('identity', 'retrained'), number(above=0)),   # dB
            'margin': number(),                                                       # dB
            'retain_budget': or_empty(number(at_least=0)),                            # dB
            'check': choice('train', 'val'),
            'window': whole(),
            'min_iter': whole(0),
            'ease': number(above=0, at_most=1),                                      # share of the rate
        },
        'skill_opt': {'metric': TEXT, 'margin': number(at_least=0), 'required': FLAG},  # what there is to forget
        'grad_clip': or_empty(number(above=0)),
        'amp': or_empty(choice('bf16')),
        'channels_last': FLAG,
        'conflict_freq': whole(0),             # 0: never
        'over_forget_margin': number(at_least=0),   # dB
    },
    'SRModel': {
        **SCHEDULE,
        'optim_g!': Component(BASICSR_OPTIMIZERS),
        'pixel_opt': LOSS,
        'perceptual_opt': LOSS,
    },
    'AirNetModel': {
        **SCHEDULE,
        'optim_g!': Component(BASICSR_OPTIMIZERS),
        'pixel_opt!': LOSS,
        'contrast_opt!': LOSS,
        'encoder_iter!': whole(0),
        'patch_size!': whole(),
    },
}
TRAIN['SwinIRModel'] = TRAIN['SRModel']  # BasicSR's other models read more than is listed: there, names are not checked

VAL = {
    'val_freq': whole(),                   # must be there in training
    'save_img!': FLAG,
    'suffix': or_empty(NAME),              # must be there in a test that saves images, ~ for none
    'pbar': FLAG,
    'strips': whole(0),                    # images per data set in the before/after strips
    'tile': or_empty(whole()),             # pixels; ~ for whole images. More on both in tiling.check_tile
    'tile_overlap': whole(0),              # pixels
    'metrics': or_empty(MAPPING),          # name -> component of METRIC_REGISTRY
}
METRIC_EXTRA = {'better': choice('higher', 'lower')}
LOGGER = {
    'print_freq!': whole(),
    'save_checkpoint_freq!': whole(),
    'use_tb_logger!': FLAG,
    'wandb': {'project': or_empty(TEXT), 'resume_id': or_empty(TEXT)},
}
PATH = {
    'pretrain_network_g': or_empty(TEXT),
    'param_key_g': or_empty(TEXT),
    'strict_load_g': FLAG,
    'pretrain_network_retrained': or_empty(TEXT),   # shown beside the scores, as is the next, in tests only
    'pretrain_network_original': or_empty(TEXT),
    'resume_state': or_empty(TEXT),
    'resume_changed': FLAG,
    'ignore_resume_networks': or_empty(TEXTS),
}
TOP = {
    'plugin': OPEN,
    'name!': NAME,
    'model_type!': TEXT,
    'scale': SCALE,
    'num_gpu!': either(choice('auto'), whole(0)),
    'manual_seed': or_empty(SEED),
    'find_unused_parameters': FLAG,
    'dist_params': or_empty(MAPPING),
    'network_g!': Component(ARCH_REGISTRY),
    'datasets!': MAPPING,
    'path!': PATH,
    'train': MAPPING,                      # must be there in training, by TRAIN; so must logger
    'val': VAL,
    'logger': LOGGER,
}
RUNTIME = {  # what BasicSR's parse_options and train_pipeline add; not for option files
    '': ('dist', 'rank', 'world_size', 'auto_resume', 'is_train', 'root_path'),
    'path': ('experiments_root', 'results_root', 'models', 'training_states', 'log', 'visualization'),
}

DATASET = {  # of every data set; the rest is the OPTIONS of its class
    'name': NAME,
    'type!': TEXT,
    'phase': choice('train', 'val', 'test'),
    'scale': SCALE,
    'role': choice('forget', 'retain'),
    'ratio': number(at_least=0),
    'seed': or_empty(whole(0)),
    'epoch_length': or_empty(whole(at_most=10**7)),  # of which BasicSR makes a list
    'batch_size_per_gpu': whole(),
    'num_worker_per_gpu': whole(0, at_most=256),
    'persistent_workers': FLAG,
    'pin_memory': FLAG,
    'prefetch_mode': or_empty(choice('cpu', 'cuda')),
    'num_prefetch_queue': whole(at_most=1024),
    'dataset_enlarge_ratio': number(above=0, at_most=10**6),
}
BLOCKS = ('forget', 'retain', 'sets')      # lists of data sets inside a data set
RETAIN_DEGRADATIONS = {'name': TEXT, 'ratio': number(at_least=0), 'degradations!': LIST}
BASICSR_DATASETS = ('PairedImageDataset', 'SingleImageDataset')
BASICSR_DATASET = {'io_backend!': MAPPING, 'dataroot_lq!': TEXT, 'dataroot_gt': TEXT, 'meta_info_file': or_empty(TEXT),
                   'filename_tmpl': TEXT, 'gt_size': whole(), 'use_hflip': FLAG, 'use_rot': FLAG,
                   'mean': or_empty(NUMBERS), 'std': or_empty(NUMBERS), 'color': or_empty(choice('y'))}
TYPES = {bool: FLAG, int: whole(), float: number(), str: TEXT, list: LIST, dict: MAPPING}  # in the OPTIONS of a class


