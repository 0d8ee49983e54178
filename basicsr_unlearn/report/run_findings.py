"""What a page shows of an unlearning run, and of the demo, which learns the forget set again and runs a second method.
"""
from collections.abc import Mapping, Sequence
from pathlib import Path

from basicsr_unlearn.core.judgement import RETAIN_TOLERANCE, forget_gap, has_skill, references, retain_loss
from basicsr_unlearn.core.yardstick import FORGET_TOLERANCE, Yardstick
from basicsr_unlearn.metrics.evaluation import Strip
from basicsr_unlearn.proof.run_record import yardstick_of_record
from basicsr_unlearn.report.charts import NARROW, Line, line_chart
from basicsr_unlearn.report.findings import (
    ROLE_WORDS,
    Card,
    Code,
    Figure,
    Figures,
    Findings,
    PageSection,
    Pictures,
    Place,
    Slider,
    Standing,
    gap_words,
    loss_words,
    role_class,
)
from basicsr_unlearn.report.pictures import picture, strip_figure
from basicsr_unlearn.report.tables import Table, how_long, score_tables

UNTOLD = ('What attackers get back from the weights, and whether training images can be told, a run does not measure. '
          'An audit attacks the network:')
ONE_ATTACKER = ('What other attackers get back, who know the method, and whether training images can be told. An audit '
                'tries:')
AUDIT_COMMAND = 'basicsr-unlearn audit -opt options/audit_haze.yml'
SHIPPED_AUDITS = ('haze', 'rain', 'noise')  # what the audit files that are shipped are of


def run_findings(record: Mapping, strips: Mapping[str, Sequence[Strip]], option_file: str, option_text: str,
                 cards: Sequence[Card] | None = None, opened: Sequence[PageSection] = ()) -> Findings:
    """The page of a run.

    Args:
        record: of the run, see `basicsr_unlearn.proof.run_record`.
        strips: before/after pictures by data set.
        option_file, option_text: its name and what it says.
        cards: charts that decide, beside where every network stands; None where nothing but the run was measured.
        opened: sections above those that are folded.
    """
    metric, yardstick = yardstick_of_record(record)
    facts = [('method', record['method']), ('option file', Path(option_file).name), ('steps', f'{record["steps"]:,}'),
             ('ended by', record['ended_by']), ('in', how_long(record['seconds']))]
    places = standing_places(record)
    measured_more = cards is not None or not places
    command = f'basicsr-unlearn audit -opt {shipped_audit(record["datasets"]) or "options/audit_haze.yml"}'
    untold = [] if measured_more else [PageSection('What a run does not tell', [UNTOLD, Code(command)])]
    return Findings(
        f'{record["headline"][0]} {record["name"]}', record['headline'], record['verdict'], facts,
        cause=record['likely_cause'] or '', slider=slider_of(record['datasets'], strips, metric, yardstick),
        standing=Standing(places, yardstick) if places else None, cards=cards or (),
        pictures=[Pictures(name, record['datasets'][name]['role'],
                           [strip_figure(strip, metric, yardstick) for strip in of_set])
                  for name, of_set in strips.items() if of_set],
        opened=opened, sections=[*untold, *_tables(record), *_curves(record, places),
                                 *_method(record, option_file, option_text)])


def shipped_audit(datasets: Mapping[str, Mapping]) -> str | None:
    """The option file of an audit of what was forgotten, None where none is shipped."""
    forgotten = [name for name, entry in datasets.items() if entry['role'] == 'forget' and name in SHIPPED_AUDITS]
    return f'options/audit_{forgotten[0]}.yml' if forgotten else None


def standing_places(record: Mapping) -> list[Place]:
    """Where every network stands, on each data set that has the scores for it."""
    metric, yardstick = yardstick_of_record(record)
    found = []
    for name, entry in record['datasets'].items():
        scores = entry['scores'].get(metric, {})
        if {'identity', 'original', 'unlearned'} <= scores.keys():
            found.append(Place(name, entry['role'], scores, _words(entry['role'], scores, yardstick)))
    return found


def _words(role: str, scores: Mapping[str, float], yardstick: Yardstick) -> str:
    if role == 'retain':
        return loss_words(retain_loss(scores, yardstick), yardstick)
    if not has_skill(scores['original'], scores['identity'], yardstick):
        return 'the original has no such skill'
    return gap_words(forget_gap(scores, yardstick), references(scores, yardstick), yardstick)


def slider_of(datasets: Mapping[str, Mapping], strips: Mapping[str, Sequence[Strip]], metric: str,
              yardstick: Yardstick) -> Slider | None:
    """Of all images to forget the one on which the most restoration was lost."""
    pairs = [(name, strip) for name, of_set in strips.items() for strip in of_set
             if role_class(datasets[name]['role']) == 'forget']
    if not pairs:
        return None

    def fall(pair: tuple[str, Strip]) -> float:
        before, after = (pair[1].scores[column].get(metric, 0.0) for column in ('original', 'unlearned'))
        return yardstick.gain(before, after)

    name, strip = max(pairs, key=fall)
    return Slider(name, *(picture(strip.images[column]) for column in ('original', 'unlearned')))


def relearning_cards(curves: Mapping[str, Mapping[str, Mapping[int, float]]], pairs: int, lr: float,
                     yardstick: Yardstick, cure: str) -> list[Card]:
    """The forget sets learned again for a few steps, and what was not measured.

    Args:
        curves: forget set -> network -> step -> score.
        pairs, lr: how they were learned.
        yardstick: the metric that the scores are of.
        cure: the command that takes the skill further out of the weights.
    """
    cards = []
    for name, by in curves.items():
        css = {'unlearned': 'unlearned', 'retrained': 'retrained'}
        lines = [Line(column, css.get(column, 'beside'), sorted(curve.items())) for column, curve in by.items()]
        spoken = ', '.join(f'{line.label} from ' + ' to '.join(yardstick.shown(line.points[end][1]) for end in (0, -1))
                           for line in lines)
        steps = sorted(next(iter(by.values())))
        lead = yardstick.gain(*(by[column][steps[-1]] for column in ('unlearned', 'retrained')))
        cards.append(Card(
            f'{name}, learned again',
            line_chart(lines, {}, f'{name}: {spoken}', 'steps of learning again', steps, width=NARROW, height=230,
                       unit=yardstick.unit),
            f'{yardstick.shown(abs(lead))} {"ahead of" if lead >= 0 else "behind"} retrained',
            f'after {steps[-1]} steps on {pairs} pairs, by one attacker at one rate (Adam, {lr:g}). What rises sooner '
            'than the retrained network still had the skill. Further out of the weights, at more cost:', cure))
    return [*cards, Card('What the demo does not tell', words=ONE_ATTACKER, code=AUDIT_COMMAND)] if cards else []


def beside_section(record: Mapping, option_file: str) -> PageSection:
    """The verdict and the scores of another method's run."""
    metric, yardstick = yardstick_of_record(record)
    judged = {name: {**entry, 'scores': {metric: entry['scores'].get(metric, {})}}
              for name, entry in record['datasets'].items()}
    return PageSection(f'Beside it: {record["method"]}, the published way', [
        f'{" ".join(record["headline"])} {record["verdict"]} {record["steps"]} steps, ended by: {record["ended_by"]}. '
        f'Option file: {option_file}.', *score_tables(judged, {metric: yardstick})])


def _tables(record: Mapping) -> list[PageSection]:
    metric, yardstick = yardstick_of_record(record)
    tables = score_tables(record['datasets'], {metric: yardstick})
    return [PageSection('All scores', tables)] if tables else []


def _curves(record: Mapping, places: Sequence[Place]) -> list[PageSection]:
    metric, yardstick = yardstick_of_record(record)
    figures = []
    for place in places:
        points = [(step, values[metric]) for step, values in record['curves'].get(place.name, ()) if metric in values]
        if points:
            figures.append(Figure(_chart(place, points, yardstick), f'{place.name}, {ROLE_WORDS[place.role]}',
                                  css=place.css))
    about = f'{yardstick.name} over the steps of unlearning, with the other networks as reference lines.'
    return [PageSection('On the way there', [about, Figures(figures)])] if figures else []


def _chart(place: Place, points: Sequence[tuple[int, float]], yardstick: Yardstick):
    lines = {column: place.scores[column] for column in ('original', 'identity', 'retrained')
             if column in place.scores}
    (first, start), (last, end) = points[0], points[-1]
    return line_chart([Line('unlearned', 'unlearned', points)], lines,
                      f'{place.name}: from {yardstick.shown(start)} at step {first} to {yardstick.shown(end)} at step '
                      f'{last}', 'step', [first, last] if last > first else [first],
                      unit=yardstick.unit)


def _method(record: Mapping, option_file: str, option_text: str) -> list[PageSection]:
    networks = [(name, file['path'], file['sha256']) for name, file in record['networks'].items()]
    counts = ', '.join(f'{name} {entry["images"]}' for name, entry in record['datasets'].items())
    versions = ', '.join(f'{name} {version}' for name, version in record['versions'].items())
    limits = (f' An output counts as that of its reference within {FORGET_TOLERANCE} dB, a skill as kept within '
              f'{RETAIN_TOLERANCE} dB of the original.' if record['judged_by']['unit'] == 'dB' else '')
    return [PageSection('How it was done', [
        f'{record["method"]}, by the option file {option_file}.',
        Table((), [(key, str(value)) for key, value in record['settings'].items()], 2),
        Table(('network', 'path', 'SHA-256'), networks, 3),
        'Scores are those of the last validation, on 8-bit images against the ground truth, in the mean over the '
        f'images of each data set ({counts}).{limits} Computed with {versions} on {record["device"]} in '
        f'{how_long(record["seconds"])}.']), PageSection('The option file', [Code(option_text)])]
