"""The command `basicsr-unlearn`."""
import difflib
import importlib
import sys

from basicsr_unlearn.engine.entry import guarded
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.version import __version__

# name -> one line for the help; its module, of the same name here or in MODULES, is imported when it is called
COMMANDS = {
    'run': 'let a network of your own forget: from checkpoint and folders to verdict and report',
    'new': 'write the option file that run would use, and stop',
    'train': 'train or unlearn as an option file says',
    'test': 'test a network as an option file says',
    'check': 'check an option file, its images, network and checkpoints, without a run',
    'demo': 'forget haze on sample photographs in minutes, with a report',
    'methods': 'list the methods that an option file can name',
    'show': 'print an option file with its method spelt out, a method, or what a component takes',
    'benchmark': 'compare methods with networks retrained without the forget set, on a leaderboard',
    'audit': 'prove what was forgotten, what was kept and what attackers get back',
    'compare': 'audits side by side',
    'convert': 'turn a checkpoint of any project into one that BasicSR loads, and name its network',
}
MODULES = {'train': 'train', 'test': 'test'}  # where scripts look for them


def main(argv: list[str] | None = None) -> int:
    """Run one sub-command with the arguments that follow it, by default those of the process; its exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    return guarded(lambda: _dispatch(argv))


def _dispatch(argv: list[str]) -> int:
    if not argv:
        raise OptionError(f'no command given: use one of {", ".join(COMMANDS)}; see basicsr-unlearn --help.')
    command, *rest = argv
    if command in ('-h', '--help'):
        print(_help())
        return 0
    if command == '--version':
        print(f'basicsr_unlearn {__version__}')
        return 0
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, COMMANDS, 1)
        raise OptionError(f"'{command}' is no command: " + (f"did you mean '{near[0]}'?" if near else
                          f'use one of {", ".join(COMMANDS)}.'))
    return importlib.import_module(f'basicsr_unlearn.{MODULES.get(command, "cli." + command)}').main(rest)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f'  {name:<{width}}  {what}' for name, what in COMMANDS.items()]
    return '\n'.join([
        'usage: basicsr-unlearn COMMAND ...', '',
        'Machine unlearning for image restoration networks, as a BasicSR plugin.', '',
        'commands:', *lines, '', '  --version', '  --help, and COMMAND --help'
    ])
