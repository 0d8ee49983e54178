"""Numbers as people read them, and tables for Markdown and the terminal."""
import pytest

from basicsr_unlearn.core.yardstick import PSNR, Yardstick
from basicsr_unlearn.report.tables import Table, fold, number, percent, ranged, score_lines, score_tables


def entry(role: str, psnr: tuple, ssim: tuple) -> dict:
    columns = ('identity', 'original', 'unlearned', 'retrained')
    return {'role': role, 'scores': {'psnr': dict(zip(columns, psnr)), 'ssim': dict(zip(columns, ssim))}}


SETS = {'haze': entry('forget', (9.5, 21.0, 11.25, 10.0), (.5, .9, .6, .55)),
        'a name of more than sixteen letters': entry('retain', (20.0, 28.0, 27.5), (.5, .9, .6))}


def test_numbers_are_shown_as_people_read_them():
    assert number(10.954) == '10.95' and number(None) == '-'
    assert number(0.7, sign=True) == '+0.70' and number(-0.7, sign=True) == '-0.70'
    assert number(-0.001, sign=True) == '0.00'  # no sign before nothing
    assert [percent(share) for share in (None, 0, 0.0004, 0.01, 0.123, 1)] == ['-', '0 %', '0.04 %', '1.0 %', '12.3 %',
                                                                            '100 %']
    assert str(ranged({'value': 1.0, 'low': 0.5, 'high': 1.5})) == '1.00 (0.50 to 1.50)'
    assert ranged({'value': 1.0, 'low': None, 'high': None}) == ranged({'value': 1.0, 'low': 1.0, 'high': 1.0}
                                                                       ) == '1.00'


def test_markdown_is_aligned_in_plain_text_too():
    table = Table(['name', 'a|b'], [['x', '1.00'], ['longer', '-10.00']])
    assert table.markdown().splitlines() == ['| name   |   a\\|b |', '| ------ | -----: |', '| x      |   1.00 |',
                                             '| longer | -10.00 |']


@pytest.mark.parametrize('string, width, lines', [
    ('over-forgotten', 10, ['over-', 'forgotten']), ('unlearn_haze_deep', 10, ['unlearn_', 'haze_deep']),
    ('members', 10, ['members']), ('abcdefgh', 3, ['abc', 'def', 'gh']), ('', 5, ['']),
])
def test_fold_breaks_at_marks_where_it_can(string, width, lines):
    assert fold(string, width) == lines


def test_a_score_table_has_every_set_and_what_became_of_it():
    psnr, ssim = score_tables(SETS, {'psnr': PSNR})
    assert psnr.head == ['PSNR, dB', 'identity', 'original', 'unlearned', 'retrained', '']
    assert psnr.rows[0] == ['haze', '9.50', '21.00', '11.25', '10.00', 'gap +1.25']
    assert psnr.rows[1] == [[*SETS][1], '20.00', '28.00', '27.50', '-', 'lost 0.50']
    assert ssim.rows[0] == ['haze', '0.5000', '0.9000', '0.6000', '0.5500', '']


def test_its_lines_are_aligned_and_fit_a_terminal():
    lines = score_lines(SETS, {'psnr': PSNR}).splitlines()
    ends = [line.index(word) + len(word) for line, word in zip(lines[:3], ('unlearned', '11.25', '27.50'))]
    assert ends == [ends[0]] * 3
    assert lines[4].startswith('SSIM') and max(map(len, lines)) <= 80


def test_a_set_that_the_original_does_not_restore():
    none = {'noise': entry('forget', (37.94, 19.94, 30.0), (.9, .5, .6))}
    assert score_tables(none, {'psnr': PSNR})[0].rows[0][-1] == 'no skill'


def test_another_metric_may_judge_and_columns_may_lack():
    psnr, ssim = score_tables(SETS, {'ssim': Yardstick('SSIM', '')})
    assert psnr.rows[0][-1] == '' and psnr.rows[1][-2] == '-'
    assert [row[-1] for row in ssim.rows] == ['gap +0.0500', 'lost 0.3000']
    assert score_tables({'x': {'role': 'forget', 'scores': {'m': {'unlearned': 1.0}}}}, {})[0].head == [
        'M', 'unlearned', '']
