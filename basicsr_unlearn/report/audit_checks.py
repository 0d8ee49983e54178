"""The checks of an audit's levels as people read them: values, limits, and which are to blame."""
from collections.abc import Mapping, Sequence

from basicsr_unlearn.report.findings import PageSection
from basicsr_unlearn.report.tables import ABSENT, Table, number

SHOWN_CHECKS = 2  # of a kind that failed
NO_BREAK = '\xa0'


def checks_section(audit: Mapping) -> PageSection:
    """The checks of every level."""
    blocks = []
    for name, level in audit['verdict']['levels'].items():
        blocks += checks_blocks(level['checks'], f'Level {name}: {level["state"]}')
    return PageSection('Every check', blocks)


def checks_blocks(checks: Sequence[Mapping], title: str = '') -> list[Table | list[str]]:
    """The checks of a level as a table, and below it in words what its numbers alone do not say."""
    rows = [[check['name'], check['subject'] or '', check['state'], _in_unit(value_of(check), check), allowed(check)]
            for check in checks]
    words = [f'{check["name"]}, {check["subject"]}: {check["state"]}, {check["words"]}' for check in checks
             if check['value'] is None or (check['state'] == 'passed') != (excess(check) == 0)]
    return [Table(['check', 'of', 'state', 'value', 'allowed'], rows, 3, title), *([words] if words else [])]


def blamed(level: Mapping) -> list[str]:
    """A sentence for each kind of check that failed or, where none did, that could not be measured."""
    if level['state'] == 'not shown':
        return list(dict.fromkeys(f'{check["name"]} was not measured: {check["words"]}' for check in level['checks']
                                  if check['state'] == 'not measured'))
    kinds: dict[tuple[str, str], list[Mapping]] = {}
    for check in level['checks']:
        if check['state'] == 'failed':
            kinds.setdefault((check['name'], allowed(check)), []).append(check)
    return [f'{name} has to be {limits}: {_worst(checks)}' for (name, limits), checks in kinds.items()]


def _worst(checks: list[Mapping]) -> str:
    """The checks of a kind that miss their limit by the most."""
    worst = sorted(checks, key=excess, reverse=True)[:SHOWN_CHECKS]
    shown = [f'{check["subject"]}{NO_BREAK}{value_of(check)}' for check in worst]  # no break before the value
    rest = len(checks) - len(shown)
    return '; '.join(shown) + (f'; and {rest} more' if rest else '')


def excess(check: Mapping) -> float:
    """How far the value lies outside its limits, 0 inside; an interval may pass a check of which the value does not."""
    low, high = check['low'], check['high']
    return max(0.0, 0.0 if low is None else low - check['value'], 0.0 if high is None else check['value'] - high)


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


def _in_unit(string: str, check: Mapping) -> str:
    return f'{string} {check["unit"]}' if check['unit'] and string != ABSENT else string
