"""Numbers as people read them, and tables aligned for plain text, as Markdown or for the terminal."""
import math
import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest

ABSENT = '-'
MOST_LABEL = 24  # of `side_by_side`, in characters
NARROWEST = 10  # of a column there: wide enough for any word of a verdict
GAP = 2


def number(value: float | None, digits: int = 2, sign: bool = False) -> str:
    """A number with so many decimals, `-` for None; a sign marks a difference, of which 0 has none."""
    if value is None:
        return ABSENT
    value = round(value, digits) + 0.0  # no -0.00
    return format(value, f'{"+" if sign and value else ""}.{digits}f')


def percent(share: float | None) -> str:
    """A share in [0, 1] in percent with two digits that count, `-` for None."""
    if share is None:
        return ABSENT
    value = 100 * share
    return f'{value:.0f} %' if value >= 99.95 or value == 0 else f'{value:.1f} %' if value >= 1 else f'{value:.2g} %'


def interval(found: Mapping | None, digits: int = 2, sign: bool = False) -> str:
    """`value (low to high)` of `{value, low, high}`, without the bounds where there are none or all are one."""
    if found is None:
        return ABSENT
    value, low, high = (number(found[key], digits, sign) for key in ('value', 'low', 'high'))
    return value if found['low'] is None or low == value == high else f'{value} ({low} to {high})'


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """A Markdown table whose first `left` columns are text, aligned to the left, the others to the right."""
    lines = [[str(cell).replace('|', '\\|') for cell in line] for line in (head, *rows)]
    wide = [max(3, *map(len, column)) for column in zip(*lines)]
    text = [f'| {" | ".join(padded(line, wide, left))} |' for line in lines]
    text.insert(1, '|' + '|'.join(f' {"-" * w} ' if i < left else f' {"-" * (w - 1)}: ' for i, w in enumerate(wide))
                + '|')
    return '\n'.join(text)


def plain_lines(rows: Sequence[Sequence[str]], left: int = 1, gap: int = GAP) -> list[str]:
    """The rows as lines of equally wide columns, the first `left` of them aligned to the left."""
    wide = [max(map(len, column)) for column in zip(*rows)]
    return [(' ' * gap).join(padded(row, wide, left)).rstrip() for row in rows]


def padded(cells: Sequence[str], wide: Sequence[int], left: int) -> list[str]:
    """Each cell as wide as its column."""
    return [cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, wide))]


def side_by_side(names: Sequence[str], rows: Sequence[tuple[str, str, Sequence[str]]], width: int) -> str:
    """A table for the terminal with one column per name; more than fit go into further tables below.

    Args:
        names: heads of the columns, folded where they are too long.
        rows: section, label and one cell for each name; rows of a section follow each other, '' has no heading.
        width: of the terminal in characters.
    """
    stub = min(MOST_LABEL, max(len(label) + 2 * bool(section) for section, label, _ in rows))
    most = max((width - stub) // (NARROWEST + GAP), 1)
    size = math.ceil(len(names) / math.ceil(len(names) / most))  # tables of about equal size
    tables = []
    for start in range(0, len(names), size):
        part = slice(start, start + size)
        tables.append(_block(names[part], [(*row[:2], row[2][part]) for row in rows], stub, width))
    return '\n\n\n'.join(tables)


def _block(names: Sequence[str], rows: Sequence[tuple[str, str, Sequence[str]]], stub: int, width: int) -> str:
    room = max((width - stub) // len(names) - GAP, NARROWEST)
    wide = [min(room, max(map(len, column))) for column in zip(names, *(cells for *_, cells in rows))]
    folded = [fold(name, w) for name, w in zip(names, wide)]
    height = max(map(len, folded))
    lines = _aligned('', [[''] * (height - len(name)) + name for name in folded], stub, wide)
    lines.append('-' * (stub + sum(wide) + GAP * len(wide)))
    last = ''
    for section, label, cells in rows:
        if section != last:
            lines += ['', section]
            last = section
        lines += _aligned(cut(('  ' if section else '') + label, stub), [fold(cell, w) for cell, w in zip(cells, wide)],
                          stub, wide)
    return '\n'.join(lines)


def _aligned(label: str, cells: Sequence[Sequence[str]], stub: int, wide: Sequence[int]) -> list[str]:
    lines = zip_longest(*cells, fillvalue='')
    return [((label if i == 0 else '').ljust(stub) + ''.join(' ' * GAP + cell.rjust(w) for cell, w in zip(line, wide))
             ).rstrip() for i, line in enumerate(lines)]


def fold(text: str, width: int) -> list[str]:
    """Lines of at most so many characters, broken behind a space, `_`, `-`, `/` or `.` where there is one."""
    lines = ['']
    for piece in re.findall(r'[^\s_/.-]*[\s_/.-]?', text):
        if len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append('')
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.strip() for line in lines if line.strip()] or ['']


def cut(text: str, most: int) -> str:
    """The text, ending in … where it is too long."""
    return text if len(text) <= most else f'{text[:most - 1]}…'
