"""Which degraded image belongs to which clean one, by name."""
import unicodedata
from pathlib import Path

from basicsr_unlearn.data.image_io import IMAGE_SUFFIXES
from basicsr_unlearn.errors import DataError, OptionError


def read_name_list(source: str | list) -> list[str]:
    """Image names from a list in the option file, or from a text file with one name a line (blank lines and # skipped).

    Raises:
        DataError: the file is missing, is not UTF-8 text or lists nothing.
        OptionError: the list in the option file holds a number: YAML reads 0025 as 21 and 1400_7 as 14007.
    """
    if isinstance(source, (list, tuple)):
        for name in source:
            if not isinstance(name, str):
                raise OptionError(f"A list of image names holds '{str(name)[:40]}', which YAML took for a number or "
                                  "the like: put the names into quotes, as in ['0025', '1400_7'].")
        return [unicodedata.normalize('NFC', name) for name in source]
    path = Path(source).expanduser()
    if not path.is_file():
        raise DataError(f'The name list {path} does not exist.')
    try:
        text = unicodedata.normalize('NFC', path.read_text(encoding='utf-8-sig'))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f'The name list {path} cannot be read as UTF-8 text: {error}.') from error
    lines = [line.strip() for line in text.split('\n')]
    names = [line for line in lines if line and not line.startswith('#')]
    if not names:
        raise DataError(f'The name list {path} is empty.')
    return names


def find_name(entry: str, names: set[str], where: str) -> str:
    """The image name that a list entry means, which may carry a suffix. Raises DataError if there is none."""
    if entry in names:
        return entry
    path = Path(entry)
    name = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else path.name  # 0025_0.8 has no suffix
    if name in names:
        return name
    raise DataError(f'{where} has no image named {entry}.')


def filter_names(names: list[str], only: str | list | None, except_: str | list | None, where: str) -> list[str]:
    """Keep the names listed in `only`, or all but those in `except_`: chosen instances, or the rest of the set.

    Raises:
        DataError: a listed name is not there, or nothing is left.
        OptionError: both are given.
    """
    if only is not None and except_ is not None:
        raise OptionError('Give either only_files or except_files for one data set, not both.')
    if only is None and except_ is None:
        return names
    known = set(names)
    listed = {find_name(entry, known, where) for entry in read_name_list(only if only is not None else except_)}
    kept = [name for name in names if (name in listed) == (only is not None)]
    if not kept:
        raise DataError(f'only_files names no image of {where}.' if only is not None else
                        f'except_files leaves no image of {where}.')
    return kept


def pair_names(lq_names: list[str], gt_names: list[str], pairing: str = 'same_name', lq_tmpl: str = '{}',
               gt_tmpl: str = '{}', lq_root: str = 'dataroot_lq', gt_root: str = 'dataroot_gt'
               ) -> list[tuple[str, str]]:
    """Pair degraded and clean images.

    Args:
        lq_names, gt_names: names without suffix, sorted.
        pairing: `same_name`: one to one, by equal names after the templates; `prefix`: many to one, a degraded image
            belongs to the clean one whose name starts its own, up to an underscore (RESIDE: 1400_7 -> 1400).
        lq_tmpl, gt_tmpl: how a name is built from the shared part `{}` (Rain100L: rain-{} and norain-{}).
        lq_root, gt_root: what to call the two folders in errors.

    Returns:
        (lq name, gt name), in the order of lq_names.

    Raises:
        DataError: an image has no partner.
        OptionError: an unknown pairing rule, or a template without {}.
    """
    if pairing == 'prefix':
        gt_known = set(gt_names)
        return [(name, _prefix_partner(name, gt_known, lq_root, gt_root)) for name in lq_names]
    if pairing != 'same_name':
        raise OptionError(f"pairing is '{pairing}': use same_name, prefix, or a pair_list file.")
    shared_lq = {_shared_part(name, lq_tmpl, lq_root): name for name in lq_names}
    shared_gt = {_shared_part(name, gt_tmpl, gt_root): name for name in gt_names}
    for missing, have, root in ((shared_lq, shared_gt, gt_root), (shared_gt, shared_lq, lq_root)):
        alone = sorted(set(missing) - set(have))
        if alone:
            raise DataError(f'{missing[alone[0]]} has no partner in {root} ({len(alone)} such images): add or remove '
                            'files, or set pairing, lq_tmpl, gt_tmpl or pair_list to how the files are named.')
    return [(name, shared_gt[shared]) for shared, name in shared_lq.items()]


def pairs_from_list(path: str, lq_names: list[str], gt_names: list[str], lq_root: str, gt_root: str
                    ) -> list[tuple[str, str]]:
    """Pairs from a text file: one pair a line, degraded then clean, separated by a tab or a comma.

    Raises:
        DataError: the file is missing or empty, a line holds no pair, or names an image that is not there.
    """
    lq_known, gt_known = set(lq_names), set(gt_names)
    pairs = []
    for number, line in enumerate(read_name_list(path), 1):
        fields = [field.strip() for field in line.split('\t' if '\t' in line else ',')]
        if len(fields) != 2:
            raise DataError(f'Entry {number} of {path} is no pair: write the degraded and the clean image, separated '
                            'by a tab or a comma.')
        pairs.append((find_name(fields[0], lq_known, lq_root), find_name(fields[1], gt_known, gt_root)))
    return pairs


def _shared_part(name: str, template: str, root: str) -> str:
    if template.count('{}') != 1:
        raise OptionError(f"The name template '{template}' must hold {{}} exactly once.")
    start, end = template.split('{}')
    if not (name.startswith(start) and name.endswith(end) and len(name) >= len(start) + len(end)):
        raise DataError(f"{name} in {root} does not follow the name template '{template}'.")
    return name[len(start):len(name) - len(end)]


def _prefix_partner(name: str, gt_names: set[str], lq_root: str, gt_root: str) -> str:
    candidate = name
    while candidate not in gt_names:
        if '_' not in candidate:
            raise DataError(f'{name} in {lq_root} has no clean image in {gt_root}: no file there is named like its '
                            'beginning up to an underscore.')
        candidate = candidate.rpartition('_')[0]
    return candidate
