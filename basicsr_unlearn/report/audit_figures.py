"""The key figures of several audits, and what stands in the way of comparing them."""
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from basicsr_unlearn.report.audit_values import columns_of, retrained_of
from basicsr_unlearn.report.tables import ABSENT, number, percent

PROTOCOL = ('train', 'retain', 'test', 'images', 'pairs', 'steps', 'draws', 'patch', 'quick')
IN_DB = ' in dB'


class Row(NamedTuple):
    """A key figure of every audit in their order, None where one lacks it; `show` turns it into text."""
    section: str
    label: str
    values: list[Any]
    show: Callable[[Any], str] = str

    def cells(self) -> list[str]:
        return [ABSENT if value is None else self.show(value) for value in self.values]


def key_figures(audits: Sequence[Mapping]) -> list[Row]:
    """What a comparison shows, without the rows that no audit has: `number` in dB or AUC, `percent` of shares."""
    def of_all(*path: str) -> list[Any]:
        return [_at(audit, *path) for audit in audits]

    def found(measurement: str) -> list[Mapping]:
        return [_at(audit, 'measurements', measurement, 'result') or {} for audit in audits]

    sets = {name: entry['role'] for audit in audits for name, entry in audit['datasets'].items()}
    rows = [Row('', 'outcome', of_all('verdict', 'outcome')),
            Row('', 'required level', [f'{audit["verdict"]["required"]} {_word(audit)}' for audit in audits])]
    rows += [Row('', f'level {level}', of_all('verdict', 'levels', level, 'state'))
             for level in columns_of([audit['verdict']['levels'] for audit in audits])]
    unit = _unit(audits)
    change = _signed if unit == IN_DB else _finely_signed
    rows += [Row(f'worst forget gap{unit}', 'the gap', of_all('verdict', 'worst_gap', 'value'), change),
             Row(f'worst forget gap{unit}', 'on', of_all('verdict', 'worst_gap', 'dataset'))]
    leads = [result.get('worst') or {} for result in found('attacks')]
    section = f'worst lead{unit}'
    rows += [Row(section, 'over the mean', [lead.get('value') for lead in leads], change),
             Row(section, 'beyond the best', [lead.get('beyond') for lead in leads], change),
             Row(section, 'by', [lead.get('attacker') for lead in leads])]
    rows += [Row('PSNR in dB', name, of_all('measurements', 'scores', 'result', 'mean', name, 'unlearned', 'psnr',
                                            'value'), number)
             for name, role in sets.items() if role != 'retain']
    for section, measurement, key in ((f'forget gap{unit}', 'forgetting', 'gap'),
                                      (f'retain loss{unit}', 'keeping', 'loss')):
        rows += [Row(section, name, [_at(result, name, key, 'value') for result in found(measurement)], change)
                 for name in sets]
    families = [result.get('families') or {} for result in found('attacks')]
    rows += [Row(f'lead beyond the best, by family{unit}', family, [_at(by, family, 'beyond') for by in families],
                 change) for family in columns_of(families)]
    attacks = [_at(result, 'attacks', 'threshold') for result in found('membership')]
    rows += [Row('membership, threshold attack', 'AUC', [_at(attack, 'auc', 'unlearned', 'value')
                                                         for attack in attacks], number),
             Row('membership, threshold attack', 'less AUC of retrained', [_nearest(_at(attack, 'difference'))
                                                                    for attack in attacks], _signed),
             Row('shares', 'weights changed', of_all('measurements', 'weights', 'result', 'unlearned', 'changed'),
                 percent),
             Row('shares', 'cost of retraining', of_all('measurements', 'cost', 'result', 'share', 'samples'), percent)]
    return [row for row in rows if any(value is not None for value in row.values)]


def _signed(value: float) -> str:
    """A difference, with two decimals."""
    return number(value, sign=True)


def _finely_signed(value: float) -> str:
    """A difference in a metric without a unit, whose scale may be small."""
    return number(value, 4, sign=True)


def differences(names: Sequence[str], audits: Sequence[Mapping]) -> list[str]:
    """Sentences that say in what the audits cannot be compared: data, networks, thoroughness, protocols, limits.

    Args:
        names: what to call the audits.
        audits: in the same order.
    """
    found = []

    def compare(values: Sequence[Hashable], words: str) -> None:
        """Hold all values but None against the first of them."""
        known = [(name, value) for name, value in zip(names, values) if value is not None]
        others = [name for name, value in known if value != known[0][1]]
        if others:
            found.append(words.format(others=', '.join(others), first=known[0][0]))

    for data in columns_of([audit['datasets'] for audit in audits]):
        compare([_at(audit, 'datasets', data, 'sha256') for audit in audits],
                f'{data} is other data in {{others}} than in {{first}}, so scores on it do not compare.')
    compare([_at(audit, 'networks', 'original', 'sha256') for audit in audits],
            'The original is another network in {others} than in {first}, so retain losses do not compare.')
    compare([tuple(sorted(audit['networks'][column]['sha256'] for column in retrained_of(audit))) for audit in audits],
            'The retrained networks of {others} are not those of {first}, so gaps and leads do not compare.')
    compare([_metric(audit) for audit in audits],
            'Forgetting is judged by another metric in {others} than in {first}, so gaps, losses and leads do not '
            'compare.')
    compare([repr(_at(audit, 'options', 'verdict', 'levels')) for audit in audits],
            'The limits of the levels are others in {others} than in {first}, so outcomes do not compare.')
    quick = [name for name, audit in zip(names, audits) if audit['quick']]
    if 0 < len(quick) < len(names):
        found.append(f'Quick audits try three kinds of attackers alone, unlike the others: {", ".join(quick)}.')
    results = [_at(audit, 'measurements', 'attacks', 'result') for audit in audits]
    compare([result and tuple(str(result.get(key)) for key in PROTOCOL) for result in results],
            'Networks were attacked in another way in {others} than in {first}, so leads do not compare.')
    former = [name for name, audit in zip(names, audits) if _at(audit, 'measurements', 'relearning', 'result')]
    if former:
        found.append(f'The leads of {", ".join(former)} are not shown: they were those of one attacker at one rate, '
                     'who did not know the method. Audit the network again.')
    return found


def _at(content: Any, *path: str) -> Any:
    """The value under these keys, None where one of them is missing."""
    for key in path:
        content = content.get(key) if isinstance(content, Mapping) else None
    return content


def _metric(audit: Mapping) -> str:
    """What forgetting is judged by; schema 1 knew PSNR alone."""
    return _at(audit, 'verdict', 'metric', 'key') or 'psnr'


def _unit(audits: Sequence[Mapping]) -> str:
    """As it stands behind a heading; none where audits differ in it."""
    units = {_at(audit, 'verdict', 'metric', 'unit') if 'metric' in audit['verdict'] else 'dB' for audit in audits}
    return f' in {units.pop()}' if len(units) == 1 and all(units) else ''


def _word(audit: Mapping) -> str:
    return 'passed' if audit['verdict']['passed'] else 'failed'


def _nearest(by_column: Mapping | None) -> float | None:
    """The difference to the retrained network that is most alike, which the verdict goes by."""
    return min((found['value'] for found in (by_column or {}).values()), key=abs, default=None)
