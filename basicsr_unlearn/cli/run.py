"""The command `basicsr-unlearn run`: a network of one's own forgets, from checkpoint and folders to the verdict."""
import sys
from pathlib import Path
from tempfile import TemporaryFile

from basicsr_unlearn.cli.new import write_option_file
from basicsr_unlearn.cli.run_flags import parser_of
from basicsr_unlearn.engine.entry import guarded, run
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.report.run_end import FinishedRun, finish, run_told
from basicsr_unlearn.zoo.checkpoint import load_container, write_atomically


def main(argv: list[str] | None = None) -> int:
    """Write an option file as `argv` says and unlearn by it; 0, or 2 for bad input."""
    return guarded(lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    parser = parser_of('run', 'Let a network of your own forget: finds out about checkpoint and data, writes an option '
                       'file, checks everything, unlearns, and ends with verdict, network and report. What cannot be '
                       'found out is asked.')
    parser.add_argument('--out', metavar='FORGOT.pth', help='where to put the unlearned network, beside the folder of '
                        'the experiment')
    args = parser.parse_args(argv)
    out = _checked_out(args.out, args.checkpoint, args.force)
    file, runs = write_option_file(args, runs=True), []
    print(flush=True)
    code = run('train', ['-opt', file], end=lambda *what: runs.append(finish(*what)))
    for finished in runs:
        print(run_told(finished))
        if out is not None:
            out.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(load_container(_network(finished)), out)
            print(f'{"Written:":<10}{out}')
    return code


def _network(finished: FinishedRun) -> str:
    return finished.record['networks']['unlearned']['path']


def _checked_out(out: str | None, checkpoint: str, force: bool) -> Path | None:
    """The path of --out, which is tried before anything is trained. Raises OptionError."""
    if out is None:
        return None
    path = Path(out).expanduser()
    if path.is_dir():
        raise OptionError(f'--out {out} is a folder: name the file to write.')
    if path.resolve() == Path(checkpoint).expanduser().resolve():
        raise OptionError(f'--out {out} is the checkpoint itself, from which a second run starts: name another file.')
    if path.exists() and not force:
        raise OptionError(f'--out {out} exists: name another file, or add --force to overwrite it.')
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with TemporaryFile(dir=folder):
            return path
    except OSError as error:
        raise OptionError(f'--out {out} cannot be written: {folder}: {error.strerror}.') from error


if __name__ == '__main__':
    sys.exit(main())
