"""Pages and Markdown from the templates beside this file; whatever goes into HTML is escaped there."""
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from basicsr_unlearn.files import write_text
from basicsr_unlearn.proof.words import capital
from basicsr_unlearn.report.findings import ROLE_WORDS, Findings

TEMPLATES = Path(__file__).parent / 'templates'
MINUS = re.compile(r'(?<![\w.])-(?=\d)')


def page(template: str, **values: Any) -> str:
    """The text that a template makes of these values.

    Args:
        template: its file name; what ends in .html is escaped.
        values: as the template names them; a missing one is an error.
    """
    return _environment().get_template(template).render(values)


def write_page(path: str | Path, template: str, **values: Any) -> None:
    """Write what `page` makes, a file that is complete or absent. Raises OptionError if it cannot be written."""
    write_text(path, page(template, **values))


def write_findings(path: str | Path, found: Findings) -> None:
    """Write the page of a run, the demo or an audit. Raises OptionError if it cannot be written."""
    write_page(path, 'findings.html', title=found.title, found=found, roles=ROLE_WORDS)


@cache
def _environment() -> Environment:
    found = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=lambda name: name.endswith('.html'),
                        trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, keep_trailing_newline=True)
    found.filters |= {'minus': true_minus, 'capital': capital}
    found.globals['style'] = lambda: Markup((TEMPLATES / 'page.css').read_text(encoding='utf-8'))
    return found


def true_minus(string: object) -> Markup:
    """The string with a minus sign in place of the hyphen before a number."""
    return Markup(MINUS.sub('−', str(escape(string))))
