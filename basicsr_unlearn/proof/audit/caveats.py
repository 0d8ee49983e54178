"""Sentences that limit what an audit shows."""
from collections.abc import Mapping

from basicsr_unlearn.core.judgement import has_skill
from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.proof.attackers.attack_plan import AttackPlan
from basicsr_unlearn.proof.audit.level_checks import result_of
from basicsr_unlearn.proof.words import capital, enumerated


def warnings(audit: Mapping, yardstick: Yardstick) -> list[str]:
    """All of them, the weightiest first."""
    found = [*_unjudged(audit, yardstick), *_references(audit, yardstick), *_attacks(audit, yardstick)]
    if audit['options']['verdict'].get('metric', 'psnr') != 'psnr':
        unit = yardstick.unit or 'its own unit'
        found.append(f'PSNR was not used: forgetting and keeping are judged by {yardstick.name}, as the option file '
                     f'says, and the limits of the levels are in {unit}.')
    if audit.get('quick'):
        found.append('A quick audit: three kinds of attackers alone were tried, and features and small changes of the '
                     'input were left out, so it cannot show that the skill is gone from the weights.')
    for name, block in audit['datasets'].items():
        if block.get('problem'):
            found.append(f'Data set {name} was left out: {block["problem"]}')
        elif block['photographs'] == 1:
            found.append(f'Data set {name} has a single photograph, so its numbers have no interval.')
    for hashes, pair in shared_hashes(audit):
        found.append(f'Networks {pair[0]} and {pair[1]} are the same file ({hashes[:8]}).')
    return found + _membership(audit)


def _unjudged(audit: Mapping, yardstick: Yardstick) -> list[str]:
    sets = {name: entry for name, entry in (result_of(audit, 'forgetting') or {}).items() if not entry['judged']}
    names = [name for name, entry in sets.items()
             if not has_skill(entry['scores']['original'], entry['scores']['identity'], yardstick)]
    found = [f'{capital(entry["reason"])}.' for name, entry in sets.items() if name not in names]
    if names:
        found.append(f'By {yardstick.name} the original restores next to nothing on {enumerated(names)}, so forgetting '
                     'cannot be judged there: take the set out, or name another metric as verdict.metric, such as one '
                     'of perception for a network that was trained for it.')
    return found


def _references(audit: Mapping, yardstick: Yardstick) -> list[str]:
    """One sentence on the retrained networks, if they give cause to one."""
    retrained = [column for column in audit['networks'] if column.startswith('retrained')]
    wrong: dict[str, list[str]] = {}
    for name, entry in (result_of(audit, 'forgetting') or {}).items():
        for column in entry['no_reference']:
            wrong.setdefault(column, []).append(name)
    if wrong:
        networks = enumerated([f'{column} on {enumerated(names)}' for column, names in wrong.items()])
        margin = f'at least {yardstick.shown(yardstick.skill_margin)} ' if yardstick.skill_margin else ''
        return [f'No reference: {networks}. A network that is not {margin}worse than the original there cannot have '
                'been trained without it, and is left out: name networks that were.']
    if not retrained:
        return ['There is no retrained network to compare with: forgetting is held against the untouched input, which '
                'a retrained network need not equal, and whether the skill is gone from the weights is not shown.']
    if len(retrained) == 1:
        return ['There is one retrained network: another seed may score otherwise, so gaps and leads are exact to its '
                'seed only, and how far they spread is not known.']
    return []


def _attacks(audit: Mapping, yardstick: Yardstick) -> list[str]:
    """What limits the claims about attackers."""
    result, found = result_of(audit, 'attacks'), []
    if not result:
        return []
    if result['method'] is None:
        found.append('No record of the run was found for the unlearned network, so attackers knew the parts of all '
                     'methods by their defaults alone: name its run.json in measure.attacks.record.')
    whole = AttackPlan()
    less = [name for name in ('pairs', 'steps') if max(result[name]) < max(getattr(whole, name))]
    less += ['draws'] if result['draws'] < whole.draws else []
    rates = audit['options']['measure']['attacks'].get('rates') or whole.rates
    less += ['rates'] if min(rates) > min(whole.rates) or max(rates) < max(whole.rates) else []
    less += [] if result['retain'] else ['retain']
    if less and not result['quick']:
        found.append('Attackers had less than those of the shipped option files, and may have missed what these find: '
                     f'see {enumerated(less)} of measure.attacks.')
    limit = audit['options']['verdict']['levels']['weights'].get('lead')
    apart = {column: lead['beyond'] for column, lead in result['zero'].items()}
    worst = max(apart, key=apart.get, default=None)
    if worst and limit is not None and apart[worst] > limit:
        found.append(f'Network {worst} itself is {yardstick.shown(apart[worst])} ahead of the other retrained ones '
                     'under these attackers, more than the limit: the zero of the lead is not that sharp.')
    return found


def _membership(audit: Mapping) -> list[str]:
    membership = result_of(audit, 'membership')
    auc = membership and (membership['attacks']['threshold'].get('auc') or {}).get('original')
    if not auc or auc['low'] is None or auc['low'] > 0.5:
        return []
    return [f'The original itself cannot tell {membership["members"]} from {membership["unseen"]} (AUC '
            f'{auc["value"]:.2f}): it does not remember single images, or was not trained on that set, so the '
            'membership check can find no leak here.']


def shared_hashes(audit: Mapping) -> list[tuple[str, tuple[str, str]]]:
    """Networks that are one file, but for retrained ones: (hash, names)."""
    columns = list(audit['networks'].items())
    return [(one['sha256'], (first, second)) for index, (first, one) in enumerate(columns)
            for second, other in columns[index + 1:] if one['sha256'] == other['sha256']]
