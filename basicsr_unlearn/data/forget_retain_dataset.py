"""Forget and retain pairs side by side: the training data of an unlearning run."""
from collections.abc import Mapping
from typing import Literal

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY
from torch.utils.data import Dataset

from basicsr_unlearn.data.degradation_chain import DegradationChain
from basicsr_unlearn.data.degraded_image_dataset import DegradedImageDataset
from basicsr_unlearn.data.drawn import DrawnDataset, require
from basicsr_unlearn.data.mixed_dataset import PAIR, build_mix, draw_from, shares_of
from basicsr_unlearn.errors import OptionError


@DATASET_REGISTRY.register()
class ForgetRetainDataset(DrawnDataset):
    """Two streams, each a mix of paired datasets. Item i pairs one forget draw with one retain draw, both set by i.

    Args:
        opt: options, beside those of DrawnDataset:
            forget: blocks of a mix, see MixedDataset.
            retain: the same; may be left out, then items have no retain keys.
            retain_from: `forget_gt` makes the retain stream from the forget pairs' clean images, so that no retain
                data is needed.
            retain_degradations: with it, blocks of {ratio, degradations}: how the clean images are degraded. At a scale
                above 1 they are downscaled first, see DegradedImageDataset, and an empty list is enough.
            gt_size, use_hflip, use_rot, seed, cache, max_pixels, scale: for all blocks that do not set them.

    Items: `forget_lq`, `forget_gt`, `retain_lq`, `retain_gt`, (3, h, w) RGB in [0, 1], and the four `..._path`.

    Raises:
        DataError, OptionError: naming the file or the option.
    """

    OPTIONS = {'forget': list, 'retain': list, 'retain_from': Literal['forget_gt'], 'retain_degradations': list,
               'gt_size': int, 'use_hflip': bool, 'use_rot': bool, 'cache': bool, 'scale': int, 'max_pixels': int}

    def __init__(self, opt: dict):
        super().__init__(opt)
        if not self.is_train:
            raise OptionError('ForgetRetainDataset is for datasets.train: validate each data set in a val_ block.')
        self.forget, self.forget_shares = build_mix(require(opt, 'forget'), opt)
        self.retain, self.retain_shares = [], None
        if opt.get('retain') and opt.get('retain_from'):
            raise OptionError('Give either retain or retain_from in datasets.train, not both.')
        if opt.get('retain_degradations') and not opt.get('retain_from'):
            raise OptionError('retain_degradations in datasets.train needs retain_from: forget_gt.')
        if opt.get('retain'):
            self.retain, self.retain_shares = build_mix(opt['retain'], opt)
        elif opt.get('retain_from'):
            self.retain, self.retain_shares = self._from_forget_gt()

    def _from_forget_gt(self) -> tuple[list, np.ndarray]:
        if self.opt['retain_from'] != 'forget_gt':
            raise OptionError(f"retain_from is '{self.opt['retain_from']}': the only source is forget_gt.")
        blocks = require(self.opt, 'retain_degradations')
        shares = shares_of(blocks, {'name': 'retain_degradations'})
        chains = [DegradationChain(block.get('degradations'), self.opt.get('scale') or 1) for block in blocks]
        sets = [CleanImagesOf(child, chain) for child in self.forget for chain in chains]
        return sets, np.outer(self.forget_shares, shares).ravel()

    def count(self) -> int:
        return sum(child.count() if isinstance(child, DrawnDataset) else len(child) for child in self.forget)

    def sample(self, rng: np.random.Generator) -> dict:
        streams = {'forget': (self.forget, self.forget_shares), 'retain': (self.retain, self.retain_shares)}
        item = {}
        for stream, (sets, shares) in streams.items():
            if sets:
                pair = draw_from(sets[int(rng.choice(len(sets), p=shares))], rng)
                item.update({f'{stream}_{key}': pair[key] for key in PAIR})
        return item

    def inner(self) -> Mapping[str, list[Dataset]]:
        return {'forget': self.forget, 'retain': self.retain}

    def item(self, index: int) -> dict:
        raise IndexError('ForgetRetainDataset has no validation items.')


class CleanImagesOf(DegradedImageDataset):
    """The clean images of a forget data set, degraded in another way: retain pairs without retain data."""

    def __init__(self, forget: DrawnDataset, chain: DegradationChain):
        self.photographs = forget.clean_images() if hasattr(forget, 'clean_images') else []
        if not self.photographs:
            raise OptionError(f'retain_from: forget_gt needs forget sets whose clean images can be read whole, such as '
                              f'PairedRestorationDataset and DegradedImageDataset, not {type(forget).__name__}.')
        DrawnDataset.__init__(self, forget.opt)
        self.chain = chain
