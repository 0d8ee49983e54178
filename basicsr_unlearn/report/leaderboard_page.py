"""The leaderboard as one HTML file: a table and a picture per forget target, for screen, phone and paper."""
from collections.abc import Mapping, Sequence
from html import escape
from math import asinh
from pathlib import Path
from statistics import mean

from basicsr_unlearn.proof.benchmark.leaderboard import (
    OVERVIEW,
    caption,
    cells_of,
    columns,
    measured,
    overview_cells,
    ranked,
)
from basicsr_unlearn.report.charts import signed
from basicsr_unlearn.report.drawing import fill

WIDTH, HEIGHT = 760, 460  # of the picture, in its own units
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 30, 46
RADIUS, LETTER, LINE = 9, 7.3, 15  # of a dot; width and height of a letter of its label
LINEAR = 0.1  # dB up to which the axes are about linear, beyond logarithmic: methods differ by orders of magnitude
TICKS = (-30, -10, -3, -1, -0.3, -0.1, 0, 0.1, 0.3, 1, 3, 10, 30)
GOAL_GAP, GOAL_LOSS = 0.2, 0.1  # dB: what the project aims at, the shaded area


def write_page(path: str | Path, summary: Mapping, option_text: str) -> None:
    """Write the page.

    Args:
        path: the .html file.
        summary: what leaderboard.json holds, see `basicsr_unlearn.cli.benchmark.write_boards`.
        option_text: the benchmark file, shown at the end.
    """
    fill(path, Path(__file__).parent / 'leaderboard_page.html',
         title=escape(f'Unlearning benchmark {summary["name"]}'), top=_top(summary) + _overview(summary['targets']),
         boards=''.join(_board(board) for board in summary['targets'].values()), measured=_legend(summary),
         option_text=escape(option_text))


def _top(summary: Mapping) -> str:
    best = []
    for target, board in summary['targets'].items():
        methods = [row for row in board['rows'] if row['kind'] == 'method']
        if methods:
            best.append(f'<li><span>{escape(target)}</span> <b>{escape(methods[0]["name"])}</b> '
                        f'{methods[0]["score"][0]:.2f} dB</li>')
    methods = {row['name'] for board in summary['targets'].values() for row in board['rows'] if row['kind'] == 'method'}
    seeds = summary['seeds']
    facts = (f'{len(methods)} {"method" if len(methods) == 1 else "methods"}, {"seed" if len(seeds) == 1 else "seeds"} '
             f'{", ".join(map(str, seeds))}, basicsr_unlearn {escape(summary["version"])}')
    return (f'<header><h1>Unlearning benchmark: {escape(summary["name"])}</h1><p class="muted">{facts}. First of each '
            f'target, with the score, which is a distance from the retrained networks:</p>'
            f'<ul class="best">{"".join(best)}</ul></header>')


def _overview(boards: Mapping[str, Mapping]) -> str:
    """All targets in one table; '' for a single one, or while no method has all of them."""
    head, *lines = overview_cells(boards) or [[]]
    if not lines:
        return ''
    titles = ''.join(f'<th scope="col">{escape(name)}</th>' for name in head[1:])
    rows = ''.join(f'<tr class="method"><th scope="row"><span class="rank">{rank}</span>{escape(name)}</th>'
                   + ''.join(f'<td>{_cell(cell)}</td>' for cell in cells)
                   + f'<td class="score">{_cell(score)}</td><td>{seeds}</td></tr>'
                   for rank, name, *cells, score, seeds in lines)
    return (f'<section><h2>All targets</h2><p>{escape(OVERVIEW)}</p><div class="scroll"><table><thead><tr>{titles}</tr>'
            f'</thead><tbody>{rows}</tbody></table></div></section>')


def _legend(summary: Mapping) -> str:
    return ''.join(f'<dt>{escape(term)}</dt><dd>{escape(words)}</dd>' for term, words in measured(summary))


def _board(board: Mapping) -> str:
    if not board['judged']:
        return f'<section><h2>Forgetting {escape(board["target"])}</h2><p>{escape(board["reason"])}</p></section>'
    notes = ''.join(f'<p>{escape(note)}</p>' for note in board['notes'])
    return (f'<section><h2>Forgetting {escape(board["target"])}</h2><p>{escape(caption(board))}</p>{notes}'
            f'{picture(board)}{_table(board)}{_failures(board)}</section>')


def _table(board: Mapping) -> str:
    head = ''.join(f'<th scope="col">{escape(name)}<small>{unit}</small></th>' for name, unit in columns(board))
    score = [name for name, _ in columns(board)].index('score')
    groups: dict[bool, list[str]] = {False: [], True: []}
    for rank, row in ranked(board['rows']):
        cells = ''.join(f'<td{" class=score" if i == score else ""}>{_cell(cell)}</td>'
                        for i, cell in enumerate(cells_of(row)))
        groups[row['kind'] == 'method'].append(
            f'<tr class="{row["kind"]}"><th scope="row"><span class="rank">{rank}</span>{escape(row["name"])}</th>'
            f'{cells}</tr>')
    bodies = ''.join(f'<tbody>{"".join(rows)}</tbody>' for rows in groups.values())
    return (f'<div class="scroll"><table><thead><tr><th scope="col">method</th>{head}</tr></thead>{bodies}</table>'
            '</div>')


def _cell(text: str) -> str:
    value, sign, spread = escape(text).replace('-', '−').partition(' ± ')
    return f'{value}<small>{sign}{spread}</small>' if sign else value


def _failures(board: Mapping) -> str:
    items = ''.join(f'<li>{escape(failure)}</li>' for failure in board['failures'])
    return f'<p>Did not finish:</p><ul class="failures">{items}</ul>' if items else ''


def picture(board: Mapping) -> str:
    """Forget gap against the mean retain loss, an SVG with one dot per method; '' without a method."""
    points = [(rank, row, row['forget_gap'][0], mean(loss for loss, _ in row['retain_loss'].values()))
              for rank, row in ranked(board['rows'])]
    if not any(rank for rank, *_ in points):
        return ''
    x = _axis([gap for *_, gap, _ in points], GOAL_GAP, LEFT, WIDTH - RIGHT)
    y = _axis([loss for *_, loss in points], GOAL_LOSS, HEIGHT - BOTTOM, TOP)
    parts = [f'<rect class="goal" x="{x(-GOAL_GAP):.1f}" y="{y(GOAL_LOSS):.1f}" '
             f'width="{x(GOAL_GAP) - x(-GOAL_GAP):.1f}" height="{HEIGHT - BOTTOM - y(GOAL_LOSS):.1f}"/>']
    for tick in TICKS:
        zero = ' zero' if tick == 0 else ''
        if LEFT <= x(tick) <= WIDTH - RIGHT:
            parts.append(f'<line class="grid{zero}" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP}" '
                         f'y2="{HEIGHT - BOTTOM}"/><text x="{x(tick):.1f}" y="{HEIGHT - BOTTOM + 17}" '
                         f'text-anchor="middle">{signed(tick)}</text>')
        if TOP <= y(tick) <= HEIGHT - BOTTOM:
            parts.append(f'<line class="grid{zero}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(tick):.1f}" '
                         f'y2="{y(tick):.1f}"/><text x="{LEFT - 7}" y="{y(tick) + 4:.1f}" text-anchor="end">'
                         f'{signed(tick)}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="name" x="{middle:.1f}" y="{HEIGHT - 6}" text-anchor="middle">forget gap, dB</text>'
                 f'<text class="name" x="{LEFT}" y="{TOP - 11}">mean loss on the other tasks, dB</text>')
    dots = [(x(gap), y(loss)) for *_, gap, loss in points]
    names = [row['name'] for _, row, *_ in points]
    for (cx, cy), name, place in zip(dots, names, label_places(dots, names)):
        if place:
            left, top = place
            end = min(max(cx, left), left + LETTER * len(name)), min(max(cy, top), top + LINE)
            if (end[0] - cx)**2 + (end[1] - cy)**2 > (2 * RADIUS)**2:
                parts.append(f'<line class="leader" x1="{cx:.1f}" y1="{cy:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>')
            parts.append(f'<text class="label" x="{left:.1f}" y="{top + LINE - 4:.1f}">{escape(name)}</text>')
    for (cx, cy), (rank, row, gap, loss) in reversed(list(zip(dots, points))):  # the best on top
        spoken = f'{row["name"]}: forget gap {gap:+.2f} dB, mean loss {loss:+.2f} dB'
        parts.append(f'<g class="{row["kind"]}"><title>{escape(spoken)}</title>'
                     f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="{RADIUS}"/>'
                     f'<text class="rank" x="{cx:.1f}" y="{cy + 3.8:.1f}" text-anchor="middle">{rank}</text></g>')
    return (f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="Forget gap against loss of '
            f'{len(points)} networks">{"".join(parts)}</svg><figcaption>A dot per network, methods with their rank; '
            'the ring is the retrained, the small dot the original network. Shaded is the aim: at most '
            f'{GOAL_GAP} dB beside the reference and {GOAL_LOSS} dB lost. Axes are linear up to about {LINEAR} dB and '
            'logarithmic beyond.</figcaption></figure>')


def _axis(values: Sequence[float], goal: float, start: float, end: float):
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
        width = LETTER * len(name)
        fan = [(cx + RADIUS + 4 + 12 * far if right else cx - RADIUS - 4 - 12 * far - width,
                cy - LINE / 2 + sign * LINE * far)
               for far in range(7) for right in (True, False) for sign in ((0,) if far == 0 else (-1, 1, 0))]
        free = [(left, top) for left, top in fan
                if LEFT < left and left + width < WIDTH - RIGHT and TOP < top and top + LINE < HEIGHT - BOTTOM
                and not any(left < box[2] and box[0] < left + width and top < box[3] and box[1] < top + LINE
                            for box in taken)]
        places.append(free[0] if free else None)
        if free:
            taken.append((free[0][0], free[0][1], free[0][0] + width, free[0][1] + LINE))
    return places
