"""Degraded and clean images from folders or LMDBs, paired by any of the usual naming rules."""
from collections.abc import Mapping
from typing import Literal

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY

from basicsr_unlearn.data.drawn import (
    DEFAULT_PATCH,
    DrawnDataset,
    augmented,
    centre_window,
    check_patch,
    crop_window,
    real_path,
    require,
    to_tensor,
)
from basicsr_unlearn.data.image_io import to_float
from basicsr_unlearn.data.inspection import Size, StoredImage
from basicsr_unlearn.data.pairing import filter_names, pair_names, pairs_from_list
from basicsr_unlearn.data.sample import ensure_sample
from basicsr_unlearn.data.store import ImageStore
from basicsr_unlearn.errors import DataError


@DATASET_REGISTRY.register()
class PairedRestorationDataset(DrawnDataset):
    """Image pairs (lq, gt) for restoration.

    Args:
        opt: options, beside those of DrawnDataset:
            dataroot_lq, dataroot_gt: folders, or LMDBs when the name ends in `.lmdb`.
            pairing: same_name (default) | prefix, see `pair_names`.
            lq_tmpl, gt_tmpl: name templates with {}. Default: '{}'.
            pair_list: text file of pairs, instead of a rule.
            only_files, except_files: names of degraded images to keep or to leave out, a list or a text file.
            gt_size: training patch on the clean image in pixels. Default: 64.
            use_hflip, use_rot: augmentation in training. Default: true.
            center_crop: in validation, use only a central square of this size. Default: whole images.
            cache: keep decoded images in memory. Default: false.
            max_pixels: of an image; larger ones are refused. Default: 100 million.
            scale: clean size over degraded size; set by BasicSR from the file's `scale`. Default: 1.

    Items: `lq` (3, h, w), `gt` (3, scale h, scale w), RGB in [0, 1]; `lq_path`, `gt_path`.

    Raises:
        DataError: folders, pairs, images or sizes that cannot be used, naming the file.
    """

    OPTIONS = {'dataroot_lq': str, 'dataroot_gt': str, 'pairing': Literal['same_name', 'prefix'], 'lq_tmpl': str,
               'gt_tmpl': str, 'pair_list': str, 'only_files': str | list[str], 'except_files': str | list[str],
               'gt_size': int, 'use_hflip': bool, 'use_rot': bool, 'center_crop': int, 'cache': bool, 'scale': int,
               'max_pixels': int}

    def __init__(self, opt: dict):
        super().__init__(opt)
        settings = opt.get('cache', False), opt.get('max_pixels')
        for root in ('dataroot_lq', 'dataroot_gt'):
            ensure_sample(require(opt, root))
        self.lq, self.gt = ImageStore(opt['dataroot_lq'], *settings), ImageStore(opt['dataroot_gt'], *settings)
        lq_root, gt_root = str(self.lq.root), str(self.gt.root)
        if opt.get('pair_list'):
            pairs = pairs_from_list(opt['pair_list'], self.lq.names, self.gt.names, lq_root, gt_root)
        else:
            pairs = pair_names(self.lq.names, self.gt.names, opt.get('pairing') or 'same_name',
                               opt.get('lq_tmpl') or '{}', opt.get('gt_tmpl') or '{}', lq_root, gt_root)
        kept = set(filter_names([lq for lq, _ in pairs], opt.get('only_files'), opt.get('except_files'), lq_root))
        self.pairs = [pair for pair in pairs if pair[0] in kept]
        self.scale = opt.get('scale') or 1

    def count(self) -> int:
        return len(self.pairs)

    def sample(self, rng: np.random.Generator) -> dict:
        lq, gt, paths = self._load(int(rng.integers(len(self.pairs))))
        rows, columns = crop_window(*lq.shape[:2], self._patch(), rng, paths['lq_path'])
        lq, gt = augmented([lq[rows, columns], gt[self._scaled(rows), self._scaled(columns)]],
                           self.opt.get('use_hflip', True), self.opt.get('use_rot', True), rng)
        return self._tensors(lq, gt, paths)

    def item(self, index: int) -> dict:
        lq, gt, paths = self._load(index)
        size = self.opt.get('center_crop')
        rows, columns = centre_window(*lq.shape[:2], size and size // self.scale)
        return self._tensors(lq[rows, columns], gt[self._scaled(rows), self._scaled(columns)], paths)

    def images(self) -> list[StoredImage]:
        return [image for lq, gt in self.pairs for image in ((self.lq, lq), (self.gt, gt))]

    def inputs(self) -> set[tuple[str, str]]:
        return {(real_path((self.lq, name)), '') for name, _ in self.pairs}

    def check(self, sizes: Mapping[str, Size]) -> None:
        for lq, gt in self.pairs:
            paths = {'lq_path': self.lq.path(lq), 'gt_path': self.gt.path(gt)}
            check_sizes(sizes[paths['lq_path']], sizes[paths['gt_path']], self.scale, **paths)
        if self.is_train:
            check_patch([(self.lq, lq) for lq, _ in self.pairs], sizes, self._patch())

    def clean_images(self) -> list[StoredImage]:
        return [(self.gt, name) for name in sorted({gt for _, gt in self.pairs})]

    def _patch(self) -> int:
        return (self.opt.get('gt_size') or DEFAULT_PATCH) // self.scale

    def _load(self, index: int) -> tuple[np.ndarray, np.ndarray, dict]:
        lq_name, gt_name = self.pairs[index]
        paths = {'lq_path': self.lq.path(lq_name), 'gt_path': self.gt.path(gt_name)}
        lq, gt = self.lq.read(lq_name), self.gt.read(gt_name)
        check_sizes(lq.shape[:2], gt.shape[:2], self.scale, **paths)
        return lq, gt, paths

    def _scaled(self, window: slice) -> slice:
        return window if window.start is None else slice(window.start * self.scale, window.stop * self.scale)

    @staticmethod
    def _tensors(lq: np.ndarray, gt: np.ndarray, paths: dict) -> dict:
        return {'lq': to_tensor(to_float(lq)), 'gt': to_tensor(to_float(gt)), **paths}


def check_sizes(lq_size: tuple, gt_size: tuple, scale: int, lq_path: str, gt_path: str) -> None:
    """Raise DataError unless the clean image is `scale` times as high and wide as the degraded one."""
    if (lq_size[0] * scale, lq_size[1] * scale) != tuple(gt_size):
        raise DataError(f'{lq_path} is {lq_size[1]}x{lq_size[0]} but its clean image {gt_path} is '
                        f'{gt_size[1]}x{gt_size[0]}' + (f' at scale {scale}' if scale != 1 else '') +
                        ': the two must cover the same scene pixel by pixel.')
