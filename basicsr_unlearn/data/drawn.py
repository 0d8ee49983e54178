"""What the datasets share: training items drawn by index, validation items fixed by name."""
import os
import weakref
import zlib
from abc import abstractmethod
from collections.abc import Mapping

import numpy as np
import torch
from basicsr.utils.dist_util import get_dist_info
from torch.utils.data import Dataset

from basicsr_unlearn.data.inspection import Size, StoredImage
from basicsr_unlearn.errors import DataError, OptionError

DEFAULT_EPOCH_LENGTH = 65536
DEFAULT_PATCH = 64  # pixels of the clean image

_training_sets: 'weakref.WeakSet[DrawnDataset]' = weakref.WeakSet()


def end_training_data() -> None:
    """End the epoch and every later one in all training sets of this process and its workers.

    BasicSR's loop has no way to stop early; a loader that runs out of data ends it as its last iteration would, with
    the latest checkpoint written and a last validation.
    """
    for dataset in _training_sets:
        dataset.ended.fill_(True)


class EndOfData(StopIteration):
    """Ends a loader's epoch, from a worker too.

    With a class attribute `message` torch re-raises it without a reference cycle. Plain StopIteration would keep the
    loader's iterator and its workers until the garbage collector comes by, which then waits seconds for each worker.
    """

    message = 'The training data were ended.'

    def __init__(self, message: str = message):
        super().__init__(message)


class DrawnDataset(Dataset):
    """A dataset whose training item i is a draw that depends on (seed, i) alone.

    Crops, flips, degradations and the choice of the image come from one generator seeded by the two. So an item is
    the same with and without workers, with persistent ones, on any rank, and after a resume. An epoch is a window of
    `epoch_length` different draws, not one pass over the files: a set of one image is as good as any other.

    Args:
        opt: options of the data set. Read here:
            phase: 'train', 'val' or 'test'; set by BasicSR.
            seed: of the draws. Default: in training BasicSR's `manual_seed` (torch's initial seed less the rank, which
                BasicSR adds); 0 otherwise, so that validation does not depend on `manual_seed`.
            epoch_length: training items per epoch. Default: 65,536 (our choice), in either case rounded up to whole
                batches of all processes, since BasicSR drops an incomplete batch but counts it.
    """

    def __init__(self, opt: dict):
        super().__init__()
        self.opt = opt
        self.is_train = opt['phase'] == 'train'
        default_seed = torch.initial_seed() - get_dist_info()[0] if self.is_train else 0
        seed = opt.get('seed')
        self.seed = (default_seed if seed is None else int(seed)) % 2**63
        self.ended = torch.zeros(1, dtype=torch.bool).share_memory_()  # workers see it too
        if self.is_train:
            _training_sets.add(self)

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> dict:
        """One training draw."""

    @abstractmethod
    def item(self, index: int) -> dict:
        """One validation item."""

    @abstractmethod
    def count(self) -> int:
        """How many different images or pairs there are."""

    def __len__(self) -> int:
        if not self.is_train:
            return self.count()
        step = self.opt.get('batch_size_per_gpu', 1) * get_dist_info()[1] * max(1, torch.cuda.device_count())
        return -(-(self.opt.get('epoch_length') or DEFAULT_EPOCH_LENGTH) // step) * step

    def __getitem__(self, index: int) -> dict:
        if self.is_train:
            if self.ended:
                raise EndOfData
            return self.sample(np.random.default_rng([self.seed, index]))
        return self.item(index)

    # what preflight asks, see `inspection`

    def inner(self) -> Mapping[str, list[Dataset]]:
        return {}

    def images(self) -> list[StoredImage]:
        return []

    def inputs(self) -> set[tuple[str, str]]:
        return set()

    def check(self, sizes: Mapping[str, Size]) -> None:
        """Nothing to check."""

    def clean_images(self) -> list[StoredImage]:
        """The clean images, from which `retain_from: forget_gt` makes retain pairs; none if they cannot be had."""
        return []


def real_path(image: StoredImage) -> str:
    store, name = image
    return os.path.realpath(store.path(name))


def check_patch(images: list[StoredImage], sizes: Mapping[str, Size], size: int) -> None:
    """Raise DataError unless each image, of (height, width) by path, is as large as a training patch of `size`."""
    for store, name in images:
        crop_window(*sizes[store.path(name)], size, np.random.default_rng(0), store.path(name))


def name_generator(seed: int, name: str) -> np.random.Generator:
    """Generator of a validation image: by its name, so that it does not change when other images come or go."""
    return np.random.default_rng([seed, zlib.crc32(name.encode('utf-8'))])


def crop_window(height: int, width: int, size: int, rng: np.random.Generator, name: str) -> tuple[slice, slice]:
    """A random square window. Raises DataError if the image is smaller than `size`."""
    if height < size or width < size:
        raise DataError(f'{name} is {width}x{height}, smaller than the training patch of {size}: lower gt_size or take '
                        'the image out.')
    top, left = rng.integers(height - size + 1), rng.integers(width - size + 1)
    return slice(top, top + size), slice(left, left + size)


def centre_window(height: int, width: int, size: int | None) -> tuple[slice, slice]:
    """The central square window of at most `size`, the whole image for None."""
    if size is None:
        return slice(None), slice(None)
    top, left = max(0, height - size) // 2, max(0, width - size) // 2
    return slice(top, top + size), slice(left, left + size)


def augmented(images: list[np.ndarray], use_hflip: bool, use_rot: bool, rng: np.random.Generator) -> list[np.ndarray]:
    """Flip left-right, and with `use_rot` also top-bottom and transpose, each with odds 1/2, all images alike."""
    hflip, vflip, transpose = rng.random(3) < 0.5
    for flip, wanted, change in ((hflip, use_hflip, np.fliplr), (vflip, use_rot, np.flipud),
                                 (transpose, use_rot, lambda image: image.swapaxes(0, 1))):
        if flip and wanted:
            images = [change(image) for image in images]
    return images


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """(h, w, 3) array -> contiguous float32 (3, h, w) tensor."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))


def require(opt: dict, key: str) -> object:
    """An option that must be there. Raises OptionError naming it and the data set."""
    if opt.get(key) is None:
        raise OptionError(f'The data set {opt.get("name", opt.get("type"))} needs the option {key}.')
    return opt[key]
