"""Blocks with a `type`: which components each option takes, and the options of such a block."""
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, reduce
from operator import or_
from typing import Annotated, Any, Literal

import torch
from annotated_types import Len
from basicsr.models import lr_scheduler
from basicsr.models.base_model import BaseModel as BasicSRModel
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY, MODEL_REGISTRY

import basicsr_unlearn.plugin  # noqa: F401  registers the components
from basicsr_unlearn.core.hints import Count, Limit, NotNegative
from basicsr_unlearn.core.parts import ANCHORS, EDITS, MASKS
from basicsr_unlearn.data.degradation_chain import FILES, LIMITS, PARAMETERS
from basicsr_unlearn.options.signatures import described, section, section_of
from basicsr_unlearn.options.values import FromZero, Name, Scale, Section, Text, hint_of, needed, option

ALL_OPTIMIZERS = {name: getattr(torch.optim, name) for name in ('Adam', 'AdamW', 'SGD', 'Adamax', 'ASGD', 'RMSprop',
                                                            'Rprop')}
OURS = dict(list(ALL_OPTIMIZERS.items())[:3])  # of UnlearnModel
# BasicSR 1.4.2 as released has Adam alone, its repository the others
BASICSRS = {name: optimizer for name, optimizer in ALL_OPTIMIZERS.items()
            if f"'{name}'" in inspect.getsource(BasicSRModel.get_optimizer)}
SCHEDULERS = {'MultiStepLR': lr_scheduler.MultiStepRestartLR, 'MultiStepRestartLR': lr_scheduler.MultiStepRestartLR,
              'CosineAnnealingRestartLR': lr_scheduler.CosineAnnealingRestartLR}
KINDS = {'model': MODEL_REGISTRY, 'loss': LOSS_REGISTRY, 'edit': EDITS, 'mask': MASKS, 'anchor': ANCHORS,
         'network': ARCH_REGISTRY, 'data set': DATASET_REGISTRY, 'metric': METRIC_REGISTRY, 'optimizer': OURS,
         "optimizer of BasicSR's": BASICSRS, 'scheduler': SCHEDULERS, 'degradation': PARAMETERS}
PLAIN_TERMS = ('forget', 'retain', 'pixel', 'perceptual')  # whose losses compare an output with a target


@dataclass(frozen=True)
class Slot:
    """A block whose `type` is a component of a kind. An option takes such a block if its hint is annotated with one.

    Args:
        kind: one of KINDS.
        term: of losses: the `<term>_opt` that the block is.
        extra: options of the block beside those of the component.
    """
    kind: str
    term: str | None = None
    extra: type[Section] | None = None

    def components(self) -> dict[str, Any]:
        """What fits, by the name that an option file gives it."""
        return {name: target for name, target in entries(self.kind).items()
                if self.term is None or self.term in terms_of(target)}

    def section(self, name: str) -> type[Section]:
        """The options of a block whose type is `name`."""
        makers = {'degradation': degradation, 'data set': data_set}
        target = entries(self.kind)[name]
        return makers.get(self.kind, section_of)(name, target if self.kind != 'degradation' else None, self.extra)

    def __get_pydantic_json_schema__(self, core_schema: Any, handler: Callable) -> dict[str, Any]:
        return {'slot': self}  # schema.py puts the components there


class OfRetain(Section):
    target: Literal['gt', 'teacher'] = option("towards the clean image, or towards the original's output", 'gt')


class OfRate(Section):
    lr: NotNegative | Literal['auto'] = needed('the rate; auto: fitted to the network by forget_step')


class OfBasicSRsRate(Section):
    lr: NotNegative = needed('the rate')


class OfMetric(Section):
    better: Literal['higher', 'lower'] = option('which values are good', 'higher')


def loss(term: str, extra: type[Section] | None = None) -> Any:
    """The hint of a `<term>_opt`."""
    return Annotated[dict, Slot('loss', term, extra)]


def one(kind: str, extra: type[Section] | None = None) -> Any:
    """The hint of a block of a kind."""
    return Annotated[dict, Slot(kind, None, extra)]


def some(kind: str) -> Any:
    """The hint of a block of a kind, or a list of such blocks."""
    return one(kind) | list[one(kind)]


def slot_of(hint: Any) -> Slot | None:
    """The slot that a hint stands for."""
    return next((note for note in getattr(hint, '__metadata__', ()) if isinstance(note, Slot)), None)


def entries(kind: str) -> dict[str, Any]:
    """The components of a kind, by the names that option files use: without BasicSR's suffix."""
    registry = KINDS[kind]
    pairs = registry.items() if isinstance(registry, Mapping) else iter(registry)
    return {name.removesuffix('_basicsr'): target for name, target in pairs}


def terms_of(target: Any) -> tuple[str, ...]:
    """The `<term>_opt` that take a loss: those it names in `terms`; of others, those for an output and its target."""
    if hasattr(target, 'terms'):
        return tuple(target.terms)
    if not isinstance(target, type) or not hasattr(target, 'forward'):
        return ()
    parameters = list(inspect.signature(target.forward).parameters.values())[1:]
    names = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.default is p.empty]
    return PLAIN_TERMS if len(names) == 2 and 'real' not in names[1] else ()


class DataSet(Section):
    """Options of every data set; the rest is the OPTIONS of its class."""
    name: Name = option('under which results are filed')
    phase: Literal['train', 'val', 'test'] = option('set by BasicSR')
    scale: Scale = option("clean size over degraded size; set by BasicSR from the file's `scale`")
    role: Literal['forget', 'retain'] = option('what the network is to do on a val_ set', 'retain')
    ratio: NotNegative = option('share of the draws in a mix, against the other sets', 1)
    seed: FromZero | None = option('of the draws; ~: manual_seed')
    epoch_length: Annotated[int, Limit(at_least=1, at_most=10**7)] | None = option('draws of an epoch')
    batch_size_per_gpu: Count = option('samples of each stream in a step')
    num_worker_per_gpu: Annotated[int, Limit(at_least=0, at_most=256)] = option('processes that load data')
    persistent_workers: bool = option('keep them from epoch to epoch', False)
    pin_memory: bool = option('copy batches to the GPU faster')
    prefetch_mode: Literal['cpu', 'cuda'] | None = option('fetch the next batch while the network learns')
    num_prefetch_queue: Annotated[int, Limit(at_least=1, at_most=1024)] = option('batches fetched ahead', 1)
    dataset_enlarge_ratio: Annotated[float, Limit(above=0, at_most=10**6)] = option('lengthens an epoch', 1)


class BasicSRDataSet(DataSet):
    """A data set of BasicSR's: of pairs of images, or of images alone."""
    io_backend: dict = needed('such as {type: disk}')
    dataroot_lq: Text = needed('folder or LMDB of degraded images')
    dataroot_gt: Text = option('folder or LMDB of clean images')
    meta_info_file: Text | None = option('text file of image names')
    filename_tmpl: Text = option('template of names, with {}')
    gt_size: Count = option('training patch on the clean image in pixels')
    use_hflip: bool = option('flip in training')
    use_rot: bool = option('rotate in training')
    mean: list[float] | None = option('subtracted, per channel')
    std: list[float] | None = option('divided by, per channel')
    color: Literal['y'] | None = option('y: luminance alone')


class RetainDegradation(Section):
    name: Text = option('in messages')
    ratio: NotNegative = option('share of the draws, against the others', 1)
    degradations: list[one('degradation')] = needed('steps, applied in order')


MIX = list[one('data set')]
INSIDE = {'forget': MIX, 'retain': MIX, 'sets': MIX, 'degradations': list[one('degradation')],
          'retain_degradations': list[RetainDegradation]}
TYPES = {int: Count, str: Text, list: list[Any], dict: dict}  # in the OPTIONS of a class


@cache
def data_set(name: str, cls: type, extra: type[Section] | None = None) -> type[Section]:
    """The options of a data set; of one of another package, those of every data set and any beside them."""
    base, options, told = DataSet, getattr(cls, 'OPTIONS', None), described(cls)
    if name in ('PairedImageDataset', 'SingleImageDataset'):
        base, options = BasicSRDataSet, {}
    fields = {}
    for key, kind in (options or {}).items():
        hint = reduce(or_, (TYPES.get(part, part) for part in (kind if isinstance(kind, tuple) else (kind,))))
        fields[key] = (INSIDE.get(key, hint) | None, option(told.get(key)))
    for common in (base, extra):
        for key, field in (common.model_fields if common else {}).items():
            if key not in fields or common is extra:
                fields[key] = (hint_of(field), field)
    return section(name, fields, options is None, inspect.getdoc(cls))


@cache
def degradation(name: str, _: None = None, extra: None = None) -> type[Section]:
    """The options of a step of `degradations`."""
    fields: dict[str, tuple] = {}
    for key, default in PARAMETERS[name].items():
        low, high = LIMITS[name][key]
        value = Annotated[float, Limit(at_least=low, at_most=high)]
        fields[key] = (value | Annotated[list[value], Len(2, 2)] | dict[Literal['choices'], list[value]],
                       option('a number, [low, high] to draw from evenly, or {choices: [...]}', default))
    if name in FILES:
        fields[FILES[name]] = (Text | None, option(f'a folder of {FILES[name]}'))
    return section(name, fields, False, None)
