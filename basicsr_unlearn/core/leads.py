"""How far ahead of retrained networks a network is under attack: the one definition, for audits and benchmarks.

    trail       what one attacker reached: score by step, for each draw of the pairs and patches that he learned from
    strength    the best that a network reached within a budget of forget pairs and steps, whatever the attacker
    lead        its strength minus the mean strength of the retrained networks within the same budget
    beyond      its strength minus that of the strongest retrained network: what a limit is held against

A score is the mean of a metric over the forget test images, as in `judgement`. An attacker may use fewer pairs than he
has and stop where he likes, so that strength never falls where the budget grows.
"""
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from basicsr_unlearn.core.yardstick import PSNR, Yardstick


@dataclass(frozen=True)
class Trail:
    """What one attacker reached.

    Args:
        attacker: what he did, in a few words.
        family: the kind of attacker that he is one of.
        pairs: how many forget pairs he used; 0 for none.
        curve: step -> the mean score on the forget test images, for each draw. One who learns nothing has step 0 alone.

    >>> Trail('plain, Adam 0.001', 'plain', 8, {0: [11.0], 10: [14.0, 15.0]}).mean(10)
    14.5
    """
    attacker: str
    family: str
    pairs: int
    curve: Mapping[int, Sequence[float]]

    def mean(self, step: int) -> float:
        """Mean score over the draws at a step that was measured."""
        return sum(self.curve[step]) / len(self.curve[step])

    def record(self) -> dict:
        """The trail as plain JSON, scores to 4 digits; `from_record` reads it.

        >>> Trail('plain', 'plain', 8, {10: [14.0]}).record()
        {'attacker': 'plain', 'family': 'plain', 'pairs': 8, 'curve': {'10': [14.0]}}
        """
        return {'attacker': self.attacker, 'family': self.family, 'pairs': self.pairs,
                'curve': {str(step): [round(float(score), 4) for score in self.curve[step]] for step in self.curve}}

    @classmethod
    def from_record(cls, record: Mapping) -> 'Trail':
        """The trail that `record` wrote.

        >>> Trail.from_record(Trail('plain', 'plain', 8, {10: [14.0]}).record()).curve
        {10: [14.0]}
        """
        return cls(**{**record, 'curve': {int(step): list(scores) for step, scores in record['curve'].items()}})


@dataclass(frozen=True)
class Strength:
    """The best score within a budget, a mean over draws, the `low`est and `high`est draw, and whose it is, at which
    step.
    """
    value: float
    low: float
    high: float
    attacker: str
    family: str
    step: int


@dataclass(frozen=True)
class Lead:
    """How far ahead of retrained networks a network is within a budget of forget pairs and steps.

    Args:
        pairs, step: the budget.
        attacker, family: who attains the network's strength.
        value: its strength minus the mean strength of the retrained networks, positive where it is ahead.
        low, high: the same for the lowest and the highest of that attacker's draws.
        beyond: the strength minus that of the strongest retrained network.
    """
    pairs: int
    step: int
    attacker: str
    family: str
    value: float
    low: float
    high: float
    beyond: float


def strength(trails: Sequence[Trail], pairs: int, step: int, yardstick: Yardstick = PSNR) -> Strength:
    """The best that a network reached with at most so many forget pairs and steps.

    Of equal ones the first trail, at its earliest step.

    Raises:
        ValueError: no trail lies within the budget.

    >>> trails = [Trail('a', 'plain', 2, {0: [11.0], 10: [15.0]}), Trail('b', 'plain', 8, {10: [13.0, 19.0]})]
    >>> strength(trails, 2, 25).value, strength(trails, 8, 25).value, strength(trails, 8, 9).value
    (15.0, 16.0, 11.0)
    """
    within = [(trail, at) for trail in trails for at in sorted(trail.curve) if trail.pairs <= pairs and at <= step]
    if not within:
        raise ValueError(f'No attacker stays within {pairs} pairs and {step} steps.')
    best, at = max(within, key=lambda one: yardstick.gain(one[0].mean(one[1]), 0.0))
    low, high = sorted((min(best.curve[at]), max(best.curve[at])), reverse=not yardstick.higher)
    return Strength(best.mean(at), low, high, best.attacker, best.family, at)


def budgets(trails: Sequence[Trail]) -> list[tuple[int, int]]:
    """The budgets, (pairs, step), that trails can be compared at: every number of pairs with every step from the first
    that some attacker with so many pairs was measured at.

    >>> budgets([Trail('a', 'plain', 0, {0: [11.0]}), Trail('b', 'plain', 2, {10: [14.0]})])
    [(0, 0), (2, 0), (2, 10)]
    """
    found = []
    for pairs in sorted({trail.pairs for trail in trails}):
        own = {step for trail in trails if trail.pairs <= pairs for step in trail.curve}
        found += [(pairs, step) for step in sorted(own)]
    return found


def leads_of(trails: Sequence[Trail], retrained: Sequence[Sequence[Trail]], yardstick: Yardstick = PSNR) -> list[Lead]:
    """The lead of one network within each budget.

    Args:
        trails: of the network.
        retrained: those of each retrained network, under the same attackers. Where there is none, what else it is held
            against, as a trail: `[[Trail('identity', 'plain', 0, {0: [score]})]]`.
        yardstick: the metric of the scores.

    Returns:
        One for each budget of the network that every retrained network can keep to.

    Raises:
        ValueError: there is nothing to hold it against.

    >>> other = [[Trail('a', 'plain', 8, {0: [11.0], 10: [14.0]})], [Trail('a', 'plain', 8, {0: [11.5], 10: [13.0]})]]
    >>> [(lead.step, lead.value, lead.beyond) for lead in leads_of([Trail('a', 'plain', 8, {0: [11.25], 10: [16.0]})],
    ...                                                             other)]
    [(0, 0.0, -0.25), (10, 2.5, 2.0)]
    """
    if not retrained:
        raise ValueError('There is no retrained network to compare with.')
    found = []
    for pairs, step in budgets(trails):
        if all(any(trail.pairs <= pairs and min(trail.curve) <= step for trail in other) for other in retrained):
            own = strength(trails, pairs, step, yardstick)
            others = [strength(other, pairs, step, yardstick).value for other in retrained]
            found.append(_lead(pairs, step, own, others, yardstick))
    return found


def _lead(pairs: int, step: int, own: Strength, others: Sequence[float], yardstick: Yardstick) -> Lead:
    mean = sum(others) / len(others)
    value, low, high = (yardstick.gain(score, mean) for score in (own.value, own.low, own.high))
    return Lead(pairs, step, own.attacker, own.family, value, low, high,
                min(yardstick.gain(own.value, other) for other in others))


def worst_lead(leads: Sequence[Lead]) -> Lead:
    """The lead that lies furthest beyond the retrained networks; of equal ones the first.

    Raises:
        ValueError: there is none.

    >>> worst_lead([Lead(8, 0, 'a', 'plain', 1.5, 1.5, 1.5, 0.5), Lead(8, 10, 'a', 'plain', 3.0, 3.0, 3.0, 2.0)]).step
    10
    """
    if not leads:
        raise ValueError('There is no lead to choose from.')
    return max(leads, key=lambda lead: lead.beyond)


def family_leads(trails: Sequence[Trail], retrained: Sequence[Sequence[Trail]], yardstick: Yardstick = PSNR
                 ) -> dict[str, Lead]:
    """For each family of attackers its worst lead: its own trails against all trails of the retrained networks.

    >>> trails = [Trail('a', 'plain', 0, {0: [11.0]}), Trail('turned', 'orientation', 0, {0: [20.0]})]
    >>> {name: lead.beyond for name, lead in family_leads(trails, [trails[:1]]).items()}
    {'plain': 0.0, 'orientation': 9.0}
    """
    found = {}
    for family in dict.fromkeys(trail.family for trail in trails):
        leads = leads_of([trail for trail in trails if trail.family == family], retrained, yardstick)
        if leads:
            found[family] = worst_lead(leads)
    return found


def spread_of_retrained(retrained: Mapping[str, Sequence[Trail]], yardstick: Yardstick = PSNR) -> dict[str, Lead]:
    """The zero of the lead: the worst lead of each retrained network over the others. Empty for a single one.

    >>> spread = spread_of_retrained({'retrained 1': [Trail('a', 'plain', 8, {0: [11.0]})],
    ...                               'retrained 2': [Trail('a', 'plain', 8, {0: [11.5]})]})
    >>> {name: lead.value for name, lead in spread.items()}
    {'retrained 1': -0.5, 'retrained 2': 0.5}
    """
    if len(retrained) < 2:
        return {}
    return {name: worst_lead(leads_of(trails, [other for key, other in retrained.items() if key != name], yardstick))
            for name, trails in retrained.items()}
