"""A question on the terminal; where nobody can answer, a sentence that names the flag."""
import sys
from collections.abc import Mapping

from basicsr_unlearn.engine.terminal import wrapped
from basicsr_unlearn.errors import OptionError


def ask(question: str, choices: Mapping[str, str], flag: str) -> str:
    """One of the choices, or another answer that the flag would take.

    Args:
        question: without its mark.
        choices: as the flag takes them, each with what it means.
        flag: what answers the question on the command line, such as '--keep'.

    Raises:
        OptionError: there is no terminal to ask on, or its input ended.
    """
    if not (sys.stdin and sys.stdin.isatty() and sys.stdout.isatty()):
        answers = ', or '.join(f'{flag} {choice} ({meaning})' for choice, meaning in choices.items())
        raise OptionError(f'{question}? Answer with {answers}.')
    print(wrapped(f'{question}?'))
    wide = max(map(len, choices))
    for number, (choice, meaning) in enumerate(choices.items(), 1):
        print(f'  {number}  {choice:<{wide}}  {meaning}')
    answer = ''
    while not answer:
        try:
            answer = input(f'1 to {len(choices)}, or as {flag} takes it: ').strip()
        except EOFError as error:
            raise OptionError(f'{question}? There was no answer: give {flag}.') from error
    return list(choices)[int(answer) - 1] if answer.isdigit() and 1 <= int(answer) <= len(choices) else answer
