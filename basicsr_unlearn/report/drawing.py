"""A drawing of few shapes, each with a class of the style sheet: as inline SVG here, as pixels in `still`."""
from collections.abc import Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

Point = tuple[float, float]


@dataclass(frozen=True)
class Shape:
    """`points` of a line, a polygon, a circle's middle or where a text stands; `size` is the radius of a circle."""
    kind: str  # line, polygon, circle, text
    css: str
    points: Sequence[Point]
    size: float = 0.0
    string: str = ''  # of a text; of another shape what a pointer above it is told
    anchor: str = 'start'  # of a text: or middle, or end


@dataclass
class Drawing:
    """Shapes in their order, on a field of so many units, whose letters are 11.5 high; `spoken` is for who cannot see.
    """
    width: float
    height: float
    spoken: str
    shapes: list[Shape] = field(default_factory=list)

    def line(self, css: str, *points: Point) -> None:
        """A line through the points."""
        self.shapes.append(Shape('line', css, points))

    def polygon(self, css: str, points: Sequence[Point]) -> None:
        """A filled area."""
        self.shapes.append(Shape('polygon', css, points))

    def circle(self, css: str, middle: Point, radius: float, told: str = '') -> None:
        """A circle; `told` is what a pointer above it is told."""
        self.shapes.append(Shape('circle', css, [middle], radius, told))

    def text(self, css: str, at: Point, string: str, anchor: str = 'start') -> None:
        """Letters on a base line."""
        self.shapes.append(Shape('text', css, [at], string=string, anchor=anchor))

    def __html__(self) -> str:
        """As inline SVG, which a template takes as it is."""
        return (f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-label="{escape(self.spoken)}">'
                f'{Markup("").join(map(_svg, self.shapes))}</svg>')


def _svg(shape: Shape) -> Markup:
    x, y = shape.points[0]
    if shape.kind == 'text':
        return Markup('<text class="{}" x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(
            shape.css, x, y, shape.anchor, shape.string)
    if shape.kind == 'circle':
        told = Markup('<title>{}</title>').format(shape.string) if shape.string else ''
        return Markup('<circle class="{}" cx="{:.1f}" cy="{:.1f}" r="{:g}">{}</circle>').format(
            shape.css, x, y, shape.size, told)
    points = ' '.join(f'{x:.1f},{y:.1f}' for x, y in shape.points)
    return Markup('<{} class="{}" points="{}"/>').format('polyline' if shape.kind == 'line' else 'polygon', shape.css,
                                                         points)
