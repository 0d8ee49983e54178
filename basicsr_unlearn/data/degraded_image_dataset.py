"""Clean photographs degraded on the fly."""
import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY

from basicsr_unlearn.data.degradation_chain import DegradationChain
from basicsr_unlearn.data.drawn import (
    DrawnDataset,
    augmented,
    centre_window,
    crop_window,
    name_generator,
    require,
    to_tensor,
)
from basicsr_unlearn.data.image_io import to_float
from basicsr_unlearn.data.pairing import filter_names
from basicsr_unlearn.data.store import ImageStore
from basicsr_unlearn.errors import OptionError


@DATASET_REGISTRY.register()
class DegradedImageDataset(DrawnDataset):
    """Pairs made of clean photographs: a new degradation for each training draw, the same one for each validation.

    Args:
        opt: options, beside those of DrawnDataset:
            dataroot_gt: a folder or LMDB of clean images, or a list of them.
            degradations: steps of a DegradationChain, applied in order.
            only_files, except_files, gt_size, use_hflip, use_rot, center_crop, cache, max_pixels: as in
                PairedRestorationDataset.

    Items: as PairedRestorationDataset's, at scale 1; both paths are the photograph's.

    Raises:
        DataError, OptionError: naming the file or the option.
    """

    OPTIONS = {'dataroot_gt': (str, list), 'degradations': list, 'only_files': (str, list), 'except_files': (str, list),
               'gt_size': int, 'use_hflip': bool, 'use_rot': bool, 'center_crop': int, 'cache': bool, 'max_pixels': int}

    def __init__(self, opt: dict):
        super().__init__(opt)
        roots = require(opt, 'dataroot_gt')
        if not isinstance(roots, str) and not (roots and all(isinstance(root, str) for root in roots)):
            raise OptionError(f'dataroot_gt of the data set {opt.get("name")} must be a folder or a list of folders.')
        stores = [ImageStore(root, opt.get('cache', False), opt.get('max_pixels'))
                  for root in ([roots] if isinstance(roots, str) else roots)]
        names = {name for store in stores for name in store.names}
        kept = set(filter_names(sorted(names), opt.get('only_files'), opt.get('except_files'),
                                ' or '.join(str(store.root) for store in stores)))
        self.images = [(store, name) for store in stores for name in store.names if name in kept]
        self.chain = DegradationChain(require(opt, 'degradations'))

    def count(self) -> int:
        return len(self.images)

    def sample(self, rng: np.random.Generator) -> dict:
        store, name = self.images[int(rng.integers(len(self.images)))]
        return self.degraded(store.read(name), store.path(name), name, rng)

    def item(self, index: int) -> dict:
        store, name = self.images[index]
        image = store.read(name)
        window = centre_window(*image.shape[:2], self.opt.get('center_crop'))
        gt = to_float(image[window])
        lq = self.chain(gt, name_generator(self.seed, name), name, image.shape[:2], window)
        return {'lq': to_tensor(lq), 'gt': to_tensor(gt), 'lq_path': store.path(name), 'gt_path': store.path(name)}

    def degraded(self, image: np.ndarray, path: str, name: str, rng: np.random.Generator) -> dict:
        """A random, augmented and degraded patch of `image` (h, w, 3)."""
        window = crop_window(*image.shape[:2], self.opt.get('gt_size') or 64, rng, path)
        flips = int(rng.integers(2**31))

        def orient(array: np.ndarray) -> np.ndarray:
            return augmented([array], self.opt.get('use_hflip', True), self.opt.get('use_rot', True),
                             np.random.default_rng(flips))[0]

        gt = to_float(orient(image[window]))
        lq = self.chain(gt, rng, name, image.shape[:2], window, orient)
        return {'lq': to_tensor(lq), 'gt': to_tensor(gt), 'lq_path': path, 'gt_path': path}
