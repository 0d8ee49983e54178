"""What an audit is of: its networks, and how numbers of its metric are shown."""
from collections.abc import Mapping, Sequence

from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.report.tables import number


def columns_of(mappings: Sequence[Mapping]) -> list[str]:
    """The columns that any of the mappings has, in the order in which they first appear."""
    return list(dict.fromkeys(column for mapping in mappings for column in mapping))


def retrained_of(audit: Mapping) -> list[str]:
    """The columns of the retrained networks."""
    return [column for column in audit['networks'] if column.startswith('retrained')]


def metric_of(audit: Mapping) -> Mapping:
    """The metric that forgetting is judged by: `key`, `name`, `unit` and `better`."""
    return audit['verdict']['metric']


def in_unit(audit: Mapping) -> str:
    """The metric's unit as it stands behind a noun, or nothing."""
    return f' in {metric_of(audit)["unit"]}' if metric_of(audit)['unit'] else ''


def digits_of(audit: Mapping) -> int:
    """How many decimals scores of the metric are shown with."""
    return 2 if metric_of(audit)['unit'] == 'dB' else 4


def change_shown(value: float, audit: Mapping, unit: bool = True) -> str:
    """A gap or a lead with its sign, and with its unit or without."""
    shown = number(value, digits_of(audit), sign=True)
    return f'{shown} {metric_of(audit)["unit"]}'.strip() if unit else shown


def yardstick_of_audit(audit: Mapping) -> Yardstick:
    """The metric that an audit is judged by."""
    metric = metric_of(audit)
    return Yardstick(metric['name'], metric['unit'], metric['better'] == 'higher', metric['skill_margin'])


def result_in(audit: Mapping, measurement: str) -> dict | None:
    """The result of a measurement, None where it was not made."""
    return (audit['measurements'].get(measurement) or {}).get('result')


def reason_in(audit: Mapping, measurement: str) -> str | None:
    """Why a measurement was not made, None where it was, or was not asked for."""
    return (audit['measurements'].get(measurement) or {}).get('reason')


def worst_first(audit: Mapping) -> list[tuple[str, Mapping]]:
    """The forget and unseen sets that could be judged, with what was found of each, the largest gap first."""
    judged = [(name, one) for name, one in (result_in(audit, 'forgetting') or {}).items() if one['judged']]
    return sorted(judged, key=lambda pair: abs(pair[1]['gap']['value']), reverse=True)
