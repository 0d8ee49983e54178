"""The table of the terminal: aligned, 80 columns, a note on what was forgotten and lost."""
from basicsr_unlearn.core.judgement import PSNR, Yardstick
from basicsr_unlearn.report.score_table import score_table


def entry(role: str, psnr: tuple, ssim: tuple) -> dict:
    columns = ('identity', 'original', 'unlearned', 'retrained')
    return {'role': role, 'scores': {'psnr': dict(zip(columns, psnr)), 'ssim': dict(zip(columns, ssim))}}


SETS = {'haze': entry('forget', (9.5, 21.0, 11.25, 10.0), (.5, .9, .6, .55)),
        'a name of more than sixteen letters': entry('retain', (20.0, 28.0, 27.5), (.5, .9, .6))}


def test_rows_are_aligned_and_fit_a_terminal():
    lines = score_table(SETS, {'psnr': PSNR}).splitlines()
    ends = [line.index(word) + len(word) for line, word in zip(lines[:3], ('unlearned', '11.25', '27.50'))]
    assert ends == [ends[0]] * 3
    assert lines[1].endswith('gap +1.25') and lines[2].endswith('lost 0.50')
    assert lines[4].startswith('SSIM') and '0.6000' in lines[5] and max(map(len, lines)) <= 80


def test_a_set_that_the_original_does_not_restore():
    none = {'noise': entry('forget', (37.94, 19.94, 30.0), (.9, .5, .6))}
    assert score_table(none, {'psnr': PSNR}).splitlines()[1].endswith('no skill')


def test_another_metric_may_judge_and_columns_may_lack():
    lines = score_table(SETS, {'ssim': Yardstick('SSIM', '')}).splitlines()
    assert 'gap' not in lines[1] and lines[2].split()[-1] == '-'
    assert lines[5].endswith('gap +0.0500') and lines[6].endswith('lost 0.3000')
    assert score_table({'x': {'role': 'forget', 'scores': {'m': {'unlearned': 1.0}}}}, {}).splitlines()[0].split() == [
        'M', 'unlearned']
