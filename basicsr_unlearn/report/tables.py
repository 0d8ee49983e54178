"""Numbers as people read them, and tables of them: as Markdown, for the terminal, and for a page's template."""
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import NamedTuple

from basicsr_unlearn.core.judgement import forget_gap, has_skill, retain_loss
from basicsr_unlearn.core.yardstick import Yardstick

ABSENT = '-'
GAP = 2  # between columns on the terminal, in characters
MOST_LABEL = 24  # of `side_by_side`, in characters
NARROWEST_COLUMN = 10  # of a column there: wide enough for any word of a verdict
NETWORKS = ('identity', 'original', 'unlearned', 'network', 'retrained')  # network: one that is tested
NAME, CELL = 16, 11  # of a score table on the terminal: the longest name of a data set, the width of a column


class Ranged(NamedTuple):
    """A number with its interval `(low to high)` or its spread `± deviation`, which a page shows smaller."""
    value: str
    spread: str

    def __str__(self) -> str:
        return f'{self.value} {self.spread}'


@dataclass(frozen=True)
class Table:
    """Cells ready to be read: `head` may be empty, the first `left` columns are text, the others numbers."""
    head: Sequence[str]
    rows: Sequence[Sequence[str | Ranged]]
    left: int = 1
    title: str = ''

    def markdown(self) -> str:
        """A Markdown table, aligned in plain text too, below its title."""
        lines = [[str(cell).replace('|', '\\|') for cell in line] for line in (self.head, *self.rows)]
        wide = [max(3, *map(len, column)) for column in zip(*lines)]
        rows = [f'| {" | ".join(padded(line, wide, self.left))} |' for line in lines]
        rows.insert(1, '|' + '|'.join(f' {"-" * w} ' if i < self.left else f' {"-" * (w - 1)}: '
                                      for i, w in enumerate(wide)) + '|')
        return '\n'.join([*([f'**{self.title}**', ''] if self.title else []), *rows])


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


def thousands(value: int | None) -> str:
    """A whole number with its thousands apart, `-` for None."""
    return ABSENT if value is None else f'{value:,}'


def amount(count: int, noun: str) -> str:
    """So many of a thing, such as '1 step' or '25 steps'."""
    return f'{count:,} {noun}{"" if count == 1 else "s"}'


def ranged(found: Mapping | None, digits: int = 2, sign: bool = False) -> str | Ranged:
    """`value (low to high)` of `{value, low, high}`, without the bounds where there are none or all are one."""
    if found is None:
        return ABSENT
    value, low, high = (number(found[key], digits, sign) for key in ('value', 'low', 'high'))
    return value if found['low'] is None or low == value == high else Ranged(value, f'({low} to {high})')


def how_long(seconds: float) -> str:
    """As '2 min 05 s', or '40 s'."""
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'


def plain_lines(rows: Sequence[Sequence[str]], left: int = 1, gap: int = GAP) -> list[str]:
    """The rows as lines of equally wide columns, the first `left` of them aligned to the left."""
    wide = [max(map(len, column)) for column in zip(*rows)]
    return [(' ' * gap).join(padded(row, wide, left)).rstrip() for row in rows]


def padded(cells: Sequence[str], wide: Sequence[int], left: int) -> list[str]:
    """Each cell as wide as its column."""
    return [cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, wide))]


def score_tables(datasets: Mapping[str, Mapping], judged: Mapping[str, Yardstick]) -> list[Table]:
    """A table for each metric, a row for each data set, a column for each network and one for what became of the set.

    Args:
        datasets: name -> `role` and `scores`, metric -> column -> value; the columns are those of judgement.py, and
            `network` in place of `unlearned` for a network that is tested.
        judged: the metric that forgetting is judged by, with its yardstick: its rows say what was forgotten and lost.
    """
    tables = []
    for metric in dict.fromkeys(metric for entry in datasets.values() for metric in entry['scores']):
        yardstick = judged.get(metric)
        sets = {name: entry for name, entry in datasets.items() if entry['scores'].get(metric)}
        columns = networks_in([entry['scores'][metric] for entry in sets.values()])
        in_db = yardstick.unit == 'dB' if yardstick else 'psnr' in metric.lower()
        rows = []
        for name, entry in sets.items():
            scores = entry['scores'][metric]
            rows.append([name, *(number(scores.get(column), 2 if in_db else 4) for column in columns),
                         difference(entry['role'], scores, yardstick) if yardstick else ''])
        title = f'{yardstick.name}, {yardstick.unit}' if yardstick and yardstick.unit else metric.upper()
        tables.append(Table([title, *columns, ''], rows))
    return tables


def score_lines(datasets: Mapping[str, Mapping], judged: Mapping[str, Yardstick]) -> str:
    """`score_tables` for a terminal of 80 columns."""
    tables = score_tables(datasets, judged)
    metrics = {metric for entry in datasets.values() for metric in entry['scores']}
    wide = min(NAME, max(map(len, [*datasets, *metrics]), default=0)) + 2
    blocks = []
    for table in tables:
        blocks.append('\n'.join(
            (f'{cut(name, NAME) if line else name:<{wide}}' + ''.join(f'{cell:>{CELL}}' for cell in cells)
             + f'   {note}').rstrip() for line, (name, *cells, note) in enumerate((table.head, *table.rows))))
    return '\n\n'.join(blocks)


def networks_in(scores: Sequence[Mapping[str, float]]) -> list[str]:
    """The columns that any of the scores has, the known ones first and in their order."""
    there = list(dict.fromkeys(column for by in scores for column in by))
    known = [column for first in NETWORKS for column in there if column.split()[0] == first]
    return [*known, *(column for column in there if column not in known)]


def difference(role: str, scores: Mapping[str, float], yardstick: Yardstick) -> str:
    """What was forgotten or lost, in a few words; '' where that cannot be said."""
    scores = {'unlearned': scores.get('network'), **scores}
    if not {'identity', 'original'} <= scores.keys() or scores['unlearned'] is None:
        return ''
    digits = 2 if yardstick.unit == 'dB' else 4
    if role == 'forget':
        if not has_skill(scores['original'], scores['identity'], yardstick):
            return 'no skill'
        return f'gap {round(forget_gap(scores, yardstick), digits) + 0.0:+.{digits}f}'
    loss = round(retain_loss(scores, yardstick), digits)
    return f'{"lost" if loss >= 0 else "gained"} {abs(loss):.{digits}f}'


def side_by_side(names: Sequence[str], rows: Sequence[tuple[str, str, Sequence[str]]], width: int) -> str:
    """A table for the terminal with one column per name; more than fit go into further tables below.

    Args:
        names: heads of the columns, folded where they are too long.
        rows: section, label and one cell for each name; rows of a section follow each other, '' has no heading.
        width: of the terminal in characters.
    """
    stub = min(MOST_LABEL, max(len(label) + 2 * bool(section) for section, label, _ in rows))
    most = max((width - stub) // (NARROWEST_COLUMN + GAP), 1)
    size = math.ceil(len(names) / math.ceil(len(names) / most))  # tables of about equal size
    tables = []
    for start in range(0, len(names), size):
        part = slice(start, start + size)
        tables.append(_block(names[part], [(*row[:2], row[2][part]) for row in rows], stub, width))
    return '\n\n\n'.join(tables)


def _block(names: Sequence[str], rows: Sequence[tuple[str, str, Sequence[str]]], stub: int, width: int) -> str:
    room = max((width - stub) // len(names) - GAP, NARROWEST_COLUMN)
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


def fold(string: str, width: int) -> list[str]:
    """Lines of at most so many characters, broken behind a space, `_`, `-`, `/` or `.` where there is one."""
    lines = ['']
    for piece in re.findall(r'[^\s_/.-]*[\s_/.-]?', string):
        if len(lines[-1]) + len(piece.rstrip()) > width:
            lines.append('')
        lines[-1] += piece
        while len(lines[-1].rstrip()) > width:
            lines[-1:] = [lines[-1][:width], lines[-1][width:]]
    return [line.strip() for line in lines if line.strip()] or ['']


def cut(string: str, most: int) -> str:
    """The string, ending in … where it is too long."""
    return string if len(string) <= most else f'{string[:most - 1]}…'
