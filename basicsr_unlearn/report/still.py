"""The first page as one picture, drawn without a browser: for a README, a talk or a thread."""
import base64
import io
import os
from collections.abc import Callable, Sequence
from math import dist
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.proof.words import capital
from basicsr_unlearn.report.drawing import Point, Shape
from basicsr_unlearn.report.findings import ROLE_WORDS, Card, Findings, Panel, Pictures, Place, Standing
from basicsr_unlearn.report.pictures import Picture

PAGE, BLACK, MUTED, RULE = '#fcfcfb', '#17191c', '#5f666e', '#d9dcdf'
FORGET, RETAIN, RETRAINED, GREEN, RED = '#b3471d', '#1f6f69', '#3b5bbd', '#2c6a45', '#9a2f48'
COLOURS = {'original': BLACK, 'identity': MUTED, 'retrained': RETRAINED, 'unlearned': FORGET, 'ring': RETRAINED,
           'grid': RULE, 'zero': MUTED, 'head': BLACK, 'beside': MUTED}
ROLE_COLOURS = {'forget': FORGET, 'retain': RETAIN}
STATE_COLOURS = {'passed': GREEN, 'failed': RED}
DASHES = {'identity': (1.5, 3.5), 'retrained': (6, 4)}
ACROSS, MARGIN, STUB, APART = 1000, 28, 96, 10  # units: of the picture, around it, of the names, between photographs
DENSITY, FINER = 1.2, 2  # pixels a unit, and how much finer everything is drawn before it is made smaller
PHOTO = (2, 1)  # width to height of a photograph
SUFFIXES = {'.png': {'optimize': True}, '.jpg': {'quality': 88, 'subsampling': 0}, '.webp': {'quality': 88}}


def write_still(path: str | Path, found: Findings) -> None:
    """Write the verdict, what decides it and a strip for each data set as a picture, 1200 pixels wide.

    Args:
        path: of a .png (of 256 colours, to be small), .jpg or .webp file.
        found: what the page shows.

    Raises:
        OptionError: another suffix, or the file cannot be written.
    """
    path = check_still(path)
    tall = _draw(Canvas(1), found)
    canvas = Canvas(tall + MARGIN)
    _draw(canvas, found)
    image = canvas.image.reduce(FINER)
    if path.suffix == '.png':
        image = _few_colours(image)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **SUFFIXES[path.suffix])
    except OSError as error:
        raise OptionError(f'{path} cannot be written: {error.strerror}.') from error


def check_still(path: str | Path) -> Path:
    """The path, if a picture can be written there. Raises OptionError."""
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise OptionError(f'--picture {path} is no file of a picture: name one that ends in {", ".join(SUFFIXES)}.')
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if path.is_dir() or not there.is_dir() or not os.access(there, os.W_OK):
        raise OptionError(f'--picture {path} cannot be written there: name a file in a folder of yours.')
    return path


def _few_colours(image: Image.Image) -> Image.Image:
    """With a palette, in which the colours of the charts stay what they are beside those of the photographs."""
    ours = [int(colour[i:i + 2], 16) for colour in {PAGE, BLACK, *COLOURS.values(), *ROLE_COLOURS.values(),
                                                   *STATE_COLOURS.values()} for i in (1, 3, 5)]
    palette = Image.new('P', (1, 1))
    palette.putpalette(image.quantize(256 - len(ours) // 3).getpalette()[:768 - len(ours)] + ours)
    return image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG)


class Canvas:
    """Paper to draw on, in units."""

    def __init__(self, tall: float):
        self.scale = DENSITY * FINER
        self.image = Image.new('RGB', (round(ACROSS * self.scale), max(1, round(tall * self.scale))), PAGE)
        self.draw = ImageDraw.Draw(self.image)

    def at(self, *points: Point) -> list[tuple[float, float]]:
        return [(x * self.scale, y * self.scale) for x, y in points]

    def text(self, at: Point, string: str, size: float = 13, colour: str = BLACK, bold: bool = False,
             anchor: str = 'ls') -> None:
        """Letters on a base line; `anchor` as Pillow has it. Its font has no true minus."""
        self.draw.text(self.at(at)[0], string.replace('−', '-'), colour, self._font(size), anchor,
                       stroke_width=size * self.scale * 0.022 if bold else 0, stroke_fill=colour)

    def wrapped(self, at: Point, string: str, width: float, size: float = 13, colour: str = BLACK, bold: bool = False
                ) -> float:
        """Lines of at most this width from the top at `at`; where the next one would begin."""
        lines = ['']
        for word in string.split():
            longer = f'{lines[-1]} {word}'.strip()
            if self.width(longer, size) > width and lines[-1]:
                lines.append(word)
            else:
                lines[-1] = longer
        for number, line in enumerate(lines):
            self.text((at[0], at[1] + size * (1.0 + 1.3 * number)), line, size, colour, bold)
        return at[1] + size * 1.3 * len(lines)

    def width(self, string: str, size: float) -> float:
        """Of so large letters, bold or not."""
        return self._font(size).getlength(string) / self.scale * 1.03

    def line(self, points: Sequence[Point], colour: str | tuple, width: float, dash: tuple[float, float] | None = None
             ) -> None:
        for part in _dashed(points, *dash) if dash else [points]:
            self.draw.line(self.at(*part), colour, round(width * self.scale), 'curve')

    def circle(self, middle: Point, radius: float, fill: str | None, edge: str | None = None, width: float = 2) -> None:
        self.draw.circle(self.at(middle)[0], radius * self.scale, fill, edge, round(width * self.scale) if edge else 0)

    def photo(self, picture: Picture, left: float, top: float, width: float) -> None:
        """The middle of a photograph in the form of PHOTO."""
        image = Image.open(io.BytesIO(base64.b64decode(picture.source.partition(',')[2]))).convert('RGB')
        tall = min(image.height, image.width * PHOTO[1] / PHOTO[0])
        wide = min(image.width, tall * PHOTO[0] / PHOTO[1])
        box = ((image.width - wide) / 2, (image.height - tall) / 2, (image.width + wide) / 2, (image.height + tall) / 2)
        size = round(width * self.scale), round(width * PHOTO[1] / PHOTO[0] * self.scale)
        self.image.paste(image.resize(size, Image.Resampling.BICUBIC, box),
                         (round(left * self.scale), round(top * self.scale)))

    def _font(self, size: float) -> ImageFont.FreeTypeFont:
        return ImageFont.load_default(size * self.scale)


def _draw(canvas: Canvas, found: Findings) -> float:
    """Everything, from top to bottom; where it ends."""
    y, inner = MARGIN, ACROSS - 2 * MARGIN
    if found.state:
        word = found.state.capitalize()
        canvas.text((MARGIN, y + 10), word, 13, STATE_COLOURS[found.state], True)
        canvas.text((MARGIN + canvas.width(word, 13) + 6, y + 10), f'the required level, {found.required}', 13, MUTED)
        y += 20
    first, rest = found.headline[0], ' '.join(found.headline[1:])
    y = canvas.wrapped((MARGIN, y), first, inner, 24 if len(first) < 90 else 18, bold=True)
    y = canvas.wrapped((MARGIN, y + 4), rest, inner, 16, bold=True) if rest else y
    y = canvas.wrapped((MARGIN, y + 6), found.verdict, inner, 13, MUTED)
    if found.levels:
        y = _levels(canvas, found, y + 14)
    cards = [card for card in found.cards if card.drawing]
    left = inner if not cards else inner * 0.62
    top = y + 22
    y = _standing(canvas, found.standing, top, left) if found.standing else top
    below = top
    for card in cards:
        below = _card(canvas, card, MARGIN + left + 30, below, inner - left - 30)
    y = max(y, below) + 8
    y = _panel(canvas, found.panel, y + 8) if found.panel else y
    for pictures in found.pictures[:found.strips]:
        y = _strip(canvas, pictures, y + 8)
    return y


def _levels(canvas: Canvas, found: Findings, top: float) -> float:
    gap, ends = 24, []
    width = (ACROSS - 2 * MARGIN + gap) / len(found.levels) - gap
    for number, level in enumerate(found.levels):
        left = MARGIN + number * (width + gap)
        canvas.line([(left, top), (left + width, top)], RULE, 2.5)
        canvas.text((left, top + 19), level.name.capitalize(), 14, bold=True)
        canvas.text((left + width, top + 19), level.state, 13, STATE_COLOURS.get(level.state, MUTED), True, 'rs')
        end = canvas.wrapped((left, top + 26), level.meaning, width, 11, MUTED)
        for blame in level.blame:
            end = canvas.wrapped((left, end + 3), capital(blame), width, 11)
        ends.append(end)
    return max(ends)


def _standing(canvas: Canvas, standing: Standing, top: float, width: float) -> float:
    canvas.text((MARGIN, top + 13), 'Where every network stands', 16, bold=True)
    x, y = MARGIN + 6, top + 34
    for column, meaning in standing.key.items():
        long = 36 + canvas.width(meaning, 11.5)
        if x + long > MARGIN + width and x > MARGIN + 6:
            x, y = MARGIN + 6, y + 20
        _mark(canvas, column, (x + 4, y), BLACK, 0.7)
        canvas.text((x + 18, y + 4), meaning, 11.5, MUTED)
        x += long
    y += 20
    start, end = MARGIN + STUB + 12, MARGIN + width - 178

    def at(value: float) -> float:
        return start + (end - start) * standing.at(value) / 100

    for place in standing.places:
        canvas.line([(MARGIN, y), (MARGIN + width, y)], RULE, 1)
        _place(canvas, standing, place, y, at, (start, end, MARGIN + width - 158))
        y += 48
    canvas.line([(MARGIN, y), (MARGIN + width, y)], RULE, 1)
    for tick in standing.ticks:
        unit = f' {standing.yardstick.unit}' if tick == standing.ticks[-1] else ''
        canvas.text((at(tick), y + 16), f'{tick:g}{unit}', 10.5, MUTED, anchor='ms')
    return y + 22


def _place(canvas: Canvas, standing: Standing, place: Place, top: float, at: Callable[[float], float],
           ends: tuple[float, float, float]) -> None:
    start, end, right = ends
    colour, middle = ROLE_COLOURS[place.css], top + 24
    canvas.text((MARGIN, top + 21), place.name[:14], 14, bold=True)
    canvas.text((MARGIN, top + 36), ROLE_WORDS[place.role].partition(',')[0], 11.5, colour)
    canvas.line([(start - 10, middle), (end + 10, middle)], RULE, 1)
    canvas.line([(at(place.scores[column]), middle) for column in ('original', 'unlearned')], _pale(colour, 0.35), 4)
    for column, value in place.marks:
        _mark(canvas, column.split()[0], (at(value), middle), colour)
    shown = standing.shown(place.scores['unlearned'])
    canvas.text((right, top + 23), shown, 18, bold=True)
    unit = f'{standing.yardstick.unit}, ' if standing.yardstick.unit else ''
    canvas.text((right + canvas.width(shown, 18) + 8, top + 23),
                f'{unit}was {standing.shown(place.scores["original"])}', 11.5, MUTED)
    canvas.text((right, top + 38), place.words, 11.5, MUTED)


def _mark(canvas: Canvas, column: str, at: Point, colour: str, size: float = 1.0) -> None:
    upright = [(at[0], at[1] + end * size) for end in (-12, 12)]
    if column == 'identity':
        canvas.line(upright, MUTED, 2, (2, 3))
    elif column == 'original':
        canvas.line(upright, BLACK, 3)
    elif column == 'retrained':
        canvas.circle(at, 11 * size, None, RETRAINED, 2)
    else:
        canvas.circle(at, 5.5 * size, colour)


def _card(canvas: Canvas, card: Card, left: float, top: float, width: float) -> float:
    canvas.text((left, top + 13), card.title, 14, bold=True)
    scale = width / card.drawing.width
    for shape in card.drawing.shapes:
        _shape(canvas, shape, left, top + 24, scale)
    y = top + 24 + card.drawing.height * scale
    return canvas.wrapped((left, y + 2), card.figure, width, 15, bold=True) + 14


def _panel(canvas: Canvas, panel: Panel, top: float) -> float:
    inner, gap = ACROSS - 2 * MARGIN, 30
    canvas.text((MARGIN, top + 13), panel.title, 16, bold=True)
    y = canvas.wrapped((MARGIN, top + 24), panel.figure, inner, 15, bold=True) if panel.figure else top + 24
    y = canvas.wrapped((MARGIN, y + 2), panel.words, inner, 11.5, MUTED) + 8
    width = (inner + gap) / max(len(panel.cards), 1) - gap
    return max([y, *(_card(canvas, card, MARGIN + i * (width + gap), y, width) for i, card in enumerate(panel.cards))])


def _shape(canvas: Canvas, shape: Shape, left: float, top: float, scale: float) -> None:
    """A shape of a chart, as the style sheet has it."""
    kinds = shape.css.split()
    points = [(left + x * scale, top + y * scale) for x, y in shape.points]
    colour = next((COLOURS[kind] for kind in reversed(kinds) if kind in COLOURS), MUTED)
    line_colour = _pale(colour, 0.35) if 'faint' in kinds else colour
    if shape.kind == 'text':
        canvas.text(points[0], shape.string, 11.5 * scale, colour, 'unlearned' in kinds or 'head' in kinds,
                    {'start': 'ls', 'middle': 'ms', 'end': 'rs'}[shape.anchor])
    elif shape.kind == 'polygon':
        canvas.draw.polygon(canvas.at(*points), _pale(colour, 0.14))
    elif shape.kind == 'circle':
        hollow = 'ring' in kinds
        canvas.circle(points[0], shape.size * scale, PAGE if hollow else line_colour, colour if hollow else None)
    else:
        dash = None if 'span' in kinds else next((DASHES[kind] for kind in kinds if kind in DASHES), None)
        canvas.line(points, line_colour, 1 if 'grid' in kinds else 2, dash)


def _strip(canvas: Canvas, pictures: Pictures, top: float) -> float:
    strip, colour = pictures.strips[0], ROLE_COLOURS[pictures.css]
    canvas.text((MARGIN, top + 34), pictures.name[:14], 14, bold=True)
    canvas.text((MARGIN, top + 50), ROLE_WORDS[pictures.role].partition(',')[0], 11.5, colour)
    width = (ACROSS - 2 * MARGIN - STUB + APART) / len(strip.cells) - APART
    for number, cell in enumerate(strip.cells):
        left = MARGIN + STUB + number * (width + APART)
        canvas.text((left, top + 12), cell.label, 11.5, colour if cell.column == 'unlearned' else BLACK, True)
        canvas.text((left + width, top + 12), cell.score, 11.5, MUTED, anchor='rs')
        canvas.photo(cell.whole, left, top + 18, width)
    return top + 18 + width * PHOTO[1] / PHOTO[0] + 6


def _pale(colour: str, share: float) -> tuple[int, ...]:
    """The colour, so much of it, on paper."""
    parts = [[int(string[i:i + 2], 16) for i in (1, 3, 5)] for string in (colour, PAGE)]
    return tuple(round(share * ink + (1 - share) * paper) for ink, paper in zip(*parts))


def _dashed(points: Sequence[Point], on: float, off: float) -> list[tuple[Point, Point]]:
    """Pieces of a line."""
    found, left, drawing = [], on, True
    for (x, y), end in zip(points, points[1:]):
        while (far := dist((x, y), end)) > 1e-6:
            step = min(left, far)
            to = x + (end[0] - x) * step / far, y + (end[1] - y) * step / far
            if drawing:
                found.append(((x, y), to))
            (x, y), left = to, left - step
            if left <= 1e-6:
                drawing = not drawing
                left = on if drawing else off
    return found
