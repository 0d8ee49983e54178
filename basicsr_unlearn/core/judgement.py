"""What scores say about forgetting and keeping: the one definition of each number, whoever reports it.

    forget gap      how far the unlearned network lies outside the range of the retrained ones, above 0 if skill is left
    retain loss     what it has lost against the original, below 0 if it has gained
    over-forgotten  below the range of the retrained networks by more than a margin

A score is the mean of a metric over a data set, of 8-bit images (see `metrics.evaluation`); in an audit over its
photographs, so that several versions of one count once. Columns of scores: `identity` (the untouched degraded input),
`original`, `unlearned`, and any number of retrained networks (`retrained`, `retrained 2`, ...). How far ahead it is
under attack: see `leads`.
"""
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from basicsr_unlearn.core.yardstick import PSNR, SHARE_TOLERANCE, Yardstick

RETAIN_TOLERANCE, SLIGHT_LOSS = 0.15, 0.5  # dB; our choice: wide, since training judges on a handful of images
SLEEPING_LEAD = 0.5  # dB ahead of the retrained network when learned again, from where the skill is said to sleep

CANNOT_JUDGE, NOT_FORGOTTEN, PARTLY_FORGOTTEN, FORGOTTEN, OVER_FORGOTTEN = FORGET_STATES = (
    'cannot be judged', 'not forgotten', 'partly forgotten', 'forgotten', 'over-forgotten')
KEPT, SLIGHTLY_WORSE, DAMAGED = KEEP_STATES = ('kept', 'slightly worse', 'damaged')


def has_skill(original: float, identity: float, yardstick: Yardstick = PSNR) -> bool:
    """Whether the original restores the forget set: otherwise there is nothing to forget by this metric.

    >>> has_skill(20.0, identity=11.0), has_skill(11.5, identity=11.0)
    (True, False)
    """
    gain = yardstick.gain(original, identity)
    return gain >= yardstick.skill_margin and gain > 0


def is_reference(retrained: float, original: float, yardstick: Yardstick = PSNR) -> bool:
    """Whether a network can be one that was trained without the forget set: it falls short of the original on it.

    >>> is_reference(11.2, original=20.0), is_reference(19.8, original=20.0)
    (True, False)
    """
    short = yardstick.gain(original, retrained)
    return short >= yardstick.skill_margin and short > 0


def retrained_columns(scores: Mapping[str, float]) -> list[str]:
    """The columns of retrained networks, references or not.

    >>> retrained_columns({'identity': 11.0, 'retrained': 11.2, 'retrained 2': 11.4})
    ['retrained', 'retrained 2']
    """
    return [column for column in scores if column.split()[0] == 'retrained']


def false_references(scores: Mapping[str, float], yardstick: Yardstick = PSNR) -> list[str]:
    """The columns of retrained networks that restore the forget set about as well as the original: no references.

    >>> false_references({'original': 20.0, 'retrained': 11.2, 'retrained 2': 19.9})
    ['retrained 2']
    """
    return [column for column in retrained_columns(scores)
            if not is_reference(scores[column], scores['original'], yardstick)]


def references(scores: Mapping[str, float], yardstick: Yardstick = PSNR) -> list[str]:
    """The columns that forgetting is held against: the retrained networks that can be, else the identity baseline.

    >>> references({'identity': 11.0, 'original': 20.0, 'retrained 1': 11.2, 'retrained 2': 19.9})
    ['retrained 1']
    """
    wrong = false_references(scores, yardstick)
    return [column for column in retrained_columns(scores) if column not in wrong] or ['identity']


def likeness_references(sets: Iterable[Mapping[str, float]], yardstick: Yardstick = PSNR) -> list[str]:
    """What forgetting is held against on sets on which the original has no skill: the retrained networks that are
    references on one of these forget sets, on which it has.

    >>> likeness_references([{'identity': 38.0, 'original': 37.0, 'retrained': 30.0},
    ...                      {'identity': 20.0, 'original': 28.0, 'retrained': 20.5}])
    ['retrained']
    """
    found = [references(one, yardstick) for one in sets
             if has_skill(one['original'], one['identity'], yardstick) and not disagreement('', one, yardstick)]
    return list(dict.fromkeys(column for columns in found for column in columns if column != 'identity'))


def disagreement(name: str, scores: Mapping[str, float], yardstick: Yardstick = PSNR) -> str | None:
    """Why retrained networks are no yardstick on a forget set, as a clause: they differ by more than they lie below the
    original. None where they agree.

    >>> disagreement('haze', {'identity': 11.0, 'original': 20.0, 'retrained 1': 11.0, 'retrained 2': 11.5}) is None
    True
    """
    values = [scores[column] for column in references(scores, yardstick)]
    apart, below = max(values) - min(values), abs(scores['original'] - sum(values) / len(values))
    return None if apart <= below else (
        f'the retrained networks disagree on {name} by {yardstick.shown(apart)}, more than the '
        f'{yardstick.shown(below)} that they lie below the original: name networks that were all trained to the end '
        'without the forget set')


def outside(value: float, low: float, high: float) -> float:
    """How far a value lies outside a range: above positive, below negative, inside 0.

    >>> outside(12.0, low=10.0, high=11.0), outside(10.5, low=10.0, high=11.0)
    (1.0, 0.0)
    """
    return value - min(max(value, low), high)


def forget_gap(scores: Mapping[str, float], yardstick: Yardstick = PSNR) -> float:
    """How far the unlearned network lies outside the range of its references, positive where skill is left.

    In the metric's unit. Without a retrained network that can be a reference, the identity baseline is the range.

    >>> forget_gap({'identity': 11.0, 'original': 20.0, 'unlearned': 12.5, 'retrained': 11.5})
    1.0
    """
    return gap_to(scores['unlearned'], [scores[column] for column in references(scores, yardstick)], yardstick)


def gap_to(value: float, references: Sequence[float], yardstick: Yardstick = PSNR) -> float:
    """How far a score lies outside the range of these, positive where skill is left.

    >>> gap_to(11.5, [10.0, 11.0]), gap_to(10.5, [10.0, 11.0]), gap_to(9.0, [10.0, 11.0])
    (0.5, 0.0, -1.0)
    """
    gap = outside(value, min(references), max(references))
    return gap if yardstick.higher else -gap


def retain_loss(scores: Mapping[str, float], yardstick: Yardstick = PSNR) -> float:
    """What the unlearned network has lost against the original; negative if it has gained. In the metric's unit.

    >>> retain_loss({'original': 29.0, 'unlearned': 28.5})
    0.5
    """
    return yardstick.gain(scores['original'], scores['unlearned'])


def is_over_forgotten(gap: float, margin: float) -> bool:
    """Whether a forget gap lies below the references by more than a margin, in the metric's unit.

    >>> is_over_forgotten(-1.5, margin=1.0)
    True
    """
    return gap < -margin


def nothing_to_forget(name: str, scores: Mapping[str, float], yardstick: Yardstick = PSNR) -> str | None:
    """Why forgetting cannot be judged on a data set, as a clause; None if it can.

    Args:
        name: of the data set, for the words.
        scores: `original` and `identity`.
        yardstick: the metric they are of.

    >>> nothing_to_forget('haze', {'identity': 11.0, 'original': 20.0, 'unlearned': 11.0}) is None
    True
    """
    original, identity = scores['original'], scores['identity']
    if has_skill(original, identity, yardstick):
        return None
    margin = f' by {yardstick.shown(yardstick.skill_margin)}' if yardstick.skill_margin else ''
    return (f'by {yardstick.name} there is nothing to forget: the original has {yardstick.shown(original)} on {name}, '
            f'the untouched input {yardstick.shown(identity)}, and it would have to be better{margin}')


@dataclass(frozen=True)
class Forgetting:
    """What became of a forget set: `state` of FORGET_STATES, `gap` to the references (None if it cannot be judged), the
    columns it is held `against`, and the numbers in words as a clause without capital and full stop.
    """
    state: str
    gap: float | None
    against: tuple[str, ...]
    words: str


def judge_forgetting(name: str, scores: Mapping[str, float], yardstick: Yardstick = PSNR,
                     tolerance: float | None = None, margin: float | None = None, alike: Sequence[str] = ()
                     ) -> Forgetting:
    """Judge one forget set. A score that did not fall is never 'forgotten', whatever it is held against.

    Args:
        name: of the data set, for the words.
        scores: identity, original, unlearned and, where there are any, retrained networks.
        yardstick: the metric they are of.
        tolerance: how far above the references still counts as forgotten; None for the yardstick's.
        margin: how far below them is over-forgotten; None for the tolerance.
        alike: retrained networks that the unlearned one has to be like where the original has no skill, see
            `likeness_references`; without them such a set cannot be judged.

    >>> judge_forgetting('haze', {'identity': 11.0, 'original': 20.0, 'unlearned': 11.25, 'retrained': 11.0}).state
    'forgotten'
    """
    shown = yardstick.shown
    moved = f'{name} went from {shown(scores["original"])} to {shown(scores["unlearned"])}'
    skilled = has_skill(scores['original'], scores['identity'], yardstick)
    if not skilled and not alike:
        little = 'hardly' if yardstick.gain(scores['original'], scores['identity']) > 0 else 'no'
        return Forgetting(CANNOT_JUDGE, None, (), (
            f'{moved}, but the original was {little} better than the untouched input ({shown(scores["identity"])}) to '
            f'begin with, so there was nothing to forget by {yardstick.name}'))
    if skilled and (words := disagreement(name, scores, yardstick)):
        return Forgetting(CANNOT_JUDGE, None, (), words)
    against = references(scores, yardstick) if skilled else list(alike)
    values = [scores[column] for column in against]
    gap = gap_to(scores['unlearned'], values, yardstick)
    fallen = yardstick.gain(scores['original'], scores['unlearned'])
    tolerance = yardstick.tolerance(scores['original'], values[0]) if tolerance is None else tolerance
    if skilled and (fallen <= 0 or (gap > tolerance and fallen <= tolerance)):
        state = NOT_FORGOTTEN
    elif gap > tolerance:
        state = PARTLY_FORGOTTEN
    else:
        state = OVER_FORGOTTEN if is_over_forgotten(gap, tolerance if margin is None else margin) else FORGOTTEN
    place = (f'retrained networks have {shown(min(values))} to {shown(max(values))}' if len(against) > 1 else
             f'the {"untouched input" if against == ["identity"] else "retrained network"} has {shown(values[0])}')
    likeness = '' if skilled else ', by likeness alone, as the original had no skill there'
    return Forgetting(state, gap, tuple(against), f'{moved}, where {place}{likeness}')


def judge_keeping(scores: Mapping[str, float], yardstick: Yardstick = PSNR) -> str:
    """One of KEEP_STATES for a retain set, by limits in dB. Of a metric without a unit, the gain lost of the original's
    over the untouched input: up to 5 % is kept, up to 15 % slightly worse (our choice).

    >>> judge_keeping({'identity': 19.0, 'original': 29.0, 'unlearned': 28.75})
    'slightly worse'
    """
    loss = retain_loss(scores, yardstick)
    if yardstick.unit == 'dB':
        limits = (RETAIN_TOLERANCE, SLIGHT_LOSS)
    else:
        gain = abs(yardstick.gain(scores['original'], scores['identity']))
        limits = (SHARE_TOLERANCE * gain, 3 * SHARE_TOLERANCE * gain)
    return KEPT if loss <= limits[0] else SLIGHTLY_WORSE if loss <= limits[1] else DAMAGED
