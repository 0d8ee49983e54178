"""A question on the terminal; where nobody can answer, a sentence that names the flag."""
import sys
from collections.abc import Sequence

from basicsr_unlearn.engine.terminal import wrapped
from basicsr_unlearn.errors import OptionError


def ask(question: str, choices: Sequence[str], flag: str) -> str:
    """One of the choices, or another answer that the flag would take.

    Args:
        question: without its mark.
        choices: as the flag takes them; the first is taken for an empty answer.
        flag: what answers the question on the command line, such as '--keep'.

    Raises:
        OptionError: there is no terminal to ask on, or its input ended.
    """
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        raise OptionError(f'{question}? Answer with {" or ".join(f"{flag} {choice}" for choice in choices)}.')
    print(wrapped(f'{question}?'))
    for number, choice in enumerate(choices, 1):
        print(f'  {number}  {choice}')
    try:
        answer = input(f'1 to {len(choices)}, or as {flag} takes it [1]: ').strip() or '1'
    except EOFError as error:
        raise OptionError(f'{question}? There was no answer: give {flag}.') from error
    return choices[int(answer) - 1] if answer.isdigit() and 1 <= int(answer) <= len(choices) else answer
