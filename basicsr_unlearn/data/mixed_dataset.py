"""Several paired datasets as one."""
import random
from collections.abc import Mapping
from copy import deepcopy

import numpy as np
import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import Dataset

from basicsr_unlearn.data.drawn import DrawnDataset, require
from basicsr_unlearn.errors import OptionError

PAIR = ('lq', 'gt', 'lq_path', 'gt_path')
INHERITED = ('phase', 'scale', 'gt_size', 'use_hflip', 'use_rot', 'seed', 'cache',
             'max_pixels')  # from the block above, if not set


@DATASET_REGISTRY.register()
class MixedDataset(DrawnDataset):
    """A mix of any registered paired datasets, each drawn in proportion to its `ratio`.

    Args:
        opt: options, beside those of DrawnDataset:
            sets: the blocks of the data sets, each with `name`, `type`, its own options and `ratio` (default 1).
                gt_size, use_hflip, use_rot, seed, cache, max_pixels and scale are taken from here where a block does
                not set them.

    Items: `lq`, `gt`, `lq_path` and `gt_path` of the drawn data set, which must give them; further keys are left out
    in training. In validation the sets follow one another.
    """

    OPTIONS = {'sets': list, 'gt_size': int, 'use_hflip': bool, 'use_rot': bool, 'cache': bool, 'scale': int,
               'max_pixels': int}

    def __init__(self, opt: dict):
        super().__init__(opt)
        self.sets, self.shares = build_mix(require(opt, 'sets'), opt)

    def count(self) -> int:
        return sum(child.count() if isinstance(child, DrawnDataset) else len(child) for child in self.sets)

    def sample(self, rng: np.random.Generator) -> dict:
        return draw_from(self.sets[int(rng.choice(len(self.sets), p=self.shares))], rng)

    def item(self, index: int) -> dict:
        for child in self.sets:
            if index < len(child):
                return child[index]
            index -= len(child)
        raise IndexError(index)

    def inner(self) -> Mapping[str, list[Dataset]]:
        return {'sets': self.sets}


def build_mix(blocks: list[dict], parent: dict) -> tuple[list[Dataset], np.ndarray]:
    """Build the data sets of a mix and their shares (summing to 1). Raises OptionError for a bad block or ratio."""
    shares = shares_of(blocks, parent)
    inherited = {key: parent[key] for key in INHERITED if key in parent}
    # not BasicSR's build_dataset: it creates the logger, and one made before the pipeline's own stays without a file
    sets = [DATASET_REGISTRY.get(block['type'])(deepcopy({'name': f'{parent.get("name")}_{i}', **inherited, **block}))
            for i, block in enumerate(blocks)]
    return sets, shares


def shares_of(blocks: list[dict], parent: dict) -> np.ndarray:
    """The `ratio` of each block over their sum. Raises OptionError for a bad block or ratio."""
    if not isinstance(blocks, (list, tuple)) or not all(isinstance(block, dict) for block in blocks) or not blocks:
        raise OptionError(f'The data set {parent.get("name")} needs a list of blocks, such as [{{ratio: 1, ...}}].')
    ratios = [block.get('ratio', 1) for block in blocks]
    if any(isinstance(r, bool) or not isinstance(r, (int, float)) or r < 0 for r in ratios) or sum(ratios) <= 0:
        raise OptionError(f'The ratios {ratios} in {parent.get("name")} must be numbers from 0 up, not all 0.')
    return np.array(ratios, dtype=np.float64) / sum(ratios)


def draw_from(dataset: Dataset, rng: np.random.Generator) -> dict:
    """One training pair from our datasets, or from any other paired dataset, whose global generators are set for it.

    Raises:
        OptionError: the dataset gives no pairs.
    """
    item = dataset.sample(rng) if isinstance(dataset, DrawnDataset) else _draw_foreign(dataset, rng)
    if not set(PAIR) <= set(item):
        raise OptionError(f'A data set of type {type(dataset).__name__} cannot be part of a mix: its items have no '
                          f'{", ".join(key for key in PAIR if key not in item)}.')
    return {key: item[key] for key in PAIR}


def _draw_foreign(dataset: Dataset, rng: np.random.Generator) -> dict:
    python_state, numpy_state, torch_state = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(int(rng.integers(2**31)))
    np.random.seed(int(rng.integers(2**31)))
    index = int(rng.integers(len(dataset)))
    torch.default_generator.manual_seed(int(rng.integers(2**31)))  # torch.manual_seed would reseed the GPUs too
    try:
        return dataset[index]
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
        torch.set_rng_state(torch_state)
