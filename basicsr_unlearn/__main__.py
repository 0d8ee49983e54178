"""`python -m basicsr_unlearn` is `basicsr-unlearn`."""
import sys

from basicsr_unlearn.cli.commands import main

if __name__ == '__main__':
    sys.exit(main())
