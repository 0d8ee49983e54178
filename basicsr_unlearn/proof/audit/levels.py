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
    judge_forgetting,
)
from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.proof.audit.audit_plan import ASSURED
from basicsr_unlearn.proof.audit.caveats import warnings
from basicsr_unlearn.proof.audit.level_checks import CHECKS, FAILED, NOT_MEASURED, PASSED, result_of
from basicsr_unlearn.proof.verdict import NOT_SHOWN, outcome_of


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
            'levels': levels, 'warnings': warnings(audit, yardstick)}


def _outcome(audit: Mapping, levels: Mapping[str, Mapping], yardstick: Yardstick) -> str:
    """The highest level that was passed, unless more is gone than was asked for; without any, what the sets come to."""
    sets, keeping = (result_of(audit, name) or {} for name in ('forgetting', 'keeping'))
    options, first = audit['options']['verdict'], ASSURED[0]
    below, tolerance = options['over_forgotten']['below'], options['levels'][first].get('forget_gap')
    forgetting = {name: judge_forgetting(name, entry['scores'], yardstick, tolerance, below)
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


def headline(outcome: str, levels: Mapping[str, Mapping], audit: Mapping, yardstick: Yardstick) -> str:
    """The outcome in words that claim no more than was measured."""
    asleep = any(check['state'] == FAILED and check['name'] in ('relearn gap', 'recovery gap')
                 for check in levels['weights']['checks'])
    losses = [check['state'] for check in levels['outputs']['checks'] if check['name'] == 'retain loss']
    than = " any better than a retrained network's" if (result_of(audit, 'membership') or {}).get('against') else ''
    words = {
        CANNOT_JUDGE: f'Cannot be judged: by {yardstick.name} the original had nothing to forget.',
        NOT_FORGOTTEN: 'Not forgotten.',
        PARTLY_FORGOTTEN: 'Only partly forgotten.',
        OVER_FORGOTTEN: 'Over-forgotten: more is gone than was asked for.',
        DAMAGED: 'Forgotten by its outputs, but the rest is damaged.',
        NOT_SHOWN: 'Whether it is forgotten could not be measured.' if not result_of(audit, 'forgetting') else
                   'Forgotten by its outputs; whether the rest is kept is not shown.' if NOT_MEASURED in losses else
                   'Forgotten by its outputs as far as that was measured; not all was.',
        'outputs': 'Forgotten by its outputs.',
        'members': f'Forgotten by its outputs, and the attacks of this audit do not tell its training images{than}.',
        'weights': 'Forgotten by its outputs, and no sooner learned again than by a retrained network, by the '
                   'attackers of this audit, which do not know the method.'}[outcome]
    if asleep and outcome in ('outputs', 'members'):
        words += ' The skill still sleeps in the weights: it is learned again sooner than by a retrained network.'
    return words


def _sentence(audit: Mapping, yardstick: Yardstick) -> str:
    parts = [judge_forgetting(name, entry['scores'], yardstick).words
             for name, entry in (result_of(audit, 'forgetting') or {}).items()]
    for name, entry in (result_of(audit, 'keeping') or {}).items():
        loss = entry['loss']['value']
        parts.append(f'{name} {"lost" if loss >= 0 else "gained"} {yardstick.shown(abs(loss))}')
    relearning = result_of(audit, 'relearning')
    if relearning and relearning['area'] is not None:
        gap, steps = relearning['largest_gap'], max(relearning['steps'])
        shown = yardstick.shown(abs(gap))
        ahead = ('level with' if shown == yardstick.shown(0) else
                 f'up to {shown} ahead of' if gap > 0 else f'at least {shown} behind')
        parts.append(f'learned again for {steps} steps it is {ahead} the retrained')
    return f'By {yardstick.name}, {"; ".join(parts)}.' if parts else 'Nothing could be measured.'
