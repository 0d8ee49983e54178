"""The leaderboard as Markdown and as one HTML file, with a table and a picture per forget target."""
from collections.abc import Callable, Mapping, Sequence
from math import asinh
from pathlib import Path
from statistics import mean

from basicsr_unlearn.report.charts import signed
from basicsr_unlearn.report.drawing import Drawing
from basicsr_unlearn.report.leaderboard_text import (
    OVERVIEW,
    board_markdown,
    board_tables,
    caption,
    measured,
    overview_table,
    ranked,
)
from basicsr_unlearn.report.pages import write_page

FIELD_W, FIELD_H = 760, 460  # of the picture, in its own units
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 30, 46
RADIUS, LABEL_W, LABEL_H = 9, 7.3, 15  # of a dot; width and height of a letter of its label
LINEAR = 0.1  # dB up to which the axes are about linear, beyond logarithmic: methods differ by orders of magnitude
TICKS = (-30, -10, -3, -1, -0.3, -0.1, 0, 0.1, 0.3, 1, 3, 10, 30)
GOAL_GAP, GOAL_LOSS = 0.2, 0.2  # dB: what the project aims at, the shaded area


def write_leaderboard(folder: Path, summary: Mapping, option_text: str) -> list[Path]:
    """Write leaderboard.md and leaderboard.html; their paths.

    Args:
        folder: theirs.
        summary: what leaderboard.json holds, see `basicsr_unlearn.cli.benchmark.write_boards`.
        option_text: the benchmark file, shown at the end.
    """
    methods = {target: [row for row in board['rows'] if row['kind'] == 'method']
               for target, board in summary['targets'].items()}
    boards = [{'found': board, 'drawing': standing_of_methods(board), 'caption': caption(board),
               'tables': board_tables(board)}
              if board['judged'] else {'found': board} for board in summary['targets'].values()]
    values = {'title': f'Unlearning benchmark: {summary["name"]}', 'summary': summary, 'boards': boards,
              'board_markdown': board_markdown, 'pairs': zip,
              'methods': {row['name'] for rows in methods.values() for row in rows},
              'best': {target: min(rows, key=lambda row: row['score'][0]) for target, rows in methods.items() if rows},
              'option_text': option_text,
              'overview': overview_table(summary['targets']), 'overview_words': OVERVIEW, 'measured': measured(summary),
              'goal_gap': GOAL_GAP, 'goal_loss': GOAL_LOSS, 'linear': LINEAR}
    paths = [folder / f'leaderboard.{suffix}' for suffix in ('md', 'html')]
    for path in paths:
        write_page(path, path.name, **values)
    return paths


def standing_of_methods(board: Mapping) -> Drawing | None:
    """Forget gap against the mean retain loss, a dot per network; None without a method."""
    points = [(rank, row, row['gap'][0], mean(loss for loss, _ in row['retain_loss'].values()))
              for rank, row in ranked(board['rows'])]
    if not any(rank for rank, *_ in points):
        return None
    x = _axis([gap for *_, gap, _ in points], GOAL_GAP, LEFT, FIELD_W - RIGHT)
    y = _axis([loss for *_, loss in points], GOAL_LOSS, FIELD_H - BOTTOM, TOP)
    drawing = Drawing(FIELD_W, FIELD_H, f'Forget gap against loss of {len(points)} networks')
    left, right, floor = x(-GOAL_GAP), x(GOAL_GAP), FIELD_H - BOTTOM
    drawing.polygon('goal', [(left, y(GOAL_LOSS)), (right, y(GOAL_LOSS)), (right, floor), (left, floor)])
    for tick in TICKS:
        css = 'grid zero' if tick == 0 else 'grid'
        if LEFT <= x(tick) <= FIELD_W - RIGHT:
            drawing.line(css, (x(tick), TOP), (x(tick), floor))
            drawing.text('', (x(tick), floor + 17), signed(tick), 'middle')
        if TOP <= y(tick) <= floor:
            drawing.line(css, (LEFT, y(tick)), (FIELD_W - RIGHT, y(tick)))
            drawing.text('', (LEFT - 7, y(tick) + 4), signed(tick), 'end')
    drawing.text('name', ((LEFT + FIELD_W - RIGHT) / 2, FIELD_H - 6), 'gap at the worst strength, dB', 'middle')
    drawing.text('name', (LEFT, TOP - 11), 'mean loss on the other tasks, dB')
    dots = [(x(gap), y(loss)) for *_, gap, loss in points]
    names = [row['name'] for _, row, *_ in points]
    for (cx, cy), name, place in zip(dots, names, label_places(dots, names)):
        if place:
            left, top = place
            end = min(max(cx, left), left + LABEL_W * len(name)), min(max(cy, top), top + LABEL_H)
            if (end[0] - cx)**2 + (end[1] - cy)**2 > (2 * RADIUS)**2:
                drawing.line('leader', (cx, cy), end)
            drawing.text('label', (left, top + LABEL_H - 4), name)
    for (cx, cy), (rank, row, gap, loss) in reversed(list(zip(dots, points))):  # the best on top
        drawing.circle(f'disc {row["kind"]}', (cx, cy), RADIUS,
                       f'{row["name"]}: gap {gap:+.2f} dB at {row["worst_at"]}, mean loss {loss:+.2f} dB')
        if rank:
            drawing.text('rank', (cx, cy + 3.8), rank, 'middle')
    return drawing


def _axis(values: Sequence[float], goal: float, start: float, end: float) -> Callable[[float], float]:
    """value in dB -> position; the axis spans the values, zero and the goal, with some room around."""
    low, high = (asinh(value / LINEAR) for value in (min(*values, -goal), max(*values, goal)))
    room = 0.06 * (high - low)
    low, high = low - room, high + room
    return lambda value: start + (end - start) * (asinh(value / LINEAR) - low) / (high - low)


def label_places(dots: Sequence[tuple[float, float]], names: Sequence[str]) -> list[tuple[float, float] | None]:
    """Left and top of each label so that none covers a dot or another label; None where there is no room.

    The nearest of a fan of places around the dot that is free, label by label.
    """
    taken = [(cx - RADIUS, cy - RADIUS, cx + RADIUS, cy + RADIUS) for cx, cy in dots]
    places: list[tuple[float, float] | None] = []
    for (cx, cy), name in zip(dots, names):
        width = LABEL_W * len(name)
        fan = [(cx + RADIUS + 4 + 12 * far if right else cx - RADIUS - 4 - 12 * far - width,
                cy - LABEL_H / 2 + sign * LABEL_H * far)
               for far in range(7) for right in (True, False) for sign in ((0,) if far == 0 else (-1, 1, 0))]
        free = [(left, top) for left, top in fan
                if LEFT < left and left + width < FIELD_W - RIGHT and TOP < top and top + LABEL_H < FIELD_H - BOTTOM
                and not any(left < box[2] and box[0] < left + width and top < box[3] and box[1] < top + LABEL_H
                            for box in taken)]
        places.append(free[0] if free else None)
        if free:
            taken.append((free[0][0], free[0][1], free[0][0] + width, free[0][1] + LABEL_H))
    return places
