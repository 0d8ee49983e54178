import re
from html.parser import HTMLParser

import numpy as np
import pytest
from audit_example import example_audit

from basicsr_unlearn.metrics.evaluation import Strip
from basicsr_unlearn.report.audit_page import write_page
from basicsr_unlearn.report.markdown import to_html

VOID = {'meta', 'img', 'br', 'input', 'link', 'hr'}
CHARTS = {'relearning': 'Does the skill come back?', 'recovery': 'Does a small part bring it back?',
          'scores': 'Image by image', 'membership': 'Can its training images be told?'}


class Page(HTMLParser):
    """Tags with their attributes and the text that a reader sees; fails on tags that do not match."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.text, self.open = [], '', []
        self.feed(text)
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        if self.open[-1:] != ['style']:
            self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def strip(name: str, columns: tuple[str, ...] = ('identity', 'original', 'unlearned', 'retrained', 'gt')) -> Strip:
    rng = np.random.default_rng(0)
    images = {column: rng.integers(0, 256, (64, 80, 3), dtype=np.uint8) for column in columns}
    return Strip(name, images, {column: {'psnr': 12.345} for column in columns if column != 'gt'})


def written(tmp_path, audit: dict, strips: dict | None = None) -> tuple[str, Page]:
    write_page(tmp_path / 'report.html', audit, strips or {})
    text = (tmp_path / 'report.html').read_text(encoding='utf-8')
    return text, Page(text)


def without(audit: dict, *names: str) -> dict:
    for name in names:
        audit['measurements'][name] = {'state': 'skipped', 'reason': f'{name} was too slow.', 'seconds': 0.0,
                                       'result': None}
    return audit


@pytest.mark.parametrize('retrained', [0, 1, 2])
def test_the_page_needs_nothing_from_elsewhere(tmp_path, retrained):
    text, page = written(tmp_path, example_audit(retrained), {'haze': [strip('a'), strip('b'), strip('c')]})
    assert len(page.all('img')) == 3 * 5 * 2  # whole and crop
    assert all(image['src'].startswith('data:image/') for image in page.all('img'))
    assert not page.all('script') and not page.all('link')
    assert not any('href' in attributes for _, attributes in page.tags)
    assert not re.search(r'url\(|@import|https?://|\$\w', text)


def test_verdict_curves_pictures_and_numbers_come_in_this_order(tmp_path):
    audit = example_audit()
    _, page = written(tmp_path, audit, {'haze': [strip('a')]})
    body = page.text.partition(audit['name'])[2]  # after the title of the window
    order = ['Passed', audit['verdict']['headline'], 'Haze went from 20.98 to 11.02 dB', 'Outputs', 'Members',
             'Weights', *CHARTS.values(), 'haze, to forget, unseen images', 'All numbers', 'Scores', 'Cost',
             'How it was measured', 'SHA-256', 'The option file', 'name: audit_haze  # <& "quoted">']
    places = [body.index(part) for part in order]
    assert places == sorted(places)


def test_every_check_is_told_with_value_threshold_and_state_in_words(tmp_path):
    audit = example_audit()
    text, page = written(tmp_path, audit)
    items = [re.sub(r'<[^>]+>', ' ', item) for item in re.findall(r'<li><span class="name">.*?</li>', text)]
    checks = [check for level in audit['verdict']['levels'].values() for check in level['checks']]
    assert len(items) == len(checks) == 10
    for item, check in zip(items, checks):
        words = re.sub(r'\s+', ' ', item)
        assert f'{check["name"]}, {check["subject"]}' in words and check['state'] in words
        assert 'has to' in words if check['value'] is not None else check['words'] in words
    assert '4.30 dB' in items[7] and 'at most 0.50 dB' in items[7] and 'failed' in items[7]
    assert '−0.20 to 0.20 dB' in items[3] and 'passed' in items[3]
    assert 'the interval has to touch −0.02 to 0.02' in items[6]
    states = re.findall(r'<b class="state ([a-z-]+)">.*?</span> ([A-Za-z ]+)</b>', text)
    assert len(states) == 1 + 3 + 10 and all(css == word.lower().replace(' ', '-') for css, word in states)


def test_a_value_that_misses_its_limit_by_a_hair_does_not_look_like_it(tmp_path):
    audit = example_audit()
    audit['verdict']['levels']['weights']['checks'][0].update(value=0.5004, words='+0.50 dB; has to be at most 0.5')
    assert '0.5004 dB' in written(tmp_path, audit)[1].text


def test_failed_and_limits_are_said(tmp_path):
    audit = example_audit(0)
    audit['verdict'].update(passed=False, required='weights', outcome='over-forgotten')
    audit['quick'] = True
    _, page = written(tmp_path, audit)
    for shown in ('Failed', 'the required level, weights', 'over-forgotten', 'What limits this audit',
                  'There is no retrained network', 'quick: nothing of the weights', 'above its own start'):
        assert shown in page.text, shown
    assert 'What limits' not in written(tmp_path, example_audit())[1].text


@pytest.mark.parametrize('name', [*CHARTS, 'forgetting', 'keeping', 'representation', 'robustness', 'weights', 'cost'])
def test_what_was_skipped_has_its_reason_and_leaves_no_chart(tmp_path, name):
    complete = written(tmp_path, example_audit())[1]
    text, page = written(tmp_path, without(example_audit(), name))
    assert f'{name} was too slow.' in page.text and 'too slow' not in complete.text
    drawn = {'relearning': 1, 'recovery': 2, 'scores': 4, 'membership': 1}.get(name, 0)
    assert len(complete.all('svg')) - len(page.all('svg')) == drawn
    assert (CHARTS.get(name, 'nothing') in page.text) is False
    assert f'id="{name}"' not in text


def test_with_nothing_measured_the_verdict_stands_alone(tmp_path):
    audit = example_audit()
    _, page = written(tmp_path, without(audit, *audit['measurements']))
    assert not page.all('svg') and not page.all('img') and 'All numbers' not in page.text
    assert audit['verdict']['headline'] in page.text


def test_skipped_ways_and_attacks_and_data_sets_have_their_reasons(tmp_path):
    audit = example_audit()
    audit['datasets']['snow'] = {'role': 'retain', 'type': 'X', 'images': None, 'photographs': None, 'sha256': None,
                                 'problem': 'There is no folder snow.'}
    _, page = written(tmp_path, audit)
    for reason in ('NAFNet has no prompts.', 'LiRA needs shadow networks', 'There is no folder snow.'):
        assert reason in page.text, reason


def test_curves_are_drawn_for_every_network_and_speak(tmp_path):
    text, page = written(tmp_path, example_audit(2))
    charts = page.all('svg')
    assert len(charts) == 1 + 2 + 4 + 1 and all(chart['role'] == 'img' and chart['aria-label'] for chart in charts)
    first = re.search(r'<svg.*?</svg>', text)[0]
    assert first.count('<polyline') == 4 and first.count('<polygon') == 4  # a band of seeds each
    assert 'unlearned from 11.02 dB to 20.30 dB' in charts[0]['aria-label']
    assert 'retrained 2' in first


def test_strips_say_which_is_best_and_worst(tmp_path):
    _, page = written(tmp_path, example_audit(), {'haze': [strip('a'), strip('b'), strip('c')],
                                                  'rain': [strip('d'), strip('e')], 'noise': [strip('f')]})
    for shown in ('best a', 'median b', 'worst c', 'best d', 'worst e', 'the only image f'):
        assert shown in page.text, shown


def test_names_cannot_break_the_page(tmp_path):
    evil = '<script>alert(1)</script>"\'>&|**x**'
    audit = example_audit()
    for part in (audit['datasets'], *(audit['measurements']['scores']['result'][key]
                                      for key in ('images', 'photographs', 'per_image', 'mean'))):
        part[evil] = part.pop('haze')
    audit['measurements']['forgetting']['result'][evil] = audit['measurements']['forgetting']['result'].pop('haze')
    audit['verdict'].update(headline=evil, sentence=evil, warnings=[evil])
    audit['name'] = audit['option_file'] = audit['option_text'] = audit['networks']['unlearned']['path'] = evil
    audit['verdict']['levels']['weights']['checks'][0].update(name=evil, subject=evil, words=evil)
    audit['measurements']['relearning']['result'].update(train=evil, test=evil)
    audit['measurements']['recovery'] = {'state': 'skipped', 'reason': evil, 'seconds': 0.0, 'result': None}
    _, page = written(tmp_path, audit, {evil: [strip(evil)]})
    assert not page.all('script') and page.text.count('alert(1)') >= 15
    assert not any(name.startswith('on') for _, attributes in page.tags for name in attributes)


def test_text_becomes_html():
    table = '| of | value |\n| --- | ----: |\n| a\\|b | -1.50 (-2.00 to -1.00) |\n| unlearned | - |'
    html = to_html(f'A **b** <c> -2\n\n{table}\n\n- one\n- two')
    assert '<p>A <b>b</b> &lt;c&gt; −2</p>' in html and '<ul><li>one</li><li>two</li></ul>' in html
    assert '<th scope="row" class=text>a|b</th><td>−1.50 <small>(−2.00 to −1.00)</small></td>' in html
    assert '<tr class=now>' in html and html.count('<tr') == 3


def test_a_network_that_stays_behind_the_retrained_one_is_not_called_ahead(tmp_path):
    audit = example_audit()
    audit['measurements']['relearning']['result']['largest_gap'] = -0.8
    assert '0.80 dB behind the best retrained network, at least' in written(tmp_path, audit)[1].text
    assert '4.30 dB ahead of the best retrained network, at most' in written(tmp_path, example_audit())[1].text
