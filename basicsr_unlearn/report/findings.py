"""What a first page shows, whoever measured it: a run, the demo or an audit. Values alone; a template lays them out."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.report.charts import ticks
from basicsr_unlearn.report.drawing import Drawing
from basicsr_unlearn.report.pictures import Picture, StripFigure, in_order, kind
from basicsr_unlearn.report.tables import Table

MOST_STRIPS = 4  # data sets with a strip on the first page, two screens high; those of the others are folded
ROLE_WORDS = {'forget': 'to forget', 'unseen': 'to forget, unseen', 'retain': 'to keep'}
MEANINGS = {'unlearned': 'unlearned: the network after', 'original': 'original: the network before',
            'retrained': 'retrained: trained from scratch without the forget set',
            'identity': 'identity baseline: the untouched input'}


@dataclass(frozen=True)
class Figure:
    """A drawing with its heading and what stands below it; `css` is forget or retain, which colours it."""
    drawing: Drawing
    title: str = ''
    caption: str = ''
    css: str = 'forget'


@dataclass(frozen=True)
class Figures:
    """Drawings side by side."""
    figures: Sequence[Figure]


@dataclass(frozen=True)
class Code:
    """Lines to be shown as they are."""
    code: str


Block = str | Sequence[str] | Table | Figures | Code  # a paragraph, a list, ...


@dataclass(frozen=True)
class PageSection:
    """A part of a page or of audit.md below its title; `name` is that of the measurement, where it is of one."""
    title: str
    blocks: Sequence[Block]
    name: str = ''


@dataclass(frozen=True)
class Card:
    """A chart that decides with what it comes to: `figure` in large letters, `words` and a command below; or why it was
    not made.
    """
    title: str
    drawing: Drawing | None = None
    figure: str = ''
    words: str = ''
    code: str = ''


@dataclass(frozen=True)
class Panel:
    """A part of the first page as wide as the page: what it comes to in large letters, words, and cards side by side.
    """
    title: str
    figure: str = ''
    words: str = ''
    cards: Sequence[Card] = ()


@dataclass(frozen=True)
class LevelState:
    """How far an audit's level was reached, and the checks that are to blame where it was not."""
    name: str
    state: str
    required: bool
    meaning: str
    blame: Sequence[str] = ()


@dataclass(frozen=True)
class Slider:
    """The original's and the unlearned network's output on one image."""
    words: str
    before: Picture
    after: Picture


@dataclass(frozen=True)
class Pictures:
    """The images of one data set; the first stands on the first page, details and the others are folded."""
    name: str
    role: str
    strips: Sequence[StripFigure]

    @property
    def css(self) -> str:
        return role_class(self.role)


@dataclass(frozen=True)
class Place:
    """Where every network stands on one data set; `words` say what became of it."""
    name: str
    role: str
    scores: Mapping[str, float]
    words: str

    @property
    def css(self) -> str:
        return role_class(self.role)

    @property
    def marks(self) -> list[tuple[str, float]]:
        """Column and score, those that lie on top last."""
        order = in_order(column for column in self.scores if kind(column) in MEANINGS)
        return [(column, self.scores[column]) for column in sorted(order, key='unlearned'.__eq__)]


@dataclass(frozen=True)
class Standing:
    """The picture of where every network stands: a row for each data set, all on one axis; `more` are without a row."""
    places: Sequence[Place]
    yardstick: Yardstick
    more: Sequence[str] = ()

    @property
    def ticks(self) -> list[float]:
        return ticks(*self._ends(), 6)

    def at(self, value: float) -> float:
        """Where a score lies on the axis, in percent."""
        low, high = self.ticks[0], self.ticks[-1]
        return round(100 * (value - low) / (high - low), 2)

    def shown(self, value: float) -> str:
        return self.yardstick.shown(value).removesuffix(f' {self.yardstick.unit}')

    @property
    def key(self) -> dict[str, str]:
        """What each kind of mark means."""
        there = {kind(column) for place in self.places for column in place.scores}
        return {column: meaning for column, meaning in MEANINGS.items() if column in there}

    def spoken(self, place: Place) -> str:
        return ', '.join(f'{column} {self.yardstick.shown(value)}' for column, value in place.marks)

    def _ends(self) -> tuple[float, float]:
        values = [value for place in self.places for _, value in place.marks]
        return min(values), max(values)


@dataclass(frozen=True)
class Findings:
    """A page from the verdict down. `state` is passed, failed or '' where nothing is required; of `headline` the first
    sentence is the largest; of `pictures` the first `strips` are shown; `sections` are folded, `opened` are not.
    """
    title: str
    headline: Sequence[str]
    verdict: str
    facts: Sequence[tuple[str, str]]
    state: str = ''
    required: str = ''
    cause: str = ''
    levels: Sequence[LevelState] = ()
    warnings: Sequence[str] = ()
    slider: Slider | None = None
    standing: Standing | None = None
    cards: Sequence[Card] = ()
    panel: Panel | None = None
    pictures: Sequence[Pictures] = ()
    strips: int = MOST_STRIPS
    opened: Sequence[PageSection] = ()
    sections: Sequence[PageSection] = ()


def role_class(role: str) -> str:
    """The role's class in the style sheet."""
    return 'retain' if role == 'retain' else 'forget'


def gap_words(gap: float, against: Sequence[str], yardstick: Yardstick) -> str:
    """How a forget set ended beside what it is held against, such as '0.03 dB better than retrained'."""
    place = 'the input' if list(against) == ['identity'] else 'retrained'
    shown = yardstick.shown(abs(gap))
    if shown == yardstick.shown(0):
        return f'level with {place}'
    return f'{shown} {"better" if gap > 0 else "worse"} than {place}'


def loss_words(loss: float, yardstick: Yardstick) -> str:
    """What a retain set lost or gained."""
    return f'{yardstick.shown(abs(loss))} {"lost" if loss >= 0 else "gained"}'
