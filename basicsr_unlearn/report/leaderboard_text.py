"""A leaderboard in words and numbers as they are read: its table, for Markdown, terminal and page alike."""
from collections.abc import Mapping, Sequence

from basicsr_unlearn.proof.benchmark.leaderboard import overview

SCORE = ('|forget gap| + mean over the other tasks of the loss (0 where a task has gained) + relearn gap, in dB; '
         'methods are sorted by it, lower is better (our choice)')
OVERVIEW = ('Of each target: forget gap / largest loss on another task / relearn gap, means over its seeds. The score '
            'is |forget gap| + mean loss on the other tasks (0 where one has gained) + relearn gap, in the mean of the '
            'targets, ± standard deviation over the seeds that all targets have.')


def overview_cells(boards: Mapping[str, Mapping]) -> list[list[str]]:
    """The overview as it is shown, the heading first; nothing where fewer than two targets can be judged."""
    boards = {target: board for target, board in boards.items() if board['judged']}
    if len(boards) < 2:
        return []
    lines = [['#', 'method', *(f'forget {target}, dB' for target in boards), 'score, dB', 'seeds']]
    for rank, entry in enumerate(overview(boards), start=1):
        lines.append([str(rank), entry['name'], *(
            ' / '.join(_shown((number, None), form) for number, form in zip(numbers, ('+.2f', '+.2f', '.2f')))
            for numbers in entry['targets'].values()), _shown(entry['score'], '.2f'), str(len(entry['seeds']))])
    return lines


def caption(board: Mapping) -> str:
    """What the numbers of a leaderboard are held against, in words."""
    target, reference = board['target'], board['reference']
    seeds = max((row['networks'] for row in board['rows'] if row['kind'] == 'method'), default=0)
    spread = f', mean ± standard deviation over up to {seeds} seeds' if seeds > 1 else ', of one seed'
    if not reference['networks']:
        against = (f'no retrained network is given, so the forget gap is the distance from the identity baseline '
                   f'({reference["low"]:.2f} dB), and there is no relearn gap')
    elif reference['networks'] == 1:
        against = (f'the forget gap is the distance from the one retrained network ({reference["low"]:.2f} dB), a '
                   'point where several seeds would give a range')
    else:
        against = (f'the forget gap is the distance outside the range of {reference["networks"]} retrained networks '
                   f'({reference["low"]:.2f} to {reference["high"]:.2f} dB)')
    return (f'PSNR in dB on {board["images"]} images{spread}; {against}. Above 0 something is left of the skill, below '
            f'0 is over-forgetting. The untouched input of {target} has {board["identity"][target]:.2f} dB, the '
            f'original {board["original"][target]:.2f} dB.')


def measured(summary: Mapping) -> list[tuple[str, str]]:
    """What each number is, in words; `summary` is what leaderboard.json holds."""
    relearn, retraining = summary['relearn'], summary['retraining']
    steps = ', '.join(map(str, relearn['steps']))
    return [
        ('score', SCORE),
        ('forget gap', 'how far the PSNR on the forget test set lies outside the range of the retrained networks'),
        ('loss', 'PSNR of the original less that of the unlearned network, on the other tasks'),
        ('lead, relearn gap', f'fine-tuning on {relearn["pairs"]} forget pairs (Adam, {relearn["lr"]:g}), the lead '
                              f'over the best retrained network after {steps} steps, in the mean over seeds, and the '
                              'largest; each seed has pairs and patches of its own, the same for every network'),
        ('seeds', 'how many runs the means and spreads are of'),
        ('time', 'processor time of unlearning, of one thread'),
        ('retraining', f"steps, a proxy's with them, times batch, as a share of the {retraining['steps']:,} steps of "
                       f'{retraining["batch"]} that retraining takes'),
        ('memory', 'peak of the process while unlearning, or of the GPU'),
    ]


def columns(board: Mapping) -> list[tuple[str, str]]:
    """Heading and unit of each column of the table, after rank and name."""
    tasks = [task for task in board['original'] if task != board['target']]
    steps = ' / '.join(board['rows'][0]['lead'])
    lead = [(f'lead after {steps} steps', 'dB')] if steps else []
    return [('forget PSNR', 'dB'), ('forget gap', 'dB'), *((f'{task} loss', 'dB') for task in tasks), *lead,
            ('relearn gap', 'dB'), ('score', 'dB'), ('seeds', ''), ('time', 's'), ('retraining', '%'), ('memory', 'MB')]


def cells_of(row: Mapping) -> list[str]:
    """The row's numbers as they are shown, in the order of `columns`."""
    shown = [_shown(row['forget_psnr'], '.2f'), _shown(row['forget_gap'], '+.2f'),
             *(_shown(loss, '+.2f') for loss in row['retain_loss'].values()),
             *([' / '.join(_shown((lead, None), '+.2f') for lead, _ in row['lead'].values())] if row['lead'] else []),
             _shown(row['relearn_gap'], '.2f'), _shown(row['score'], '.2f')]
    if row['kind'] != 'method':
        return [*shown, '', '', '100' if row['kind'] == 'retrained' else '', '']
    return [*shown, str(len(row['seeds'])), f'{row["seconds"]:.0f}', f'{100 * row["share"]:.2g}',
            f'{row["memory_mb"]:.0f}']


def _shown(number: tuple[float | None, float | None], form: str) -> str:
    value, spread = number
    if value is None:
        return '–'
    value = round(value, 2)
    text = format(value, form) if value else '0.00'  # no sign
    return text if spread is None else f'{text} ± {spread:.2f}'


def ranked(rows: Sequence[Mapping]) -> list[tuple[str, Mapping]]:
    """Rows with their rank: 1, 2 ... for the methods, none for the references."""
    rank, numbered = 0, []
    for row in rows:
        rank += row['kind'] == 'method'
        numbered.append((str(rank) if row['kind'] == 'method' else '', row))
    return numbered


def markdown(board: Mapping) -> str:
    """The table of one target with its caption, aligned for a terminal too."""
    if not board['judged']:
        return board['reason']
    head = ['#', 'method', *(', '.join(filter(None, column)) for column in columns(board))]
    lines = [head, *([rank, row['name'], *cells_of(row)] for rank, row in ranked(board['rows']))]
    failures = [f'\nDid not finish: {failure}' for failure in board['failures']]
    return '\n'.join([' '.join([caption(board), *board['notes']]), '', *aligned(lines), *failures])


def aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, heading first, its second column to the left and the others to the right."""
    wide = [max(3, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]
    text = [_line(line, wide) for line in lines]
    text.insert(1, '|' + '|'.join(f' {"-" * (w - (i != 1))}{":" if i != 1 else ""} ' for i, w in enumerate(wide)) + '|')
    return text


def _line(cells: Sequence[str], wide: Sequence[int]) -> str:
    padded = [cell.ljust(w) if i == 1 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, wide))]
    return f'| {" | ".join(padded)} |'
