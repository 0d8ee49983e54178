"""What was measured is not measured again: keys of what a measurement depends on, and the files that hold it."""
import hashlib
import json
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from basicsr_unlearn.data.inspection import Inspectable, leaves
from basicsr_unlearn.files import write_json
from basicsr_unlearn.version import __version__
from basicsr_unlearn.zoo.checkpoint import resolve_checkpoint

LARGEST_NUMBER = 1e9  # which NaN is not below
UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)  # of numpy.load and its arrays


def cache_key(what: str, weights: Any = None, data: Any = None, options: Any = None) -> str:
    """The key of a result: it is measured again when any of what it depends on changes.

    That is the version of this package, and:

    Args:
        what: is measured.
        weights: hashes of the checkpoints, see `file_digest`.
        data: hashes of what the data sets hold: of pixels, or see `data_digest`.
        options: of the network and the measurement, whatever JSON can hold.
    """
    content = json.dumps([__version__, what, weights, data, options], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:24]


def file_digest(path: str) -> str:
    """SHA-256 of a checkpoint file. Raises CheckpointError if there is none."""
    return hashlib.sha256(Path(resolve_checkpoint(path)).read_bytes()).hexdigest()


def data_digest(dataset: Dataset) -> str:
    """SHA-256 of a data set's list: the names and sizes of its image files, wherever they lie.

    Of a data set that does not tell its files, of its length alone.
    """
    listed = []
    for leaf in leaves(dataset):
        if not isinstance(leaf, Inspectable):
            listed.append(['', len(leaf)])
            continue
        for store, name in leaf.images():
            path = Path(store.path(name))
            listed.append([name, path.stat().st_size if path.is_file() else 0])
    return hashlib.sha256(json.dumps(sorted(listed)).encode()).hexdigest()


def is_number(value: Any) -> bool:
    """Whether what JSON held is a number that a measurement can have been: no NaN, no flag, not beyond all bounds."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER


class Kept:
    """Reads and writes files, each with the hash of its content, and says so once where any of them was damaged."""

    def __init__(self) -> None:
        self._said = False

    def read(self, path: Path, key: str) -> Any:
        """The content that was written under this key; None if there is no file, or another key, or it is damaged."""
        if not path.is_file():
            return None
        try:
            kept = json.loads(path.read_text(encoding='utf-8'))
            if kept['key'] != key and 'sha256' not in kept:
                return None  # of an earlier version
            whole = kept['sha256'] == _hash(kept['key'], kept['content'])
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            whole = False
        if not whole:
            self.damaged(path)
            return None
        return kept['content'] if kept['key'] == key else None

    def write(self, path: Path, key: str, content: Mapping) -> Any:
        """Write content that JSON can hold, and return it as it will be read back. Raises OptionError."""
        content = json.loads(json.dumps(content))
        write_json(path, {'key': key, 'sha256': _hash(key, content), 'content': content})
        return content

    def images(self, path: Path, positions: Sequence[int] | None = None) -> list[np.ndarray] | None:
        """Images of an .npz file, those at `positions` or all; None where it is damaged or gone."""
        try:
            with np.load(path) as kept:
                return [kept[str(position)] for position in (range(len(kept)) if positions is None else positions)]
        except UNREADABLE:
            self.damaged(path)
            return None

    def damaged(self, path: Path) -> None:
        """Say that a file is damaged, the first time."""
        if not self._said:
            print(f'Warning: {path} is damaged; what damaged files held is measured again.', file=sys.stderr,
                  flush=True)
        self._said = True


def _hash(key: str, content: Any) -> str:
    return hashlib.sha256(json.dumps([key, content]).encode()).hexdigest()
