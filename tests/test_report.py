import base64
import re
from html.parser import HTMLParser

import cv2
import numpy as np
import pytest

from basicsr_unlearn.drawing import where_to_look
from basicsr_unlearn.evaluate import Strip
from basicsr_unlearn.report import write_report


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


def summary(retrained: bool = True, forget: str = 'haze') -> dict:
    def scores(*values):
        return dict(zip(('identity', 'original', 'unlearned', 'retrained'), values[:4 if retrained else 3]))

    return {
        'headline': 'Haze is forgotten. Rain is kept.', 'verdict': 'Haze went down.', 'name': 'demo_unlearn_haze',
        'method': 'GradientAscentLoss', 'option_file': 'options/unlearn_haze.yml', 'seconds': 171.9,
        'seconds_training': 59.6, 'iterations': 200, 'settings': {'forget_opt': 'GradientAscentLoss, bound none'},
        'datasets': {forget: {'role': 'forget', 'images': 5, 'psnr': scores(11.0, 21.0, 11.5, 12.0),
                              'ssim': scores(.5, .9, .51, .52)},
                     'rain': {'role': 'retain', 'images': 5, 'psnr': scores(20.0, 28.0, 27.75, 28.5),
                              'ssim': scores(.6, .9, .89, .9)}},
        'versions': {'torch': '2.15.0'}, 'option_text': 'name: unlearn_haze  # <& "quoted">\n',
    }


def strip(name: str = 'a', size: tuple[int, int] = (100, 160)) -> Strip:
    rng = np.random.default_rng(0)
    images = {column: rng.integers(0, 256, (*size, 3), dtype=np.uint8)
              for column in ('identity', 'original', 'unlearned', 'retrained', 'gt')}
    return Strip(name, images, {column: {'psnr': 12.345} for column in images if column != 'gt'})


def written(tmp_path, *args) -> tuple[str, Page]:
    write_report(tmp_path / 'report.html', *args)
    text = (tmp_path / 'report.html').read_text(encoding='utf-8')
    return text, Page(text)


CURVES = {'haze': [(0, 21.0), (100, 14.0), (200, 11.5)], 'rain': [(0, 28.0), (200, 27.75)]}


def test_the_page_needs_nothing_from_elsewhere(tmp_path):
    text, page = written(tmp_path, summary(), {'haze': [strip()], 'rain': [strip()]}, CURVES)
    sources = [attributes['src'] for _, attributes in page.tags if 'src' in attributes]
    assert len(sources) == 2 + 2 * 5 * 2  # the comparison; per strip five columns, whole and crop
    assert all(source.startswith('data:image/') for source in sources)
    assert not any('href' in attributes for _, attributes in page.tags)
    assert not re.search(r'url\(|@import|https?://', text)
    assert not re.search(r'\$\w', text)  # no place of the template is left open


def test_the_verdict_comes_first_and_all_numbers_are_there(tmp_path):
    _, page = written(tmp_path, summary(), {}, CURVES)
    assert page.text.index('Haze is forgotten.') < page.text.index('Haze went down.') < page.text.index('All numbers')
    for shown in ('11.50', 'was 21.00', '0.50 dB below retrained', '27.75', '0.25 dB lost', '0.5100', '2 min 52 s',
                  '1 min 00 s', 'GradientAscentLoss, bound none', 'torch 2.15.0', 'name: unlearn_haze'):
        assert shown in page.text, shown


def test_names_cannot_break_the_page(tmp_path):
    evil = '<script>alert(1)</script>"\'>&'
    report = summary(forget=evil)
    report['settings'] = {evil: evil}
    report['headline'] = report['verdict'] = report['method'] = report['option_file'] = report['option_text'] = evil
    _, page = written(tmp_path, report, {evil: [strip(evil)], 'rain': []}, {evil: [(0, 21.0), (9, 11.0)]})
    assert len(page.all('script')) == 1  # our own
    assert page.text.count('alert(1)') >= 8
    assert not any(name.startswith('on') for _, attributes in page.tags for name in attributes)


def test_crops_are_lossless(tmp_path):
    shown = strip(size=(100, 160))
    _, page = written(tmp_path, summary(), {'haze': [shown]}, {})
    crops = [attributes['src'] for attributes in page.all('img') if attributes.get('class') == 'crop']
    top, left = where_to_look(shown.images['gt'], shown.images['original'], shown.images['unlearned'], 48)
    for source, image in zip(crops, shown.images.values(), strict=True):
        data = np.frombuffer(base64.b64decode(source.partition(',')[2]), np.uint8)
        assert np.array_equal(cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1], image[top:top + 48, left:left + 48])


def test_without_a_retrained_network_the_input_is_the_reference(tmp_path):
    _, page = written(tmp_path, summary(retrained=False), {}, CURVES)
    assert '0.50 dB above the input' in page.text
    assert 'Retrained' not in page.text and 'retrained:' not in page.text and 'ring' not in page.text
    assert not any('retrained' in attributes.get('class', '') for _, attributes in page.tags)


def test_curves_are_drawn_to_scale(tmp_path):
    _, page = written(tmp_path, summary(), {}, {'haze': [(0, 21.0), (50, 16.0), (200, 11.0)]})
    (line,) = page.all('polyline')
    (x0, y0), (x1, y1), (x2, y2) = ([float(v) for v in point.split(',')] for point in line['points'].split())
    assert (x1 - x0) / (x2 - x0) == pytest.approx(50 / 200, abs=0.002)
    assert (y1 - y0) / (y2 - y0) == pytest.approx(0.5, abs=0.002) and y2 > y0  # a lower PSNR is farther down
    references = {line['class'].split()[-1]: float(line['y1']) for line in page.all('line') if 'ref' in line['class']}
    assert references == {'original': y0, 'identity': y2, 'retrained': pytest.approx(y2 - (y2 - y0) / 10, abs=0.2)}


def test_no_curves_and_no_strips_leave_no_empty_sections(tmp_path):
    _, page = written(tmp_path, summary(), {}, {})
    assert 'On the way there' not in page.text
    assert not page.all('img') and not page.all('svg')


def test_small_and_large_pictures_fit(tmp_path):
    _, page = written(tmp_path, summary(), {'haze': [strip(size=(20, 24))], 'rain': [strip(size=(900, 1400))]}, {})
    assert max(int(image['width']) for image in page.all('img')) == 640
