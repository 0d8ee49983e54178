"""The folders that a run writes to: they are no files, and they are its own until it ends, however it ends."""
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from basicsr_unlearn.errors import OptionError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None


def check_folders(opt: dict) -> None:
    """Raise OptionError if a file is where a folder of the run should be."""
    root = opt['path'].get('experiments_root') or opt['path']['results_root']
    folders = [Path(root)]
    if opt['is_train'] and opt['logger']['use_tb_logger']:
        folders.append(folders[0].parents[1] / 'tb_logger' / folders[0].name)
    for folder in folders:
        for path in folder.parents:
            if (path.exists() or path.is_symlink()) and not path.is_dir():
                raise OptionError(f'{path} is no folder, but the run writes to {folder}: move it away, or start in '
                                  'another folder.')


@contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Keep other runs out of `folder` by the file `.NAME.lock` beside it, which is there while this lasts.

    The kernel releases the lock as the process ends, also if it is killed, and over NFS too; a file that a killed run
    left is taken over. Where the system or the disk has no locks, the process that the file names decides: one of this
    machine by whether it is alive; one of another machine is believed. Processes forked from this one do not hold the
    lock. The file stands beside the folder since BasicSR renames an existing folder at a fresh start.

    Raises:
        OptionError: another run holds the lock, naming its process and machine, or the file cannot be written.
    """
    folder = Path(folder)
    path = folder.with_name(f'.{folder.name}.lock')
    made = [parent for parent in (folder.parent, *folder.parent.parents) if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        file = _acquired(path)
    except OSError as error:
        raise OptionError(f'{path} cannot be written: {error.strerror}.') from error
    if file is None:
        other = read_lock(path)
        raise OptionError(f'{folder} is in use by another run, process {other.get("process", "unknown")} on '
                          f'{other.get("host", "an unknown machine")} since {other.get("since", "an unknown time")}: '
                          'wait for its end, stop it, or give this run another name.' + (
                              f' If it is gone, remove {path}.' if other.get('host') != socket.gethostname() else ''))
    with file:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            for parent in made:  # only where nothing came of the run
                if not any(parent.iterdir()):
                    parent.rmdir()


def read_lock(path: Path) -> dict:
    """What the holder of a lock wrote: host, process, since; {} if it is just writing."""
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _acquired(path: Path):
    """The open lock file, held and filled in; None if another process holds it."""
    while True:
        before = read_lock(path)
        file = open(path, 'a+', encoding='utf-8')  # noqa: SIM115  held until the run ends
        if not _free(file, before):
            file.close()
            return None
        try:
            if os.fstat(file.fileno()).st_ino == path.stat().st_ino:
                break
        except FileNotFoundError:
            pass
        file.close()  # its holder has just removed it
    file.truncate(0)
    json.dump({'host': socket.gethostname(), 'process': os.getpid(), 'since': time.strftime('%Y-%m-%d %H:%M:%S')}, file)
    file.flush()
    return file


def _free(file, before: dict) -> bool:
    if fcntl is not None:
        try:
            # of POSIX, not flock: a forked DataLoader worker would go on holding that one after a kill
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except (BlockingIOError, PermissionError):
            return False
        except OSError:
            pass  # a disk without locks
    if not before:
        return True
    return before.get('host') == socket.gethostname() and not _alive(before.get('process'))


def _alive(process: int | None) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, TypeError):
        pass
    return True
