"""The charts of an audit's report; each function draws a section, or nothing where its measurement was not made."""
from collections.abc import Mapping, Sequence
from html import escape
from math import log1p

from basicsr_unlearn.report.audit_sections import digits_of, in_unit, metric_of, retrained_of
from basicsr_unlearn.report.charts import Line, Row, line_chart, rows_chart, signed
from basicsr_unlearn.report.drawing import in_order, kind

WAYS = {'input': 'A prompt on the input', 'prompts': 'Its own prompts', 'last_layer': 'The last layer'}
ATTACKS = {'threshold': 'loss below a threshold', 'logistic': 'regression on several losses',
           'lira': 'LiRA, with shadow networks'}
WIDE = 560  # of a drawing that has a row for itself


def relearning(audit: Mapping) -> str:
    """The score over the steps of fine-tuning, with the range of the seeds."""
    found = _result(audit, 'relearning')
    if not found:
        return ''
    seeds = len(found['seeds'])
    spread = f' The band is the range of {seeds} seeds.' if seeds > 1 else ''
    words = (f'<p>Every network is fine-tuned on {found["pairs"]} pairs of {escape(found["train"])} and scored on '
             f'{found["images"]} images of {escape(found["test"])}: a skill that still sleeps in the weights comes '
             f'back sooner than it can be learnt.{spread}</p>'
             f'<p class="figure">{_lead(found["largest_gap"], found["against"], audit)}</p>')
    if found.get('area') is not None:
        words += f'<p class="figure"><b>{_shown(found["area"], audit)}</b> on average over the steps</p>'
    return ('<section class="forget"><h2>Does the skill come back?</h2><div class="wide"><figure class="big">'
            f'{_curves(found, "Relearning", audit, WIDE, 320)}</figure><div>{words}</div></div></section>')


def recovery(audit: Mapping) -> str:
    """A small chart for each part that was trained alone."""
    found = _result(audit, 'recovery')
    ways = {way: entry for way, entry in found['ways'].items() if entry['state'] == 'measured'} if found else {}
    if not ways:
        return ''
    figures = ''.join(f'<figure><h3>{escape(WAYS.get(way, way))}</h3>'
                      f'{_curves(entry, WAYS.get(way, way), audit, 400, 240)}'
                      f'<figcaption>{_lead(entry["largest_gap"], found["against"], audit)}</figcaption></figure>'
                      for way, entry in ways.items())
    left_out = ''.join(f'<p class="muted">{escape(WAYS.get(way, way))}, not measured: {escape(entry["reason"])}</p>'
                       for way, entry in found['ways'].items() if way not in ways)
    return ('<section class="forget"><h2>Does a small part bring it back?</h2><p class="muted">Only that part is '
            f'trained on {found["pairs"]} pairs of {escape(found["train"])}, all other weights stay. '
            f'{metric_of(audit)["name"]}{in_unit(audit)} on {escape(found["test"])}.</p>'
            f'<div class="charts">{figures}</div>{left_out}</section>')


def _curves(found: Mapping, title: str, audit: Mapping, width: int, height: int) -> str:
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
                      log1p, width, height)


def _lead(value: float, against: Sequence[str], audit: Mapping) -> str:
    ahead, behind = ('ahead of', 'behind') if against else ('above', 'below')
    where = 'the best retrained network' if against else 'its own start'
    return (f'<b>{_shown(abs(value), audit)}</b> '
            f'{f"{ahead} {where}, at most" if value >= 0 else f"{behind} {where}, at least"}')


def _shown(value: float, audit: Mapping) -> str:
    return f'{signed(value, digits_of(audit))} {metric_of(audit)["unit"]}'.strip()


def distributions(audit: Mapping) -> str:
    """The score of every image and the means with their intervals, a chart for each data set."""
    found = _result(audit, 'scores')
    if not found:
        return ''
    tests, figures = _result(audit, 'forgetting') or {}, ''
    key, metric = (metric_of(audit)[part] for part in ('key', 'name'))
    for name, by_column in found['per_image'].items():
        rows = [Row(column, kind(column), _ends(found['mean'][name][column][key]), by_column[column][key])
                for column in in_order(by_column)]
        if not rows:
            continue
        role = audit['datasets'][name]['role']
        test = ''.join(f' Against {escape(column)}: KS {one["statistic"]:.2f}, p {one["p"]:.3f}.'
                       for column, one in tests.get(name, {}).get('ks', {}).items())
        values = [value for row in rows for value in row.dots]
        scale = {} if metric_of(audit)['unit'] else {'axis': (min(values), max(values)), 'digits': 4}
        spoken = ', '.join(f'{row.label} {_shown(row.interval[0], audit)}' for row in rows)
        figures += (f'<figure class="{"retain" if role == "retain" else "forget"}"><h3>{escape(name)}, '
                    f'<span class="role">{"to keep" if role == "retain" else "to forget"}</span></h3>'
                    f'{rows_chart(rows, f"{metric} on {name}: {spoken}", **scale)}'
                    f'<figcaption>{len(rows[0].dots)} images.{test}</figcaption></figure>')
    if not figures:
        return ''
    return ('<section><h2>Image by image</h2><p class="muted">'
            f'{metric}{in_unit(audit)}: a dot is an image, the mark the mean with '
            'its 95 % interval. Forgetting has succeeded where the unlearned network’s dots lie as those '
            f'of {"a retrained network" if retrained_of(audit) else "the untouched input (identity)"} do.</p>'
            f'<div class="charts two">{figures}</div></section>')


def membership(audit: Mapping) -> str:
    """AUC of every attack on every network, on one axis."""
    found = _result(audit, 'membership')
    attacks = {name: entry for name, entry in found['attacks'].items() if entry['state'] == 'measured'} if found else {}
    if not attacks:
        return ''
    rows, readings = [], ''
    for name, entry in attacks.items():
        rows.append(Row(ATTACKS.get(name, name), 'head'))
        rows += [Row(column, kind(column), _ends(entry['auc'][column])) for column in in_order(entry['auc'])]
        readings += (f'<p><b>{escape(ATTACKS.get(name, name).capitalize())}: {escape(entry["reading"])}.</b> '
                     f'{escape(entry["text"])}</p>')
    ends = [end for row in rows if row.interval for end in row.interval if end is not None]
    spoken = '; '.join(f'{row.label} {row.interval[0]:.2f}' if row.interval else row.label for row in rows)
    axis = min(0.2, *ends), max(0.8, *ends)
    return ('<section class="forget"><h2>Can its training images be told?</h2><div class="wide"><figure class="big">'
            f'{rows_chart(rows, f"AUC of membership attacks: {spoken}", axis, 0.5, 2, WIDE)}'
            f'<figcaption>AUC with its 95 % interval; 0.5 is chance.</figcaption></figure><div><p>Attacks try to tell '
            f'images of {escape(found["members"])}, which the original was trained on, from unseen ones of '
            f'{escape(found["unseen"])}.</p>{readings}</div></div></section>')


def _ends(interval: Mapping) -> tuple[float, float | None, float | None]:
    return interval['value'], interval['low'], interval['high']


def _result(audit: Mapping, name: str) -> dict | None:
    return (audit['measurements'].get(name) or {}).get('result')
