"""One verdict for runs and audits: what became of each set, what that comes to, and a run's in words. Plain Python.

A run judges by its own validation, with limits of its own; an audit by more images and the limits of its option file.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from basicsr_unlearn.core.judgement import (
    CANNOT_JUDGE,
    DAMAGED,
    FORGOTTEN,
    KEEP_STATES,
    NOT_FORGOTTEN,
    OVER_FORGOTTEN,
    PARTLY_FORGOTTEN,
    SLEEPING_LEAD,
    Forgetting,
    judge_forgetting,
    judge_keeping,
    retain_loss,
)
from basicsr_unlearn.core.yardstick import PSNR, Yardstick
from basicsr_unlearn.proof.words import capital, enumerated

NOT_SHOWN = 'not shown'


def outcome_of(forgetting: Mapping[str, Forgetting], keeping: Mapping[str, str], collapsed: bool = False) -> str:
    """What the sets come to: the worst of the forget sets that can be judged, `damaged` where they are forgotten and a
    retain set is damaged, else `forgotten`; `not shown` without a forget set.

    Args:
        forgetting: by forget set.
        keeping: one of KEEP_STATES by retain set.
        collapsed: whether most of a skill that was to stay is gone.
    """
    states = [found.state for found in forgetting.values() if found.state != CANNOT_JUDGE]
    if not states:
        return CANNOT_JUDGE if forgetting else NOT_SHOWN
    if collapsed:
        return OVER_FORGOTTEN
    for state in (OVER_FORGOTTEN, NOT_FORGOTTEN, PARTLY_FORGOTTEN):
        if state in states:
            return state
    return DAMAGED if DAMAGED in keeping.values() else FORGOTTEN


@dataclass(frozen=True)
class LearnedAgain:
    """The forget set learned again: `lead` of the unlearned network over the best retrained one after `steps`, in the
    yardstick's unit; None where no retrained network was there to compare with.
    """
    name: str
    steps: int
    lead: float | None


@dataclass(frozen=True)
class RunVerdict:
    """`headline`, sentences; `details`, one sentence with the numbers; `forgetting` by forget set, `keeping` (one of
    KEEP_STATES) by retain set.
    """
    headline: tuple[str, ...]
    details: str
    forgetting: dict[str, Forgetting]
    keeping: dict[str, str]

    @property
    def outcome(self) -> str:
        """See `outcome_of`."""
        return outcome_of(self.forgetting, self.keeping)

    @property
    def forgotten(self) -> bool:
        """Whether every forget set is, by its outputs."""
        return bool(self.forgetting) and all(found.state == FORGOTTEN for found in self.forgetting.values())


def judge_run(roles: Mapping[str, str], scores: Mapping[str, Mapping[str, float]], yardstick: Yardstick = PSNR,
              relearning: Sequence[LearnedAgain] = ()) -> RunVerdict:
    """Judge a run by its scores.

    Args:
        roles: data set -> 'forget' or 'retain'.
        scores: data set -> column (see judgement.py) -> score; sets without a score, or without references, are left
            out.
        yardstick: the metric that the scores are of.
        relearning: where it was measured, of which forget set.
    """
    known = {name: by for name, by in scores.items() if {'identity', 'original', 'unlearned'} <= by.keys()}
    forgetting = {name: judge_forgetting(name, by, yardstick) for name, by in known.items() if roles[name] == 'forget'}
    keeping = {name: judge_keeping(by, yardstick) for name, by in known.items() if roles[name] == 'retain'}
    headline = [_forget_words(name, found, yardstick) for name, found in forgetting.items()]
    headline += [words for one in relearning if forgetting.get(one.name) and forgetting[one.name].state == FORGOTTEN
                 for words in [_relearn_words(one, yardstick, len(forgetting) > 1)] if words]
    for state in reversed(KEEP_STATES):
        names = [name for name, found in keeping.items() if found == state]
        if names:
            headline.append(f'{capital(enumerated(names))} {"is" if len(names) == 1 else "are"} {state}.')
    details = [found.words for found in forgetting.values()]
    losses = {name: retain_loss(known[name], yardstick) for name in keeping}
    if losses:
        details.append('against the original, ' + enumerated([
            f'{name} {"loses" if loss >= 0 else "gains"} {yardstick.shown(abs(loss))}' for name, loss in losses.items()
        ]))
    measured = {one.name for one in relearning if one.lead is not None}
    if any(found.state == FORGOTTEN and name not in measured for name, found in forgetting.items()):
        headline.append('What still sleeps in the weights was not measured.')
    if not headline:
        headline = ['Nothing was measured: the option file has no val_ data set with a metric to judge by.']
    return RunVerdict(tuple(headline), f'{capital("; ".join(details))}.' if details else '', forgetting, keeping)


def _forget_words(name: str, found: Forgetting, yardstick: Yardstick) -> str:
    if found.state == CANNOT_JUDGE:
        return f'Whether {name} is forgotten cannot be judged by {yardstick.name}.'
    if found.state != FORGOTTEN:
        return f'{capital(name)} is {"only " if found.state == PARTLY_FORGOTTEN else ""}{found.state}.'
    if found.against == ('identity',):
        return f'{capital(name)} comes out about as it went in.'
    return f'Its outputs on {name} are those of a network that never saw {name}.'


def _relearn_words(found: LearnedAgain, yardstick: Yardstick, several: bool) -> str:
    of = f' of {found.name}' if several else ''
    if found.lead is None:
        return ''
    if found.lead > SLEEPING_LEAD:
        return (f'The skill{of} still sleeps in the weights: learned again in {found.steps} steps, '
                f'{yardstick.shown(found.lead)} ahead of the retrained network.')
    return (f'Learned again for {found.steps} steps{of}, it is no more than {SLEEPING_LEAD:g} dB ahead of the '
            'retrained network, by one attacker at one rate: one who knows the method may do better, see '
            'basicsr-unlearn audit.')
