"""What the measurements say, in plain words: level by level, check by check."""
from collections.abc import Mapping

from basicsr_unlearn.auditing.plan import LEVELS

PASSED, FAILED, NOT_MEASURED, NOT_SHOWN = 'passed', 'failed', 'not measured', 'not shown'
STEPS_TOGETHER = 'all steps'


def verdict(audit: Mapping) -> dict:
    """The verdict of an audit.

    Args:
        audit: what audit.json holds without the verdict: `options`, `datasets`, `networks` and `measurements`.

    Returns:
        See SCHEMA.md.
    """
    options, datasets = audit['options']['verdict'], audit['datasets']
    levels = {}
    for level in LEVELS:
        checks = [check for name, limit in options['levels'][level].items() for check in CHECKS[name](audit, limit)]
        states = {check['state'] for check in checks}
        state = FAILED if FAILED in states else NOT_SHOWN if NOT_MEASURED in states or not checks else PASSED
        levels[level] = {'state': state, 'checks': checks}
    outcome = _outcome(audit, levels)
    forgotten = [name for name, block in datasets.items() if block['role'] in ('forget', 'unseen')]
    headline = {
        'not forgotten': 'Not forgotten.',
        'partly forgotten': 'Only partly forgotten.',
        'over-forgotten': 'Over-forgotten: more is gone than was asked for.',
        'damaged': 'Forgotten, but the rest is damaged.',
        'not shown': 'Forgotten by its scores; whether the rest is kept is not shown.',
        'published': 'Forgotten by its scores.',
        'calibrated': 'Forgotten as if retrained, by its scores.',
        'deep': 'Forgotten deeply: it does not come back either.'}[outcome]
    required = options['require']
    return {'outcome': outcome, 'headline': headline, 'sentence': _sentence(audit, forgotten), 'required': required,
            'passed': outcome != 'over-forgotten' and levels[required]['state'] == PASSED, 'levels': levels,
            'warnings': _warnings(audit)}


def _outcome(audit: Mapping, levels: Mapping[str, Mapping]) -> str:
    forgetting, keeping = (result_of(audit, name) or {} for name in ('forgetting', 'keeping'))
    if any(entry['over_forgotten'] for entry in forgetting.values()) or any(
            entry['collapsed'] for entry in keeping.values()):
        return 'over-forgotten'
    passed = [level for level in LEVELS if levels[level]['state'] == PASSED]
    if passed:
        return passed[-1]
    states = {name: {check['state'] for check in levels['published']['checks'] if check['name'] == name}
              for name in ('forget gap', 'retain loss')}
    if states['forget gap'] == {PASSED}:
        return 'damaged' if FAILED in states['retain loss'] else 'not shown'
    return 'not forgotten' if not forgetting or _least_fall(audit, forgetting) < 0.5 else 'partly forgotten'


def _least_fall(audit: Mapping, forgetting: Mapping) -> float:
    """Share of the way from the original to the reference that was gone, the least of all sets."""
    mean = result_of(audit, 'scores')['mean']
    shares = []
    for name, entry in forgetting.items():
        before, after = (mean[name][column]['psnr']['value'] for column in ('original', 'unlearned'))
        way = before - entry['reference']['high']
        shares.append((before - after) / way if way > 0 else 1.0)
    return min(shares)


def _sentence(audit: Mapping, forgotten: list[str]) -> str:
    scores, forgetting = result_of(audit, 'scores'), result_of(audit, 'forgetting') or {}
    parts = []
    for name in forgotten:
        if name in forgetting:
            psnr = {column: found['psnr']['value'] for column, found in scores['mean'][name].items()}
            reference = forgetting[name]['reference']
            parts.append(f'{name} went from {psnr["original"]:.2f} to {psnr["unlearned"]:.2f} dB, where '
                         + _reference(forgetting[name]['against'], reference))
    losses = [f'{name} {"lost" if entry["loss"]["value"] >= 0 else "gained"} {abs(entry["loss"]["value"]):.2f} dB'
              for name, entry in (result_of(audit, 'keeping') or {}).items()]
    relearning = result_of(audit, 'relearning')
    if relearning and relearning['area'] is not None:
        gap, steps = relearning['largest_gap'], max(relearning['steps'])
        ahead = (f'up to {gap:.2f} dB ahead of' if gap >= 0.005 else
                 f'at least {-gap:.2f} dB behind' if gap <= -0.005 else 'level with')
        losses.append(f'learned again for {steps} steps it is {ahead} the retrained')
    text = '; '.join([*parts, *losses])
    return f'By PSNR, {text}.' if text else 'Nothing could be measured.'


def _reference(against: str, reference: Mapping) -> str:
    if against == 'identity':
        return f'the untouched input has {reference["mean"]:.2f}'
    if reference['low'] == reference['high']:
        return f'the retrained network has {reference["mean"]:.2f}'
    return f'retrained networks have {reference["low"]:.2f} to {reference["high"]:.2f}'


def _warnings(audit: Mapping) -> list[str]:
    found = []
    retrained = [column for column in audit['networks'] if column.startswith('retrained')]
    if not retrained:
        found.append('There is no retrained network to compare with: forgetting is held against the untouched input, '
                     'which a retrained network need not equal, and whether the skill still sleeps is not shown.')
    elif len(retrained) == 1:
        found.append('There is one retrained network: another seed may score otherwise, so gaps are exact to its seed '
                     'only.')
    if audit.get('quick'):
        found.append('A quick audit: few images and one seed, good for a first look only.')
    for name, block in audit['datasets'].items():
        if block.get('problem'):
            found.append(f'Data set {name} was left out: {block["problem"]}')
        elif block['photographs'] == 1:
            found.append(f'Data set {name} has a single photograph, so its numbers have no interval.')
    for hashes, pair in shared_hashes(audit):
        found.append(f'Networks {pair[0]} and {pair[1]} are the same file ({hashes[:8]}).')
    membership = result_of(audit, 'membership')
    if membership:
        auc = (membership['attacks']['threshold'].get('auc') or {}).get('original')
        if auc and auc['low'] is not None and auc['low'] <= 0.5:
            found.append(f'The original itself cannot tell {membership["members"]} from {membership["unseen"]} (AUC '
                         f'{auc["value"]:.2f}): it does not remember single images, or was not trained on that set, so '
                         'the membership check can find no leak here.')
    return found


def shared_hashes(audit: Mapping) -> list[tuple[str, tuple[str, str]]]:
    """Networks that are one file, but for retrained ones: (hash, names)."""
    columns = list(audit['networks'].items())
    return [(one['sha256'], (first, second)) for index, (first, one) in enumerate(columns)
            for second, other in columns[index + 1:] if one['sha256'] == other['sha256']]


# ---------------------------------------------------------------- checks

def _forget_gap(audit: Mapping, limit: float) -> list[dict]:
    found = result_of(audit, 'forgetting')
    return [_check('forget gap', name, found[name]['gap']['value'], 'dB', -limit, limit) if found and name in found
            else _unmeasured('forget gap', name, 'dB', reason_of(audit, 'forgetting', name))
            for name, block in audit['datasets'].items() if block['role'] in ('forget', 'unseen')]


def _retain_loss(audit: Mapping, limit: float) -> list[dict]:
    found = result_of(audit, 'keeping')
    names = [name for name, block in audit['datasets'].items() if block['role'] == 'retain']
    if not names:
        return [_unmeasured('retain loss', 'the rest', 'dB', 'there is no data set with role retain')]
    return [_check('retain loss', name, found[name]['loss']['value'], 'dB', None, limit) if found and name in found
            else _unmeasured('retain loss', name, 'dB', reason_of(audit, 'keeping', name)) for name in names]


def _membership(audit: Mapping, limit: float) -> list[dict]:
    found = result_of(audit, 'membership')
    if not found:
        return [_unmeasured('membership', 'any attack', 'AUC', reason_of(audit, 'membership'))]
    checks = []
    for attack, entry in found['attacks'].items():
        if entry['state'] != 'measured':
            checks.append(_unmeasured('membership', attack, 'AUC', entry['reason']))
            continue
        near = min(entry['difference'].values(), key=lambda one: abs(one['value']), default=None)
        if near is None:
            auc = entry['auc']['unlearned']
            near = {key: None if value is None else value - 0.5 for key, value in auc.items()}
        # the interval decides: with few images an AUC is off by more than the limit for any network
        low, high = (near['value'] if near[key] is None else near[key] for key in ('low', 'high'))
        check = _check('membership', attack, near['value'], 'AUC', -limit, limit)
        check['state'] = PASSED if low <= limit and high >= -limit else FAILED
        check['words'] = (f'AUC {near["value"]:+.2f} ({low:+.2f} to {high:+.2f}) from '
                          f'{"the retrained network" if entry["difference"] else "chance"}; the interval has to touch '
                          f'{-limit:g} to {limit:g}')
        checks.append(check)
    return checks


def _relearn_gap(audit: Mapping, limit: float) -> list[dict]:
    found = result_of(audit, 'relearning')
    if not found or found['area'] is None:
        reason = reason_of(audit, 'relearning') if not found else 'there is no retrained network to compare with'
        return [_unmeasured('relearn gap', STEPS_TOGETHER, 'dB', reason)]
    return [_check('relearn gap', f'step {step}', value, 'dB', None, limit)
            for step, value in found['gap'].items() if int(step) > 0]


def _recovery_gap(audit: Mapping, limit: float) -> list[dict]:
    found = result_of(audit, 'recovery')
    if not found:
        return [_unmeasured('recovery gap', 'any way', 'dB', reason_of(audit, 'recovery'))]
    checks = []
    for way, entry in found['ways'].items():
        subject = way.replace('_', ' ')
        if entry['state'] != 'measured':
            continue  # the network has no such part
        if entry['area'] is None:
            checks.append(_unmeasured('recovery gap', subject, 'dB', 'there is no retrained network to compare with'))
        else:
            checks.append(_check('recovery gap', subject, entry['largest_gap'], 'dB', None, limit))
    return checks


CHECKS = {'forget_gap': _forget_gap, 'retain_loss': _retain_loss, 'membership': _membership,
          'relearn_gap': _relearn_gap, 'recovery_gap': _recovery_gap}


def _check(name: str, subject: str, value: float, unit: str, low: float | None, high: float | None) -> dict:
    fits = (low is None or value >= low) and (high is None or value <= high)
    limits = f'at most {high:g}' if low is None else f'{low:g} to {high:g}'
    return {'name': name, 'subject': subject, 'value': round(value, 4), 'unit': unit, 'low': low, 'high': high,
            'state': PASSED if fits else FAILED, 'words': f'{value:+.2f} {unit}; has to be {limits}'}


def _unmeasured(name: str, subject: str, unit: str, reason: str) -> dict:
    return {'name': name, 'subject': subject, 'value': None, 'unit': unit, 'low': None, 'high': None,
            'state': NOT_MEASURED, 'words': reason}


def result_of(audit: Mapping, name: str) -> dict | None:
    """The result of a measurement, or None if it was not made."""
    return (audit['measurements'].get(name) or {}).get('result')


def reason_of(audit: Mapping, name: str, dataset: str | None = None) -> str:
    """Why a measurement, or its part on a data set, was not made."""
    if dataset is not None and audit['datasets'][dataset].get('problem'):
        return audit['datasets'][dataset]['problem']
    return (audit['measurements'].get(name) or {}).get('reason') or 'it was not measured'
