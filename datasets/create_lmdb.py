"""Make a BasicSR LMDB of a folder of images.

    python datasets/create_lmdb.py INPUT_FOLDER OUTPUT.lmdb [--compress-level 1]

Runs from a checkout as it stands: it finds the package in the folder above its own. An image's key is its name without
suffix, percent-encoded (0025_0.8_0.1.png -> 0025_0%2E8_0%2E1), as BasicSR cuts keys at the first dot and takes only
ASCII; so BasicSR reads the LMDB too. Exit code 2 and one sentence if an image cannot be used; nothing half-written.
"""
import argparse
import os
import shutil
import sys
import uuid
from pathlib import Path
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the checkout, installed or not

import lmdb  # noqa: E402

from basicsr_unlearn.data.store import ImageStore  # noqa: E402
from basicsr_unlearn.errors import DataError, UnlearnError  # noqa: E402

MAX_KEY_BYTES = 511  # LMDB's own limit


def encode_key(name: str) -> str:
    """The LMDB key of an image name: ASCII, without dots, and `urllib.parse.unquote` gives the name back.

    Raises:
        DataError: the key would be longer than LMDB allows.
    """
    key = quote(name, safe='').replace('.', '%2E')
    if len(key) > MAX_KEY_BYTES:
        raise DataError(f'The image name {name} is too long for an LMDB: shorten it to fewer than {MAX_KEY_BYTES} '
                        'bytes, where a letter outside ASCII takes six or more.')
    return key


def create_lmdb(folder: str, output: str, compress_level: int = 1) -> int:
    """Write all images of `folder` to the new LMDB `output` and return their number.

    Each image is read once beforehand, so that nothing is written if one is unreadable; grey images and alpha channels
    are stored as they are, 16-bit ones too.

    Raises:
        DataError: the folder or an image cannot be read, or the output exists, is not named .lmdb or cannot be written.
    """
    from basicsr.utils.lmdb_util import make_lmdb_from_imgs
    target = Path(output)
    if target.suffix != '.lmdb':
        raise DataError(f'The output {output} must end in .lmdb, by which an LMDB is known from a folder.')
    if target.exists():
        raise DataError(f'{output} exists already: remove it or choose another name.')
    if Path(folder).suffix == '.lmdb':
        raise DataError(f'{folder} is an LMDB already: give the folder of image files.')
    store = ImageStore(folder)
    keys = [encode_key(name) for name in store.names]
    pixels = [store.read(name).nbytes for name in store.names]
    # read as three channels, stored as up to four; a PNG can be a little larger than its pixels; pages are rounded up
    room = 2 * sum(pixels) + 2**16 * len(pixels) + 2**24
    partial = target.parent / f'.{target.stem}.{uuid.uuid4().hex}.partial.lmdb'
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        files = [os.path.basename(store.path(name)) for name in store.names]
        make_lmdb_from_imgs(str(store.root), str(partial), files, keys, compress_level=compress_level, map_size=room)
        os.rename(partial, target)
    except (OSError, lmdb.Error) as error:
        raise DataError(f'{output} cannot be written: {getattr(error, "strerror", None) or error}.') from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return len(keys)


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit code: 0, or 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(description='Make a BasicSR LMDB of a folder of images.')
    parser.add_argument('folder', help='folder of images')
    parser.add_argument('output', help='the LMDB to make, ending in .lmdb')
    parser.add_argument('--compress-level', type=int, default=1, choices=range(10), metavar='0-9',
                        help="PNG compression; default 1, BasicSR's")
    args = parser.parse_args(argv)
    try:
        count = create_lmdb(args.folder, args.output, args.compress_level)
    except UnlearnError as error:
        print(f'create_lmdb: {error}', file=sys.stderr)
        return 2
    print(f'{count} images in {args.output}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
