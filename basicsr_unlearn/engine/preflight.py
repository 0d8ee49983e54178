"""What can go wrong with the data, the checkpoint and the disk, found in seconds before the first step."""
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from basicsr.utils.registry import MODEL_REGISTRY
from torch import nn
from torch.utils.data import Dataset

from basicsr_unlearn.data.inspection import Inspectable, Size, leaves
from basicsr_unlearn.engine.image_check import measure
from basicsr_unlearn.engine.metric_check import try_metrics
from basicsr_unlearn.engine.network_check import build_network, check_checkpoints, check_masks, check_smallest
from basicsr_unlearn.engine.skill_check import check_skill
from basicsr_unlearn.errors import CheckpointError, DataError, OptionError, UnlearnError
from basicsr_unlearn.models.tracking import LONGEST_FILE_NAME
from basicsr_unlearn.models.unlearn_model import UnlearnModel
from basicsr_unlearn.options.section_checks import registered

Tell = Callable[[str], object]


def preflight(opt: dict, full: bool = False, tell: Tell = lambda line: None) -> None:
    """Check everything that a run needs before it writes anything. Random generators are left as they were.

    Args:
        opt: as BasicSR's parse_options returns it, with `phase` and `scale` in each data set.
        full: decode every image to its end, see `image_check.measure`.
        tell: is given a line about each thing that was found in order.

    Raises:
        DataError: a data set cannot be built, an image is missing, damaged, too small, too large or of another size
            than its partner, or forget and retain share samples.
        OptionError: the network cannot be built from its options, or the original has nothing to forget.
        CheckpointError: a checkpoint does not exist, cannot be read or does not fit, or the disk is too full.
    """
    with _generators_kept():
        sizes: dict[str, Size] = {}
        for key, block in opt['datasets'].items():
            dataset = _build(block, f'datasets.{key}')
            paths = [path for leaf in leaves(dataset) for path in _check_leaf(leaf, sizes, f'datasets.{key}', full)]
            if key == 'train' and opt['model_type'] == 'UnlearnModel':
                _check_streams(dataset)
            if key != 'train':
                _check_saved_names(opt, paths)
            tell(f'data set    {key}: {_told(paths, sizes)}')
        metrics = (opt.get('val') or {}).get('metrics') or {}
        try_metrics(metrics, 'val.metrics')
        tell(f'metrics     {", ".join(metrics) or "none"}')
        net = build_network(opt)
        check_smallest(sizes, net)
        check_masks(opt, net)
        tell(f'network     {opt["network_g"]["type"]}: {sum(p.numel() for p in net.parameters()) / 1e6:.3g} million '
             'weights')
        for path in check_checkpoints(opt, net, _resumes(opt)):
            tell(f'checkpoint  {path}: can be read and fits')
        tell(f'disk        {_check_disk(opt, net)}')
        check_skill(opt, net, _resumes(opt))


def _check_saved_names(opt: dict, paths: list[str]) -> None:
    """BasicSR's own models can save their outputs under the images' names; ours shorten those that are too long."""
    if not (opt.get('val') or {}).get('save_img') or issubclass(MODEL_REGISTRY.get(opt['model_type']),
                                                                UnlearnModel):
        return
    end = f'_{opt["train"]["total_iter"] if opt["is_train"] else opt["val"].get("suffix") or opt["name"]}.png'
    for path in paths:
        if len(Path(path).stem.encode()) + len(end.encode()) > LONGEST_FILE_NAME:
            raise DataError(f'{opt["model_type"]} would save the output for {path} under a name of more than '
                            f'{LONGEST_FILE_NAME} bytes: give it a shorter name, or write val.save_img: false.')


def _told(paths: list[str], sizes: dict[str, Size]) -> str:
    """How many images of which sizes, smallest and largest by their number of pixels."""
    if not paths:
        return "another package's data set, of which the first image was read"
    least, most = (f'{width}x{height}' for height, width in (
        pick((sizes[path] for path in paths), key=lambda size: size[0] * size[1]) for pick in (min, max)))
    return f'{len(set(paths))} image files, ' + (least if least == most else f'{least} to {most}') + ' pixels'


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
    cls = registered('data set', block['type'], f'{where}.type')
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


def _check_leaf(leaf: Dataset, sizes: dict[str, Size], where: str, full: bool) -> list[str]:
    """Check all images of a data set, add (height, width) of each to `sizes`; the paths of the images."""
    images = leaf.images() if isinstance(leaf, Inspectable) else []
    if not images:
        try:
            leaf[0]
        except UnlearnError:
            raise
        except Exception as error:  # as above: another package's data set
            raise DataError(f'The first image of {where} cannot be read: {_one_line(error)}.') from error
    measure(images, sizes, full)
    if images:
        leaf.check(sizes)
    return [store.path(name) for store, name in images]


def _check_streams(dataset: Dataset) -> None:
    """Forget and retain streams are there, and no degraded image is in both."""
    streams = dataset.inner() if isinstance(dataset, Inspectable) else {}
    if 'forget' not in streams:
        if not {'forget_lq', 'retain_lq'} & set(dataset[0]):
            raise OptionError(f'datasets.train.type is {type(dataset).__name__}, which gives no forget or retain '
                              'samples: use ForgetRetainDataset.')
        return
    forget, retain = (set().union(*(leaf.inputs() for child in streams[stream] for leaf in leaves(child)
                                    if isinstance(leaf, Inspectable))) for stream in ('forget', 'retain'))
    shared = sorted(forget & retain)
    if shared:
        raise DataError(f'{shared[0][0]} is in the forget and in the retain stream of datasets.train ({len(shared)} '
                        'such images): separate them, for instance with only_files and except_files.')


def _check_disk(opt: dict, net: nn.Module) -> str:
    """The folder of the run can be written, and holds the checkpoints that training will write; what was found."""
    root = opt['path'].get('experiments_root' if opt['is_train'] else 'results_root') or '.'
    folder = next(f for f in (Path(root).absolute(), *Path(root).absolute().parents) if f.is_dir())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CheckpointError(f'Results cannot be written to {folder}: {error.strerror}.') from error
    free = shutil.disk_usage(folder).free
    if not opt['is_train']:
        return f'{free / 2**20:.0f} MB free in {folder}'
    weights = sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())
    copies = 2 if opt['train'].get('ema_decay') else 1
    each = weights * (copies + 2)  # Adam keeps two numbers per weight
    freq = opt['logger']['save_checkpoint_freq']
    # how much a resumed run has written already is unknown here: only ask for the next one
    count = 1 if _resumes(opt) else int(opt['train']['total_iter']) // freq
    needed = count * each + copies * weights
    if free < needed:
        raise CheckpointError(f'No space left on {folder} for {count} checkpoints of {each / 2**20:.0f} MB, one every '
                              f'logger.save_checkpoint_freq {freq} iterations: free {free / 2**20:.0f} MB, '
                              f'{needed / 2**20:.0f} MB are needed.')
    return f'{needed / 2**20:.0f} MB for checkpoints, {free / 2**20:.0f} MB free in {folder}'


def _resumes(opt: dict) -> bool:
    states = opt['path'].get('training_states')
    return bool(opt['path'].get('resume_state') or
                (opt.get('auto_resume') and states and os.path.isdir(states) and os.listdir(states)))


def _one_line(error: Exception) -> str:
    return ' '.join(str(error).split()).rstrip('.') or type(error).__name__
