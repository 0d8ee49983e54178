"""What can go wrong with the data, the checkpoint and the disk, found in seconds before the first step."""
import io
import os
import random
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from basicsr.utils.registry import DATASET_REGISTRY
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

from basicsr_unlearn.data.degradation_chain import load_depth
from basicsr_unlearn.data.degraded_image_dataset import DegradedImageDataset
from basicsr_unlearn.data.drawn import DrawnDataset, crop_window
from basicsr_unlearn.data.forget_retain_dataset import ForgetRetainDataset
from basicsr_unlearn.data.image_io import decode_image
from basicsr_unlearn.data.mixed_dataset import MixedDataset
from basicsr_unlearn.data.paired_restoration_dataset import PairedRestorationDataset, check_sizes
from basicsr_unlearn.data.store import ImageStore
from basicsr_unlearn.errors import CheckpointError, DataError, OptionError, UnlearnError
from basicsr_unlearn.metric_check import check_metrics
from basicsr_unlearn.network_check import build_network, check_checkpoints, check_masks, check_smallest
from basicsr_unlearn.option_walker import registered
from basicsr_unlearn.skill_check import check_skill

DECODED = 16  # images per data set that are decoded in full; of the others, head and end are read
THREADS = 8
END_MARKS = {b'\x89PNG': (b'IEND', 12), b'\xff\xd8\xff': (b'\xff\xd9', 2)}  # of a format: how a complete file ends

Size = tuple[int, int]  # height, width


def preflight(opt: dict) -> None:
    """Check everything that a run needs before it writes anything. Random generators are left as they were.

    Args:
        opt: as BasicSR's parse_options returns it, with `phase` and `scale` in each data set.

    Raises:
        DataError: a data set cannot be built, an image is missing, damaged, too small or of another size than its
            partner, or forget and retain share samples.
        OptionError: the network cannot be built from its options, or the original has nothing to forget.
        CheckpointError: a checkpoint does not exist, cannot be read or does not fit, or the disk is too full.
    """
    with _generators_kept():
        sizes: dict[str, Size] = {}
        for key, block in opt['datasets'].items():
            dataset = _build(block, f'datasets.{key}')
            for leaf in _leaves(dataset):
                _check_leaf(leaf, sizes, f'datasets.{key}')
            if key == 'train' and opt['model_type'] == 'UnlearnModel':
                _check_streams(dataset)
        check_metrics((opt.get('val') or {}).get('metrics'), 'val.metrics')
        net = build_network(opt)
        check_smallest(sizes, net)
        check_masks(opt, net)
        check_checkpoints(opt, net, _resumes(opt))
        _check_disk(opt, net)
        check_skill(opt, net, _resumes(opt))


@contextmanager
def _generators_kept() -> Iterator[None]:
    python_state, numpy_state = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)


def _build(block: dict, where: str) -> Dataset:
    """Build a data set without BasicSR's build_dataset, which would create the run's logger too early."""
    cls = registered(DATASET_REGISTRY, block['type'], f'{where}.type')
    try:
        dataset = cls(deepcopy(block))
    except UnlearnError:
        raise
    except KeyError as error:
        raise OptionError(f'The option {where}.{error.args[0]} is missing: {block["type"]} needs it.') from error
    except Exception as error:  # another package's data set: whatever it raises is about its options or files
        raise DataError(f'{where} cannot be built: {_one_line(error)}.') from error
    if len(dataset) == 0:
        raise DataError(f'{where} holds no image: correct its folders or lists.')
    return dataset


def _leaves(dataset: Dataset) -> list[Dataset]:
    """The data sets that hold images, those inside mixes included."""
    if isinstance(dataset, ForgetRetainDataset):
        children = [*dataset.forget, *dataset.retain]
    elif isinstance(dataset, MixedDataset):
        children = dataset.sets
    else:
        return [dataset]
    return [leaf for child in children for leaf in _leaves(child)]


def _check_leaf(leaf: Dataset, sizes: dict[str, Size], where: str) -> None:
    if isinstance(leaf, PairedRestorationDataset):
        pairs = [((leaf.lq, lq), (leaf.gt, gt)) for lq, gt in leaf.pairs]
        _measure([image for pair in pairs for image in pair], sizes)
        for (lq_store, lq), (gt_store, gt) in pairs:
            paths = {'lq_path': lq_store.path(lq), 'gt_path': gt_store.path(gt)}
            check_sizes(sizes[paths['lq_path']], sizes[paths['gt_path']], leaf.scale, **paths)
        _check_patch([image for image, _ in pairs], sizes, leaf, leaf.scale)
    elif isinstance(leaf, DegradedImageDataset):
        _measure(leaf.images, sizes)
        _check_patch(leaf.images, sizes, leaf, 1)
        _check_depths(leaf)
    else:
        try:
            leaf[0]
        except UnlearnError:
            raise
        except Exception as error:  # as above: another package's data set
            raise DataError(f'The first image of {where} cannot be read: {_one_line(error)}.') from error


def _measure(images: list[tuple[ImageStore, str]], sizes: dict[str, Size]) -> None:
    """Add (height, width) of each image by path to `sizes`. Raises DataError for the first that is not whole."""
    new = {store.path(name): (store, name) for store, name in images if store.path(name) not in sizes}
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        warnings.simplefilter('ignore', Image.DecompressionBombWarning)
        jobs = {path: pool.submit(_size, *image, index < DECODED) for index, (path, image) in enumerate(new.items())}
        try:
            for path, job in jobs.items():
                sizes[path] = job.result()
        except DataError:
            pool.shutdown(cancel_futures=True)
            raise


def _size(store: ImageStore, name: str, in_full: bool) -> Size:
    path = store.path(name)
    try:
        source = io.BytesIO(store.bytes(name)) if store.is_lmdb else open(path, 'rb')  # noqa: SIM115
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error.strerror}.') from error
    with source:
        if not in_full and _ends_whole(source):
            try:
                with Image.open(source) as image:
                    if image.mode not in ('F', 'I'):  # depths that might be refused: let the decoder say
                        return image.height, image.width
            except Exception:
                pass  # not for this reader: let the decoder say
    content = store.bytes(name)
    pixels = decode_image(content, path)
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()  # unlike the decoder, it does not fill the missing part of a JPEG with grey
    except OSError as error:
        if 'truncated' in str(error) or 'broken' in str(error):
            raise DataError(f'{path} is damaged or incomplete ({_one_line(error)}): replace it or take it out of the '
                            'data set.') from error
    except Exception:
        pass  # a kind of file that only the decoder knows
    return pixels.shape[:2]


def _ends_whole(source: io.BufferedIOBase) -> bool:
    """Whether a PNG or JPEG ends with its end mark. Leaves the position at the start."""
    head = source.read(4)
    whole = False
    for magic, (mark, length) in END_MARKS.items():
        if head.startswith(magic) and source.seek(0, os.SEEK_END) > 64:
            source.seek(-length, os.SEEK_END)
            whole = mark in source.read(length)
    source.seek(0)
    return whole


def _check_patch(images: list[tuple[ImageStore, str]], sizes: dict[str, Size], leaf: DrawnDataset, scale: int) -> None:
    if leaf.is_train:
        size = (leaf.opt.get('gt_size') or 64) // scale
        for store, name in images:
            crop_window(*sizes[store.path(name)], size, np.random.default_rng(0), store.path(name))


def _check_depths(leaf: DegradedImageDataset) -> None:
    for step in leaf.chain.steps:
        if step.get('depth'):
            there = {path.stem for path in Path(step['depth']).glob('*')}
            for _, name in leaf.images:
                if name not in there:
                    load_depth(step['depth'], name)  # raises
    leaf.item(0)


def _check_streams(dataset: Dataset) -> None:
    """Forget and retain streams are there, and no degraded image is in both."""
    if not isinstance(dataset, ForgetRetainDataset):
        first = {} if isinstance(dataset, DrawnDataset) else dataset[0]
        if not {'forget_lq', 'retain_lq'} & set(first):
            raise OptionError(f'datasets.train.type is {type(dataset).__name__}, which gives no forget or retain '
                              'samples: use ForgetRetainDataset.')
        return
    forget, retain = (set().union(*(_samples(leaf) for child in stream for leaf in _leaves(child)))
                      for stream in (dataset.forget, dataset.retain))
    shared = sorted(forget & retain)
    if shared:
        raise DataError(f'{shared[0][0]} is in the forget and in the retain stream of datasets.train ({len(shared)} '
                        'such images): separate them, for instance with only_files and except_files.')


def _samples(leaf: Dataset) -> set[tuple[str, str]]:
    """What a data set shows as degraded input: a file, or a photograph and what is done to it."""
    if isinstance(leaf, PairedRestorationDataset):
        return {(os.path.realpath(leaf.lq.path(name)), '') for name, _ in leaf.pairs}
    if isinstance(leaf, DegradedImageDataset):
        return {(os.path.realpath(store.path(name)), repr(leaf.chain.steps)) for store, name in leaf.images}
    return set()


def _check_disk(opt: dict, net: nn.Module) -> None:
    """The folder of the run can be written, and holds the checkpoints that training will write."""
    root = opt['path'].get('experiments_root' if opt['is_train'] else 'results_root') or '.'
    folder = next(f for f in (Path(root).absolute(), *Path(root).absolute().parents) if f.is_dir())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CheckpointError(f'Results cannot be written to {folder}: {error.strerror}.') from error
    if not opt['is_train']:
        return
    weights = sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())
    copies = 2 if opt['train'].get('ema_decay') else 1
    each = weights * (copies + 2)  # Adam keeps two numbers per weight
    freq = opt['logger']['save_checkpoint_freq']
    # how much a resumed run has written already is unknown here: only ask for the next one
    count = 1 if _resumes(opt) else int(opt['train']['total_iter']) // freq
    needed, free = count * each + copies * weights, shutil.disk_usage(folder).free
    if free < needed:
        raise CheckpointError(f'No space left on {folder} for {count} checkpoints of {each / 2**20:.0f} MB, one every '
                              f'logger.save_checkpoint_freq {freq} iterations: free {free / 2**20:.0f} MB, '
                              f'{needed / 2**20:.0f} MB are needed.')


def _resumes(opt: dict) -> bool:
    states = opt['path'].get('training_states')
    return bool(opt['path'].get('resume_state') or
                (opt.get('auto_resume') and states and os.path.isdir(states) and os.listdir(states)))


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split()).rstrip('.') or type(error).__name__
