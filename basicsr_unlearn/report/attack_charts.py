"""What the attackers of an audit reached, as its first page shows it: the best of them by step, and every family."""
from collections.abc import Mapping
from math import log1p

from basicsr_unlearn.proof.words import capital
from basicsr_unlearn.report.attack_words import (
    NO_RETRAINED_WORDS,
    budget_words,
    by_family,
    lead_words,
    limit_of,
    retrained_against,
    zero_words,
)
from basicsr_unlearn.report.audit_values import change_shown, digits_of, in_unit, metric_of
from basicsr_unlearn.report.charts import AxisRow, Line, axis_around, line_chart, rows_chart
from basicsr_unlearn.report.drawing import Drawing
from basicsr_unlearn.report.findings import Card, Panel
from basicsr_unlearn.report.tables import amount, cut, number

SHOWN_FAMILIES = 9  # on the first page; all of them are in the table below
LONGEST_FAMILY = 22  # characters
BESIDE_WIDTH = 440  # width of one of two drawings side by side
TITLE = 'Learned again by the best attacker'


def attack_panel(audit: Mapping) -> Panel | None:
    """The worst lead in words, what every network reached by step, and the worst lead of each family."""
    entry = audit['measurements'].get('attacks') or {}
    found = entry.get('result')
    if not found or not found['worst']:
        return Panel(TITLE, words=f'Not measured: {entry["reason"]}') if entry.get('reason') else None
    worst, pairs = found['worst'], _shown_pairs(found)
    return Panel(TITLE, lead_words(audit, found), f'{capital(budget_words(worst))}. {zero_words(audit, found)}', [
        Card(f'{metric_of(audit)["name"]} by steps of learning, {amount(pairs, "forget pair")} at most',
             _strengths(audit, found, pairs)),
        Card(f'The worst lead of each family{in_unit(audit)}', _families(audit, found), words=_left_out(found))])


def _shown_pairs(found: Mapping) -> int:
    """So many forget pairs as the worst lead takes; where that one comes before any learning, the next number."""
    least = found['worst']['pairs']
    budgets = {int(pairs): len(by_step) for pairs, by_step in found['strength']['unlearned'].items()}
    return min((pairs for pairs, steps in budgets.items() if pairs >= least and steps > 1), default=least)


def _strengths(audit: Mapping, found: Mapping, pairs: int) -> Drawing:
    curves = {column: {int(step): one['value'] for step, one in by_pairs[str(pairs)].items()}
              for column, by_pairs in found['strength'].items() if by_pairs.get(str(pairs))}
    retrained = {column: curves[column] for column in retrained_against(found) if column in curves}
    lines = [Line(column, 'original', sorted(curve.items())) for column, curve in curves.items()
             if column == 'original']
    steps = sorted(set.intersection(*map(set, retrained.values()))) if retrained else []
    if steps:
        each = {step: [curve[step] for curve in retrained.values()] for step in steps}
        several = len(retrained) > 1
        lines += [Line('', 'retrained faint', sorted(curve.items())) for curve in retrained.values() if several]
        lines.append(Line(f'retrained ({len(retrained)})' if several else 'retrained', 'retrained',
                          [(step, sum(values) / len(values)) for step, values in each.items()],
                          [(min(values), max(values)) for values in each.values()] if several else ()))
    lines += [Line(column, 'unlearned', sorted(curve.items())) for column, curve in curves.items()
              if column == 'unlearned']
    digits = digits_of(audit)
    spoken = '; '.join(f'{line.label} from {number(line.points[0][1], digits)} to {number(line.points[-1][1], digits)}'
                       for line in lines if line.label)
    return line_chart(lines, {}, f'The best attacker: {spoken}', 'steps of learning',
                      sorted({x for line in lines for x, _ in line.points}), log1p, BESIDE_WIDTH, 200,
                      metric_of(audit)['unit'])


def _families(audit: Mapping, found: Mapping) -> Drawing:
    limit, families = limit_of(audit), by_family(found)[:SHOWN_FAMILIES]
    rows = []
    for name, one in families:
        within = limit is not None and one['beyond'] <= limit
        rows.append(AxisRow(cut(name, LONGEST_FAMILY), 'beside' if within else 'unlearned', (one['beyond'], None, None),
                            told=change_shown(one['beyond'], audit, unit=False)))
    ends = [*(one['beyond'] for _, one in families), *([] if limit is None else [limit])]
    spoken = ', '.join(f'{name} {change_shown(one["beyond"], audit)}' for name, one in families)
    return rows_chart(rows, f'The worst lead of each family: {spoken}', axis_around(ends, metric_of(audit)['unit']),
                      limit, width=BESIDE_WIDTH, step=20, line_name='limit')


def _left_out(found: Mapping) -> str:
    more = len(found['families']) - SHOWN_FAMILIES
    words = f'Beyond {"the best retrained network" if retrained_against(found) else NO_RETRAINED_WORDS}.'
    return f'{words} {more} more families below.' if more > 0 else words
