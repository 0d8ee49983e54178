"""An audit as text: audit.md, and what the terminal shows in the end."""
import textwrap
from collections.abc import Mapping, Sequence

from basicsr_unlearn.core.judgement import CANNOT_JUDGE
from basicsr_unlearn.engine.terminal import width
from basicsr_unlearn.options.option_text import option_text
from basicsr_unlearn.report.attack_words import budget_words, lead_words
from basicsr_unlearn.report.audit_checks import NO_BREAK, blamed, checks_blocks
from basicsr_unlearn.report.audit_findings import by_severity, measured_sections
from basicsr_unlearn.report.audit_values import (
    change_shown,
    digits_of,
    in_unit,
    metric_of,
    result_in,
    retrained_of,
    worst_first,
)
from basicsr_unlearn.report.measurement_sections import networks_and_sets, unmeasured
from basicsr_unlearn.report.pages import page
from basicsr_unlearn.report.tables import ABSENT, cut, number, plain_lines

WIDEST_SUMMARY = 100  # characters, where the terminal has so many
SHOWN_SETS, SHOWN_BLAMED, SHOWN_WARNINGS = 6, 3, 2  # to fit a screen


def audit_markdown(audit: Mapping) -> str:
    """The whole audit.md, verdict first.

    Args:
        audit: what audit.json holds, see SCHEMA.md; measurements may be skipped or absent.
    """
    levels = {name: (level['state'], checks_blocks(level['checks'])) for name, level in
              audit['verdict']['levels'].items()}
    return page('audit.md', audit=audit, verdict=audit['verdict'], levels=levels, measured=measured_sections(audit),
                unmeasured=unmeasured(audit), provenance=networks_and_sets(audit),
                options=option_text(audit['options']))


def checks_table(checks: Sequence[Mapping]) -> str:
    """The checks of a level in Markdown."""
    table, *words = checks_blocks(checks)
    return '\n\n'.join([table.markdown(), *('\n'.join(f'- {one}' for one in some) for some in words)])


def audit_summary(audit: Mapping) -> str:
    """What the terminal shows in the end: about 25 lines of its width.

    Args:
        audit: see `audit_markdown`.
    """
    verdict, across = audit['verdict'], min(width(), WIDEST_SUMMARY)
    lines = [*textwrap.wrap(verdict['headline'], across), *textwrap.wrap(verdict['sentence'], across), '',
             *_score_lines(audit, across), '', *_worst_lines(audit, across), *_level_lines(verdict, across), '',
             *textwrap.wrap(_decision(verdict), across, break_on_hyphens=False)]
    skipped = [name for name, entry in audit['measurements'].items() if entry['state'] == 'skipped']
    notes = [f'Warning: {warning}' for warning in verdict['warnings'][:SHOWN_WARNINGS]]
    if len(verdict['warnings']) > SHOWN_WARNINGS:
        notes.append(f'Further warnings in audit.md: {len(verdict["warnings"]) - SHOWN_WARNINGS}.')
    if skipped:
        notes.append(f'Not measured: {", ".join(skipped)}; audit.md says why.')
    lines += [line for note in notes for line in textwrap.wrap(note, across, subsequent_indent='  ')]
    return '\n'.join(lines)


def _score_lines(audit: Mapping, across: int) -> list[str]:
    """Mean score by data set and network, the retrained ones as a range, and what unlearning changed."""
    entry, metric = audit['measurements'].get('scores', {'state': 'absent'}), metric_of(audit)
    if entry['state'] != 'measured':
        return [textwrap.shorten(f'There are no scores: {entry.get("reason") or "they were not asked for."}', across)]
    means, retrained, digits = entry['result']['mean'], retrained_of(audit), digits_of(audit)
    rows = [[f'{metric["name"]}{in_unit(audit)}', 'identity', 'original', 'unlearned',
             *([f'retrained ({len(retrained)})' if len(retrained) > 1 else 'retrained'] if retrained else []), '']]
    order = by_severity(audit, means)[:SHOWN_SETS]
    for name, by_column in ((name, found) for name, found in means.items() if name in order):
        score = {column: found[metric['key']]['value'] for column, found in by_column.items()}
        others = [score[column] for column in retrained if column in score]
        ends = [number(end(others), digits) for end in (min, max)] if others else []
        rows.append([f'{name} ({audit["datasets"][name]["role"]})',
                     *(number(score[column], digits) for column in ('identity', 'original', 'unlearned')),
                     *([' to '.join(dict.fromkeys(ends)) or ABSENT] if retrained else []), _change(audit, name)])
    more = len(means) - SHOWN_SETS
    rest = [f'  and {more} more in audit.md'] if more > 0 else []
    return [*('  ' + line for line in _clipped(rows, across)), *rest]


def _worst_lines(audit: Mapping, across: int) -> list[str]:
    """The worst gap of several, and the worst lead, with their names; an empty line behind them."""
    gaps, attacks, words = worst_first(audit), result_in(audit, 'attacks'), []
    if len(gaps) > 1:
        name, one = gaps[0]
        words.append(f'Worst gap of {len(gaps)}: {change_shown(one["gap"]["value"], audit)} on {name}.')
    if attacks and attacks['worst']:
        words.append(f'Worst lead: {lead_words(audit, attacks)}, {budget_words(attacks["worst"])}.')
    lines = [line for one in words for line in textwrap.wrap(one, across, subsequent_indent='  ')]
    return [*lines, ''] if lines else []


def _clipped(rows: list[list[str]], across: int) -> list[str]:
    """Lines within the width: long names of data sets are cut."""
    others = max(len(line) for line in plain_lines([row[1:] for row in rows], left=0))
    room = across - 2 - others - 2
    last = max(len(row[-1]) for row in rows)
    return plain_lines([[*(cut(row[0], room), *row[1:-1]), row[-1].ljust(last)] for row in rows])


def _change(audit: Mapping, name: str) -> str:
    for measurement, key, label in (('forgetting', 'gap', 'gap'), ('keeping', 'loss', 'loss')):
        entry = audit['measurements'].get(measurement, {'state': 'absent'})
        if entry['state'] == 'measured' and name in entry['result']:
            change = entry['result'][name][key]
            return f'{label} {number(change["value"], digits_of(audit), sign=True)}' if change else CANNOT_JUDGE
    return ''


def _level_lines(verdict: Mapping, across: int) -> list[str]:
    """Each level with its state and, where it was not passed, the checks that are to blame and no earlier level named.
    """
    lines, told = [], set()
    for name, level in verdict['levels'].items():
        lines.append(f'  level {name:<8} {level["state"]}')
        new = [words for words in blamed(level) if words not in told]
        told.update(new)
        for words in new[:SHOWN_BLAMED]:
            lines += [line.replace(NO_BREAK, ' ') for line in textwrap.wrap(words, across, initial_indent=' ' * 4,
                                                                            subsequent_indent=' ' * 6)]
    return lines


def _decision(verdict: Mapping) -> str:
    """Whether the exit code says pass or fail, and why."""
    if verdict['passed']:
        return f'Passed: level {verdict["required"]} is required.'
    if verdict['outcome'] == CANNOT_JUDGE:
        return f'Failed: level {verdict["required"]} is required, and there was nothing that it could be judged by.'
    reached = verdict['levels'][verdict['required']]['state'] == 'passed'
    return f'Failed: level {verdict["required"]} is required' + (
        f' and was reached, but the network is {verdict["outcome"]}.' if reached else '.')
