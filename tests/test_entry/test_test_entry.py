"""Testing through our entry point: pictures, the table, and the scores as JSON."""
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr_unlearn import cli
from basicsr_unlearn.testing import table


def test_results_go_to_the_current_directory(folder, option_file, capsys):
    assert cli.main(['test', '-opt', option_file('test')]) == 0
    images = sorted(Path('results/tiny/visualization/held_out').iterdir())
    assert [image.name for image in images] == ['0_tiny.png', '1_tiny.png', '2_tiny.png']
    assert cv2.imread(str(images[0])).shape == (24, 24, 3)
    assert 'psnr' in next(Path('results/tiny').glob('test_tiny_*.log')).read_text()


def test_bad_input_writes_nothing(folder, option_file, capsys):
    assert cli.main(['test', '-opt', option_file('test', dataroot_gt='gone')]) == 2
    err = capsys.readouterr().err
    assert err.startswith('Error: ') and err.count('\n') == 1 and 'gone' in err
    assert list(Path().iterdir()) == []


def test_a_test_ends_with_a_table_and_the_same_scores_as_json(folder, option_file, capsys):
    assert cli.main(['test', '-opt', option_file('test', model_type='UnlearnModel')]) == 0
    scores = json.loads(Path('results/tiny/scores.json').read_text())
    held_out = scores['sets']['held_out']
    assert held_out['images'] == 3 and list(held_out['scores']['psnr']) == ['identity', 'network']
    expected = np.mean([cv2.PSNR(*(cv2.imread(str(folder / kind / f'{i}.png')) for kind in ('lq', 'gt')))
                        for i in range(3)])
    assert held_out['scores']['psnr']['identity'] == pytest.approx(expected, abs=1e-3)
    assert scores['checkpoints']['network'].endswith('base.pth') and scores['versions']['basicsr_unlearn']
    out, err = capsys.readouterr()
    row = next(line for line in out.splitlines() if line.startswith('held_out')).split()
    assert [float(cell) for cell in row[1:]] == [round(value, 2) for value in held_out['scores']['psnr'].values()]
    assert 'results/tiny/scores.json' in out and 'results/tiny/visualization' in out and err == ''
    assert 'INFO' not in out and 'Testing held_out' in next(Path('results/tiny').glob('test_tiny_*.log')).read_text()


def test_any_model_of_basicsr_is_scored(folder, option_file, capsys):
    assert cli.main(['test', '-opt', option_file('test', save_img='false')]) == 0
    scores = json.loads(Path('results/tiny/scores.json').read_text())
    assert list(scores['sets']['held_out']['scores']['psnr']) == ['network'] and scores['pictures'] is None
    assert 'visualization' not in capsys.readouterr().out


@pytest.mark.parametrize('name', ['haze', 'photographs of a harbour in the fog at dawn'])
def test_the_table_is_aligned_and_80_wide(name):
    row = {'identity': 11.19, 'original': 20.2, 'network': 11.1, 'retrained': 11.18}
    part = {'role': 'retain', 'scores': {'psnr': {**row, 'network': 9.996}, 'ssim': {'identity': .5, 'network': .25}}}
    lines = table({name: {'role': 'forget', 'scores': {'psnr': row}}, 'rain': part},
                  {'psnr': {'type': 'calculate_psnr'}, 'ssim': {'type': 'calculate_ssim'}}).splitlines()
    assert max(map(len, lines)) <= 80 and lines[1].startswith('PSNR, dB') and 'SSIM' in lines[-2]
    head, *rows = (line for line in lines[1:lines.index('', 1)] if line != name)
    for heading, cells in (('this network', ('11.10', '10.00')), ('retrained', ('11.18', '11.18'))):
        end = head.index(heading) + len(heading)
        assert [line[:end].split()[-1] for line in rows] == list(cells)
    assert lines[-1].split() == ['rain', 'retain', '0.5000', '0.2500']


def test_a_metric_that_a_set_has_not_is_a_dash():
    sets = {'haze': {'role': None, 'scores': {'m': {'network': 1.0, 'retrained': 2.0}}},
            'rain': {'role': None, 'scores': {'m': {'network': 1.0}}}}
    assert table(sets, {'m': {'type': 'x'}}).splitlines()[-1].split() == ['rain', '1.0000', '-']
