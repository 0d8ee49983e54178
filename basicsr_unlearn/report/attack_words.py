"""What the attackers of an audit reached, in words; for its page, audit.md, the terminal and a comparison."""
from collections.abc import Mapping

from basicsr_unlearn.proof.audit.level_checks import spent_words
from basicsr_unlearn.report.audit_values import change_shown
from basicsr_unlearn.report.pictures import kind

NO_RETRAINED_WORDS = 'the identity baseline'  # what leads are held against without a retrained network


def lead_words(audit: Mapping, found: Mapping) -> str:
    """The worst lead over the mean and above the range of the retrained networks, or over what stands in for them."""
    worst, retrained = found['worst'], retrained_against(found)
    if not retrained:
        return f'{change_shown(worst["value"], audit)} over {NO_RETRAINED_WORDS}'
    if len(retrained) == 1:
        return f'{change_shown(worst["value"], audit)} over the retrained network'
    return (f'{change_shown(worst["value"], audit)} over the mean of the retrained networks, '
            f'{change_shown(worst["beyond"], audit)} over the best of them')


def budget_words(worst: Mapping) -> str:
    """Who has the worst lead, and within which budget."""
    return f'by {worst["attacker"]}, {spent_words(worst)}'


def zero_words(audit: Mapping, found: Mapping) -> str:
    """What the lead of a network is that never saw the forget set."""
    if not retrained_against(found):
        return 'There is no retrained network, so how much of it any network would learn is not known.'
    zeros = [entry['value'] for entry in found['zero'].values()]
    if not zeros:
        return 'With one retrained network the zero of the lead has no spread.'
    low, high = (change_shown(end(zeros), audit) for end in (min, max))
    ends = low if low == high else f'{low} to {high}'
    return f'Retrained networks over the mean of the others: {ends}.'


def retrained_against(found: Mapping) -> list[str]:
    """The columns of the retrained networks that leads are held against."""
    return [column for column in found['against'] if kind(column) == 'retrained']


def limit_of(audit: Mapping) -> float | None:
    """The strictest limit that a lead is held against, None without one."""
    levels = audit['options'].get('verdict', {}).get('levels', {})
    return min((level['lead'] for level in levels.values() if 'lead' in level), default=None)


def by_family(found: Mapping) -> list[tuple[str, Mapping]]:
    """The families with their worst leads, the worst first."""
    return sorted(found['families'].items(), key=lambda pair: pair[1]['beyond'], reverse=True)
