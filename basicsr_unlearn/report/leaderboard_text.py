"""A leaderboard in words and numbers as they are read: its tables, for Markdown, terminal and page alike."""
from collections import Counter
from collections.abc import Mapping, Sequence

from basicsr_unlearn.proof.benchmark.leaderboard import overview
from basicsr_unlearn.report.tables import Ranged, Table

SCORE = ('|gap| + mean over the other tasks of the loss (0 where a task has gained) + lead beyond the retrained '
         'networks (0 where it is not), in dB; within a budget methods are sorted by it, lower is better (our choice)')
OVERVIEW = ('Of each target: worst gap / largest loss on another task / lead beyond the retrained networks, means over '
            'its seeds. The score is |gap| + mean loss on the other tasks (0 where one has gained) + lead beyond, in '
            'the mean of the targets, ± standard deviation over the seeds that all targets have. Compare methods that '
            'cost about as much.')
ON_THE_FRONT = '•'


def overview_table(boards: Mapping[str, Mapping]) -> Table | None:
    """All targets in one table; None where fewer than two targets can be judged, or no method has all of them."""
    boards = {target: board for target, board in boards.items() if board['judged']}
    found = overview(boards) if len(boards) > 1 else []
    rows = [[str(rank), entry['name'], *(
        ' / '.join(_shown((number, None)) for number in numbers) for numbers in entry['targets'].values()),
        _shown(entry['score'], '.2f'), _percent(entry['share']), str(len(entry['seeds']))]
            for rank, entry in enumerate(found, start=1)]
    head = ['#', 'method', *(f'forget {target}, dB' for target in boards), 'score, dB', 'retraining, %', 'seeds']
    return Table(head, rows, 2) if rows else None


def caption(board: Mapping) -> str:
    """What the numbers of a leaderboard are held against, in words."""
    target, references = board['target'], board['references']
    reference = references[target]
    seeds = max((row['networks'] for row in board['rows'] if row['kind'] == 'method'), default=0)
    spread = f', mean ± standard deviation over up to {seeds} seeds' if seeds > 1 else ', of one seed'
    if not reference['networks']:
        against = (f'no retrained network is given, so the gap is the distance from the identity baseline '
                   f'({reference["low"]:.2f} dB), and there is no lead')
    elif reference['networks'] == 1:
        against = (f'the gap is the distance from the one retrained network ({reference["low"]:.2f} dB), a point where '
                   'several seeds would give a range, and the zero of the lead has no spread')
    else:
        against = (f'the gap is the distance outside the range of {reference["networks"]} retrained networks '
                   f'({reference["low"]:.2f} to {reference["high"]:.2f} dB on {target}; one more would lie within '
                   f'{reference["one_more"]:.2f} dB of their mean with a confidence of 80 %)')
    worst = f', on the worst of {", ".join(board["strengths"])}' if len(references) > 1 else ''
    return (f'PSNR in dB on {board["images"]} images{spread}; {against}{worst}. Above 0 something is left of the '
            f'skill, below 0 is over-forgetting. The untouched input of {target} has '
            f'{board["identity"][target]:.2f} dB, the original {board["original"][target]:.2f} dB.')


def measured(summary: Mapping) -> list[tuple[str, str]]:
    """What each number is, in words; `summary` is what leaderboard.json holds."""
    attacks, retraining = summary['attacks'], summary['retraining']
    how = ('the three strongest kinds of attackers: learning again, undoing the parts of a method, turned images'
           if attacks['quick'] else 'all attackers')
    return [
        ('score', SCORE),
        ('gap', 'how far the PSNR on a forget test set lies outside the range of the retrained networks, on the set '
                'where it is furthest, which is named; beside it, after ±, within what distance of their mean one more '
                'retrained network would lie there with a confidence of 80 %'),
        ('loss', 'PSNR of the original less that of the unlearned network, on the other tasks'),
        ('lead, beyond', f'the best that any attacker reaches ({how}; he knows the method, has '
                         f'{_listed(attacks["pairs"])} forget pairs and {attacks["steps"][-1]} steps at most), less '
                         "the mean of the retrained networks' own best within as many pairs and steps; beyond: less "
                         'the best of theirs. Where it is furthest beyond; the attacker is named. Retrained networks '
                         'are held against one another'),
        ('seeds', 'how many runs the means and spreads are of'),
        ('retraining', 'forward and backward passes of patches, as run.json counts them, those of attacks, proxies and '
                       f'preparations with them, as a share of the {retraining["steps"]:,} steps of '
                       f'{retraining["batch"]} that retraining takes; a backward pass is worth two forward. '
                       f'{ON_THE_FRONT}: no method is cheaper and better'),
        ('time', 'processor time of unlearning, of one thread'),
        ('memory', 'peak of the process while unlearning, or of the GPU'),
    ]


def board_tables(board: Mapping) -> list[tuple[str, Table, list[str]]]:
    """The tables of one target, one for each budget that a method needs: what it is of, the table, the kinds of rows.

    In each the original and the retrained networks, which have no rank, then the methods by score.
    """
    rows = board['rows']
    known = [row for row in rows if row['kind'] != 'method']
    tables = []
    for budget in dict.fromkeys(row['budget'] for row in rows if row['kind'] == 'method'):
        own = [*known, *(row for row in rows if row['kind'] == 'method' and row['budget'] == budget)]
        title = f"Up to {budget:g} % of retraining's arithmetic" if budget is not None else 'More than that'
        tables.append((title, _table(board, own), [row['kind'] for row in own]))
    return tables or [('References', _table(board, known), [row['kind'] for row in known])]


def _table(board: Mapping, rows: Sequence[Mapping]) -> Table:
    tasks = [task for task in board['original'] if task not in board['strengths']]
    head = ['#', 'method', 'forget PSNR, dB', 'gap, dB', 'at', 'one more, dB', *(f'{task} loss, dB' for task in tasks),
            'lead, dB', 'beyond, dB', 'attacker', 'score, dB', 'seeds', 'retraining, %', 'front', 'time, s',
            'memory, MB']
    return Table(head, [[rank, row['name'], *_cells(row, board)] for rank, row in ranked(rows)], 2)


def _cells(row: Mapping, board: Mapping) -> list[str | Ranged]:
    one_more = board['references'][row['worst_at']]['one_more']
    within = row['within']
    attacker = f'{row["attacker"]} ({within["pairs"]} pairs, {within["steps"]} steps)' if within else '–'
    shown = [_shown(row['forget_psnr'], '.2f'), _shown(row['gap']), row['worst_at'],
             '–' if one_more is None else f'± {one_more:.2f}', *(_shown(loss) for loss in row['retain_loss'].values()),
             _shown(row['lead']), _shown(row['beyond']), attacker, _shown(row['score'], '.2f')]
    if row['kind'] != 'method':
        return [*shown, '', '100' if row['kind'] == 'retrained' else '', '', '', '']
    return [*shown, str(len(row['seeds'])), _percent(row['share']), ON_THE_FRONT if row['front'] else '',
            f'{row["seconds"]:.0f}', f'{row["memory_mb"]:.0f}']


def _shown(number: tuple[float | None, float | None], form: str = '+.2f') -> str | Ranged:
    value, spread = number
    if value is None:
        return '–'
    value = round(value, 2)
    shown = format(value, form) if value else '0.00'  # no sign
    return shown if spread is None else Ranged(shown, f'± {spread:.2f}')


def _percent(share: float) -> str:
    return f'{100 * share:.2g}' if share < 1 else f'{100 * share:.0f}'


def _listed(numbers: Sequence[float]) -> str:
    *others, last = map(str, numbers)
    return f'{", ".join(others)} or {last}' if others else last


def ranked(rows: Sequence[Mapping]) -> list[tuple[str, Mapping]]:
    """Rows with their rank: 1, 2 ... for the methods within each budget, none for the references."""
    ranks, numbered = Counter(), []
    for row in rows:
        if row['kind'] == 'method':
            ranks[row['budget']] += 1
        numbered.append((str(ranks[row['budget']]) if row['kind'] == 'method' else '', row))
    return numbered


def board_markdown(board: Mapping) -> str:
    """The tables of one target with their caption, aligned for a terminal too."""
    if not board['judged']:
        return board['reason']
    tables = [part for title, table, _ in board_tables(board) for part in (f'**{title}**', table.markdown())]
    failures = [f'Did not finish: {failure}' for failure in board['failures']]
    return '\n\n'.join([' '.join([caption(board), *board['notes']]), *tables, *failures])
