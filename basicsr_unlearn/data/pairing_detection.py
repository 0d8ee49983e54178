"""How two folders of images belong together: the naming rule and the scale, found from the files."""
import math
import os
import zlib
from collections.abc import Sequence

from basicsr_unlearn.data.image_io import read_header
from basicsr_unlearn.data.inspection import Size, StoredImage
from basicsr_unlearn.data.pairing import pair_names
from basicsr_unlearn.errors import DataError

Pair = tuple[str, str]  # names of the degraded and of the clean image

HELD_OUT = 0.2  # share of the images that are kept for the validation; our choice, as is the next
MOST_HELD_OUT = 20  # images: a validation takes seconds


def find_pairing(lq_names: Sequence[str], gt_names: Sequence[str]) -> tuple[dict[str, str], list[Pair]] | None:
    """Options of a PairedRestorationDataset that pair all degraded images, and the pairs.

    Tried are equal names, names that differ by a start or an end (rain-001, norain-001; 0801x4, 0801), and many
    degraded images to one clean by its name up to an underscore (1400_7, 1400), where clean ones may be left over.

    Returns:
        None if no rule pairs all of them.
    """
    lq_tmpl, gt_tmpl = _templates(lq_names, gt_names)
    templates = {name: tmpl for name, tmpl in (('lq_tmpl', lq_tmpl), ('gt_tmpl', gt_tmpl)) if tmpl != '{}'}
    for options in ({}, templates, {'pairing': 'prefix'}):
        try:
            return options, pair_names(list(lq_names), list(gt_names), **options)
        except DataError:
            continue
    return None


def _templates(lq_names: Sequence[str], gt_names: Sequence[str]) -> tuple[str, str]:
    starts = [os.path.commonprefix(list(names)) for names in (lq_names, gt_names)]
    ends = [os.path.commonprefix([name[::-1] for name in names])[::-1] for names in (lq_names, gt_names)]
    # what both have in common there belongs to the name: rain-0, norain-0 -> '', no
    shared_start = len(os.path.commonprefix([start[::-1] for start in starts]))
    shared_end = len(os.path.commonprefix(ends))
    return tuple(f'{start[:len(start) - shared_start]}{{}}{end[shared_end:]}' for start, end in zip(starts, ends))


def image_size(image: StoredImage) -> Size:
    """(height, width), from the header where that is known. Raises DataError if the image cannot be read."""
    store, name = image
    with store.open(name) as source:
        header = read_header(source)
    return (header.height, header.width) if header else store.read(name).shape[:2]


def find_scale(lq: StoredImage, gt: StoredImage) -> int:
    """Clean size over degraded size of a pair. Raises DataError if that is no whole number."""
    (low_h, low_w), (high_h, high_w) = image_size(lq), image_size(gt)
    scale = round(high_h / low_h)
    if scale >= 1 and (low_h * scale, low_w * scale) == (high_h, high_w):
        return scale
    sizes = f'{lq[0].path(lq[1])} is {low_w}x{low_h}, its clean image {gt[0].path(gt[1])} is {high_w}x{high_h}'
    if low_h > high_h:
        raise DataError(f'{sizes}: name the folder of degraded images first, then the clean one.')
    raise DataError(f'{sizes}: the two must cover the same scene, at a whole scale.')


def hold_out(pairs: Sequence[Pair]) -> tuple[list[str], list[str]]:
    """Names of degraded images for the validation, and of the clean ones they belong to, in their order.

    All degraded images of a clean one are held out together. Which ones, follows from the clean images' names.

    Raises:
        DataError: there is but one clean image.
    """
    by_clean: dict[str, list[str]] = {}
    for lq, gt in pairs:
        by_clean.setdefault(gt, []).append(lq)
    if len(by_clean) < 2:
        raise DataError('There is but one clean image: at least two are needed, of which one is kept for validation.')
    wanted = min(math.ceil(HELD_OUT * len(pairs)), MOST_HELD_OUT)
    held: list[str] = []
    chosen: set[str] = set()
    for gt in sorted(by_clean, key=lambda name: zlib.crc32(name.encode('utf-8')))[:-1]:
        if held and len(held) + len(by_clean[gt]) > wanted:
            break
        held += by_clean[gt]
        chosen.add(gt)
    return [lq for lq, gt in pairs if gt in chosen], [gt for gt in by_clean if gt in chosen]
