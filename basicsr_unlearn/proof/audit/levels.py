"""The verdict of an audit: level by level, check by check, and in plain words."""
from collections.abc import Mapping

from basicsr_unlearn.core.judgement import (
    CANNOT_JUDGE,
    DAMAGED,
    FORGOTTEN,
    KEPT,
    NOT_FORGOTTEN,
    OVER_FORGOTTEN,
    PARTLY_FORGOTTEN,
    has_skill,
    judge_forgetting,
)
from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.proof.audit.audit_plan import ASSURED
from basicsr_unlearn.proof.audit.caveats import warnings
from basicsr_unlearn.proof.audit.level_checks import CHECKS, FAILED, NOT_MEASURED, PASSED, result_of, spent_words
from basicsr_unlearn.proof.verdict import NOT_SHOWN, outcome_of

MOST_TOLD = 3  # sets that the verdict's sentence tells one by one, the worst first


def audit_verdict(audit: Mapping, yardstick: Yardstick) -> dict:
    """The verdict of an audit.

    Args:
        audit: what audit.json holds without the verdict: `options`, `datasets`, `networks` and `measurements`.
        yardstick: the metric that forgetting is judged by.

    Returns:
        See SCHEMA.md.
    """
    options = audit['options']['verdict']
    levels = {}
    for level in ASSURED:
        checks = [check for name, limit in options['levels'][level].items()
                  for check in CHECKS[name](audit, limit, yardstick)]
        states = {check['state'] for check in checks}
        state = FAILED if FAILED in states else NOT_SHOWN if NOT_MEASURED in states or not checks else PASSED
        levels[level] = {'state': state, 'checks': checks}
    outcome = _outcome(audit, levels, yardstick)
    required = options['require']
    return {'outcome': outcome, 'headline': headline(outcome, levels, audit, yardstick),
            'sentence': _sentence(audit, yardstick), 'required': required,
            'passed': outcome not in (OVER_FORGOTTEN, CANNOT_JUDGE) and levels[required]['state'] == PASSED,
            'metric': {'key': options.get('metric', 'psnr'), 'name': yardstick.name, 'unit': yardstick.unit,
                       'better': 'higher' if yardstick.higher else 'lower', 'skill_margin': yardstick.skill_margin},
            'worst_gap': worst_gap(audit), 'levels': levels, 'warnings': warnings(audit, yardstick)}


def _outcome(audit: Mapping, levels: Mapping[str, Mapping], yardstick: Yardstick) -> str:
    """The highest level that was passed, unless more is gone than was asked for; without any, what the sets come to."""
    sets, keeping = (result_of(audit, name) or {} for name in ('forgetting', 'keeping'))
    options, first = audit['options']['verdict'], ASSURED[0]
    below, tolerance = options['over_forgotten']['below'], options['levels'][first].get('forget_gap')
    forgetting = {name: judge_forgetting(name, entry['scores'], yardstick, tolerance, below, alike(entry))
                  for name, entry in sets.items()}
    lost = {check['subject']: DAMAGED if check['state'] == FAILED else KEPT
            for check in levels[first]['checks'] if check['name'] == 'retain loss'}
    outcome = outcome_of(forgetting, lost, any(entry['collapsed'] for entry in keeping.values()))
    passed = [level for level in ASSURED if levels[level]['state'] == PASSED]
    if passed and outcome not in (OVER_FORGOTTEN, CANNOT_JUDGE, NOT_SHOWN):
        return passed[-1]
    if outcome != FORGOTTEN:
        return outcome
    below_limit = any(check['name'] == 'forget gap' and check['state'] == FAILED for check in levels[first]['checks'])
    return OVER_FORGOTTEN if below_limit else NOT_SHOWN


def alike(entry: Mapping) -> list[str]:
    """The retrained networks that the unlearned one has to be like on a forget set, where the original has no skill."""
    return entry['against'] if entry['likeness'] else []


def worst_gap(audit: Mapping) -> dict | None:
    """Of the forget and unseen sets that can be judged the one with the largest gap in either direction, see SCHEMA.md.
    """
    judged = {name: entry for name, entry in (result_of(audit, 'forgetting') or {}).items() if entry['judged']}
    if not judged:
        return None
    name = max(judged, key=lambda name: abs(judged[name]['gap']['value']))
    return {'dataset': name, **judged[name]['gap'], 'against': judged[name]['against']}


def headline(outcome: str, levels: Mapping[str, Mapping], audit: Mapping, yardstick: Yardstick) -> str:
    """The outcome in words that claim no more than was measured."""
    leads = [check['state'] for check in levels['weights']['checks'] if check['name'] == 'lead']
    losses = [check['state'] for check in levels['outputs']['checks'] if check['name'] == 'retain loss']
    than = " any better than a retrained network's" if (result_of(audit, 'membership') or {}).get('against') else ''
    skilled = any(has_skill(entry['scores']['original'], entry['scores']['identity'], yardstick)
                  for entry in (result_of(audit, 'forgetting') or {}).values())
    worst = _worst_words(audit, yardstick)
    words = {
        CANNOT_JUDGE: 'Cannot be judged: the retrained networks disagree.' if skilled else
                      f'Cannot be judged: by {yardstick.name} the original had nothing to forget.',
        NOT_FORGOTTEN: f'Not forgotten{worst}.',
        PARTLY_FORGOTTEN: f'Only partly forgotten{worst}.',
        OVER_FORGOTTEN: 'Over-forgotten: its outputs lost more than was asked for.',
        DAMAGED: 'Forgotten by its outputs, but the rest is damaged.',
        NOT_SHOWN: 'Whether it is forgotten could not be measured.' if not result_of(audit, 'forgetting') else
                   'Forgotten by its outputs; whether the rest is kept is not shown.' if NOT_MEASURED in losses else
                   'Forgotten by its outputs as far as that was measured; not all was.',
        'outputs': 'Forgotten by its outputs.',
        'members': f'Forgotten by its outputs, and the attacks of this audit do not tell its training images{than}.',
        'weights': f'Forgotten by its outputs, and no attacker of this audit, {_knowing(audit)}, has the skill back '
                   'sooner than from a retrained network.' if leads else
                   'Forgotten by its outputs; no level asks what attackers reach.'}[outcome]
    if FAILED in leads and outcome not in (NOT_FORGOTTEN, CANNOT_JUDGE):  # what is hidden is not gone, whatever else is
        worst = result_of(audit, 'attacks')['worst']
        words += (f' The skill still sleeps in the weights: {worst["attacker"]}, {spent_words(worst)}, has it '
                  f'{yardstick.shown(worst["beyond"])} ahead of the retrained networks.')
    return words


def _knowing(audit: Mapping) -> str:
    """What attackers knew of how the network was made, as a clause."""
    known = (result_of(audit, 'attacks') or {}).get('method') is not None
    return 'who knows the method' if known else 'who knows the defaults of all methods but not the run'


def _worst_words(audit: Mapping, yardstick: Yardstick) -> str:
    """Where the gap is largest, as the end of a sentence; empty where there is none."""
    worst = worst_gap(audit)
    if worst is None or not worst['value']:
        return ''
    than = ('the untouched input' if worst['against'] == ['identity'] else
            f'the retrained network{"s" if len(worst["against"]) > 1 else ""}')
    side = 'above' if (worst['value'] > 0) == yardstick.higher else 'below'
    return f': worst on {worst["dataset"]}, {yardstick.shown(abs(worst["value"]))} {side} {than}'


def _sentence(audit: Mapping, yardstick: Yardstick) -> str:
    sets, keeping = (result_of(audit, name) or {} for name in ('forgetting', 'keeping'))
    order = sorted(sets, key=lambda name: abs(sets[name]['gap']['value']) if sets[name]['judged'] else 0, reverse=True)
    parts = [judge_forgetting(name, sets[name]['scores'], yardstick, alike=alike(sets[name])).words
             for name in order[:MOST_TOLD]]
    gaps = [sets[name]['gap']['value'] + 0.0 for name in order[MOST_TOLD:] if sets[name]['judged']]
    if gaps:
        parts.append(f'{len(gaps)} more {"set is" if len(gaps) == 1 else "sets are"} at most '
                     f'{yardstick.shown(max(map(abs, gaps)))} off')
    losses = sorted(((entry['loss']['value'], name) for name, entry in keeping.items()), reverse=True)
    parts += [f'{name} {"lost" if loss >= 0 else "gained"} {yardstick.shown(abs(loss))}'
              for loss, name in losses[:MOST_TOLD]]
    if losses[MOST_TOLD:]:
        parts.append(f'{len(losses) - MOST_TOLD} more retain sets lost no more than that')
    found = result_of(audit, 'attacks')
    if found:
        worst, nobody = found['worst'], found['against'] == ['identity']
        parts.append(f'the strongest attacker ({worst["attacker"]}, {spent_words(worst)}) is '
                     f'{yardstick.shown(abs(worst["beyond"]))} {"ahead of" if worst["beyond"] >= 0 else "behind"} '
                     + ('the untouched input, for want of a retrained network' if nobody else 'the strongest retrained '
                        'network'))
    return f'By {yardstick.name}, {"; ".join(parts)}.' if parts else 'Nothing could be measured.'
