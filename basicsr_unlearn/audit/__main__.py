"""`python -m basicsr_unlearn.audit -opt FILE.yml` is the command `basicsr-unlearn audit`."""
import sys

from basicsr_unlearn.auditing.command import main

if __name__ == '__main__':
    sys.exit(main())
