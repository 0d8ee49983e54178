"""What a page shows of an audit: what decides on the first page, every measurement folded below."""
from collections.abc import Mapping, Sequence

from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.metrics.evaluation import Strip
from basicsr_unlearn.report.audit_charts import membership_card, recovery_figures, relearning_card, scores_figures
from basicsr_unlearn.report.audit_checks import blamed, checks_section
from basicsr_unlearn.report.findings import (
    Findings,
    LevelState,
    PageSection,
    Pictures,
    Place,
    Standing,
    gap_words,
    loss_words,
)
from basicsr_unlearn.report.measurement_sections import measured_section, method_sections, metric_of, unmeasured
from basicsr_unlearn.report.pictures import strip_figure
from basicsr_unlearn.report.run_findings import slider_of
from basicsr_unlearn.report.tables import how_long

LEVEL_MEANINGS = {'outputs': 'Its outputs are about a retrained network’s, and the rest is kept.',
            'members': 'The same more closely, and the attacks of this audit do not tell its training images.',
            'weights': 'And the attackers of this audit, which do not know the method, do not learn it again sooner '
                       'than in a retrained network.'}
PLACES = {1: ('the only image',), 2: ('best', 'worst'), 3: ('best', 'median', 'worst')}
AUDIT_SIDE = 480  # pixels of an embedded picture: an audit has more of them than a run


def audit_findings(audit: Mapping, strips: Mapping[str, Sequence[Strip]]) -> Findings:
    """The page of an audit.

    Args:
        audit: what audit.json holds, see SCHEMA.md; what was skipped is listed with its reason.
        strips: data set -> up to three images, from where forgetting or keeping went best to where it went worst.
    """
    verdict, key, yardstick = audit['verdict'], metric_of(audit)['key'], yardstick_of_audit(audit)
    facts = [('outcome', verdict['outcome']), ('audit', audit['name']),
             ('made', f'{audit["created"][:16].replace("T", " ")} UTC'), ('in', how_long(audit['seconds']))]
    facts += [('', 'quick: nothing of the weights was measured')] if audit['quick'] else []
    levels = [LevelState(name, level['state'], name == verdict['required'], LEVEL_MEANINGS.get(name, ''),
                         blamed(level)[:2]) for name, level in verdict['levels'].items()]
    places = audit_places(audit)
    middle = {name: of_set[len(of_set) // 2:][:1] for name, of_set in strips.items()}
    cards = [card for card in (relearning_card(audit), membership_card(audit)) if card]
    return Findings(
        f'{verdict["headline"]} {audit["name"]}', [verdict['headline']], verdict['sentence'], facts,
        state='passed' if verdict['passed'] else 'failed', required=verdict['required'], levels=levels,
        warnings=verdict['warnings'], slider=slider_of(audit['datasets'], middle, key, yardstick),
        standing=Standing(places, yardstick) if places else None, cards=cards,
        pictures=[_pictures(name, audit['datasets'][name]['role'], of_set, key, yardstick)
                  for name, of_set in strips.items() if of_set],
        sections=[checks_section(audit), *scores_figures(audit), *recovery_figures(audit),
                  *measured_sections(audit), *unmeasured(audit), *method_sections(audit)])


def yardstick_of_audit(audit: Mapping) -> Yardstick:
    """The metric that an audit is judged by."""
    metric = metric_of(audit)
    return Yardstick(metric['name'], metric['unit'], metric['better'] == 'higher', metric['skill_margin'])


def measured_sections(audit: Mapping) -> list[PageSection]:
    """What each measurement found."""
    found = [measured_section(name, entry['result'], audit) for name, entry in audit['measurements'].items()
             if entry['state'] == 'measured']
    return [one for one in found if one]


def audit_places(audit: Mapping) -> list[Place]:
    """Where every network stands on each data set, and what became of it, as it was measured."""
    results = {name: (audit['measurements'].get(name) or {}).get('result') or {}
               for name in ('scores', 'forgetting', 'keeping')}
    key, yardstick, found = metric_of(audit)['key'], yardstick_of_audit(audit), []
    for name, by_column in results['scores'].get('mean', {}).items():
        scores = {column: by_metric[key]['value'] for column, by_metric in by_column.items() if key in by_metric}
        if not {'identity', 'original', 'unlearned'} <= scores.keys():
            continue
        forgetting, keeping = results['forgetting'].get(name), results['keeping'].get(name)
        words = ''
        if forgetting:
            words = (gap_words(forgetting['gap']['value'], forgetting['against'], yardstick) if forgetting['judged']
                     else 'the original has no such skill')
        elif keeping:
            words = loss_words(keeping['loss']['value'], yardstick)
        found.append(Place(name, audit['datasets'][name]['role'], scores, words))
    return found


def _pictures(name: str, role: str, strips: Sequence[Strip], metric: str, yardstick: Yardstick) -> Pictures:
    """The median first, which the first page shows."""
    places = PLACES.get(len(strips), ('',) * len(strips))
    figures = [strip_figure(strip, metric, yardstick, AUDIT_SIDE, place) for place, strip in zip(places, strips)]
    middle = len(figures) // 2
    return Pictures(name, role, [figures[middle], *figures[:middle], *figures[middle + 1:]])
