"""The command `basicsr-unlearn`: one file a sub-command."""
from basicsr_unlearn.cli.commands import main

__all__ = ['main']
