"""Where images come from: a folder or an LMDB, both read by image name (the file name without its suffix)."""
import io
import os
import threading
import unicodedata
from collections import Counter
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import lmdb
import numpy as np

from basicsr_unlearn.data.image_io import decode_image, list_images
from basicsr_unlearn.errors import DataError

_environments: dict[str, lmdb.Environment] = {}
_opening = threading.Lock()  # the preflight reads with several threads


def _close_environments() -> None:
    global _opening
    _opening = threading.Lock()  # another thread of the parent may have held it
    while _environments:
        _environments.popitem()[1].close()


# lmdb refuses a path that is open already, and a forked worker inherits that state without being allowed to use it: so
# the worker gives up what it inherited and opens its own. The parent's environments stay as they are.
if hasattr(os, 'register_at_fork'):  # where there is no fork there is nothing to inherit
    os.register_at_fork(after_in_child=_close_environments)


def lmdb_environment(path: str) -> lmdb.Environment:
    """The read-only environment of an LMDB, opened once per path and process.

    Raises:
        DataError: it cannot be opened, also because something else in this process has opened it.
    """
    path = os.path.realpath(path)
    with _opening:
        if path not in _environments:
            try:
                _environments[path] = lmdb.open(path, readonly=True, lock=False, readahead=False, meminit=False)
            except lmdb.Error as error:
                raise DataError(f'The LMDB {path} cannot be opened ({error}): make it anew with '
                                'datasets/create_lmdb.py, and read it only through data sets of this package.'
                                ) from error
        return _environments[path]


def readable(name: str) -> str:
    """A file name as UTF-8 has it: what it cannot hold, such as letters of an old encoding, is written %FC.

    Names go into logs, TensorBoard, JSON and new files, none of which takes other bytes.
    """
    return ''.join(f'%{ord(letter) - 0xDC00:02X}' if '\udc80' <= letter <= '\udcff' else letter for letter in name)


class ImageStore:
    """Images of one folder or one BasicSR LMDB (a folder ending in `.lmdb` with a meta_info.txt).

    Args:
        root: the folder; `~` is the home folder.
        cache: keep decoded images in memory; for sets that fit there.
        max_pixels: of an image, see `decode_image`.

    Raises:
        DataError: the folder is missing or empty, two files differ only in their suffix, or the LMDB has no meta_info.

    Attributes:
        names: sorted image names (Unicode form NFC); the same for a folder and for an LMDB made of it.
    """

    def __init__(self, root: str, cache: bool = False, max_pixels: int | None = None):
        self.root = Path(root).expanduser()
        self.is_lmdb = self.root.suffix == '.lmdb'
        self.max_pixels = max_pixels
        self._cache: dict[str, np.ndarray] | None = {} if cache else None
        self._entries = self._index_lmdb() if self.is_lmdb else self._index_folder()
        self.names = sorted(self._entries)

    def __getstate__(self) -> dict:
        """A spawned worker reads for itself: it is not sent the decoded images."""
        return {**self.__dict__, '_cache': None if self._cache is None else {}}

    def _index_folder(self) -> dict[str, str]:
        # NFC: one file system stores é as one letter, another as two, and a name list is typed in either form
        named = [(unicodedata.normalize('NFC', readable(p.stem)), str(p)) for p in list_images(self.root)]
        doubled = [name for name, count in Counter(name for name, _ in named).items() if count > 1]
        if doubled:
            raise DataError(f'{self.root} holds two images named {doubled[0]} that differ only in their suffix: '
                            'rename or remove one.')
        return dict(named)

    def _index_lmdb(self) -> dict[str, str]:
        meta_info = self.root / 'meta_info.txt'
        if not meta_info.is_file():
            raise DataError(f'{self.root} is no BasicSR LMDB, as {meta_info} is missing: make it with '
                            'datasets/create_lmdb.py, or correct the dataroot line of the option file.')
        keys = [line.split('.')[0] for line in meta_info.read_text(encoding='utf-8').splitlines() if line.strip()]
        if not keys:
            raise DataError(f'{meta_info} lists no image.')
        return {unicodedata.normalize('NFC', unquote(key)): key for key in keys}

    def path(self, name: str) -> str:
        """What to call the image in messages and results: its file, or its place in the LMDB."""
        return f'{self.root}/{name}.png' if self.is_lmdb else readable(self._entries[name])

    def open(self, name: str) -> BinaryIO:
        """The encoded image as a file. Raises DataError if it cannot be read."""
        if self.is_lmdb:
            return io.BytesIO(self.bytes(name))
        try:
            return open(self._entries[name], 'rb')
        except OSError as error:
            raise DataError(f'{self.path(name)} cannot be read: {error.strerror}.') from error

    def bytes(self, name: str) -> bytes:
        """The encoded image. Raises DataError if it cannot be read."""
        if not self.is_lmdb:
            try:
                with self.open(name) as file:
                    return file.read()
            except OSError as error:
                raise DataError(f'{self.path(name)} cannot be read: {error.strerror}.') from error
        with lmdb_environment(str(self.root)).begin(write=False) as transaction:
            value = transaction.get(self._entries[name].encode('ascii'))
        if value is None:
            raise DataError(f'{self.root} lists {name} in meta_info.txt but does not hold it: make the LMDB anew.')
        return value

    def read(self, name: str) -> np.ndarray:
        """The image as (h, w, 3) RGB, uint8 or uint16. Raises DataError if it cannot be read."""
        if self._cache is not None and name in self._cache:
            return self._cache[name]
        image = decode_image(self.bytes(name), self.path(name), self.max_pixels)
        if self._cache is not None:
            self._cache[name] = image
        return image
