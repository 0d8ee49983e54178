"""The demo's report: one HTML file with its pictures and curves inside, for screen, phone and paper."""
import base64
import re
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template

import cv2
import numpy as np

from basicsr_unlearn.evaluate import FORGET_TOLERANCE, RETAIN_TOLERANCE, Strip, forget_gap, retain_loss

COLUMNS = {'identity': 'Input', 'original': 'Original', 'unlearned': 'Unlearned', 'retrained': 'Retrained',
           'gt': 'Ground truth'}
MEANINGS = {'unlearned': 'unlearned: the network after', 'original': 'original: the network before',
            'retrained': 'retrained: trained from scratch without the forget set',
            'identity': 'identity baseline: the untouched input'}
ROLES = {'forget': 'to forget', 'retain': 'to keep'}
MAX_SIDE = 640  # pixels of an embedded picture; enough for a column on a dense screen
JPEG_QUALITY = 90


def write_report(path: str | Path, summary: Mapping, strips: Mapping[str, Sequence[Strip]],
                 curves: Mapping[str, Sequence[tuple[int, float]]]) -> None:
    """Write the report.

    Args:
        path: the .html file.
        summary: what summary.json holds, see `basicsr_unlearn.demo.summarise`.
        strips: before/after pictures by data set.
        curves: (iteration, PSNR in dB) of the unlearned network by data set; a set without points gets no chart.
    """
    template = Template((Path(__file__).parent / 'report.html').read_text(encoding='utf-8'))
    Path(path).write_text(template.substitute(
        title=escape(f'{summary["headline"]} {summary["name"]}'), top=_top(summary, strips),
        standing=_standing(summary['datasets']), strips=_strips(summary['datasets'], strips),
        curves=_curves(summary['datasets'], curves), table=_table(summary['datasets']), method=_method(summary)),
        encoding='utf-8')


def _top(summary: Mapping, strips: Mapping[str, Sequence[Strip]]) -> str:
    facts = (('option file', Path(summary['option_file']).name), ('iterations', f'{summary["iterations"]:,}'),
             ('unlearning', _duration(summary['seconds_training'])), ('in all', _duration(summary['seconds'])))
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
    before, after = (_picture(strip.images[column], f'{name}, {strip.name}: {column}')
                     for column in ('original', 'unlearned'))
    return (f'<figure class="compare"><div class="frame">{before}<div class="over">{after}</div>'
            '<div class="edge"></div>'
            '<span class="tag left">original</span><span class="tag right">unlearned</span></div>'
            '<input type="range" min="0" max="100" value="50" hidden aria-label="original against unlearned">'
            f'<figcaption>{escape(name)}: the same input through the network before and after.</figcaption></figure>')


def _standing(datasets: Mapping[str, Mapping]) -> str:
    """One row per data set: all networks on one axis of PSNR."""
    values = [value for entry in datasets.values() for value in entry['psnr'].values()]
    ticks = _ticks(min(values), max(values))
    low, high = min(ticks[0], min(values)), max(ticks[-1], max(values))

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
    axis = ''.join(f'<span style="--x:{at(tick)}">{tick:g}</span>' for tick in ticks[:-1])
    axis += f'<span style="--x:{at(ticks[-1])}">{ticks[-1]:g} dB</span>'
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
        figures = ''.join(_strip(name, strip) for strip in of_set)
        parts.append(f'<section class="{role}"><h2>{escape(name)}, <span class="role">{ROLES[role]}</span></h2>'
                     '<p class="muted">The whole image, and a detail of it enlarged. PSNR is of the whole.</p>'
                     f'{figures}</section>')
    return ''.join(parts)


def _strip(name: str, strip: Strip) -> str:
    height, width = strip.images['gt'].shape[:2]
    size = max(min(height, width) // 4, min(48, height, width))
    top, left = where_to_look(strip.images['gt'], strip.images['original'], strip.images['unlearned'], size)
    box = (f'<div class="box" style="left:{100 * left / width:.2f}%;top:{100 * top / height:.2f}%;'
           f'width:{100 * size / width:.2f}%;height:{100 * size / height:.2f}%"></div>')
    cells = []
    for column, label in COLUMNS.items():
        if column not in strip.images:
            continue
        image = strip.images[column]
        score = f'<span>{strip.scores[column]["psnr"]:.2f} dB</span>' if column in strip.scores else ''
        crop = _picture(image[top:top + size, left:left + size], '', 'crop')
        now = ' now' if column == 'unlearned' else ''
        whole = _picture(image, f'{name}, {strip.name}: {label}')
        cells.append(f'<div class="cell{now}"><div class="label"><b>{label}</b>{score}</div>'
                     f'<div class="whole">{whole}{box}</div>{crop}</div>')
    return (f'<figure class="strip" style="margin-inline:0"><div class="cells" style="--n:{len(cells)}">'
            f'{"".join(cells)}</div><figcaption>{escape(strip.name)}</figcaption></figure>')


def where_to_look(gt: np.ndarray, first: np.ndarray, second: np.ndarray, size: int) -> tuple[int, int]:
    """Top and left of the square of `size` in which two outputs differ most where the clean image has detail.

    Args:
        gt, first, second: (h, w, 3) uint8, of one size.
    """
    difference = np.abs(first.astype(np.float32) - second.astype(np.float32)).sum(axis=2)
    grey = gt.astype(np.float32).sum(axis=2)
    detail = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
    sums = cv2.boxFilter(difference * (1 + detail), -1, (size, size), anchor=(0, 0), normalize=False,
                         borderType=cv2.BORDER_CONSTANT)
    inside = sums[:first.shape[0] - size + 1, :first.shape[1] - size + 1]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(top), int(left)


def _picture(image: np.ndarray, alt: str, css: str = '') -> str:
    """An <img> with the (h, w, 3) uint8 RGB picture inside: crops lossless, whole images as JPEG."""
    scale = MAX_SIDE / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    suffix, kind = ('.png', 'png') if css else ('.jpg', 'jpeg')
    parameters = [] if css else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    data = base64.b64encode(cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]), parameters)[1]).decode()
    return (f'<img{f" class={css}" if css else ""} src="data:image/{kind};base64,{data}" width="{image.shape[1]}" '
            f'height="{image.shape[0]}" alt="{escape(alt)}">')


def _curves(datasets: Mapping[str, Mapping], curves: Mapping[str, Sequence[tuple[int, float]]]) -> str:
    charts = ''.join(f'<figure class="{entry["role"]}"><h3>{escape(name)}, <span class="role">{ROLES[entry["role"]]}'
                     f'</span></h3>{_chart(name, curves[name], entry["psnr"])}</figure>'
                     for name, entry in datasets.items() if curves.get(name))
    if not charts:
        return ''
    return ('<section><h2>On the way there</h2><p class="muted">PSNR in dB over the iterations of unlearning, with the '
            f'other networks as reference lines.</p><div class="charts">{charts}</div></section>')


def _chart(name: str, points: Sequence[tuple[int, float]], psnr: Mapping[str, float]) -> str:
    width, height, left, right, top, bottom = 400, 230, 30, 102, 10, 26
    references = {column: psnr[column] for column in ('original', 'identity', 'retrained') if column in psnr}
    values = [value for _, value in points] + list(references.values())
    middle, span = (min(values) + max(values)) / 2, max(max(values) - min(values), 2.0)  # 2 dB: noise stays small
    low, high = middle - span * 0.54, middle + span * 0.54
    first, last = points[0][0], max(points[-1][0], points[0][0] + 1)

    def x(iteration: float) -> float:
        return left + (width - left - right) * (iteration - first) / (last - first)

    def y(value: float) -> float:
        return top + (height - top - bottom) * (high - value) / (high - low)

    parts = []
    for tick in _ticks(low, high, 5):
        if low <= tick <= high:
            parts.append(f'<line class="grid" x1="{left}" x2="{width - right}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>'
                         f'<text x="{left - 7}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>')
    for iteration, anchor in ((first, 'start'), (last, 'end')):
        parts.append(f'<text x="{x(iteration):.1f}" y="{height - 6}" text-anchor="{anchor}">{iteration:,}</text>')
    parts.append(f'<text x="{(x(first) + x(last)) / 2:.1f}" y="{height - 6}" text-anchor="middle">iteration</text>')
    for column, value in references.items():
        parts.append(f'<line class="ref {column}" x1="{left}" x2="{width - right}" y1="{y(value):.1f}" '
                     f'y2="{y(value):.1f}"/>')
    line = ' '.join(f'{x(iteration):.1f},{y(value):.1f}' for iteration, value in points)
    parts.append(f'<polyline class="line" points="{line}"/>')
    if len(points) <= 40:
        parts += [f'<circle class="point" cx="{x(iteration):.1f}" cy="{y(value):.1f}" r="3"/>'
                  for iteration, value in points]
    labels = {**references, 'unlearned': points[-1][1]}
    places = spread([y(value) for value in labels.values()], 13.5, top + 4, height - bottom - 2)
    for (column, value), place in zip(labels.items(), places):
        parts.append(f'<text class="{column}" x="{width - right + 8}" y="{place + 4:.1f}">{column} {value:.1f}</text>')
    spoken = f'{name}: from {points[0][1]:.2f} dB at iteration {first} to {points[-1][1]:.2f} dB at iteration {last}'
    return (f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(spoken)}">{"".join(parts)}</svg>')


def spread(positions: Sequence[float], distance: float, low: float, high: float) -> list[float]:
    """Move label positions apart to at least `distance`, in their order, as little as a simple sweep allows."""
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    placed = [0.0] * len(positions)
    floor = low
    for i in order:
        placed[i] = max(positions[i], floor)
        floor = placed[i] + distance
    ceiling = high
    for i in reversed(order):
        placed[i] = min(placed[i], ceiling)
        ceiling = placed[i] - distance
    return placed


def _table(datasets: Mapping[str, Mapping]) -> str:
    columns = [column for column in COLUMNS if any(column in entry['psnr'] for entry in datasets.values())]
    metrics = [key for key, value in next(iter(datasets.values())).items() if isinstance(value, Mapping)]
    groups = []
    for metric in metrics:
        is_psnr = metric == 'psnr'
        head = ''.join(f'<th scope="col">{COLUMNS[column]}</th>' for column in columns)
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
            f'{escape(_duration(summary["seconds"]))}, of which {escape(_duration(summary["seconds_training"]))} '
            'unlearning.</p>'
            f'<details><summary>The option file</summary><pre>{escape(summary["option_text"])}</pre></details>'
            '</section>')


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'


def _ticks(low: float, high: float, most: int = 8) -> list[float]:
    """Round numbers that span [low, high], at most about `most` of them."""
    raw = max(high - low, 1e-6) / most
    power = 10.0**np.floor(np.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= raw)
    return [float(step * i) for i in range(int(np.floor(low / step)), int(np.ceil(high / step)) + 1)]
