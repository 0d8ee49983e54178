"""The page of an audit."""
import numpy as np
import pytest
from audit_example import example_audit
from html_page import Page

from basicsr_unlearn.metrics.evaluation import Strip
from basicsr_unlearn.report.audit_findings import audit_findings
from basicsr_unlearn.report.pages import write_findings

COLUMNS = ('identity', 'original', 'unlearned', 'retrained', 'gt')
DRAWN = {'attacks': 2, 'scores': 4, 'membership': 1, 'forgetting': 1}  # charts of each measurement


def strip(name: str, columns: tuple[str, ...] = COLUMNS) -> Strip:
    grey = np.add.outer(np.arange(321), np.arange(481)) % 256
    images = {column: np.ascontiguousarray(np.repeat(grey[..., None].astype(np.uint8), 3, 2) // (i + 1))
              for i, column in enumerate(columns)}
    return Strip(name, images, {column: {'psnr': 12.345} for column in columns if column != 'gt'})


def written(tmp_path, audit: dict, strips: dict | None = None) -> Page:
    write_findings(tmp_path / 'report.html', audit_findings(audit, strips or {}))
    return Page(tmp_path / 'report.html')


def without(audit: dict, *names: str) -> dict:
    for name in names:
        audit['measurements'][name] = {'state': 'skipped', 'reason': f'{name} was too slow.', 'seconds': 0.0,
                                       'result': None}
    return audit


@pytest.mark.parametrize('retrained', [0, 1, 2])
def test_the_page_stands_alone_and_is_small(tmp_path, retrained):
    page = written(tmp_path, example_audit(retrained), {'haze': [strip('a'), strip('b'), strip('c')]})
    assert page.stands_alone() and len(page.source) < 800_000
    assert len(page.all('img')) == 2 + 3 * 5 * 2  # the slider; three images of five networks, whole and in detail


def test_verdict_deciding_charts_and_a_strip_for_each_set_come_first(tmp_path):
    audit = example_audit()
    page = written(tmp_path, audit, {name: [strip(f'{name} {i}') for i in range(3)] for name in audit['datasets']})
    order = ['Passed', audit['verdict']['headline'], 'Haze went from 20.98 to 11.02 dB', 'worst gap', 'Outputs',
             'Members', 'Weights', 'Where every network stands', 'Forget gap at 2 strengths',
             'Can its training images be told?', 'Learned again by the best attacker', 'over the retrained network',
             'By kernels transposed', 'haze 1']
    body = page.words[page.words.index('Passed'):]  # after the title of the window
    places = [body.index(part) for part in order]
    assert places == sorted(places), dict(zip(order, places))
    for name in audit['datasets']:
        assert f'{name} 1' in page.words and f'{name} 0' in page.folded  # the median, and the best
    for shown in ('11.02', 'was 20.98', '0.07 dB better than retrained', '28.10', '0.02 dB lost'):
        assert shown in page.above, shown


def test_strips_of_further_sets_are_folded(tmp_path):
    audit = example_audit()
    audit['datasets'] |= {name: audit['datasets']['rain'] for name in ('snow', 'hail')}
    page = written(tmp_path, audit, {name: [strip(f'{name} 0')] for name in audit['datasets']})
    assert 'hail 0' in page.folded and 'hail 0' not in page.above


def test_every_check_and_every_number_is_folded(tmp_path):
    audit = example_audit(2)
    page = written(tmp_path, audit)
    for level in audit['verdict']['levels'].values():
        for check in level['checks']:
            assert check['name'] in page.folded and check['subject'] in page.folded and check['state'] in page.folded
    means = audit['measurements']['scores']['result']['mean']
    for by_column in means.values():
        for by_metric in by_column.values():
            assert f'{by_metric["psnr"]["value"]:.2f}' in page.folded
    for entry in [*audit['networks'].values(), *audit['datasets'].values()]:
        assert entry['sha256'] in page.folded
    assert '+4.60 dB' in page.folded and 'at most 0.50 dB' in page.folded and '# <& "quoted">' in page.folded
    assert 'NAFNet has no prompts.' in page.folded and 'LiRA needs shadow networks' in page.folded


def test_failed_and_limits_are_said_on_the_first_page(tmp_path):
    audit = example_audit(0)
    audit['verdict'].update(passed=False, required='weights', outcome='over-forgotten')
    audit['quick'] = True
    page = written(tmp_path, audit)
    for shown in ('Failed', 'the required level, weights', 'over-forgotten', 'There is no retrained network',
                  'quick: three kinds of attackers', 'over the identity baseline'):
        assert shown in page.above, shown
    assert 'What limits' not in written(tmp_path, example_audit()).words


@pytest.mark.parametrize('name', [*DRAWN, 'keeping', 'representation', 'robustness', 'weights', 'cost'])
def test_what_was_skipped_has_its_reason_and_leaves_no_chart(tmp_path, name):
    complete = len(written(tmp_path, example_audit()).all('svg'))
    page = written(tmp_path, without(example_audit(), name))
    assert complete == sum(DRAWN.values()) and complete - len(page.all('svg')) == DRAWN.get(name, 0)
    assert f'{name} was too slow.' in page.words and f'id="{name}"' not in page.source


def test_with_nothing_measured_the_verdict_stands_alone(tmp_path):
    audit = example_audit()
    page = written(tmp_path, without(audit, *audit['measurements']))
    assert not page.all('svg') and not page.all('img') and audit['verdict']['headline'] in page.words


def test_the_strongest_attack_decides(tmp_path):
    audit = example_audit()
    attacks = audit['measurements']['membership']['result']['attacks']
    attacks['logistic']['difference']['retrained']['value'] = 0.3
    attacks['logistic'].update(reading='recognisable')
    assert 'Recognisable' in written(tmp_path, audit).words


def test_a_network_that_stays_behind_the_retrained_one_is_not_called_ahead(tmp_path):
    audit = example_audit()
    audit['measurements']['attacks']['result']['worst'].update(value=-0.8, beyond=-0.9)
    assert '−0.80 dB over the retrained network' in written(tmp_path, audit).above


def test_the_worst_strength_comes_first_and_is_named(tmp_path):
    audit = example_audit(3)
    audit['measurements']['forgetting']['result']['haze_train']['gap'].update(value=-4.0)
    audit['verdict']['worst_gap'].update(dataset='haze_train', value=-4.0)
    found = audit_findings(audit, {})
    assert found.cards[0].figure == 'haze_train: -4.00 dB'
    assert [place.name for place in found.standing.places] == ['haze_train', 'haze', 'rain', 'noise']
    assert ('worst gap', '-4.00 dB on haze_train') in found.facts
    assert ('worst lead', '+4.50 dB by kernels transposed') in found.facts


def test_many_strengths_leave_the_first_page_short(tmp_path):
    audit = example_audit(2)
    results = {name: audit['measurements'][name]['result'] for name in ('scores', 'forgetting')}
    for i in range(6):
        name = f'haze_{i}'
        audit['datasets'][name] = audit['datasets']['haze']
        for part in ('images', 'photographs', 'per_image', 'mean'):
            results['scores'][part][name] = results['scores'][part]['haze']
        results['forgetting'][name] = {**results['forgetting']['haze'], 'gap': {'value': i, 'low': i, 'high': i}}
    found = audit_findings(audit, {name: [strip(name)] for name in audit['datasets']})
    assert [place.name for place in found.standing.places] == ['haze_5', 'haze_4', 'haze_3', 'rain', 'noise']
    assert set(found.standing.more) == {'haze', 'haze_train', 'haze_0', 'haze_1', 'haze_2'}
    assert found.strips == 1 and [of_set.name for of_set in found.pictures[:2]] == ['haze_5', 'rain']


@pytest.mark.parametrize('limit, over', [(0.5, ['inverse', 'plain']), (4.2, ['inverse']), (None, [
    'inverse', 'plain', 'quantisation'])])
def test_families_over_the_limit_are_marked(limit, over):
    audit = example_audit(3)
    audit['options']['verdict']['levels'] = {'weights': {} if limit is None else {'lead': limit}}
    chart = audit_findings(audit, {}).panel.cards[1].drawing
    assert [shape.string for shape in chart.shapes
            if shape.kind == 'text' and shape.css == 'unlearned' and shape.anchor == 'start'] == over


def test_a_lead_before_any_learning_is_drawn_with_the_fewest_pairs_that_learn():
    audit = example_audit(2)
    found = audit['measurements']['attacks']['result']
    found['worst'].update(pairs=0, step=0)
    for by_pairs in found['strength'].values():
        by_pairs['0'] = {'0': {'value': 11.0, 'attacker': 'turned'}}
    card = audit_findings(audit, {}).panel.cards[0]
    assert '2 forget pairs' in card.title
    assert {shape.string for shape in card.drawing.shapes if shape.kind == 'text'} >= {'0', '100'}


def test_the_band_is_the_range_of_the_retrained_networks():
    chart = audit_findings(example_audit(3), {}).panel.cards[0].drawing
    (band,) = [shape for shape in chart.shapes if shape.kind == 'polygon']
    lines = [shape.points for shape in chart.shapes if shape.css == 'line retrained faint']
    audit = example_audit(3)
    audit['measurements']['attacks']['result']['against'].remove('retrained 3')  # one that is no reference
    without = audit_findings(audit, {}).panel.cards[0].drawing
    assert sum(shape.css == 'line retrained faint' for shape in without.shapes) == 2
    assert len(lines) == 3 and len(band.points) == 2 * len(lines[0])
    assert [y for _, y in band.points] == [*(y for _, y in lines[2]), *(y for _, y in reversed(lines[0]))]


def test_names_cannot_break_the_page(tmp_path):
    evil = '<script>alert(1)</script>"\'>&|**x**{{ 7 * 7 }}'
    audit = example_audit()
    for part in (audit['datasets'], *(audit['measurements']['scores']['result'][key]
                                      for key in ('images', 'photographs', 'per_image', 'mean'))):
        part[evil] = part.pop('haze')
    audit['measurements']['forgetting']['result'][evil] = audit['measurements']['forgetting']['result'].pop('haze')
    audit['verdict'].update(headline=evil, sentence=evil, warnings=[evil])
    audit['name'] = audit['option_file'] = audit['option_text'] = audit['networks']['unlearned']['path'] = evil
    audit['verdict']['levels']['weights']['checks'][0].update(name=evil, subject=evil, words=evil)
    attacks = audit['measurements']['attacks']['result']
    attacks.update(train=evil, test=evil, left_out=[evil], families={evil: attacks['families']['plain']})
    attacks['worst']['attacker'] = attacks['leads'][0]['attacker'] = evil
    audit['measurements']['representation'] = {'state': 'skipped', 'reason': evil, 'seconds': 0.0, 'result': None}
    page = written(tmp_path, audit, {evil: [strip(evil)]})
    assert len(page.all('script')) == 1 and page.words.count('alert(1)') >= 15  # the slider's
    assert not any(name.startswith('on') for _, attributes in page.tags for name in attributes)
