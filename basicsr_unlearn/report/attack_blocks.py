"""What the attackers of an audit reached, in full: leads, families, strengths, every attacker, predictors."""
from collections.abc import Mapping, Sequence

from basicsr_unlearn.core.leads import Trail, strength
from basicsr_unlearn.proof.words import enumerated
from basicsr_unlearn.report.attack_words import (
    NO_RETRAINED_WORDS,
    by_family,
    lead_words,
    limit_of,
    retrained_against,
    zero_words,
)
from basicsr_unlearn.report.audit_values import (
    columns_of,
    digits_of,
    in_unit,
    metric_of,
    yardstick_of_audit,
)
from basicsr_unlearn.report.findings import Block
from basicsr_unlearn.report.tables import Table, amount, number, ranged

PREDICTORS = {'distance': 'distance to the original', 'barrier': 'loss barrier on the line to it'}


def attack_blocks(result: Mapping, audit: Mapping) -> list[Block]:
    """How it was attacked, and what every attacker reached."""
    return [_protocol(result, audit), *_leads(result, audit), *_strengths(result, audit),
            *_trails(result, audit), *_predictors(result), *([result['left_out']] if result['left_out'] else [])]


def _protocol(result: Mapping, audit: Mapping) -> str:
    retain = f', and from {enumerated(result["retain"])} to keep the rest' if result['retain'] else ''
    quick = ' Only the three strongest families were tried, one draw each.' if result['quick'] else ''
    return (f'Attackers learn from {enumerated([str(pairs) for pairs in result["pairs"]])} pairs of {result["train"]}'
            f'{retain} (patches of {result["patch"]}, {amount(result["draws"], "draw")}), scored by '
            f'{metric_of(audit)["name"]}{in_unit(audit)} on {result["images"]} images of {result["test"]}. The '
            'strength of a network is the best that any of them reached with so many pairs and steps, or fewer. '
            f'{_known(result)}{quick}')


def _known(result: Mapping) -> str:
    """What attackers knew of the method."""
    if result['method'] is None:
        return 'They undid the parts of all methods, by their defaults.'
    blocks = result['method']['parts'].values()
    parts = [one['type'] for block in blocks for one in (block if isinstance(block, list) else [block])]
    if not parts:
        return 'They undid the parts of all methods, by their defaults; the run had none.'
    return (f'They undid {enumerated(parts)} as the run had {"it" if len(parts) == 1 else "them"}, and the parts of '
            'all other methods, by their defaults.')


def _leads(result: Mapping, audit: Mapping) -> list[Block]:
    digits, limit = digits_of(audit), limit_of(audit)
    over = 'the mean of the retrained networks' if retrained_against(result) else NO_RETRAINED_WORDS
    within = '' if limit is None else f' It may be at most {yardstick_of_audit(audit).shown(limit)}.'
    head = ['pairs', 'step', 'lead', 'beyond']
    rows = [[one['attacker'], one['family'], str(one['pairs']), str(one['step']), ranged(one, digits, sign=True),
             number(one['beyond'], digits, sign=True)] for one in result['leads']]
    families = [[name, one['attacker'], str(one['pairs']), str(one['step']), number(one['value'], digits, sign=True),
                 number(one['beyond'], digits, sign=True)] for name, one in by_family(result)]
    worst = f'Worst lead: {lead_words(audit, result)}. ' if result['worst'] else ''
    return [f'{worst}Lead: the strength of the unlearned network less {over}, in brackets its lowest and highest draw; '
            f'beyond: less the best of them.{within} {zero_words(audit, result)}',
            Table(['family', 'its best attacker', *head], families, 2, 'The worst lead of each family'),
            Table(['attacker', 'family', *head], rows, 2, 'The lead within each budget')]


def _strengths(result: Mapping, audit: Mapping) -> list[Block]:
    columns, digits = list(result['strength']), digits_of(audit)
    budgets = {(pairs, step) for by in result['strength'].values() for pairs, of in by.items() for step in of}
    rows = [[pairs, step, *(number((of.get(step) or {}).get('value'), digits)
                            for of in (result['strength'][column].get(pairs, {}) for column in columns))]
            for pairs, step in sorted(budgets, key=lambda budget: tuple(map(int, budget)))]
    return [Table(['pairs', 'step', *columns], rows, 0, 'The strength of every network')]


def _trails(result: Mapping, audit: Mapping) -> list[Block]:
    """The best score of every attacker on every network, and on the unlearned one by step."""
    yardstick, digits = yardstick_of_audit(audit), digits_of(audit)
    trails = {column: {(trail.attacker, trail.family, trail.pairs): trail for trail in map(Trail.from_record, records)}
              for column, records in result['trails'].items()}

    def best(trail: Trail | None) -> float | None:
        return trail and strength([trail], trail.pairs, max(trail.curve), yardstick).value

    rows = [[*key[:2], str(key[2]), *(number(best(by.get(key)), digits) for by in trails.values())]
            for key in columns_of(list(trails.values()))]
    own: Sequence[Trail] = list(trails.get('unlearned', {}).values())
    steps = sorted({step for trail in own for step in trail.curve})
    curves = [[trail.attacker, trail.family, str(trail.pairs),
               *(number(trail.mean(step) if step in trail.curve else None, digits) for step in steps)] for trail in own]
    head = ['attacker', 'family', 'pairs']
    return [Table([*head, *trails], rows, 2, 'The best score of every attacker'),
            Table([*head, *(f'step {step}' for step in steps)], curves, 2, 'Every attacker of the unlearned network')]


def _predictors(result: Mapping) -> list[Block]:
    found = {name: by for name, by in result['predictors'].items() if by}
    columns = columns_of(list(found.values()))
    if not columns:
        return []
    rows = [[column, *(number(by.get(column), 4) for by in found.values())] for column in columns]
    return ['What is had without an attack, and predicts little: how far the weights lie from the original’s, and how '
            'much worse the forget set gets on the straight line between the two.',
            Table(['network', *(PREDICTORS.get(name, name) for name in found)], rows, title='Predictors')]
