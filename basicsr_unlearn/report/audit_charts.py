"""The charts of an audit's page; each function gives nothing where its measurement was not made."""
from collections.abc import Mapping

from basicsr_unlearn.metrics.evaluation import IDENTITY
from basicsr_unlearn.report.audit_values import (
    change_shown,
    digits_of,
    in_unit,
    metric_of,
    reason_in,
    result_in,
    retrained_of,
    worst_first,
)
from basicsr_unlearn.report.charts import NARROW, AxisRow, axis_around, rows_chart, signed
from basicsr_unlearn.report.findings import ROLE_WORDS, Card, Figure, Figures, PageSection, role_class
from basicsr_unlearn.report.pictures import in_order, kind
from basicsr_unlearn.report.tables import amount, cut

ATTACK_WORDS = {'threshold': 'loss below a threshold', 'logistic': 'regression on several losses',
                'lira': 'LiRA, with shadow networks'}
LONGEST_SET = 18  # characters of a data set's name beside a chart


def strengths_card(audit: Mapping) -> Card | None:
    """How far the unlearned network lies from the mean of what it is held against on each forget set, the worst first.
    """
    found = worst_first(audit)
    if not found:
        return None
    rows = [_strength_row(name, one, audit, first=not place) for place, (name, one) in enumerate(found)]
    (worst, entry), sets = found[0], len(found)
    ends = [value for row in rows for value in (row.interval[0], *row.rings, *(row.span or ()))]
    spoken = ', '.join(f'{name} {change_shown(one["gap"]["value"], audit)}' for name, one in found)
    several = len(entry['against']) > 1
    against = ('the untouched input' if entry['against'] == [IDENTITY] else
               'the mean of the retrained networks (rings; one more of them would lie in the band in 8 of 10 cases)'
               if several else 'the retrained network')
    counted = ' The gap is counted from the last ring.' if several else ''
    return Card(f'Forget gap at {amount(sets, "strength")}' if sets > 1 else 'Forget gap',
                rows_chart(rows, f'Forget gap: {spoken}', axis_around(ends, metric_of(audit)['unit']), 0.0,
                           width=NARROW, step=20),
                f'{worst}: {change_shown(entry["gap"]["value"], audit)}',
                f'How much better it is than {against}{in_unit(audit)}.{counted}')


def _strength_row(name: str, found: Mapping, audit: Mapping, first: bool) -> AxisRow:
    middle, higher = found['reference']['mean'], metric_of(audit)['better'] == 'higher'

    def ahead(value: float) -> float:
        return value - middle if higher else middle - value

    likely = [found['one_more'][end] for end in ('low', 'high')]
    return AxisRow(cut(name, LONGEST_SET), 'unlearned' if first else 'beside',
                   (ahead(found['scores']['unlearned']), None, None),
                   rings=[ahead(found['scores'][column]) for column in found['against'] if column != IDENTITY],
                   span=None if None in likely else tuple(sorted(map(ahead, likely))),
                   told=change_shown(found['gap']['value'], audit, unit=False))


def _shown(value: float, audit: Mapping) -> str:
    return f'{signed(value, digits_of(audit))} {metric_of(audit)["unit"]}'.strip()


def scores_figures(audit: Mapping) -> list[PageSection]:
    """The score of every image and the means with their intervals, a chart for each data set."""
    found = result_in(audit, 'scores')
    if not found:
        return []
    tests, figures = result_in(audit, 'forgetting') or {}, []
    key, metric = (metric_of(audit)[part] for part in ('key', 'name'))
    for name, by_column in found['per_image'].items():
        rows = [AxisRow(column, kind(column), _ends(found['mean'][name][column][key]), by_column[column][key])
                for column in in_order(by_column)]
        if not rows:
            continue
        role = audit['datasets'][name]['role']
        test = ''.join(f' Against {column}: KS {one["statistic"]:.2f}, p {one["p"]:.3f}.'
                       for column, one in tests.get(name, {}).get('ks', {}).items())
        values = [value for row in rows for value in row.dots]
        scale = {} if metric_of(audit)['unit'] else {'axis': (min(values), max(values)), 'digits': 4}
        spoken = ', '.join(f'{row.label} {_shown(row.interval[0], audit)}' for row in rows)
        figures.append(Figure(rows_chart(rows, f'{metric} on {name}: {spoken}', **scale), f'{name}, {ROLE_WORDS[role]}',
                              f'{len(rows[0].dots)} images.{test}', role_class(role)))
    if not figures:
        return []
    reference = 'a retrained network' if retrained_of(audit) else 'the untouched input (identity)'
    return [PageSection('Image by image', [
        f'{metric}{in_unit(audit)}: a dot is an image, the mark the mean with its 95 % interval. Forgetting has '
        f'succeeded where the unlearned network’s dots lie as those of {reference} do.', Figures(figures)])]


def membership_card(audit: Mapping) -> Card | None:
    """AUC on every network of the attack that tells the unlearned one's members furthest from the reference's."""
    found = result_in(audit, 'membership')
    attacks = {name: entry for name, entry in found['attacks'].items() if entry['state'] == 'measured'} if found else {}
    if not attacks:
        reason = reason_in(audit, 'membership')
        return reason and Card('Can its training images be told?', words=f'Not measured: {reason}')

    def strength(name: str) -> float:
        nearest = min((abs(one['value']) for one in attacks[name]['difference'].values()), default=None)
        return abs(attacks[name]['auc']['unlearned']['value'] - 0.5) if nearest is None else nearest

    name = max(attacks, key=strength)
    entry = attacks[name]
    rows = [AxisRow(column, kind(column), _ends(entry['auc'][column])) for column in in_order(entry['auc'])]
    ends = [end for row in rows for end in row.interval if end is not None]
    spoken = '; '.join(f'{row.label} {row.interval[0]:.2f}' for row in rows)
    strongest = f', the strongest of {len(attacks)}' if len(attacks) > 1 else ''
    return Card('Can its training images be told?',
                rows_chart(rows, f'AUC of a membership attack: {spoken}', (min(0.2, *ends), max(0.8, *ends)), 0.5, 2,
                           NARROW, 20),
                entry['reading'].capitalize(),
                f'AUC, 0.5 is chance, of an attack by {ATTACK_WORDS.get(name, name)}{strongest}, on '
                f'{found["members"]} against {found["unseen"]}.')


def _ends(interval: Mapping) -> tuple[float, float | None, float | None]:
    return interval['value'], interval['low'], interval['high']
