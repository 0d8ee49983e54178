"""Scores by data set and network as an aligned table for a terminal of 80 columns."""
from collections.abc import Mapping, Sequence

from basicsr_unlearn.core.judgement import Yardstick, forget_gap, has_skill, retain_loss

COLUMNS = ('identity', 'original', 'unlearned', 'network', 'retrained')  # network: one that is tested
NAME, CELL = 16, 11  # widths in characters, of the longest name of a data set and of a column


def score_table(datasets: Mapping[str, Mapping], judged: Mapping[str, Yardstick]) -> str:
    """A block of rows for each metric, a row for each data set, a column for each network.

    Args:
        datasets: name -> `role` and `scores`, metric -> column -> value; the columns are those of judgement.py, and
            `network` in place of `unlearned` for a network that is tested.
        judged: the metric that forgetting is judged by, with its yardstick: its rows say what was forgotten and lost.
    """
    metrics = list(dict.fromkeys(metric for entry in datasets.values() for metric in entry['scores']))
    wide = min(NAME, max(map(len, [*datasets, *metrics]), default=0)) + 2
    lines = []
    for metric in metrics:
        yardstick = judged.get(metric)
        rows = {name: entry for name, entry in datasets.items() if entry['scores'].get(metric)}
        columns = columns_of([entry['scores'][metric] for entry in rows.values()])
        title = f'{yardstick.name}, {yardstick.unit}' if yardstick and yardstick.unit else metric.upper()
        lines += ['', title.ljust(wide) + ''.join(f'{column:>{CELL}}' for column in columns)]
        for name, entry in rows.items():
            scores = entry['scores'][metric]
            in_db = yardstick.unit == 'dB' if yardstick else 'psnr' in metric.lower()
            cells = ''.join(f'{scores[column]:>{CELL}.{2 if in_db else 4}f}' if column in scores else f'{"-":>{CELL}}'
                            for column in columns)
            note = difference(entry['role'], scores, yardstick) if yardstick else ''
            lines.append(f'{_cut(name, wide - 2):<{wide}}{cells}   {note}'.rstrip())
    return '\n'.join(lines[1:])


def columns_of(scores: Sequence[Mapping[str, float]]) -> list[str]:
    """The columns that any of the scores has, the known ones first and in their order."""
    there = list(dict.fromkeys(column for by in scores for column in by))
    known = [column for first in COLUMNS for column in there if column.split()[0] == first]
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
        return f'gap {_signed(forget_gap(scores, yardstick), digits)}'
    loss = round(retain_loss(scores, yardstick), digits)
    return f'{"lost" if loss >= 0 else "gained"} {abs(loss):.{digits}f}'


def _signed(value: float, digits: int) -> str:
    return f'{round(value, digits) + 0.0:+.{digits}f}'


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f'{text[:most - 1]}…'
