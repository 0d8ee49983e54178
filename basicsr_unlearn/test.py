"""Test a network as an option file says, through BasicSR's own pipeline.

    python basicsr_unlearn/test.py -opt options/test_unlearn.yml       from a checkout
    python -m basicsr_unlearn.test -opt options/test_unlearn.yml
    basicsr-unlearn test -opt options/test_unlearn.yml                 when installed

Results go to the current directory.
"""
import sys
from pathlib import Path

if __name__ == '__main__' and not __package__:
    # as in train.py
    folder = Path(__file__).resolve().parent
    sys.path[:] = [str(folder.parent), *(p for p in sys.path if not p or Path(p).resolve() != folder)]

from basicsr_unlearn.engine.entry import run  # noqa: E402
from basicsr_unlearn.report.test_end import testing_shown  # noqa: E402


def main(argv: list[str] | None = None) -> int:
    """Run with BasicSR's flags, by default those of the process; exit codes as in train.py."""
    return run('test', argv, shown=testing_shown)


if __name__ == '__main__':
    sys.exit(main())
