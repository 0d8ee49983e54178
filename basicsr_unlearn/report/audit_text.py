"""An audit as text: audit.md, and what the terminal shows in the end."""
import textwrap
from collections.abc import Mapping

from basicsr_unlearn.core.judgement import CANNOT_JUDGE
from basicsr_unlearn.options.option_text import option_text
from basicsr_unlearn.report.audit_sections import (
    count,
    digits_of,
    in_unit,
    metric_of,
    retrained_of,
    section,
    title,
)
from basicsr_unlearn.report.tables import ABSENT, cut, markdown_table, number, plain_lines

WIDTH = 100  # of the summary in characters
SHOWN_SETS, SHOWN_LINES, SHOWN_CHECKS, SHOWN_WARNINGS = 6, 4, 3, 2  # lines by level, checks by kind: to fit a screen
NO_BREAK = '\xa0'


def markdown(audit: Mapping) -> str:
    """The whole audit.md, verdict first.

    Args:
        audit: what audit.json holds, see SCHEMA.md; measurements may be skipped or absent.
    """
    verdict, found = audit['verdict'], audit['measurements']
    parts = [f'# {verdict["headline"]}', verdict['sentence'],
             f'Outcome: **{verdict["outcome"]}**. Required: {verdict["required"]}, '
             f'**{"passed" if verdict["passed"] else "failed"}**.']
    parts += [f'> {warning}' for warning in verdict['warnings']]
    for level, judged in verdict['levels'].items():
        parts += [f'## Level {level}: {judged["state"]}', checks_table(judged['checks'])]
    parts.append('## What was measured')
    for name, entry in found.items():
        text = section(name, entry['result'], audit) if entry['state'] == 'measured' else None
        if text:
            parts += [f'### {title(name)}', text]
    skipped = [f'- {name}: {entry["reason"]}' for name, entry in found.items() if entry['state'] == 'skipped']
    skipped += [f'- data set {name}: {entry["problem"]}' for name, entry in audit['datasets'].items()
                if entry.get('problem')]
    if skipped:
        parts += ['### Not measured', '\n'.join(skipped)]
    return '\n\n'.join([*parts, *_method(audit)]) + '\n'


def checks_table(checks: list[Mapping]) -> str:
    """The checks of a level as a Markdown table, and below it in words what its numbers alone do not say."""
    rows = [[check['name'], check['subject'] or '', check['state'], _in_unit(value_of(check), check), allowed(check)]
            for check in checks]
    words = [f'- {check["name"]}, {check["subject"]}: {check["state"]}, {check["words"]}' for check in checks
             if check['value'] is None or (check['state'] == 'passed') != (_excess(check) == 0)]
    return '\n\n'.join([markdown_table(['check', 'of', 'state', 'value', 'allowed'], rows, left=3),
                        *(['\n'.join(words)] if words else [])])


def _excess(check: Mapping) -> float:
    """How far the value lies outside its limits, 0 inside; an interval may pass a check of which the value does not."""
    low, high = check['low'], check['high']
    return max(0.0, 0.0 if low is None else low - check['value'], 0.0 if high is None else check['value'] - high)


def _method(audit: Mapping) -> list[str]:
    networks = [[column, network['path'], network['sha256'], count(network['parameters'])]
                for column, network in audit['networks'].items()]
    sets = [[name, entry['role'], entry['type'], entry['sha256'] or ABSENT, count(entry['images']),
             count(entry['photographs'])] for name, entry in audit['datasets'].items()]
    times = [[name, entry['state'], number(entry['seconds'], 1)] for name, entry in audit['measurements'].items()]
    versions = ', '.join(f'{name} {version}' for name, version in audit['versions'].items())
    return ['## How it was measured',
            f'{audit["name"]}, made on {audit["created"][:16].replace("T", " at ")} UTC in '
            f'{number(audit["seconds"], 0)} s with {versions}.',
            '### Networks', markdown_table(['network', 'path', 'sha256', 'parameters'], networks, left=3),
            '### Data sets', 'The hash is of the decoded pixels of all pairs, in order.',
            markdown_table(['data set', 'role', 'type', 'sha256', 'images', 'photographs'], sets, left=4),
            '### Time', markdown_table(['measurement', 'state', 'seconds'], times, left=2),
            f'### Options of {audit["option_file"]}, as used',
            f'````yaml\n{option_text(audit["options"])}````']


def summary(audit: Mapping) -> str:
    """What the terminal shows in the end: about 25 lines of at most 100 characters.

    Args:
        audit: see `markdown`.
    """
    verdict = audit['verdict']
    lines = [*textwrap.wrap(verdict['headline'], WIDTH), *textwrap.wrap(verdict['sentence'], WIDTH), '',
             *_score_lines(audit), '', *_level_lines(verdict), '', _decision(verdict)]
    skipped = [name for name, entry in audit['measurements'].items() if entry['state'] == 'skipped']
    notes = [f'Warning: {warning}' for warning in verdict['warnings'][:SHOWN_WARNINGS]]
    if len(verdict['warnings']) > SHOWN_WARNINGS:
        notes.append(f'Further warnings in audit.md: {len(verdict["warnings"]) - SHOWN_WARNINGS}.')
    if skipped:
        notes.append(f'Not measured: {", ".join(skipped)}; audit.md says why.')
    return '\n'.join([*lines, *(line for note in notes for line in textwrap.wrap(note, WIDTH, subsequent_indent='  '))])


def _score_lines(audit: Mapping) -> list[str]:
    """Mean score by data set and network, the retrained ones as a range, and what unlearning changed."""
    entry, metric = audit['measurements'].get('scores', {'state': 'absent'}), metric_of(audit)
    if entry['state'] != 'measured':
        return [textwrap.shorten(f'There are no scores: {entry.get("reason") or "they were not asked for."}', WIDTH)]
    means, retrained, digits = entry['result']['mean'], retrained_of(audit), digits_of(audit)
    rows = [[f'{metric["name"]}{in_unit(audit)}', 'identity', 'original', 'unlearned',
             *([f'retrained ({len(retrained)})' if len(retrained) > 1 else 'retrained'] if retrained else []), '']]
    for name, by_column in list(means.items())[:SHOWN_SETS]:
        score = {column: found[metric['key']]['value'] for column, found in by_column.items()}
        others = [score[column] for column in retrained if column in score]
        ends = [number(end(others), digits) for end in (min, max)] if others else []
        rows.append([f'{name} ({audit["datasets"][name]["role"]})',
                     *(number(score[column], digits) for column in ('identity', 'original', 'unlearned')),
                     *([' to '.join(dict.fromkeys(ends)) or ABSENT] if retrained else []), _change(audit, name)])
    more = len(means) - SHOWN_SETS
    return [*('  ' + line for line in _clipped(rows)), *([f'  and {more} more in audit.md'] if more > 0 else [])]


def _clipped(rows: list[list[str]]) -> list[str]:
    """Lines within the width: long names of data sets are cut."""
    others = max(len(line) for line in plain_lines([row[1:] for row in rows], left=0))
    room = WIDTH - 2 - others - 2
    last = max(len(row[-1]) for row in rows)
    return plain_lines([[*(cut(row[0], room), *row[1:-1]), row[-1].ljust(last)] for row in rows])


def _change(audit: Mapping, name: str) -> str:
    for measurement, key, label in (('forgetting', 'gap', 'forget gap'), ('keeping', 'loss', 'retain loss')):
        entry = audit['measurements'].get(measurement, {'state': 'absent'})
        if entry['state'] == 'measured' and name in entry['result']:
            change = entry['result'][name][key]
            return f'{label} {number(change["value"], digits_of(audit), sign=True)}' if change else CANNOT_JUDGE
    return ''


def _level_lines(verdict: Mapping) -> list[str]:
    """Each level with its state and, where it was not passed, the checks that are to blame."""
    heads = [(f'level {level}', judged['state'])
             for level, judged in verdict['levels'].items()]
    left = [f'  {line}' for line in plain_lines(heads, left=2)]
    indent = max(map(len, left), default=0) + 2
    lines, told = [], set()
    for start, judged in zip(left, verdict['levels'].values()):
        notes = _to_blame(judged)
        blamed = [line.replace(NO_BREAK, ' ') for note in notes if note not in told
                  for line in textwrap.wrap(note, WIDTH - indent, subsequent_indent='  ')]
        if len(blamed) > SHOWN_LINES:
            blamed[SHOWN_LINES - 1:] = ['and more, see audit.md']
        if notes and not blamed:
            blamed = ['for the same reason']
        told.update(notes)
        lines += [f'{("" if place else start).ljust(indent)}{line}'.rstrip()
                  for place, line in enumerate(blamed or [''])]
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


def _to_blame(judged: Mapping) -> list[str]:
    """A sentence for each kind of check that failed or, where none did, that could not be measured."""
    if judged['state'] == 'not shown':
        return list(dict.fromkeys(f'{check["name"]} was not measured: {check["words"]}' for check in judged['checks']
                                  if check['state'] == 'not measured'))
    kinds: dict[tuple[str, str], list[Mapping]] = {}
    for check in judged['checks']:
        if check['state'] == 'failed':
            kinds.setdefault((check['name'], allowed(check)), []).append(check)
    return [f'{name} has to be {limits}: {_worst(checks)}' for (name, limits), checks in kinds.items()]


def _worst(checks: list[Mapping]) -> str:
    """The checks of a kind that miss their limit by the most."""
    worst = sorted(checks, key=_excess, reverse=True)[:SHOWN_CHECKS]
    # a break would tear 'step 5 +4.30' apart
    shown = [f'{check["subject"]} {value_of(check)}'.strip().replace(' ', NO_BREAK) for check in worst]
    rest = len(checks) - len(shown)
    return ', '.join(shown) + (f' and {rest} more' if rest else '')


def allowed(check: Mapping) -> str:
    """Where the value of a check has to lie, in words; `-` where there is no limit."""
    low, high = (None if limit is None else number(limit) if round(limit, 2) == limit else f'{limit:g}'
                 for limit in (check['low'], check['high']))
    if low is None and high is None:
        return ABSENT
    return _in_unit(f'at most {high}' if low is None else f'at least {low}' if high is None else f'{low} to {high}',
                    check)


def value_of(check: Mapping) -> str:
    """The value of a check, a difference with its sign, so exact that a failed one does not look like its limit."""
    if check['value'] is None:
        return ABSENT
    limits = (check['low'], check['high']) if check['state'] == 'failed' else ()
    digits = next((digits for digits in (2, 3, 4) if round(check['value'], digits) not in limits), 5)
    return number(check['value'], digits if check['unit'] else max(digits, 4), sign=True)


def _in_unit(text: str, check: Mapping) -> str:
    return f'{text} {check["unit"]}' if check['unit'] and text != ABSENT else text
