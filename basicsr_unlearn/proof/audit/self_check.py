"""Whether an audit's attackers can be trusted: known networks, attacked as if each were the unlearned one."""
from typing import NamedTuple

from basicsr_unlearn.core.leads import Lead, family_leads, leads_of, worst_lead
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.proof.audit.attacking import Attacking
from basicsr_unlearn.proof.audit.context import Context
from basicsr_unlearn.proof.audit.measuring import retrained_references

DEFAULT_LIMIT = 0.5  # dB, where the option file has none: that of the shipped files
EVERY_FAMILY = 'all'


class Known(NamedTuple):
    """A known network under attackers of one family, or of all.

    `lead` is the worst, `wanted` says whether it has to lie within the limit (a retrained network) or above it (the
    original), `passed` whether it does.
    """
    network: str
    family: str
    lead: Lead
    wanted: str
    passed: bool


def self_check(context: Context) -> list[Known]:
    """Attack the retrained networks and the original.

    Each retrained network, held against the others, must have a lead within the limit; the original must be called not
    forgotten by the attackers of every family.

    Raises:
        OptionError: there is no block `measure.attacks`, or there are fewer than two retrained networks.
        DataError: a data set cannot be used.
    """
    if 'attacks' not in context.audit.measure:
        raise OptionError('The self-check needs the block measure.attacks: add it, as options/audit_haze.yml has it.')
    test = context.audit.attack_sets[2]
    if context.checked(test) and len(against := retrained_references(context, test)) < 2:
        raise OptionError(f'The self-check holds retrained networks against each other, but there are {len(against)} '
                          f'that can be references on {test}: name two or more in networks.retrained.')
    limit = context.audit.options['verdict']['levels']['weights'].get('lead', DEFAULT_LIMIT)
    attacking, yardstick, rows = Attacking(context), context.audit.yardstick, []
    trails = {}
    for column in (*against, 'original'):
        trails[column] = attacking.sweep(column).trails
        print(f'  {column}: {len(trails[column])} attackers', flush=True)
    for column in against:
        lead = worst_lead(leads_of(trails[column], [trails[other] for other in against if other != column], yardstick))
        rows.append(Known(column, EVERY_FAMILY, lead, f'at most {limit:g}', lead.beyond <= limit))
    found = family_leads(trails['original'], [trails[column] for column in against], yardstick)
    rows += [Known('original', family, lead, f'above {limit:g}', lead.beyond > limit) for family, lead in found.items()]
    return rows
