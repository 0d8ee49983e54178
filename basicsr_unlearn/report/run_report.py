"""The report of an unlearning run: one HTML file with its pictures and curves inside, for screen, phone and paper."""
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from basicsr_unlearn.core.judgement import (
    FORGET_TOLERANCE,
    RETAIN_TOLERANCE,
    Yardstick,
    forget_gap,
    has_skill,
    references,
    retain_loss,
)
from basicsr_unlearn.metrics.evaluation import Strip
from basicsr_unlearn.proof.run_record import yardstick_of_record
from basicsr_unlearn.report.charts import Line, line_chart, ticks
from basicsr_unlearn.report.drawing import duration, fill, in_order, label, picture, strip_figure

MEANINGS = {'unlearned': 'unlearned: the network after', 'original': 'original: the network before',
            'retrained': 'retrained: trained from scratch without the forget set',
            'identity': 'identity baseline: the untouched input'}
ROLES = {'forget': 'to forget', 'retain': 'to keep'}


def write_report(path: str | Path, record: Mapping, strips: Mapping[str, Sequence[Strip]], option_file: str,
                 option_text: str, sections: str = '') -> None:
    """Write the report.

    Args:
        path: the .html file.
        record: of the run, see `basicsr_unlearn.proof.run_record`.
        strips: before/after pictures by data set.
        option_file, option_text: its name and what it says.
        sections: HTML of further sections, put below the first.
    """
    page = _Page(record)
    fill(path, Path(__file__).parent / 'run_report.html',
         title=escape(f'{record["headline"][0]} {record["name"]}'), top=_top(page, strips, option_file),
         standing=_standing(page), sections=sections, strips=_strips(record['datasets'], strips), curves=_curves(page),
         table=_table(page), method=_method(page, option_file, option_text))


class _Page:
    """A record, and the scores of the metric that it is judged by."""

    def __init__(self, record: Mapping):
        self.record, self.datasets = record, record['datasets']
        self.metric, self.yardstick = yardstick_of_record(record)
        self.judged = {name: entry['scores'][self.metric] for name, entry in self.datasets.items()
                       if {'identity', 'original', 'unlearned'} <= entry['scores'].get(self.metric, {}).keys()}

    def shown(self, value: float) -> str:
        return f'{value:.{self.digits}f}'

    @property
    def digits(self) -> int:
        return 2 if self.yardstick.unit == 'dB' else 4

    @property
    def unit(self) -> str:
        return f' {self.yardstick.unit}' if self.yardstick.unit else ''


def _top(page: _Page, strips: Mapping[str, Sequence[Strip]], option_file: str) -> str:
    record = page.record
    facts = (('method', record['method']), ('option file', Path(option_file).name), ('steps', f'{record["steps"]:,}'),
             ('ended by', record['ended_by']), ('in', duration(record['seconds'])))
    items = ''.join(f'<li>{escape(key)} <b>{escape(value)}</b></li>' for key, value in facts)
    pairs = [(name, strip) for name, of_set in strips.items() for strip in of_set
             if record['datasets'][name]['role'] == 'forget']
    compare = _compare(*max(pairs, key=lambda pair: _fall(pair[1], page))) if pairs else ''
    first, *rest = map(escape, record['headline'])
    headline = f'<h1>{first}</h1>' + (f'<p class="headline">{" ".join(rest)}</p>' if rest else '')
    cause = f'<p class="lede"><b>Likely cause.</b> {escape(record["likely_cause"])}</p>' if record['likely_cause'] \
        else ''
    return (f'<header class="top{"" if pairs else " alone"}"><div>{headline}'
            f'<p class="lede">{escape(record["verdict"])}</p>{cause}<ul class="facts">{items}</ul></div>{compare}'
            '</header>')


def _fall(strip: Strip, page: _Page) -> float:
    """How much restoration was lost on an image."""
    before, after = (strip.scores[column].get(page.metric, 0.0) for column in ('original', 'unlearned'))
    return page.yardstick.gain(before, after)


def _compare(name: str, strip: Strip) -> str:
    before, after = (picture(strip.images[column], f'{name}, {strip.name}: {column}')
                     for column in ('original', 'unlearned'))
    return (f'<figure class="compare"><div class="frame">{before}<div class="over">{after}</div>'
            '<div class="edge"></div>'
            '<span class="tag left">original</span><span class="tag right">unlearned</span></div>'
            '<input type="range" min="0" max="100" value="50" hidden aria-label="original against unlearned">'
            f'<figcaption>{escape(name)}: the same input through the network before and after.</figcaption></figure>')


def _standing(page: _Page) -> str:
    """One row per data set: all networks on one axis of the metric that judges."""
    if not page.judged:
        return ''
    values = [value for scores in page.judged.values() for value in scores.values()]
    scale = ticks(min(values), max(values))
    low, high = min(scale[0], min(values)), max(scale[-1], max(values))

    def at(value: float) -> str:
        return f'{100 * (value - low) / (high - low):.2f}%'

    rows = []
    for name, scores in page.judged.items():
        role = page.datasets[name]['role']
        move = sorted((scores['original'], scores['unlearned']))
        marks = f'<i class="move" style="--x:{at(move[0])};--w:{100 * (move[1] - move[0]) / (high - low):.2f}%"></i>'
        marks += ''.join(f'<i class="{column}" style="--x:{at(scores[column])}"></i>'
                         for column in ('identity', 'original', 'retrained', 'unlearned') if column in scores)
        spoken = ', '.join(f'{column} {page.shown(value)}{page.unit}' for column, value in scores.items())
        rows.append(f'<div class="row {role}"><div class="name">{escape(name)}<small class="role">{ROLES[role]}</small>'
                    f'</div><div class="track" role="img" aria-label="{escape(spoken)}">{marks}</div>'
                    f'<div class="end"><div class="big">{page.shown(scores["unlearned"])} <small>{page.unit.strip()}'
                    f'{"," if page.unit else ""} was {page.shown(scores["original"])}</small></div>'
                    f'<div class="muted">{escape(_difference(role, scores, page.yardstick))}</div></div></div>')
    axis = ''.join(f'<span style="--x:{at(tick)}">{tick:g}</span>' for tick in scale[:-1])
    axis += f'<span style="--x:{at(scale[-1])}">{scale[-1]:g}{page.unit}</span>'
    used = [column for column in MEANINGS if any(column in scores for scores in page.judged.values())]
    key = ''.join(f'<li><i class="{column}"></i>{MEANINGS[column]}</li>' for column in used)
    return (f'<section><h2>Where every network stands</h2><ul class="key">{key}</ul>{"".join(rows)}'
            f'<div class="row scale"><div></div><div class="axis" aria-hidden="true">{axis}</div><div></div></div>'
            f'<p class="muted">{escape(page.yardstick.name)} against the ground truth, mean over the images of a data '
            'set. The outputs are a retrained network\u2019s where the dot sits '
            f'{"in the ring" if "retrained" in used else "on the dotted mark"}; a skill is kept where the dot sits on '
            'the bar. Outputs do not show what still sleeps in the weights.</p></section>')


def _difference(role: str, scores: Mapping[str, float], yardstick: Yardstick) -> str:
    digits = 2 if yardstick.unit == 'dB' else 4
    if role == 'retain':
        loss = retain_loss(scores, yardstick)
        return f'{yardstick.shown(abs(loss))} {"lost" if loss >= 0 else "gained"}'
    if not has_skill(scores['original'], scores['identity'], yardstick):
        return 'the original has no such skill'
    gap = forget_gap(scores, yardstick)
    against = 'the input' if references(scores, yardstick) == ['identity'] else 'retrained'
    unit = f' {yardstick.unit}' if yardstick.unit else ''
    return f'{abs(gap):.{digits}f}{unit} {"better than" if gap >= 0 else "worse than"} {against}'


def _strips(datasets: Mapping[str, Mapping], strips: Mapping[str, Sequence[Strip]]) -> str:
    parts = []
    for name, of_set in strips.items():
        if not of_set:
            continue
        role = datasets[name]['role']
        figures = ''.join(strip_figure(name, strip, escape(strip.name)) for strip in of_set)
        parts.append(f'<section class="{role}"><h2>{escape(name)}, <span class="role">{ROLES[role]}</span></h2>'
                     '<p class="muted">The whole image, and a detail of it enlarged. PSNR is of the whole.</p>'
                     f'{figures}</section>')
    return ''.join(parts)


def _curves(page: _Page) -> str:
    curves = {name: [(step, values[page.metric]) for step, values in page.record['curves'].get(name, ())
                     if page.metric in values] for name in page.judged}
    charts = ''.join(f'<figure class="{page.datasets[name]["role"]}"><h3>{escape(name)}, <span class="role">'
                     f'{ROLES[page.datasets[name]["role"]]}</span></h3>{_chart(name, points, page)}</figure>'
                     for name, points in curves.items() if points)
    if not charts:
        return ''
    return (f'<section><h2>On the way there</h2><p class="muted">{escape(page.yardstick.name)} over the steps of '
            'unlearning, with the other networks as reference lines.</p>'
            f'<div class="charts">{charts}</div></section>')


def _chart(name: str, points: Sequence[tuple[int, float]], page: _Page) -> str:
    scores = page.judged[name]
    lines = {column: scores[column] for column in ('original', 'identity', 'retrained') if column in scores}
    (first, start), (last, end) = points[0], points[-1]
    return line_chart([Line('unlearned', 'unlearned', points)], lines,
                      f'{name}: from {page.shown(start)}{page.unit} at step {first} to {page.shown(end)}{page.unit} at '
                      f'step {last}', 'step', [first, last] if last > first else [first])


def _table(page: _Page) -> str:
    metrics = list(dict.fromkeys(metric for entry in page.datasets.values() for metric in entry['scores']))
    columns = in_order(column for entry in page.datasets.values() for by in entry['scores'].values() for column in by)
    head = ''.join(f'<th scope="col">{label(column)}</th>' for column in columns)
    groups = []
    for metric in metrics:
        judges = metric == page.metric
        digits = page.digits if judges else 2 if 'psnr' in metric else 4
        name_of_judge = f'{page.yardstick.name} in {page.yardstick.unit}' if page.unit else page.yardstick.name
        title = name_of_judge if judges else metric.upper()
        rows = [f'<tr class="head"><th scope="rowgroup">{escape(title)}</th>{head}'
                f'<th>{"Difference" if judges else ""}</th></tr>']
        for name, entry in page.datasets.items():
            scores = entry['scores'].get(metric)
            if not scores:
                continue
            cells = ''.join(f'<td{" class=now" if column == "unlearned" else ""}>'
                            f'{f"{scores[column]:.{digits}f}" if column in scores else "–"}</td>' for column in columns)
            note = _difference(entry['role'], scores, page.yardstick) if judges and name in page.judged else ''
            rows.append(f'<tr class="{entry["role"]}"><th scope="row">{escape(name)} <span class="role">'
                        f'{ROLES[entry["role"]]}</span></th>{cells}<td>{escape(note)}</td></tr>')
        groups.append(f'<tbody>{"".join(rows)}</tbody>')
    if not groups:
        return ''
    return f'<section><h2>All numbers</h2><div class="scroll"><table>{"".join(groups)}</table></div></section>'


def _method(page: _Page, option_file: str, option_text: str) -> str:
    record = page.record
    rows = ''.join(f'<tr><th scope="row">{escape(key)}</th><td>{escape(str(value))}</td></tr>'
                   for key, value in record['settings'].items())
    networks = ''.join(f'<tr><th scope="row">{escape(name)}</th><td>{escape(file["path"])}<br><small>SHA-256 '
                       f'{file["sha256"]}</small></td></tr>' for name, file in record['networks'].items())
    counts = ', '.join(f'{name} {entry["images"]}' for name, entry in page.datasets.items())
    versions = ', '.join(f'{name} {version}' for name, version in record['versions'].items())
    limits = (f' An output counts as that of its reference within {FORGET_TOLERANCE} dB, a skill as kept within '
              f'{RETAIN_TOLERANCE} dB of the original.' if page.unit else '')
    return ('<section><h2>How it was done</h2>'
            f'<p>{escape(record["method"])}, by the option file {escape(option_file)}.</p>'
            f'<div class="scroll"><table class="settings"><tbody>{rows}{networks}</tbody></table></div>'
            '<p style="margin-top:1.2rem">Scores are those of the last validation, on 8-bit images against the ground '
            f'truth, in the mean over the images of each data set ({escape(counts)}).{limits} Computed with '
            f'{escape(versions)} on {escape(record["device"])} in {escape(duration(record["seconds"]))}.</p>'
            f'<details><summary>The option file</summary><pre>{escape(option_text)}</pre></details></section>')
