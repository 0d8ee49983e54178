"""Files in which an audit keeps what it measured, each with the hash of its content, which tells damaged ones."""
import hashlib
import json
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from basicsr_unlearn.files import write_json

UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)  # of numpy.load and its arrays


class Kept:
    """Reads and writes such files, and says so once where any of them was damaged."""

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
