"""Train or unlearn as an option file says, through BasicSR's own pipeline.

    python basicsr_unlearn/train.py -opt options/unlearn_haze.yml      from a checkout
    python -m basicsr_unlearn.train -opt options/unlearn_haze.yml
    basicsr-unlearn train -opt options/unlearn_haze.yml                when installed

Experiments and tb_logger go to the current directory.
"""
import sys
from pathlib import Path

if __name__ == '__main__' and not __package__:
    # A script's folder comes first on the path: its test.py would stand for Python's own, and its modules would be
    # there under two names. The checkout comes first instead.
    folder = Path(__file__).resolve().parent
    sys.path[:] = [str(folder.parent), *(p for p in sys.path if not p or Path(p).resolve() != folder)]

from basicsr_unlearn.engine.entry import run  # noqa: E402
from basicsr_unlearn.report.run_end import finish, run_told  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    """Run with BasicSR's flags, by default those of the process.

    Returns:
        Exit code: 0; 2 for bad input, with one sentence on stderr; 130 if interrupted.
    """
    return run('train', argv, end=lambda *what: print(run_told(finish(*what))))


if __name__ == '__main__':
    sys.exit(main())
