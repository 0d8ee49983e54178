import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from basicsr_unlearn.metrics.evaluation import Strip
from basicsr_unlearn.report.drawing import where_to_look
from basicsr_unlearn.report.run_report import write_report


class Page(HTMLParser):
    """Tags with their attributes, and the text that a reader sees."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.text = [], ''
        text = re.sub(r'<style>.*?</style>', '', text, flags=re.DOTALL)
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def summary(retrained: bool = True, forget: str = 'haze', curves: dict | None = None) -> dict:
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
        'curves': {name: [[step, {'psnr': value}] for step, value in points]
                   for name, points in (CURVES if curves is None else curves).items()},
        'networks': {'unlearned': {'path': 'experiments/net.pth', 'sha256': '0' * 64}},
        'versions': {'torch': '2.15.0'},
    }


def strip(name: str = 'a', size: tuple[int, int] = (100, 160)) -> Strip:
    rng = np.random.default_rng(0)
    images = {column: rng.integers(0, 256, (*size, 3), dtype=np.uint8)
              for column in ('identity', 'original', 'unlearned', 'retrained', 'gt')}
    return Strip(name, images, {column: {'psnr': 12.345} for column in images if column != 'gt'})


def written(tmp_path, record: dict, strips: dict, option_file: str = 'options/unlearn_haze.yml',
            option_text: str = 'name: unlearn_haze  # <& "quoted">\n') -> tuple[str, Page]:
    write_report(tmp_path / 'report.html', record, strips, option_file, option_text)
    text = (tmp_path / 'report.html').read_text(encoding='utf-8')
    return text, Page(text)


CURVES = {'haze': [(0, 21.0), (100, 14.0), (200, 11.5)], 'rain': [(0, 28.0), (200, 27.75)]}


def test_the_page_needs_nothing_from_elsewhere(tmp_path):
    text, page = written(tmp_path, summary(), {'haze': [strip()], 'rain': [strip()]})
    sources = [attributes['src'] for _, attributes in page.tags if 'src' in attributes]
    assert len(sources) == 2 + 2 * 5 * 2  # the comparison; per strip five columns, whole and crop
    assert all(source.startswith('data:image/') for source in sources)
    assert not any('href' in attributes for _, attributes in page.tags)
    assert not re.search(r'url\(|@import|https?://', text)
    assert not re.search(r'\$\w', text)  # no place of the template is left open


def test_the_verdict_comes_first_and_all_numbers_are_there(tmp_path):
    _, page = written(tmp_path, summary(), {})
    assert page.text.index('Haze is forgotten.') < page.text.index('Haze went down.') < page.text.index('All numbers')
    for shown in ('11.50', 'was 21.00', '0.50 dB worse than retrained', '27.75', '0.25 dB lost', '0.5100',
                  '1 min 00 s', 'stop rule', 'experiments/net.pth', 'GradientAscentLoss, bound none',
                  'torch 2.15.0', 'name: unlearn_haze'):
        assert shown in page.text, shown


def test_names_cannot_break_the_page(tmp_path):
    evil = '<script>alert(1)</script>"\'>&'
    report = summary(forget=evil, curves={evil: [(0, 21.0), (9, 11.0)]})
    report['settings'] = {evil: evil}
    report['verdict'] = report['method'] = report['likely_cause'] = report['device'] = report['headline'][0] = evil
    _, page = written(tmp_path, report, {evil: [strip(evil)], 'rain': []}, evil, evil)
    assert len(page.all('script')) == 1  # our own
    assert page.text.count('alert(1)') >= 8
    assert not any(name.startswith('on') for _, attributes in page.tags for name in attributes)


def test_crops_are_lossless(tmp_path):
    shown = strip(size=(100, 160))
    _, page = written(tmp_path, summary(), {'haze': [shown]})
    crops = [attributes['src'] for attributes in page.all('img') if attributes.get('class') == 'crop']
    top, left = where_to_look(shown.images['gt'], shown.images['original'], shown.images['unlearned'], 48)
    for source, image in zip(crops, shown.images.values(), strict=True):
        data = np.frombuffer(base64.b64decode(source.partition(',')[2]), np.uint8)
        assert np.array_equal(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1], image[top:top + 48, left:left + 48])


def test_without_a_retrained_network_the_input_is_the_reference(tmp_path):
    _, page = written(tmp_path, summary(retrained=False), {})
    assert '0.50 dB better than the input' in page.text
    assert 'Retrained' not in page.text and 'retrained:' not in page.text and 'ring' not in page.text
    assert not any('retrained' in attributes.get('class', '') for _, attributes in page.tags)


def test_curves_are_drawn_to_scale(tmp_path):
    _, page = written(tmp_path, summary(curves={'haze': [(0, 21.0), (50, 16.0), (200, 11.0)]}), {})
    (line,) = page.all('polyline')
    (x0, y0), (x1, y1), (x2, y2) = ([float(v) for v in point.split(',')] for point in line['points'].split())
    assert (x1 - x0) / (x2 - x0) == pytest.approx(50 / 200, abs=0.002)
    assert (y1 - y0) / (y2 - y0) == pytest.approx(0.5, abs=0.002) and y2 > y0  # a lower PSNR is farther down
    references = {line['class'].split()[-1]: float(line['y1']) for line in page.all('line') if 'ref' in line['class']}
    assert references == {'original': y0, 'identity': y2, 'retrained': pytest.approx(y2 - (y2 - y0) / 10, abs=0.2)}


def test_no_curves_and_no_strips_leave_no_empty_sections(tmp_path):
    _, page = written(tmp_path, summary(curves={}), {})
    assert 'On the way there' not in page.text
    assert not page.all('img') and not page.all('svg')


def test_small_and_large_pictures_fit(tmp_path):
    _, page = written(tmp_path, summary(), {'haze': [strip(size=(20, 24))], 'rain': [strip(size=(900, 1400))]})
    assert max(int(image['width']) for image in page.all('img')) == 640


def test_a_likely_cause_is_told(tmp_path):
    _, page = written(tmp_path, {**summary(), 'likely_cause': 'The steps are too small.'}, {})
    assert page.text.index('Haze went down.') < page.text.index('The steps are too small.') < page.text.index(
        'Where every')


def test_a_set_that_the_original_does_not_restore_is_not_called_forgotten(tmp_path):
    record = summary()
    record['datasets']['haze']['scores']['psnr'] = {'identity': 38.0, 'original': 20.0, 'unlearned': 30.0}
    _, page = written(tmp_path, record, {})
    assert page.text.count('the original has no such skill') == 2  # where it stands, and in the table


def test_without_scores_there_is_still_a_page(tmp_path):
    _, page = written(tmp_path, {**summary(curves={}), 'datasets': {}}, {})
    assert 'How it was done' in page.text and 'All numbers' not in page.text
