"""The page of a run and of the demo."""
import numpy as np
import pytest
from html_page import Page

from basicsr_unlearn.core.judgement import PSNR
from basicsr_unlearn.metrics.evaluation import Strip
from basicsr_unlearn.report.pages import write_findings
from basicsr_unlearn.report.run_findings import beside_section, relearning_cards, run_findings

CURVES = {'haze': [(0, 21.0), (100, 14.0), (200, 11.5)], 'rain': [(0, 28.0), (200, 27.75)]}


def record(retrained: bool = True, forget: str = 'haze', curves: dict = CURVES) -> dict:
    def scores(*values):
        return dict(zip(('identity', 'original', 'unlearned', 'retrained'), values[:4 if retrained else 3]))

    return {
        'headline': ['Haze is forgotten.', 'Rain is kept.'], 'verdict': 'Haze went down.', 'name': 'unlearn_haze',
        'likely_cause': None, 'method': 'GradientAscentLoss', 'seconds': 59.6, 'steps': 200, 'ended_by': 'stop rule',
        'device': 'cpu', 'settings': {'forget_opt': 'GradientAscentLoss, bound none'},
        'judged_by': {'metric': 'psnr', 'name': 'PSNR', 'unit': 'dB', 'higher': True, 'margin': None},
        'datasets': {forget: {'role': 'forget', 'images': 5, 'scores': {'psnr': scores(11.0, 21.0, 11.5, 12.0),
                                                                        'ssim': scores(.5, .9, .51, .52)}},
                     'rain': {'role': 'retain', 'images': 5, 'scores': {'psnr': scores(20.0, 28.0, 27.75, 28.5),
                                                                        'ssim': scores(.6, .9, .89, .9)}}},
        'curves': {name: [[step, {'psnr': value}] for step, value in points] for name, points in curves.items()},
        'networks': {'unlearned': {'path': 'experiments/net.pth', 'sha256': '0' * 64}},
        'versions': {'torch': '2.15.0'},
    }


def strip(name: str = 'a', size: tuple[int, int] = (321, 481)) -> Strip:
    grey = np.add.outer(np.arange(size[0]), np.arange(size[1])) % 256
    images = {column: np.ascontiguousarray(np.repeat(grey[..., None].astype(np.uint8), 3, 2) // (i + 1))
              for i, column in enumerate(('identity', 'original', 'unlearned', 'retrained', 'gt'))}
    return Strip(name, images, {column: {'psnr': 12.345} for column in images if column != 'gt'})


def written(tmp_path, of: dict, strips: dict | None = None, **more) -> Page:
    write_findings(tmp_path / 'report.html', run_findings(of, strips or {}, 'options/unlearn_haze.yml',
                                                          'name: unlearn_haze  # <& "quoted">\n', **more))
    return Page(tmp_path / 'report.html')


def test_the_page_stands_alone_and_is_small(tmp_path):
    page = written(tmp_path, record(), {'haze': [strip()], 'rain': [strip()]})
    assert page.stands_alone() and len(page.all('script')) == 1  # of the slider
    assert len(page.all('img')) == 2 + 2 * 5 * 2  # the slider; five networks, whole and in detail, for each set
    assert len(page.source) < 600_000


def test_numbers_and_sets_of_the_record_are_on_the_page_and_the_rest_is_folded(tmp_path):
    page = written(tmp_path, record(), {'haze': [strip()], 'rain': [strip()]})
    order = ('Haze is forgotten.', 'Haze went down.', 'Where every', 'All scores')
    places = [page.words.index(shown) for shown in order]
    assert places == sorted(places)
    for shown in ('11.50', 'was 21.00', '0.50 dB worse than retrained', '27.75', '0.25 dB lost', '1 min 00 s',
                  'stop rule', 'haze', 'rain', '12.35 dB'):
        assert shown in page.above, shown
    for shown in ('0.5100', 'experiments/net.pth', 'GradientAscentLoss, bound none', 'torch 2.15.0',
                  'name: unlearn_haze  # <& "quoted">', 'gap -0.50'.replace('-', '−'), 'lost 0.25'):
        assert shown in page.folded, shown


def test_names_cannot_break_the_page(tmp_path):
    evil = '<script>alert(1)</script>"\'>&{{ 7 * 7 }}'
    report = record(forget=evil, curves={evil: [(0, 21.0), (9, 11.0)]})
    report['settings'] = {evil: evil}
    report['verdict'] = report['method'] = report['likely_cause'] = report['device'] = report['headline'][0] = evil
    write_findings(tmp_path / 'report.html', run_findings(
        report, {evil: [strip(evil)], 'rain': []}, evil, evil,
        cards=relearning_cards({evil: {column: {0: 11.0, 5: 12.0} for column in ('unlearned', evil, 'retrained')}}, 8,
                               5e-4, PSNR, evil), opened=[beside_section(report, evil)]))
    page = Page(tmp_path / 'report.html')
    assert len(page.all('script')) == 1 and page.words.count('alert(1)') >= 12 and '49' not in page.words
    assert not any(name.startswith('on') for _, attributes in page.tags for name in attributes)


def test_marks_are_drawn_to_scale(tmp_path):
    page = written(tmp_path, record())
    at = {mark['class']: float(mark['style'].removeprefix('--x:').removesuffix('%')) for mark in page.all('i')
          if 'style' in mark and 'w:' not in mark['style']}  # the last row counts: rain
    assert at == {'identity': 50.0, 'original': pytest.approx(90.0), 'unlearned': pytest.approx(88.75),
                  'retrained': pytest.approx(92.5)}  # of an axis from 10 to 30


def test_without_a_retrained_network_the_input_is_the_reference(tmp_path):
    page = written(tmp_path, record(retrained=False))
    assert '0.50 dB better than the input' in page.words
    assert 'retrained' not in page.words.replace('a retrained network’s', '')
    assert not any('retrained' in attributes.get('class', '') for _, attributes in page.tags)


def test_what_learning_again_has_shown_stands_beside(tmp_path):
    ends = {'unlearned': (11.5, 19.0), 'other': (11.0, 21.5), 'retrained': (12.0, 17.0)}
    curves = {'haze': {column: dict(zip((0, 25), scores)) for column, scores in ends.items()}}
    page = written(tmp_path, record(), cards=relearning_cards(curves, 8, 5e-4, PSNR, 'the cure'),
                   opened=[beside_section(record(), 'options/other.yml')])
    for shown in ('2.00 dB ahead of retrained', 'unlearned 19.0', 'other 21.5', 'the cure', 'options/other.yml'):
        assert shown in page.above, shown


def test_a_page_may_lack_curves_strips_and_scores(tmp_path):
    page = written(tmp_path, record(curves={}))
    assert 'On the way there' not in page.words and not page.all('img') and not page.all('svg')
    page = written(tmp_path, {**record(curves={}), 'datasets': {}})
    assert 'How it was done' in page.words and 'All scores' not in page.words


def test_a_likely_cause_and_a_skill_that_never_was_are_told(tmp_path):
    of = {**record(), 'likely_cause': 'The steps are too small.'}
    of['datasets']['haze']['scores']['psnr'] = {'identity': 38.0, 'original': 20.0, 'unlearned': 30.0}
    page = written(tmp_path, of)
    assert 'The steps are too small.' in page.words and 'the original has no such skill' in page.words


@pytest.mark.parametrize('forget, file', [('haze', 'audit_haze'), ('noise', 'audit_noise'), ('snow', 'audit_haze')])
def test_a_run_names_the_audit_of_what_was_forgotten(tmp_path, forget, file):
    assert f'audit -opt options/{file}.yml' in written(tmp_path, record(forget=forget)).folded
