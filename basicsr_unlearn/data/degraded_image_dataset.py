"""Clean photographs degraded on the fly."""
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from basicsr.utils.matlab_functions import imresize
from basicsr.utils.registry import DATASET_REGISTRY

from basicsr_unlearn.data.degradation_chain import DegradationChain, load_depth
from basicsr_unlearn.data.drawn import (
    DEFAULT_PATCH,
    DrawnDataset,
    augmented,
    centre_window,
    check_patch,
    crop_window,
    name_generator,
    real_path,
    require,
    to_tensor,
)
from basicsr_unlearn.data.image_io import to_float
from basicsr_unlearn.data.inspection import Size, StoredImage
from basicsr_unlearn.data.pairing import filter_names
from basicsr_unlearn.data.sample import ensure_sample
from basicsr_unlearn.data.store import ImageStore
from basicsr_unlearn.errors import OptionError


@DATASET_REGISTRY.register()
class DegradedImageDataset(DrawnDataset):
    """Pairs made of clean photographs: a new degradation for each training draw, the same one for each validation.

    Args:
        opt: options, beside those of DrawnDataset:
            dataroot_gt: a folder or LMDB of clean images, or a list of them.
            degradations: steps of a DegradationChain, applied in order. At a scale above 1 the clean image is
                downscaled first, as MATLAB's bicubic imresize does it (BasicSR's), and degraded at its small size; the
                list may then be empty.
            only_files, except_files, gt_size, use_hflip, use_rot, center_crop, cache, max_pixels, scale: as in
                PairedRestorationDataset.

    Items: as PairedRestorationDataset's; both paths are the photograph's.

    Raises:
        DataError, OptionError: naming the file or the option.
    """

    OPTIONS = {'dataroot_gt': str | list[str], 'degradations': list, 'only_files': str | list[str],
               'except_files': str | list[str], 'gt_size': int, 'use_hflip': bool, 'use_rot': bool,
               'center_crop': int, 'cache': bool, 'scale': int, 'max_pixels': int}

    def __init__(self, opt: dict):
        super().__init__(opt)
        roots = require(opt, 'dataroot_gt')
        if not isinstance(roots, str) and not (roots and all(isinstance(root, str) for root in roots)):
            raise OptionError(f'dataroot_gt of the data set {opt.get("name")} must be a folder or a list of folders.')
        roots = [roots] if isinstance(roots, str) else roots
        for root in roots:
            ensure_sample(root)
        stores = [ImageStore(root, opt.get('cache', False), opt.get('max_pixels')) for root in roots]
        names = {name for store in stores for name in store.names}
        kept = set(filter_names(sorted(names), opt.get('only_files'), opt.get('except_files'),
                                ' or '.join(str(store.root) for store in stores)))
        self.photographs = [(store, name) for store in stores for name in store.names if name in kept]
        self.chain = DegradationChain(require(opt, 'degradations'), self.scale)

    @property
    def scale(self) -> int:
        return self.opt.get('scale') or 1

    def count(self) -> int:
        return len(self.photographs)

    def sample(self, rng: np.random.Generator) -> dict:
        store, name = self.photographs[int(rng.integers(len(self.photographs)))]
        return self.degraded(store.read(name), store.path(name), name, rng)

    def item(self, index: int) -> dict:
        store, name = self.photographs[index]
        image, size = store.read(name), self.opt.get('center_crop')
        small = self._small(image.shape)
        window = centre_window(*small, size and size // self.scale)
        gt = to_float(image[self._whole(window, small)])
        lq = self.chain(self._downscaled(gt), name_generator(self.seed, name), name, small, window)
        return {'lq': to_tensor(lq), 'gt': to_tensor(gt), 'lq_path': store.path(name), 'gt_path': store.path(name)}

    def images(self) -> list[StoredImage]:
        return self.photographs

    def inputs(self) -> set[tuple[str, str]]:
        return {(real_path(image), repr(self.chain.steps)) for image in self.photographs}

    def check(self, sizes: Mapping[str, Size]) -> None:
        if self.is_train:
            check_patch(self.photographs, sizes, self._patch() * self.scale)
        for folder in [step['depth'] for step in self.chain.steps if step.get('depth')]:
            there = {path.stem for path in Path(folder).expanduser().glob('*')}
            for _, name in self.photographs:
                if name not in there:
                    load_depth(folder, name)  # raises
        self.item(0)

    def clean_images(self) -> list[StoredImage]:
        return self.photographs

    def degraded(self, image: np.ndarray, path: str, name: str, rng: np.random.Generator) -> dict:
        """A random, augmented and degraded patch of `image` (h, w, 3)."""
        small = self._small(image.shape)
        window = crop_window(*small, self._patch(), rng, path)
        flips = int(rng.integers(2**31))

        def orient(array: np.ndarray) -> np.ndarray:
            return augmented([array], self.opt.get('use_hflip', True), self.opt.get('use_rot', True),
                             np.random.default_rng(flips))[0]

        gt = to_float(orient(image[self._whole(window, small)]))
        lq = self.chain(self._downscaled(gt), rng, name, small, window, orient)
        return {'lq': to_tensor(lq), 'gt': to_tensor(gt), 'lq_path': path, 'gt_path': path}

    def _patch(self) -> int:
        """Side of a training patch of the degraded image."""
        return (self.opt.get('gt_size') or DEFAULT_PATCH) // self.scale

    def _small(self, shape: tuple[int, ...]) -> Size:
        """Size of the degraded image; what is left over of the clean one is cut off."""
        return shape[0] // self.scale, shape[1] // self.scale

    def _whole(self, window: tuple[slice, slice], small: Size) -> tuple[slice, slice]:
        """The window of the degraded image in the clean one."""
        rows, columns = (range(size)[part] for part, size in zip(window, small))
        return (slice(rows.start * self.scale, rows.stop * self.scale),
                slice(columns.start * self.scale, columns.stop * self.scale))

    def _downscaled(self, gt: np.ndarray) -> np.ndarray:
        if self.scale == 1:
            return gt
        return np.clip(imresize(np.ascontiguousarray(gt), 1 / self.scale), 0, 1)
