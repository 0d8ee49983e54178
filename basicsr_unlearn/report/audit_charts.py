"""The charts of an audit's page; each function gives nothing where its measurement was not made."""
from collections.abc import Mapping, Sequence
from math import log1p

from basicsr_unlearn.report.charts import NARROW, AxisRow, Line, line_chart, rows_chart, signed
from basicsr_unlearn.report.drawing import Drawing
from basicsr_unlearn.report.findings import ROLE_WORDS, Card, Figure, Figures, PageSection, role_class
from basicsr_unlearn.report.measurement_sections import digits_of, in_unit, metric_of, retrained_of
from basicsr_unlearn.report.pictures import in_order, kind

WAY_WORDS = {'input': 'A prompt on the input', 'prompts': 'Its own prompts', 'last_layer': 'The last layer'}
ATTACK_WORDS = {'threshold': 'loss below a threshold', 'logistic': 'regression on several losses',
           'lira': 'LiRA, with shadow networks'}


def relearning_card(audit: Mapping) -> Card | None:
    """The score over the steps of fine-tuning, with the range of the seeds."""
    found = _result(audit, 'relearning')
    if not found:
        reason = _reason(audit, 'relearning')
        return reason and Card('Does the skill come back?', words=f'Not measured: {reason}')
    seeds = len(found['seeds'])
    spread = f' The band is the range of {seeds} seeds.' if seeds > 1 else ''
    lead, of = _lead(found, found['against'], audit)
    return Card('Does the skill come back?', _curves(found, 'Relearning', audit, NARROW, 180),
                lead, f'{of}, learned again from '
                f'{found["pairs"]} pairs of {found["train"]}, scored on {found["images"]} images of {found["test"]}.'
                f'{spread}')


def recovery_figures(audit: Mapping) -> list[PageSection]:
    """A small chart for each part that was trained alone."""
    found = _result(audit, 'recovery')
    ways = {way: entry for way, entry in found['ways'].items() if entry['state'] == 'measured'} if found else {}
    if not ways:
        return []
    figures = [Figure(_curves(entry, WAY_WORDS.get(way, way), audit, NARROW, 240), WAY_WORDS.get(way, way),
                      ' '.join(_lead(entry, found['against'], audit)))
               for way, entry in ways.items()]
    return [PageSection('Does a small part bring it back?', [
        f'Only that part is trained on {found["pairs"]} pairs of {found["train"]}, all other weights stay. '
        f'{metric_of(audit)["name"]}{in_unit(audit)} on {found["test"]}.', Figures(figures)])]


def _curves(found: Mapping, title: str, audit: Mapping, width: int, height: int) -> Drawing:
    lines = []
    for column in [*(c for c in in_order(found['curves']) if c != 'unlearned'), 'unlearned']:  # that one on top
        curve = {int(step): value for step, value in found['curves'].get(column, {}).items()}
        if not curve:
            continue
        ranges = [(value['low'], value['high']) for value in curve.values()]
        known = all(end is not None for both in ranges for end in both)
        lines.append(Line(column, kind(column), [(step, value['value']) for step, value in curve.items()],
                          ranges if known and any(low < high for low, high in ranges) else ()))
    spoken = '; '.join(f'{line.label} from {_shown(line.points[0][1], audit)} to {_shown(line.points[-1][1], audit)}'
                       for line in lines)
    return line_chart(lines, {}, f'{title}: {spoken}', 'fine-tuning steps', sorted({x for line in lines
                                                                                 for x, _ in line.points}),
                      log1p, width, height, metric_of(audit)['unit'])


def _lead(found: Mapping, against: Sequence[str], audit: Mapping) -> tuple[str, str]:
    """The largest lead, and over what."""
    value, to = found['largest_gap'], 'the best retrained network' if against else 'its own start'
    if _shown(value, audit) == _shown(0.0, audit):
        return 'Level', f'with {to}, at most'
    way = ('ahead', 'behind')[value < 0] if against else ('above', 'below')[value < 0]
    of = 'of ' if against and value >= 0 else ''
    return f'{_shown(abs(value), audit)} {way}', f'{of}{to}, at {"most" if value >= 0 else "least"}'


def _shown(value: float, audit: Mapping) -> str:
    return f'{signed(value, digits_of(audit))} {metric_of(audit)["unit"]}'.strip()


def scores_figures(audit: Mapping) -> list[PageSection]:
    """The score of every image and the means with their intervals, a chart for each data set."""
    found = _result(audit, 'scores')
    if not found:
        return []
    tests, figures = _result(audit, 'forgetting') or {}, []
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
    found = _result(audit, 'membership')
    attacks = {name: entry for name, entry in found['attacks'].items() if entry['state'] == 'measured'} if found else {}
    if not attacks:
        reason = _reason(audit, 'membership')
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
                           NARROW),
                entry['reading'].capitalize(),
                f'AUC, 0.5 is chance, of an attack by {ATTACK_WORDS.get(name, name)}{strongest}, on '
                f'{found["members"]}, which the original was trained on, against {found["unseen"]}.')


def _ends(interval: Mapping) -> tuple[float, float | None, float | None]:
    return interval['value'], interval['low'], interval['high']


def _result(audit: Mapping, name: str) -> dict | None:
    return (audit['measurements'].get(name) or {}).get('result')


def _reason(audit: Mapping, name: str) -> str | None:
    return (audit['measurements'].get(name) or {}).get('reason')
