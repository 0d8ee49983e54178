"""How attackers learn, as audit and benchmark files say it: the fields of `proof.attackers.attack_plan.AttackPlan`."""
from typing import Annotated

from annotated_types import MinLen

from basicsr_unlearn.core.hints import Count, Positive
from basicsr_unlearn.options.values import Section, option


class Attackers(Section):
    """What attackers may use; the defaults are the sweep that a claim about weights rests on."""
    rates: Annotated[list[Positive], MinLen(1)] = option('learning rates of Adam', [2e-4, 5e-4, 1e-3, 2e-3, 4e-3])
    sgd_rate: Positive = option('that of gradient descent with momentum 0.9', 0.01)
    pairs: Annotated[list[Count], MinLen(1)] = option('how many forget pairs, each more than before', [2, 8, 32])
    draws: Count = option('how often the best rate is repeated, with other pairs and patches', 3)
    steps: Annotated[list[Count], MinLen(1)] = option('at which is scored, each larger than the one before',
                                                      [10, 25, 50, 100, 200, 400])
    patch: Count = option('side of a clean patch in pixels', 64)
    batch: Count = option('patches a step, at most', 8)
    quick: bool = option('the three strongest kinds of attackers alone, which can show that a skill is left, but not '
                         'that none is', False)
