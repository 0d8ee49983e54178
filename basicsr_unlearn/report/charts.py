"""Charts of the pages: curves over steps, and rows of values on one axis."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from basicsr_unlearn.report.drawing import Drawing

LETTER, BOLD, LINE = 6.6, 7.2, 13.5  # widths of a letter and distance of two lines of text, in units of the drawing
MANY = 60  # dots, beyond which they are paler and the mark has a halo
NARROW = 380  # of a drawing beside where every network stands


@dataclass
class Line:
    """A curve: `points` (x, y) and, where there is a spread, the `ranges` (low, high) of y at each of them."""
    label: str
    css: str
    points: Sequence[tuple[float, float]]
    ranges: Sequence[tuple[float, float]] = ()


@dataclass
class AxisRow:
    """A row on an axis: single values as dots, a statistic as mark with its interval; one without either is a heading.

    `interval` is (value, low, high), of which low and high may be None. `rings` are the retrained networks it is held
    against, `span` where one more of them would lie, and `told` stands at the right in place of the value.
    """
    label: str
    css: str
    interval: tuple[float, float | None, float | None] | None = None
    dots: Sequence[float] = ()
    rings: Sequence[float] = ()
    span: tuple[float, float] | None = None
    told: str = ''


def line_chart(lines: Sequence[Line], references: Mapping[str, float], spoken: str, x_name: str,
               x_ticks: Sequence[float], x_scale: Callable[[float], float] = float, width: int = 400,
               height: int = 240, unit: str = 'dB') -> Drawing:
    """Curves with their last values written at the right end, and reference values as horizontal lines.

    Args:
        lines: drawn in this order; a class of the style sheet tells them apart, by colour and by dashes. One without a
            label has no number at its end.
        references: name, which is its class too -> y.
        spoken: what a reader who cannot see it is told.
        x_name, x_ticks: of the horizontal axis; ticks without room for their number get none.
        x_scale: of an x before it is drawn in proportion, such as `math.log1p`.
        width, height: of the drawing in its own units; letters are 11.5 high.
        unit: of the values: in dB the axis spans 2 at least, in which noise stays small, and values have one decimal.
    """
    least, digits = (2.0, 1) if unit == 'dB' else (0.05, 3)
    labels = {line.label: (line.css, line.points[-1][1]) for line in lines if line.label}
    labels = {**{name: (name, value) for name, value in references.items()}, **labels}
    left, right, top, bottom = 32, 24 + BOLD * max(len(name) + 4 + digits for name in labels), 10, 42
    values = [y for line in lines for _, y in line.points] + [y for line in lines for both in line.ranges for y in both]
    values += references.values()
    middle, span = (min(values) + max(values)) / 2, max(max(values) - min(values), least)
    low, high = middle - span * 0.54, middle + span * 0.54
    xs = [x_scale(x) for line in lines for x, _ in line.points]
    first, last = min(xs), max(max(xs), min(xs) + 1e-6)

    def x(value: float) -> float:
        return left + (width - left - right) * (x_scale(value) - first) / (last - first)

    def y(value: float) -> float:
        return top + (height - top - bottom) * (high - value) / (high - low)

    drawing = Drawing(width, height, spoken)
    for tick in ticks(low, high, height // 40):
        if low <= tick <= high:
            drawing.line('grid', (left, y(tick)), (width - right, y(tick)))
            drawing.text('', (left - 7, y(tick) + 4), signed(tick), 'end')
    for tick in _with_room(x_ticks, x):
        drawing.text('', (x(tick), height - 24), f'{tick:,}', 'middle')
    drawing.text('', ((left + width - right) / 2, height - 6), x_name, 'middle')
    for name, value in references.items():
        drawing.line(f'ref {name}', (left, y(value)), (width - right, y(value)))
    for line in lines:
        if line.ranges:
            drawing.polygon(f'band {line.css}', [
                *((x(at), y(ceiling)) for (at, _), (_, ceiling) in zip(line.points, line.ranges)),
                *[(x(at), y(floor)) for (at, _), (floor, _) in zip(line.points, line.ranges)][::-1]])
    for line in lines:
        points = [(x(at), y(value)) for at, value in line.points]
        drawing.line(f'line {line.css}', *points)
        if len(points) <= 40:
            for point in points:
                drawing.circle(f'point {line.css}', point, 3)
    places = apart([y(value) for _, value in labels.values()], LINE, top + 4, height - bottom - 2)
    for (name, (css, value)), place in zip(labels.items(), places):
        drawing.text(css, (width - right + 8, place + 4), f'{name} {signed(value, digits)}')
    return drawing


def rows_chart(rows: Sequence[AxisRow], spoken: str, axis: tuple[float, float] | None = None, line: float | None = None,
               digits: int = 2, width: int = 400, step: int = 27, line_name: str = '') -> Drawing:
    """One row per network, all on one axis: each value a dot, the statistic a mark with its interval and its number.

    Args:
        axis: its ends; None takes round numbers around all values.
        line: where to draw a line across all rows, such as chance.
        digits: after the point of the number at the right.
        width: of the drawing in its own units; letters are 11.5 high.
        step: from a row to the next.
        line_name: what stands above that line.
    """
    left = 14 + BOLD * max(len(row.label) for row in rows if row.interval or row.dots)
    right = max(48, 8 + BOLD * max(len(row.told) for row in rows))
    top = 22 if line_name else 6
    height = top + step * len(rows) + 24
    if axis is None:
        values = [value for row in rows for value in (*row.dots, *row.rings, *(row.span or ()), *(row.interval or ()))
                  if value is not None]
        marks = ticks(min(values), max(values), 6)
    else:
        marks = [tick for tick in ticks(*axis, 6) if axis[0] <= tick <= axis[1]]
    low, high = axis or (marks[0], marks[-1])

    def x(value: float) -> float:
        return left + (width - left - right) * (value - low) / (high - low)

    drawing = Drawing(width, height, spoken)
    for tick in marks:
        drawing.line('grid zero' if tick == line else 'grid', (x(tick), top), (x(tick), height - 22))
        drawing.text('', (x(tick), height - 7), signed(tick), 'middle')
    if line is not None and line not in marks:
        drawing.line('grid zero', (x(line), top), (x(line), height - 22))
    if line is not None and line_name:
        drawing.text('', (x(line), 12), f'{line_name} {signed(line)}', 'middle')
    for place, row in enumerate(rows):
        y = top + step * (place + 0.5)
        drawing.text(row.css, (0, y + 4), row.label)
        if row.span:
            drawing.polygon('band retrained', [(x(end), y + side) for end, side in zip((*row.span, *row.span[::-1]),
                                                                                       (-8, -8, 8, 8))])
        for value in row.rings:
            drawing.circle('ring', (x(value), y), 5)
        for cx, shift in _swarm([x(value) for value in row.dots]):
            drawing.circle(f'dot many {row.css}' if len(row.dots) > MANY else f'dot {row.css}', (cx, y + shift), 2.6)
        if row.interval:
            _mark(drawing, row, x, y)
            drawing.text(row.css, (width, y + 4), row.told.replace('-', '−') or signed(row.interval[0], digits), 'end')
    return drawing


def _mark(drawing: Drawing, row: AxisRow, x: Callable[[float], float], y: float) -> None:
    value, low, high = row.interval
    lines = [] if low is None or high is None else [((x(low), y), (x(high), y))]
    if row.css in ('original', 'identity'):
        lines.append(((x(value), y - 8), (x(value), y + 8)))
    for css in ('halo', f'span {row.css}')[len(row.dots) <= MANY:]:
        for ends in lines:
            drawing.line(css, *ends)
    if row.css not in ('original', 'identity'):
        drawing.circle('ring' if row.css == 'retrained' else row.css, (x(value), y), 5)


def _swarm(positions: Sequence[float]) -> list[tuple[float, float]]:
    """Dots moved up and down so that few overlap, within the row."""
    placed: list[tuple[float, float]] = []
    for position in sorted(positions):
        shifts = (0, 5, -5, 9, -9)
        free = (shift for shift in shifts if all(abs(position - x) + abs(shift - y) >= 5 for x, y in placed[-12:]))
        placed.append((position, next(free, shifts[len(placed) % len(shifts)])))
    return placed


def _with_room(values: Sequence[float], x: Callable[[float], float]) -> list[float]:
    """Those ticks whose numbers do not touch, the last always among them."""
    kept: list[float] = []
    for value in reversed(values):
        if not kept or x(kept[-1]) - x(value) > LETTER * (len(f'{kept[-1]:,}') + len(f'{value:,}')) / 2 + 6:
            kept.append(value)
    return kept[::-1]


def signed(value: float, digits: int | None = None) -> str:
    """The number with a true minus sign, to so many digits or as short as can be; no minus before what rounds to 0."""
    text = f'{value:g}' if digits is None else f'{value:.{digits}f}'
    return text.lstrip('-') if float(text) == 0 else text.replace('-', '−')


def apart(positions: Sequence[float], distance: float, low: float, high: float) -> list[float]:
    """Move label positions apart to at least `distance`, in their order, as little as a simple sweep allows."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    placed = [0.0] * len(positions)
    floor = low
    for i in order:
        placed[i] = max(positions[i], floor)
        floor = placed[i] + distance
    ceiling = high
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - distance
    return placed


def ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Round numbers that span [low, high], at most about `most` of them."""
    raw = (max(high - low, 1e-6) if high > low else 1.0) / most
    power = 10.0**np.floor(np.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    first, last = int(np.floor(low / step)), int(np.ceil(high / step))
    return [round(float(step * i), 10) for i in range(first, max(last, first + 1) + 1)]


def axis_around(values: Sequence[float], unit: str) -> tuple[float, float]:
    """Round ends of an axis around differences and 0; in dB it spans 1 at least, in which noise stays small."""
    least = 0.5 if unit == 'dB' else 0.0
    marks = ticks(min(-least, *values), max(least, *values), 6)
    return marks[0], marks[-1]
