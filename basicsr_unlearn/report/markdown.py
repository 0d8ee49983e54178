"""The text of audit.md's sections as HTML: so the report's tables say what audit.md says."""
import re
from collections.abc import Sequence
from html import escape

MINUS = re.compile(r'(?<![\w.])-(?=\d)')
INTERVAL = re.compile(r'(.+?) (\(.+ to .+\))')


def to_html(markdown: str) -> str:
    """HTML of what `sections` writes: paragraphs, lists, `**bold**` and tables, apart by empty lines."""
    return ''.join(_block(block) for block in markdown.split('\n\n') if block)


def _block(block: str) -> str:
    lines = block.split('\n')
    if lines[0].startswith('|'):
        head, rule, *rows = ([cell.strip().replace('\\|', '|') for cell in re.split(r'(?<!\\)\|', line)[1:-1]]
                             for line in lines)
        return table(head, rows, sum(not cell.endswith(':') for cell in rule))
    if all(line.startswith('- ') for line in lines):
        return f'<ul>{"".join(f"<li>{_inline(line[2:])}</li>" for line in lines)}</ul>'
    return f'<p>{_inline(" ".join(lines))}</p>'


def _inline(text: str) -> str:
    return re.sub(r'\*\*(.+?)\*\*', r'<b>\1</b>', true_minus(escape(text)))


def table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int, css: str = '') -> str:
    """A table that scrolls within the page.

    Args:
        head: may be empty.
        rows: of plain text; the row of the unlearned network is set off.
        left: so many first columns are text, the others numbers.
        css: its class.
    """
    top = ''.join(f'<th scope="col"{_text(i, left)}>{escape(cell)}</th>' for i, cell in enumerate(head))
    body = ''
    for row in rows:
        first = f'<th scope="row"{_text(0, left)}>{escape(row[0])}</th>'
        cells = ''.join(f'<td{_text(i, left)}>{_cell(cell, i < left)}</td>' for i, cell in enumerate(row[1:], 1))
        body += f'<tr{" class=now" if "unlearned" in row[:left] else ""}>{first}{cells}</tr>'
    return (f'<div class="scroll" tabindex="0"><table{f" class={css}" if css else ""}>'
            f'{f"<thead><tr class=head>{top}</tr></thead>" if top else ""}<tbody>{body}</tbody></table></div>')


def _text(position: int, left: int) -> str:
    return ' class=text' if position < left else ''


def _cell(cell: str, is_text: bool) -> str:
    if is_text:
        return f'<span class="long">{escape(cell)}</span>' if len(cell) > 30 else escape(cell)
    if cell == '-':
        return '<span class="muted">–</span>'
    split = INTERVAL.fullmatch(cell)
    return true_minus(f'{escape(split[1])} <small>{escape(split[2])}</small>' if split else escape(cell))


def true_minus(text: str) -> str:
    """The text with a minus sign in place of the hyphen before a number."""
    return MINUS.sub('−', text)
