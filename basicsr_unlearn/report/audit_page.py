"""The report of an audit: one HTML file, verdict first, with its curves and pictures inside."""
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from basicsr_unlearn.metrics.evaluation import Strip
from basicsr_unlearn.options.option_text import option_text
from basicsr_unlearn.report.audit_charts import distributions, membership, recovery, relearning
from basicsr_unlearn.report.audit_sections import count, section, title
from basicsr_unlearn.report.audit_text import allowed, value_of
from basicsr_unlearn.report.drawing import duration, fill, strip_figure
from basicsr_unlearn.report.markdown import table, to_html, true_minus

MARKS = {'passed': '✓', 'failed': '✕'}  # beside the word, never alone
MEANINGS = {'outputs': 'Asks that its outputs are about a retrained network’s, and the rest is kept.',
            'members': 'Asks this more closely, and that the attacks of this audit do not tell its training images.',
            'weights': 'Asks too that the attackers of this audit, which do not know the method, do not learn it again '
                       'sooner than in a retrained network.'}
ROLES = {'forget': 'to forget', 'unseen': 'to forget, unseen images', 'retain': 'to keep'}
PLACES = {1: ('the only image',), 2: ('best', 'worst'), 3: ('best', 'median', 'worst')}
MAX_SIDE = 480  # pixels of an embedded picture: an audit has more of them than the demo


def write_page(path: str | Path, audit: Mapping, strips: Mapping[str, Sequence[Strip]]) -> None:
    """Write the report.

    Args:
        path: the .html file.
        audit: what audit.json holds, see SCHEMA.md; what was skipped is listed with its reason.
        strips: data set -> up to three images, from where forgetting or keeping went best to where it went worst.
    """
    charts = ''.join(draw(audit) for draw in (relearning, recovery, distributions, membership))
    fill(path, Path(__file__).parent / 'audit_page.html',
         title=escape(f'{audit["verdict"]["headline"]} {audit["name"]}'),
         top=_top(audit), charts=charts, strips=_strips(audit, strips), numbers=_numbers(audit), method=_method(audit))


def _top(audit: Mapping) -> str:
    verdict = audit['verdict']
    state = 'passed' if verdict['passed'] else 'failed'
    facts = [('outcome', verdict['outcome']), ('audit', audit['name']), ('made', audit['created'][:16].replace('T', ' ')
                                                                         + ' UTC'), ('in', duration(audit['seconds']))]
    facts += [('', 'quick: nothing of the weights was measured')] if audit['quick'] else []
    items = ''.join(f'<li>{escape(key)} <b>{escape(value)}</b></li>' for key, value in facts)
    levels = ''.join(_level(name, level, name == verdict['required']) for name, level in verdict['levels'].items())
    warnings = ''.join(f'<li>{escape(warning)}</li>' for warning in verdict['warnings'])
    limits = f'<aside><h2>What limits this audit</h2><ul>{warnings}</ul></aside>' if warnings else ''
    return (f'<header><p class="outcome">{_state(state, state.capitalize())} '
            f'<span class="muted">the required level, {escape(verdict["required"])}</span></p>'
            f'<h1>{escape(verdict["headline"])}</h1><p class="lede">{true_minus(escape(verdict["sentence"]))}</p>'
            f'<ul class="facts">{items}</ul></header><div class="levels">{levels}</div>{limits}')


def _state(state: str, word: str) -> str:
    return (f'<b class="state {state.replace(" ", "-")}"><span aria-hidden="true">{MARKS.get(state, "–")}</span> '
            f'{escape(word)}</b>')


def _level(name: str, level: Mapping, required: bool) -> str:
    checks = ''.join(_check(check) for check in level['checks'])
    note = ' <small>required</small>' if required else ''
    return (f'<section class="level"><div class="title"><h2>{escape(name.capitalize())}{note}</h2>'
            f'{_state(level["state"], level["state"])}</div><p class="muted">{MEANINGS.get(name, "")}</p>'
            f'<ul>{checks}</ul></section>')


def _check(check: Mapping) -> str:
    subject = f', {escape(check["subject"])}' if check['subject'] else ''
    value, words = '', check['words']
    if check['value'] is not None:
        measured = f'{value_of(check)} {check["unit"]}'.strip()
        value = f'<b class="value">{true_minus(escape(measured))}</b>'
        if 'has to' not in words:
            words = f'{words} It has to be {allowed(check)}.'
        elif '; has to be ' in words:  # no more than the value, which stands beside, and its limits
            words = f'has to be {allowed(check)}'
    return (f'<li><span class="name">{escape(check["name"])}{subject}</span>{value}'
            f'{_state(check["state"], check["state"])}<span class="words">{true_minus(escape(words))}</span></li>')


def _strips(audit: Mapping, strips: Mapping[str, Sequence[Strip]]) -> str:
    parts = []
    for name, of_set in strips.items():
        if not of_set:
            continue
        role = audit['datasets'][name]['role']
        wished = 'kept' if role == 'retain' else 'forgotten'
        places = PLACES.get(len(of_set), ('',) * len(of_set))
        figures = ''.join(strip_figure(name, strip, f'<b>{place}</b> {escape(strip.name)}', MAX_SIDE)
                          for place, strip in zip(places, of_set))
        parts.append(f'<section class="{css_role(role)}"><h2>{escape(name)}, <span class="role">{ROLES[role]}</span>'
                     f'</h2><p class="muted">Chosen by how well they are {wished} as wished. The whole image, and a '
                     f'detail of it enlarged; scores are of the whole.</p>{figures}</section>')
    return ''.join(parts)


def css_role(role: str) -> str:
    """The role's class in the style sheet."""
    return 'retain' if role == 'retain' else 'forget'


def _numbers(audit: Mapping) -> str:
    parts = []
    for name, entry in audit['measurements'].items():
        text = section(name, entry['result'], audit) if entry['state'] == 'measured' else None
        if text:
            parts.append(f'<section class="numbers" id="{escape(name)}"><h3>{escape(title(name))}</h3>{to_html(text)}'
                         '</section>')
    return f'<section><h2>All numbers</h2>{"".join(parts)}</section>' if parts else ''


def _method(audit: Mapping) -> str:
    skipped = [(title(name), entry['reason']) for name, entry in audit['measurements'].items()
               if entry['state'] == 'skipped']
    skipped += [(f'Data set {name}', entry['problem']) for name, entry in audit['datasets'].items()
                if entry.get('problem')]
    networks = [(column, network['path'], network['sha256'], count(network['parameters']))
                for column, network in audit['networks'].items()]
    sets = [(name, ROLES[entry['role']], entry['type'], entry['sha256'] or '–', count(entry['images']),
             count(entry['photographs'])) for name, entry in audit['datasets'].items()]
    times = [(title(name), entry['state'], f'{entry["seconds"]:.1f}') for name, entry in audit['measurements'].items()]
    versions = ', '.join(f'{name} {version}' for name, version in audit['versions'].items())
    return ('<section><h2>How it was measured</h2>'
            f'<p>Computed with {escape(versions)}, by the option file {escape(audit["option_file"])}. Intervals are '
            '95 % bootstrap intervals over the photographs.</p>'
            + (f'<h3>Not measured</h3>{table((), skipped, 2, "settings")}' if skipped else '')
            + f'<h3>Networks</h3>{table(("network", "path", "SHA-256", "weights"), networks, 3)}'
            '<h3>Data sets</h3><p class="muted">The hash is of the decoded pixels of all pairs, in order.</p>'
            + table(('data set', 'role', 'type', 'SHA-256', 'images', 'photographs'), sets, 4)
            + f'<h3>Time</h3>{table(("measurement", "state", "seconds"), times, 2)}'
            f'<details><summary>The option file</summary><pre>{escape(audit["option_text"])}</pre></details>'
            '<details><summary>The options as used</summary>'
            f'<pre>{escape(option_text(audit["options"]))}</pre></details></section>')
