"""The checks that a level is made of: what was measured, held against its limits."""
from collections.abc import Mapping

from basicsr_unlearn.core.yardstick import Yardstick

PASSED, FAILED, NOT_MEASURED = 'passed', 'failed', 'not measured'
NO_RETRAINED = 'there is no retrained network to compare with'
QUICK_ATTACKS = ('a quick audit tries three kinds of attackers alone, which can show that the skill is left, but not '
                 'that it is gone')


def _forget_gap(audit: Mapping, limit: float, yardstick: Yardstick) -> list[dict]:
    found, checks = result_of(audit, 'forgetting') or {}, []
    for name, block in audit['datasets'].items():
        if block['role'] not in ('forget', 'unseen'):
            continue
        entry = found.get(name)
        if entry is None or not entry['judged']:
            reason = entry['reason'] if entry else reason_of(audit, 'forgetting', name)
            checks.append(_unmeasured('forget gap', name, yardstick.unit, reason))
            continue
        check = _check('forget gap', name, entry['gap']['value'], yardstick.unit, -limit, limit)
        if entry['fall'] <= 0 and not entry['likeness']:  # whatever the limits are
            check |= {'state': FAILED, 'words': f'{check["words"]}, and the score has to fall, which it did not'}
        low, high = entry['one_more']['low'], entry['one_more']['high']
        if check['state'] == FAILED and low is not None:
            check['words'] += (f'; one more retrained network would have {yardstick.shown(low)} to '
                               f'{yardstick.shown(high)} in 8 of 10 cases')
        checks.append(check)
    return checks


def _retain_loss(audit: Mapping, limit: float, yardstick: Yardstick) -> list[dict]:
    found = result_of(audit, 'keeping')
    names = [name for name, block in audit['datasets'].items() if block['role'] == 'retain']
    if not names:
        return [_unmeasured('retain loss', 'the rest', yardstick.unit, 'there is no data set with role retain')]
    return [_check('retain loss', name, found[name]['loss']['value'], yardstick.unit, None, limit)
            if found and name in found
            else _unmeasured('retain loss', name, yardstick.unit, reason_of(audit, 'keeping', name)) for name in names]


def _membership(audit: Mapping, limit: float, yardstick: Yardstick) -> list[dict]:
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
        value, *ends = (_signed(one) for one in (near['value'], low, high))
        check['words'] = (f'AUC {value} ({ends[0]} to {ends[1]}) from '
                          f'{"the retrained network" if entry["difference"] else "chance"}; the interval has to touch '
                          f'{-limit:g} to {limit:g}')
        checks.append(check)
    return checks


def _lead(audit: Mapping, limit: float, yardstick: Yardstick) -> list[dict]:
    """Each budget within which the strongest attacker is too far ahead; else the worst one, if all attackers tried."""
    found = result_of(audit, 'attacks')
    if not found or found['against'] == ['identity']:
        reason = NO_RETRAINED if found else reason_of(audit, 'attacks')
        return [_unmeasured('lead', 'every attacker', yardstick.unit, reason)]
    ahead = [lead for lead in found['leads'] if lead['beyond'] > limit]
    if found['quick'] and not ahead:
        return [_unmeasured('lead', 'every attacker', yardstick.unit, QUICK_ATTACKS)]
    checks = []
    for lead in ahead or [found['worst']]:
        check = _check('lead', f'{lead["attacker"]}, {spent_words(lead)}', lead['beyond'], yardstick.unit, None, limit)
        value, low, high = (_signed(lead[key]) for key in ('value', 'low', 'high'))
        check['words'] += f'; over the mean of the retrained networks it is {value}'
        check['words'] += '' if low == high else f', by draw {low} to {high}'  # equal where there was one draw
        checks.append(check)
    return checks


CHECKS = {'forget_gap': _forget_gap, 'retain_loss': _retain_loss, 'membership': _membership, 'lead': _lead}


def spent_words(lead: Mapping) -> str:
    """What an attacker used, in words: '8 pairs, 25 steps'."""
    if not lead['step']:
        return 'before any learning' if not lead['pairs'] else f'found by {lead["pairs"]} pairs'
    return f'{lead["pairs"]} pairs, {lead["step"]} steps' if lead['pairs'] else f'no forget pair, {lead["step"]} steps'


def _check(name: str, subject: str, value: float, unit: str, low: float | None, high: float | None) -> dict:
    fits = (low is None or value >= low) and (high is None or value <= high)
    limits = f'at most {high:g}' if low is None else f'{low:g} to {high:g}'
    return {'name': name, 'subject': subject, 'value': round(value, 4), 'unit': unit, 'low': low, 'high': high,
            'state': PASSED if fits else FAILED,
            'words': f'{_signed(value, 2 if unit else 4)} {unit}'.rstrip() + f'; has to be {limits}'}


def _signed(value: float, digits: int = 2) -> str:
    """A difference as people read it; 0 has no sign."""
    value = round(value, digits) + 0.0
    return format(value, f'{"+" if value else ""}.{digits}f')


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
