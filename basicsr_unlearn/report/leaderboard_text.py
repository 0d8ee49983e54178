"""A leaderboard in words and numbers as they are read: its table, for Markdown, terminal and page alike."""
from collections.abc import Mapping, Sequence

from basicsr_unlearn.proof.benchmark.leaderboard import overview
from basicsr_unlearn.report.tables import Ranged, Table

SCORE = ('|forget gap| + mean over the other tasks of the loss (0 where a task has gained) + relearn gap, in dB; '
         'methods are sorted by it, lower is better (our choice)')
OVERVIEW = ('Of each target: forget gap / largest loss on another task / relearn gap, means over its seeds. The score '
            'is |forget gap| + mean loss on the other tasks (0 where one has gained) + relearn gap, in the mean of the '
            'targets, ± standard deviation over the seeds that all targets have.')


def overview_table(boards: Mapping[str, Mapping]) -> Table | None:
    """All targets in one table; None where fewer than two targets can be judged, or no method has all of them."""
    boards = {target: board for target, board in boards.items() if board['judged']}
    found = overview(boards) if len(boards) > 1 else []
    rows = [[str(rank), entry['name'], *(
        ' / '.join(_shown((number, None), form) for number, form in zip(numbers, ('+.2f', '+.2f', '.2f')))
        for numbers in entry['targets'].values()), _shown(entry['score'], '.2f'), str(len(entry['seeds']))]
            for rank, entry in enumerate(found, start=1)]
    head = ['#', 'method', *(f'forget {target}, dB' for target in boards), 'score, dB', 'seeds']
    return Table(head, rows, 2) if rows else None


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


def board_table(board: Mapping) -> Table:
    """The table of one target: original and retrained networks, which have no rank, then the methods by score."""
    tasks = [task for task in board['original'] if task != board['target']]
    steps = ' / '.join(board['rows'][0]['lead'])
    head = ['#', 'method', 'forget PSNR, dB', 'forget gap, dB', *(f'{task} loss, dB' for task in tasks),
            *([f'lead after {steps} steps, dB'] if steps else []), 'relearn gap, dB', 'score, dB', 'seeds', 'time, s',
            'retraining, %', 'memory, MB']
    return Table(head, [[rank, row['name'], *_cells(row)] for rank, row in ranked(board['rows'])], 2)


def _cells(row: Mapping) -> list[str | Ranged]:
    shown = [_shown(row['forget_psnr'], '.2f'), _shown(row['forget_gap'], '+.2f'),
             *(_shown(loss, '+.2f') for loss in row['retain_loss'].values()),
             *([' / '.join(_shown((lead, None), '+.2f') for lead, _ in row['lead'].values())] if row['lead'] else []),
             _shown(row['relearn_gap'], '.2f'), _shown(row['score'], '.2f')]
    if row['kind'] != 'method':
        return [*shown, '', '', '100' if row['kind'] == 'retrained' else '', '']
    return [*shown, str(len(row['seeds'])), f'{row["seconds"]:.0f}', f'{100 * row["share"]:.2g}',
            f'{row["memory_mb"]:.0f}']


def _shown(number: tuple[float | None, float | None], form: str) -> str | Ranged:
    value, spread = number
    if value is None:
        return '–'
    value = round(value, 2)
    shown = format(value, form) if value else '0.00'  # no sign
    return shown if spread is None else Ranged(shown, f'± {spread:.2f}')


def ranked(rows: Sequence[Mapping]) -> list[tuple[str, Mapping]]:
    """Rows with their rank: 1, 2 ... for the methods, none for the references."""
    rank, numbered = 0, []
    for row in rows:
        rank += row['kind'] == 'method'
        numbered.append((str(rank) if row['kind'] == 'method' else '', row))
    return numbered


def board_markdown(board: Mapping) -> str:
    """The table of one target with its caption, aligned for a terminal too."""
    if not board['judged']:
        return board['reason']
    failures = [f'Did not finish: {failure}' for failure in board['failures']]
    return '\n\n'.join([' '.join([caption(board), *board['notes']]), board_table(board).markdown(), *failures])
