"""What a page shows of an audit: what decides on the first page, every measurement folded below."""
from collections.abc import Collection, Mapping, Sequence
from itertools import zip_longest

from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.metrics.evaluation import Strip
from basicsr_unlearn.report.attack_charts import attack_panel
from basicsr_unlearn.report.audit_charts import membership_card, scores_figures, strengths_card
from basicsr_unlearn.report.audit_checks import blamed, checks_section
from basicsr_unlearn.report.audit_values import change_shown, metric_of, result_in, worst_first, yardstick_of_audit
from basicsr_unlearn.report.findings import (
    Findings,
    LevelState,
    PageSection,
    Pictures,
    Place,
    Standing,
    gap_words,
    loss_words,
    role_class,
)
from basicsr_unlearn.report.measurement_sections import measured_section, method_sections, unmeasured
from basicsr_unlearn.report.pictures import strip_figure
from basicsr_unlearn.report.run_findings import slider_of
from basicsr_unlearn.report.tables import how_long

LEVEL_MEANINGS = {'outputs': 'Its outputs are about a retrained network’s, and the rest is kept.',
                  'members': 'The same more closely, and the attacks of this audit do not tell its training images.',
                  'weights': 'And no attacker of this audit, who knows the method, gets the skill back sooner than '
                             'from a retrained network.'}
PLACES = {1: ('the only image',), 2: ('best', 'worst'), 3: ('best', 'median', 'worst')}
AUDIT_SIDE = 480  # pixels of an embedded picture: an audit has more of them than a run
MOST_PLACES = 5  # data sets on the first page, the worst ones; of so many one has its photographs there
FEW_PLACES = 4  # of so few two have


def audit_findings(audit: Mapping, strips: Mapping[str, Sequence[Strip]]) -> Findings:
    """The page of an audit.

    Args:
        audit: what audit.json holds, see SCHEMA.md; what was skipped is listed with its reason.
        strips: data set -> up to three images, from where forgetting or keeping went best to where it went worst.
    """
    verdict, key, yardstick = audit['verdict'], metric_of(audit)['key'], yardstick_of_audit(audit)
    facts = [('outcome', verdict['outcome']), ('audit', audit['name']),
             ('made', f'{audit["created"][:16].replace("T", " ")} UTC'), ('in', how_long(audit['seconds']))]
    facts += worst_facts(audit)
    facts += [('', 'quick: three kinds of attackers at most')] if audit['quick'] else []
    levels = [LevelState(name, level['state'], name == verdict['required'], LEVEL_MEANINGS.get(name, ''),
                         blamed(level)[:2]) for name, level in verdict['levels'].items()]
    places = audit_places(audit)
    middle = {name: of_set[len(of_set) // 2:][:1] for name, of_set in strips.items()}
    cards = [card for card in (strengths_card(audit), membership_card(audit)) if card]
    order = by_severity(audit, places)
    rows = sorted(order[:MOST_PLACES], key=lambda name: role_class(audit['datasets'][name]['role']))
    return Findings(
        f'{verdict["headline"]} {audit["name"]}', [verdict['headline']], verdict['sentence'], facts,
        state='passed' if verdict['passed'] else 'failed', required=verdict['required'], levels=levels,
        warnings=verdict['warnings'], slider=slider_of(audit['datasets'], middle, key, yardstick),
        standing=Standing([places[name] for name in rows], yardstick, order[MOST_PLACES:]) if places else None,
        cards=cards, panel=attack_panel(audit),
        pictures=[_pictures(name, audit['datasets'][name]['role'], strips[name], key, yardstick)
                  for name in by_severity(audit, strips) if strips[name]],
        strips=2 if len(places) <= FEW_PLACES else 1,
        sections=[checks_section(audit), *scores_figures(audit), *measured_sections(audit), *unmeasured(audit),
                  *method_sections(audit)])


def measured_sections(audit: Mapping) -> list[PageSection]:
    """What each measurement found."""
    found = [measured_section(name, entry['result'], audit) for name, entry in audit['measurements'].items()
             if entry['state'] == 'measured']
    return [one for one in found if one]


def worst_facts(audit: Mapping) -> list[tuple[str, str]]:
    """The worst gap and the worst lead, each with its name."""
    facts, gap, attacks = [], audit['verdict']['worst_gap'], result_in(audit, 'attacks')
    if gap:
        facts.append(('worst gap', f'{change_shown(gap["value"], audit)} on {gap["dataset"]}'))
    if attacks and attacks['worst']:
        worst = attacks['worst']
        facts.append(('worst lead', f'{change_shown(worst["beyond"], audit)} by {worst["attacker"]}'))
    return facts


def by_severity(audit: Mapping, names: Collection[str]) -> list[str]:
    """The data sets by turns: the forget set with the largest gap, the retain set with the largest loss, the next ones.
    """
    gaps, keeping = [name for name, _ in worst_first(audit)], result_in(audit, 'keeping') or {}
    losses = sorted(keeping, key=lambda name: keeping[name]['loss']['value'], reverse=True)
    by_role = {'forget': [*gaps, *names], 'retain': [*losses, *names]}
    sides = [[name for name in dict.fromkeys(order)
              if name in names and role_class(audit['datasets'][name]['role']) == css]
             for css, order in by_role.items()]
    return [name for pair in zip_longest(*sides) for name in pair if name is not None]


def audit_places(audit: Mapping) -> dict[str, Place]:
    """Where every network stands on each data set, and what became of it, as it was measured."""
    results = {name: (audit['measurements'].get(name) or {}).get('result') or {}
               for name in ('scores', 'forgetting', 'keeping')}
    key, yardstick, found = metric_of(audit)['key'], yardstick_of_audit(audit), {}
    for name, by_column in results['scores'].get('mean', {}).items():
        scores = {column: by_metric[key]['value'] for column, by_metric in by_column.items() if key in by_metric}
        if not {'identity', 'original', 'unlearned'} <= scores.keys():
            continue
        forgetting, keeping = results['forgetting'].get(name), results['keeping'].get(name)
        words = ''
        if forgetting:
            words = (gap_words(forgetting['gap']['value'], forgetting['against'], yardstick) if forgetting['judged']
                     else 'cannot be judged')
        elif keeping:
            words = loss_words(keeping['loss']['value'], yardstick)
        found[name] = Place(name, audit['datasets'][name]['role'], scores, words)
    return found


def _pictures(name: str, role: str, strips: Sequence[Strip], metric: str, yardstick: Yardstick) -> Pictures:
    """The median first, which the first page shows."""
    places = PLACES.get(len(strips), ('',) * len(strips))
    figures = [strip_figure(strip, metric, yardstick, AUDIT_SIDE, place) for place, strip in zip(places, strips)]
    middle = len(figures) // 2
    return Pictures(name, role, [figures[middle], *figures[:middle], *figures[middle + 1:]])
