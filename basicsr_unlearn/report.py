"""The demo's report: one HTML file with its pictures and curves inside, for screen, phone and paper."""
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from basicsr_unlearn.charts import Line, line_chart, ticks
from basicsr_unlearn.drawing import duration, fill, in_order, label, picture, strip_figure
from basicsr_unlearn.evaluate import FORGET_TOLERANCE, RETAIN_TOLERANCE, Strip, forget_gap, retain_loss

MEANINGS = {'unlearned': 'unlearned: the network after', 'original': 'original: the network before',
            'retrained': 'retrained: trained from scratch without the forget set',
            'identity': 'identity baseline: the untouched input'}
ROLES = {'forget': 'to forget', 'retain': 'to keep'}


def write_report(path: str | Path, summary: Mapping, strips: Mapping[str, Sequence[Strip]],
                 curves: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    """Write the report.

    Args:
        path: the .html file.
        summary: what summary.json holds, see `basicsr_unlearn.demo.summarise`.
        strips: before/after pictures by data set.
        curves: (iteration, PSNR in dB) of the unlearned network by data set; a set without points gets no chart.
    """
    fill(path, Path(__file__).parent / 'report.html',
         title=escape(f'{summary["headline"]} {summary["name"]}'), top=_top(summary, strips),
         standing=_standing(summary['datasets']), strips=_strips(summary['datasets'], strips),
         curves=_curves(summary['datasets'], curves), table=_table(summary['datasets']), method=_method(summary))


def _top(summary: Mapping, strips: Mapping[str, Sequence[Strip]]) -> str:
    facts = (('option file', Path(summary['option_file']).name), ('iterations', f'{summary["iterations"]:,}'),
             ('unlearning', duration(summary['seconds_training'])), ('in all', duration(summary['seconds'])))
    items = ''.join(f'<li>{escape(key)} <b>{escape(value)}</b></li>' for key, value in facts)
    pairs = [(name, strip) for name, of_set in strips.items() for strip in of_set
             if summary['datasets'][name]['role'] == 'forget']
    compare = _compare(*max(pairs, key=lambda pair: _fall(pair[1]))) if pairs else ''
    headline = ' '.join(f'<span>{escape(sentence)}</span>' for sentence in re.split(r'(?<=\.) ', summary['headline']))
    return (f'<header class="top{"" if pairs else " alone"}"><div><h1>{headline}</h1>'
            f'<p class="lede">{escape(summary["verdict"])}</p><ul class="facts">{items}</ul></div>{compare}</header>')


def _fall(strip: Strip) -> float:
    """How much restoration was lost on an image, in dB."""
    return strip.scores['original']['psnr'] - strip.scores['unlearned']['psnr']


def _compare(name: str, strip: Strip) -> str:
    before, after = (picture(strip.images[column], f'{name}, {strip.name}: {column}')
                     for column in ('original', 'unlearned'))
    return (f'<figure class="compare"><div class="frame">{before}<div class="over">{after}</div>'
            '<div class="edge"></div>'
            '<span class="tag left">original</span><span class="tag right">unlearned</span></div>'
            '<input type="range" min="0" max="100" value="50" hidden aria-label="original against unlearned">'
            f'<figcaption>{escape(name)}: the same input through the network before and after.</figcaption></figure>')


def _standing(datasets: Mapping[str, Mapping]) -> str:
    """One row per data set: all networks on one axis of PSNR."""
    values = [value for entry in datasets.values() for value in entry['psnr'].values()]
    scale = ticks(min(values), max(values))
    low, high = min(scale[0], min(values)), max(scale[-1], max(values))

    def at(value: float) -> str:
        return f'{100 * (value - low) / (high - low):.2f}%'

    rows = []
    for name, entry in datasets.items():
        psnr, role = entry['psnr'], entry['role']
        move = sorted((psnr['original'], psnr['unlearned']))
        marks = f'<i class="move" style="--x:{at(move[0])};--w:{100 * (move[1] - move[0]) / (high - low):.2f}%"></i>'
        marks += ''.join(f'<i class="{column}" style="--x:{at(psnr[column])}"></i>'
                         for column in ('identity', 'original', 'retrained', 'unlearned') if column in psnr)
        spoken = ', '.join(f'{column} {value:.2f} dB' for column, value in psnr.items())
        rows.append(f'<div class="row {role}"><div class="name">{escape(name)}<small class="role">{ROLES[role]}</small>'
                    f'</div><div class="track" role="img" aria-label="{escape(spoken)}">{marks}</div>'
                    f'<div class="end"><div class="big">{psnr["unlearned"]:.2f} <small>dB, was {psnr["original"]:.2f}'
                    f'</small></div><div class="muted">{escape(_difference(entry))}</div></div></div>')
    axis = ''.join(f'<span style="--x:{at(tick)}">{tick:g}</span>' for tick in scale[:-1])
    axis += f'<span style="--x:{at(scale[-1])}">{scale[-1]:g} dB</span>'
    used = [column for column in MEANINGS if any(column in entry['psnr'] for entry in datasets.values())]
    key = ''.join(f'<li><i class="{column}"></i>{MEANINGS[column]}</li>' for column in used)
    return (f'<section><h2>Where every network stands</h2><ul class="key">{key}</ul>{"".join(rows)}'
            f'<div class="row scale"><div></div><div class="axis" aria-hidden="true">{axis}</div><div></div></div>'
            '<p class="muted">PSNR against the ground truth, mean over the images of a data set. Forgetting has '
            f'succeeded where the dot sits {"in the ring" if "retrained" in used else "on the dotted mark"}, keeping '
            'where it sits on the bar.</p></section>')


def _difference(entry: Mapping) -> str:
    if entry['role'] == 'retain':
        loss = retain_loss(entry['psnr'])
        return f'{abs(loss):.2f} dB {"lost" if loss >= 0 else "gained"}'
    gap = forget_gap(entry['psnr'])
    reference = 'retrained' if 'retrained' in entry['psnr'] else 'the input'
    return f'{abs(gap):.2f} dB {"above" if gap >= 0 else "below"} {reference}'


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


def _curves(datasets: Mapping[str, Mapping], curves: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    charts = ''.join(f'<figure class="{entry["role"]}"><h3>{escape(name)}, <span class="role">{ROLES[entry["role"]]}'
                     f'</span></h3>{_chart(name, curves[name], entry["psnr"])}</figure>'
                     for name, entry in datasets.items() if curves.get(name))
    if not charts:
        return ''
    return ('<section><h2>On the way there</h2><p class="muted">PSNR in dB over the iterations of unlearning, with the '
            f'other networks as reference lines.</p><div class="charts">{charts}</div></section>')


def _chart(name: str, points: Sequence[tuple[int, float]], psnr: Mapping[str, float]) -> str:
    references = {column: psnr[column] for column in ('original', 'identity', 'retrained') if column in psnr}
    (first, start), (last, end) = points[0], points[-1]
    return line_chart([Line('unlearned', 'unlearned', points)], references,
                      f'{name}: from {start:.2f} dB at iteration {first} to {end:.2f} dB at iteration {last}',
                      'iteration', [first, last] if last > first else [first])


def _table(datasets: Mapping[str, Mapping]) -> str:
    columns = in_order(column for entry in datasets.values() for column in entry['psnr'])
    metrics = [key for key, value in next(iter(datasets.values())).items() if isinstance(value, Mapping)]
    groups = []
    for metric in metrics:
        is_psnr = metric == 'psnr'
        head = ''.join(f'<th scope="col">{label(column)}</th>' for column in columns)
        unit = ' in dB' if is_psnr else ''
        rows = [f'<tr class="head"><th scope="rowgroup">{escape(metric.upper())}{unit}</th>{head}'
                f'<th>{"Difference" if is_psnr else ""}</th></tr>']
        for name, entry in datasets.items():
            cells = ''.join(f'<td{" class=now" if column == "unlearned" else ""}>'
                            f'{format(entry[metric][column], ".2f" if is_psnr else ".4f")}</td>' for column in columns)
            rows.append(f'<tr class="{entry["role"]}"><th scope="row">{escape(name)} <span class="role">'
                        f'{ROLES[entry["role"]]}</span></th>{cells}<td>'
                        f'{escape(_difference(entry)) if is_psnr else ""}</td></tr>')
        groups.append(f'<tbody>{"".join(rows)}</tbody>')
    return f'<section><h2>All numbers</h2><div class="scroll"><table>{"".join(groups)}</table></div></section>'


def _method(summary: Mapping) -> str:
    rows = ''.join(f'<tr><th scope="row">{escape(key)}</th><td>{escape(str(value))}</td></tr>'
                   for key, value in summary['settings'].items())
    counts = ', '.join(f'{name} {entry["images"]}' for name, entry in summary['datasets'].items())
    versions = ', '.join(f'{name} {version}' for name, version in summary['versions'].items())
    return ('<section><h2>How it was done</h2>'
            f'<p>{escape(summary["method"])}, run by the option file {escape(summary["option_file"])} through '
            'BasicSR’s training loop.</p>'
            f'<div class="scroll"><table class="settings"><tbody>{rows}</tbody></table></div>'
            '<p style="margin-top:1.2rem">Scores are BasicSR’s metrics on 8-bit images against the ground truth, as in '
            f'its validation, averaged over the images of each data set ({escape(counts)}). A set counts as '
            f'forgotten within {FORGET_TOLERANCE} dB of the retrained network, or of the untouched input where there '
            f'is none, and as kept within {RETAIN_TOLERANCE} dB of the original. Computed with {escape(versions)} in '
            f'{escape(duration(summary["seconds"]))}, of which {escape(duration(summary["seconds_training"]))} '
            'unlearning.</p>'
            f'<details><summary>The option file</summary><pre>{escape(summary["option_text"])}</pre></details>'
            '</section>')
