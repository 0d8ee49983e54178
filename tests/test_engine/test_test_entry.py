"""Testing through our entry point: pictures, the table, and the scores as JSON."""
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tqdm import tqdm

from basicsr_unlearn.cli import commands as cli


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
    assert [float(cell) for cell in row[1:3]] == [round(value, 2) for value in held_out['scores']['psnr'].values()]
    assert 'results/tiny/scores.json' in out and 'results/tiny/visualization' in out and err == ''
    assert 'INFO' not in out and 'Testing held_out' in next(Path('results/tiny').glob('test_tiny_*.log')).read_text()


@pytest.mark.parametrize('model', ['SRModel', 'UnlearnModel'])
def test_the_bar_moves_on_by_each_image(model, folder, option_file, monkeypatch):
    bars = []

    class Bar(tqdm):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **{**kwargs, 'disable': False, 'file': io.StringIO()})
            bars.append(self)

    monkeypatch.setattr('basicsr_unlearn.report.test_end.tqdm', Bar)
    assert cli.main(['test', '-opt', option_file('test', model_type=model)]) == 0
    assert [(bar.n, bar.total) for bar in bars] == [(3, 3)]


def test_any_model_of_basicsr_is_scored(folder, option_file, capsys):
    assert cli.main(['test', '-opt', option_file('test', save_img='false')]) == 0
    scores = json.loads(Path('results/tiny/scores.json').read_text())
    assert list(scores['sets']['held_out']['scores']['psnr']) == ['network'] and scores['pictures'] is None
    assert 'visualization' not in capsys.readouterr().out


def test_a_test_says_what_was_forgotten_and_lost_beside_the_original(folder, option_file, capsys, monkeypatch):
    """Columns identity, original, network, retrained; here the network is its own original."""
    monkeypatch.setenv('COLUMNS', '80')
    file = Path(option_file('test', model_type='UnlearnModel'))
    base = folder / 'base.pth'
    file.write_text(file.read_text().replace('path: {', f'path: {{pretrain_network_original: {base}, '
                                                        f'pretrain_network_retrained: {base}, '))
    assert cli.main(['test', '-opt', str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = next(line for line in lines if line.startswith('PSNR, dB'))
    assert head.split()[2:] == ['identity', 'original', 'network', 'retrained']
    row = next(line for line in lines if line.startswith('held_out'))
    assert row.endswith('lost 0.00') and all(row[:head.index(word) + len(word)].split()[-1] == row.split()[2]
                                             for word in ('original', 'network', 'retrained'))
    assert max(map(len, (head, row))) <= 80
