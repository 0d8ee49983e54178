"""Why a run did not forget as it should: the likely cause and what to set. Plain Python, no BasicSR."""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from basicsr_unlearn.core.judgement import (
    CANNOT_JUDGE,
    FORGOTTEN,
    NOT_FORGOTTEN,
    OVER_FORGOTTEN,
    forget_gap,
    has_skill,
    judge_forgetting,
)
from basicsr_unlearn.core.yardstick import PSNR, Yardstick

ENDED_RATE = 0.1  # of the rate at its highest, below which a schedule has ended the run early; our choice
STILL_FALLING = 0.1  # of the gap that is left, closed since the validation before; our choice


@dataclass(frozen=True)
class RunFacts:
    """What an unlearning run was and where it ended; of several forget sets, the one that it ended furthest off on.

    Args:
        scores: of the forget set, by the columns of judgement.py: `identity`, `original`, `unlearned` and, where there
            are any, retrained networks.
        before: the network's score at the validation before the last; None if there was none after the start.
        retain: scores of each retain set, by the same columns; they tell whether the network has other tasks.
        steps, total_iter: optimizer steps done, and `train.total_iter`.
        rate, last_rate: the learning rate at its highest and at the last step.
        terms: those of the objective: 'forget', 'retain', 'adversarial', 'anchor'.
        forgets: whether one of them forgets.
        ascent: whether the forget term is an ascent that nothing bounds.
        held_to: `target` of the retain or adversarial term, 'teacher' or 'gt'; None without such a term.
        stop_rule_met: None without `train.stop_opt`.
        scaled: whether `train.optim_g.lr` is auto.
    """
    scores: Mapping[str, float]
    before: float | None = None
    retain: Sequence[Mapping[str, float]] = ()
    steps: int = 0
    total_iter: int = 0
    rate: float = 0.0
    last_rate: float = 0.0
    terms: Sequence[str] = ('forget',)
    forgets: bool = True
    ascent: bool = False
    held_to: str | None = None
    stop_rule_met: bool | None = None
    scaled: bool = False


def likely_cause(facts: RunFacts, yardstick: Yardstick = PSNR) -> str | None:
    """The likely cause and what to set, as one sentence with capital and full stop; None where nothing is wrong or
    nothing can be said.

    Args:
        facts: of the run.
        yardstick: the metric that its scores are of.
    """
    state = judge_forgetting('', facts.scores, yardstick).state
    if state in (CANNOT_JUDGE, FORGOTTEN):
        return None
    if state == OVER_FORGOTTEN:
        return _too_far(facts)
    if not facts.forgets:
        return 'No term of the objective looks at the forget set: add a train.forget_opt.'
    if facts.stop_rule_met is False and facts.last_rate < ENDED_RATE * facts.rate:
        return (f'The schedule took the learning rate from {facts.rate:.1e} to {facts.last_rate:.1e} before the stop '
                'rule was met: write train.scheduler: {type: MultiStepLR, milestones: [' f'{facts.total_iter}' ']}, '
                'which keeps it as it is.')
    if _falling(facts, yardstick):
        return (f'The score was still falling when the run ended after {facts.steps} steps: raise train.total_iter, '
                f'for instance to {2 * facts.total_iter}.')
    if facts.held_to == 'teacher' and _single_task(facts, yardstick):
        return ("What holds the rest is the original's own output, and with it the habits that it has on other images, "
                'which are part of what should go where a network has a single task: write '
                f'{_holder(facts)}.target: gt.')
    if state == NOT_FORGOTTEN or facts.held_to is None:
        hold = (f', or, if the network has no other task, write {_holder(facts)}.target: gt'
                if facts.held_to == 'teacher' and not facts.retain else '')
        return (f'The steps are too small for this network (learning rate {facts.rate:.1e}, {facts.steps} steps): '
                f'{_larger_steps(facts)}{hold}.')
    return (f'What holds the rest holds on to the forget set too: lower {_holder(facts)}.loss_weight, or '
            f'{_larger_steps(facts)}.')


def _too_far(facts: RunFacts) -> str | None:
    """The network came below its reference."""
    if not facts.ascent:
        return None
    if facts.stop_rule_met is None:
        return ('Nothing ends the ascent: add train.stop_opt: {forget_psnr: identity}, or write '
                'train.forget_opt.bound: identity.')
    smaller = 'halve train.forget_step' if facts.scaled else 'divide train.optim_g.lr by 3'
    return ('The ascent was too fast for the stop rule, which averages several steps: write train.stop_opt.ease: 0.1, '
            f'which shortens them on the way, or {smaller}.')


def _larger_steps(facts: RunFacts) -> str:
    if facts.scaled:
        return 'double train.forget_step'
    return 'write train.optim_g.lr: auto, which fits the rate to the network, or multiply it by 10'


def _holder(facts: RunFacts) -> str:
    """The option of the term that holds the rest."""
    return f'train.{"retain" if "retain" in facts.terms else "adversarial"}_opt'


def _falling(facts: RunFacts, yardstick: Yardstick) -> bool:
    if facts.before is None:
        return False
    closed = yardstick.gain(facts.before, facts.scores['unlearned'])
    return closed > STILL_FALLING * abs(forget_gap(facts.scores, yardstick))


def _single_task(facts: RunFacts, yardstick: Yardstick) -> bool:
    """Whether the original was on no retain set better than the untouched input."""
    return bool(facts.retain) and not any(has_skill(scores['original'], scores['identity'], yardstick)
                                          for scores in facts.retain)
