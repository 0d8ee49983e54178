"""How soon the skill is had again by the strongest attacker, who knows the method, beside retrained networks."""
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from basicsr_unlearn.core.judgement import nothing_to_forget
from basicsr_unlearn.core.leads import (
    Lead,
    Trail,
    budgets,
    family_leads,
    leads_of,
    spread_of_retrained,
    strength,
    worst_lead,
)
from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.metrics.evaluation import IDENTITY
from basicsr_unlearn.proof.attackers.predictors import distance_to, loss_barrier
from basicsr_unlearn.proof.audit.attacking import Attacking, attacked_method
from basicsr_unlearn.proof.audit.context import Context
from basicsr_unlearn.proof.audit.measuring import SkippedError, means, measurement, retrained_references

BARRIER_PAIRS = 8  # our choice: the errors differ by far more than photographs do


@measurement('attacks', needs=('forget set',), optional=True, depends=attacked_method)
def attacks(context: Context) -> dict:
    """All attackers against every network, and how far ahead of the retrained ones the unlearned network is."""
    test = context.audit.attack_sets[2]
    reason = context.contents(test).problem or nothing_to_forget(test, means(context, test), context.audit.yardstick)
    if reason:
        raise SkippedError(reason)
    attacking, trails, left_out = Attacking(context), {}, []
    for column in context.columns:
        found = attacking.sweep(column)
        trails[column] = found.trails
        left_out += found.left_out
        print(f'    {column}: {len(found.trails)} attackers', flush=True)
    plan = attacking.plan.shortened()
    against = retrained_references(context, test)
    return {'train': attacking.train, 'retain': attacking.retain, 'test': test, 'images': len(attacking.items),
            'pairs': list(plan.pairs), 'steps': list(plan.steps), 'draws': plan.draws, 'patch': plan.patch,
            'quick': plan.quick, 'method': attacking.method,
            **compared(trails, against, attacking.untouched(), context.audit.yardstick),
            'left_out': list(dict.fromkeys(left_out)), 'predictors': _predictors(context, attacking)}


def compared(trails: Mapping[str, Sequence[Trail]], against: Sequence[str], untouched: float, yardstick: Yardstick
             ) -> dict:
    """Strengths, leads and what found them, as SCHEMA.md has them.

    Args:
        trails: of every network by column.
        against: the retrained ones that can be references; the untouched input is without any.
        untouched: its score.
        yardstick: the metric of the scores.
    """
    references = [trails[column] for column in against] or [[Trail(IDENTITY, 'plain', 0, {0: [untouched]})]]
    leads = leads_of(trails['unlearned'], references, yardstick)
    spread = spread_of_retrained({column: trails[column] for column in against}, yardstick)
    return {'against': list(against) or [IDENTITY],
            'trails': {column: [trail.record() for trail in found] for column, found in trails.items()},
            'strength': {column: _strengths(found, yardstick) for column, found in trails.items()},
            'leads': [rounded(lead) for lead in leads], 'worst': rounded(worst_lead(leads)),
            'families': {family: rounded(lead) for family, lead in family_leads(trails['unlearned'], references,
                                                                               yardstick).items()},
            'zero': {column: rounded(lead) for column, lead in spread.items()}}


def rounded(lead: Lead) -> dict:
    """A lead as audit.json holds it."""
    return {key: round(value, 4) if isinstance(value, float) else value for key, value in asdict(lead).items()}


def _strengths(trails: Sequence[Trail], yardstick: Yardstick) -> dict:
    found: dict[str, dict[str, dict]] = {}
    for pairs, step in budgets(trails):
        best = strength(trails, pairs, step, yardstick)
        found.setdefault(str(pairs), {})[str(step)] = {'value': round(best.value, 4), 'attacker': best.attacker}
    return found


def _predictors(context: Context, attacking: Attacking) -> dict:
    """What weights alone let expect, without an attack: how far from the original, and what lies between."""
    original, pairs = context.net('original'), attacking.forget_pairs[:BARRIER_PAIRS]
    others = [column for column in context.columns if column != 'original']
    return {'distance': {column: round(distance_to(original.state_dict(), context.net(column).state_dict()), 5)
                         for column in others},
            'barrier': {column: round(loss_barrier(context.net(column), original, pairs).height, 5)
                        for column in others}}
