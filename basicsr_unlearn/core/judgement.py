"""What scores say about forgetting and keeping: one definition for training, demo, audit and benchmark.

A score is the mean of a metric over a data set. Columns of scores: `identity` (the untouched degraded input),
`original`, `unlearned`, and any number of retrained networks (`retrained`, `retrained 2`, ...).
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SKILL_MARGIN = 1.0  # dB; our choice: a tenth of what the shipped networks gain, several times what seeds differ by
FORGET_TOLERANCE = 0.3  # dB, as the next two; our choice: wide, since training judges on a handful of images
RETAIN_TOLERANCE = 0.15
SLIGHT_LOSS = 0.5
SHARE_TOLERANCE = 0.05  # of the way from the original to the reference, in place of FORGET_TOLERANCE where not in dB
SLEEPING_LEAD = 0.5  # dB ahead of the retrained network when learned again, from where the skill is said to sleep

CANNOT_JUDGE, NOT_FORGOTTEN, PARTLY_FORGOTTEN, FORGOTTEN, OVER_FORGOTTEN = FORGET_STATES = (
    'cannot be judged', 'not forgotten', 'only partly forgotten', 'forgotten', 'over-forgotten')
KEPT, SLIGHTLY_WORSE, DAMAGED = KEEP_STATES = ('kept', 'slightly worse', 'damaged')


@dataclass(frozen=True)
class Yardstick:
    """The metric that forgetting is judged by.

    Args:
        name: of the metric, as people read it.
        unit: 'dB' or ''.
        higher: whether higher values are better restorations.
        margin: by how much the original has to beat the untouched input for there to be a skill, and how far a
            retrained network has to fall short of the original to be a reference. In the metric's unit; None takes
            SKILL_MARGIN for a metric in dB, and 0 for others, whose scale is not known here.
    """
    name: str = 'PSNR'
    unit: str = 'dB'
    higher: bool = True
    margin: float | None = None

    @property
    def skill_margin(self) -> float:
        return self.margin if self.margin is not None else SKILL_MARGIN if self.unit == 'dB' else 0.0

    def gain(self, score: float, over: float) -> float:
        """How much better `score` is than `over`: positive is a better restoration, whatever the metric."""
        return score - over if self.higher else over - score

    def tolerance(self, original: float, reference: float) -> float:
        """How far from the reference still counts as forgotten."""
        return FORGET_TOLERANCE if self.unit == 'dB' else SHARE_TOLERANCE * abs(original - reference)

    def shown(self, value: float) -> str:
        """The value with its unit, to 2 digits in dB, else to 4."""
        return f'{value:.2f} dB' if self.unit == 'dB' else f'{value:.4f}'


PSNR = Yardstick()
LOWER_IS_BETTER = ('lpips', 'dists', 'niqe', 'fid')  # of pyiqa's and BasicSR's metrics


def yardstick_of(name: str, options: Mapping, margin: float | None = None) -> Yardstick:
    """The yardstick that a metric is.

    Args:
        name: of the metric in the option file.
        options: its block there: `type`, and `better` or `metric`, which say whether higher values are better.
        margin: see `Yardstick`; None for its default.
    """
    kind = options['type'].removeprefix('calculate_')
    default = 'lower' if str(options.get('metric', kind)).lower() in (*LOWER_IS_BETTER, 'psnr_to_input') else 'higher'
    return Yardstick('PSNR' if kind == 'psnr' else name.upper() if name == kind else name,
                     'dB' if 'psnr' in kind else '', (options.get('better') or default) == 'higher', margin)


def has_skill(original: float, identity: float, yardstick: Yardstick = PSNR) -> bool:
    """Whether the original restores the forget set: otherwise there is nothing to forget by this metric."""
    gain = yardstick.gain(original, identity)
    return gain >= yardstick.skill_margin and gain > 0


def is_reference(retrained: float, original: float, yardstick: Yardstick = PSNR) -> bool:
    """Whether a network can be one that was trained without the forget set: it falls short of the original on it."""
    short = yardstick.gain(original, retrained)
    return short >= yardstick.skill_margin and short > 0


def retrained_columns(scores: Mapping[str, float]) -> list[str]:
    """The columns of retrained networks, references or not."""
    return [column for column in scores if column.split()[0] == 'retrained']


def false_references(scores: Mapping[str, float], yardstick: Yardstick = PSNR) -> list[str]:
    """The columns of retrained networks that restore the forget set about as well as the original: no references."""
    return [column for column in retrained_columns(scores)
            if not is_reference(scores[column], scores['original'], yardstick)]


def references(scores: Mapping[str, float], yardstick: Yardstick = PSNR) -> list[str]:
    """The columns that forgetting is held against: the retrained networks that can be, else the identity baseline."""
    wrong = false_references(scores, yardstick)
    return [column for column in retrained_columns(scores) if column not in wrong] or ['identity']


def outside(value: float, low: float, high: float) -> float:
    """How far a value lies outside a range: above positive, below negative, inside 0."""
    return value - min(max(value, low), high)


def forget_gap(scores: Mapping[str, float], yardstick: Yardstick = PSNR) -> float:
    """How far the unlearned network lies outside the range of its references, positive where skill is left.

    In the metric's unit. Without a retrained network that can be a reference, the identity baseline is the range.
    """
    return gap_to(scores['unlearned'], [scores[column] for column in references(scores, yardstick)], yardstick)


def gap_to(value: float, references: Sequence[float], yardstick: Yardstick = PSNR) -> float:
    """How far a score lies outside the range of these, positive where skill is left."""
    gap = outside(value, min(references), max(references))
    return gap if yardstick.higher else -gap


def retain_loss(scores: Mapping[str, float], yardstick: Yardstick = PSNR) -> float:
    """What the unlearned network has lost against the original; negative if it has gained. In the metric's unit."""
    return yardstick.gain(scores['original'], scores['unlearned'])


@dataclass(frozen=True)
class Forgetting:
    """What became of a forget set: `state` of FORGET_STATES, `gap` to the references (None if it cannot be judged), the
    columns it is held `against`, and the numbers in words as a clause without capital and full stop.
    """
    state: str
    gap: float | None
    against: tuple[str, ...]
    words: str


def judge_forgetting(name: str, scores: Mapping[str, float], yardstick: Yardstick = PSNR) -> Forgetting:
    """Judge one forget set. A score that did not fall is never 'forgotten', whatever it is held against.

    Args:
        name: of the data set, for the words.
        scores: identity, original, unlearned and, where there are any, retrained networks.
        yardstick: the metric they are of.
    """
    shown = yardstick.shown
    moved = f'{name} went from {shown(scores["original"])} to {shown(scores["unlearned"])}'
    if not has_skill(scores['original'], scores['identity'], yardstick):
        little = 'hardly' if yardstick.gain(scores['original'], scores['identity']) > 0 else 'no'
        return Forgetting(CANNOT_JUDGE, None, (), (
            f'{moved}, but the original was {little} better than the untouched input ({shown(scores["identity"])}) to '
            f'begin with, so there was nothing to forget by {yardstick.name}'))
    against = references(scores, yardstick)
    values = [scores[column] for column in against]
    gap, fallen = forget_gap(scores, yardstick), yardstick.gain(scores['original'], scores['unlearned'])
    tolerance = yardstick.tolerance(scores['original'], values[0])
    if fallen <= 0 or (gap > tolerance and fallen <= tolerance):
        state = NOT_FORGOTTEN
    elif gap > tolerance:
        state = PARTLY_FORGOTTEN
    else:
        state = OVER_FORGOTTEN if gap < -tolerance else FORGOTTEN
    if against == ['identity']:
        place = f'the untouched input has {shown(values[0])}'
    elif len(against) == 1:
        place = f'the retrained network has {shown(values[0])}'
    else:
        place = f'retrained networks have {shown(min(values))} to {shown(max(values))}'
    return Forgetting(state, gap, tuple(against), f'{moved}, where {place}')


def judge_keeping(scores: Mapping[str, float], yardstick: Yardstick = PSNR) -> str:
    """One of KEEP_STATES for a retain set, by limits in dB. Of a metric without a unit, the gain lost of the original's
    over the untouched input: up to 5 % is kept, up to 15 % slightly worse (our choice).
    """
    loss = retain_loss(scores, yardstick)
    if yardstick.unit == 'dB':
        limits = (RETAIN_TOLERANCE, SLIGHT_LOSS)
    else:
        gain = abs(yardstick.gain(scores['original'], scores['identity']))
        limits = (SHARE_TOLERANCE * gain, 3 * SHARE_TOLERANCE * gain)
    return KEPT if loss <= limits[0] else SLIGHTLY_WORSE if loss <= limits[1] else DAMAGED


def listed(parts: Sequence[str]) -> str:
    """'a', 'a and b', 'a, b and c'."""
    return parts[0] if len(parts) == 1 else f'{", ".join(parts[:-1])} and {parts[-1]}'


def capital(text: str) -> str:
    """The text with its first letter large."""
    return text[:1].upper() + text[1:]
