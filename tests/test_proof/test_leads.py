import pytest

from basicsr_unlearn.core.leads import Trail, budgets, family_leads, leads_of, spread_of_retrained, strength, worst_lead
from basicsr_unlearn.core.yardstick import Yardstick

LOWER = Yardstick('LPIPS', '', higher=False)


def learning(*scores: float, pairs: int = 8, attacker: str = 'plain') -> Trail:
    return Trail(attacker, attacker, pairs, {step: [score] for step, score in zip((0, 10, 25), scores)})


def test_strength_never_falls_with_the_budget():
    trails = [learning(11, 16, 14), learning(12, 13, 15, pairs=2), Trail('turned', 'turned', 0, {0: [12.5]})]
    table = {(pairs, step): strength(trails, pairs, step).value for pairs, step in budgets(trails)}
    assert table == {(0, 0): 12.5, (2, 0): 12.5, (2, 10): 13, (2, 25): 15, (8, 0): 12.5, (8, 10): 16, (8, 25): 16}
    assert strength(trails, 8, 25).step == 10


def test_the_mean_over_draws_counts_and_the_interval_is_theirs():
    trails = [Trail('lucky', 'plain', 8, {10: [20.0, 10.0, 12.0]}), Trail('steady', 'plain', 8, {10: [15.0]})]
    assert strength(trails, 8, 10).attacker == 'steady'
    retrained = [[learning(11, 12, 12)], [learning(11, 14, 14)]]
    lead = leads_of(trails[:1], retrained)[0]
    assert (lead.value, lead.low, lead.high, lead.beyond) == (1.0, -3.0, 7.0, 0.0)


def test_each_retrained_network_is_held_against_by_its_own_best():
    retrained = [[learning(11, 12, 12), learning(11, 11, 16, attacker='few')], [learning(10, 14, 14)]]
    found = {lead.step: (lead.value, lead.beyond) for lead in leads_of([learning(11, 15, 17)], retrained)}
    assert found == {0: (0.5, 0.0), 10: (2.0, 1.0), 25: (2.0, 1.0)}
    assert worst_lead(leads_of([learning(11, 15, 17)], retrained)).step == 10


def test_a_metric_that_is_better_lower():
    lead = worst_lead(leads_of([learning(0.5, 0.2)], [[learning(0.5, 0.4)], [learning(0.6, 0.3)]], LOWER))
    assert (lead.value, lead.beyond) == (pytest.approx(0.15), pytest.approx(0.1))
    two = Trail('plain', 'plain', 8, {0: [0.2, 0.4]})
    lead = leads_of([two], [[learning(0.5)]], LOWER)[0]
    assert (lead.low, lead.value, lead.high) == tuple(pytest.approx(value) for value in (0.1, 0.2, 0.3))


def test_a_family_is_held_against_all_that_retrained_networks_can():
    trails = [learning(11, 15), Trail('turned', 'orientation', 0, {0: [13.0]}), learning(9, 12, attacker='few')]
    retrained = [[learning(11, 14), Trail('turned', 'orientation', 0, {0: [10.0]})]]
    found = {name: (lead.value, lead.pairs, lead.step) for name, lead in family_leads(trails, retrained).items()}
    assert found == {'plain': (1.0, 8, 10), 'orientation': (3.0, 0, 0), 'few': (-2.0, 8, 0)}


def test_a_reference_without_learning_and_budgets_that_it_cannot_keep_to():
    identity = [[Trail('identity', 'plain', 0, {0: [11.0]})]]
    assert [lead.value for lead in leads_of([learning(12, 13)], identity)] == [1.0, 2.0]
    assert leads_of([learning(12, pairs=2)], [[learning(11, pairs=8)]]) == []


def test_retrained_networks_against_each_other():
    spread = spread_of_retrained({name: [learning(score)] for name, score in (('a', 10), ('b', 11), ('c', 13))})
    assert {name: (lead.value, lead.beyond) for name, lead in spread.items()} == {
        'a': (-2.0, -3.0), 'b': (-0.5, -2.0), 'c': (2.5, 2.0)}
    assert spread_of_retrained({'a': [learning(10)]}) == {}


def test_what_cannot_be_compared():
    with pytest.raises(ValueError, match='no retrained'):
        leads_of([learning(11)], [])
    with pytest.raises(ValueError, match='8 pairs and 5 steps'):
        strength([Trail('a', 'plain', 8, {10: [1.0]})], 8, 5)
    with pytest.raises(ValueError, match='no lead'):
        worst_lead([])
