import json

import numpy as np
import pytest
from audit_stub import option_file

from basicsr_unlearn.cli.audit import main
from basicsr_unlearn.core.judgement import Yardstick
from basicsr_unlearn.proof.audit.context import evenly
from basicsr_unlearn.proof.audit.inside_measurement import newest_log, read_log
from basicsr_unlearn.proof.audit.learning_measurement import compared
from basicsr_unlearn.proof.audit.scoring import by_photograph
from basicsr_unlearn.version import __version__

LOG = """  datasets:[
    train:[
      batch_size_per_gpu: 8
  train:[
    forget_opt:[
      type: TargetLoss
    retain_opt:[
      type: L1Loss
    total_iter: 200
2026-11-20 16:25:12,594 INFO: Stop rule met at iteration 107: forget PSNR -0.01 dB.
2026-11-20 16:25:12,594 INFO: Peak memory: 512 MB.
2026-11-20 16:25:12,594 INFO: End of training. Time consumed: 1 day, 1:04:44
"""


def test_a_log_is_read():
    assert read_log(LOG) == {'steps': 107, 'samples': 107 * 8 * 2, 'seconds': 25 * 3600 + 4 * 60 + 44,
                             'memory_mb': 512}
    assert read_log(LOG.replace('Stop rule', 'x'))['steps'] == 200
    assert read_log('nothing') == {'steps': None, 'samples': None, 'seconds': None, 'memory_mb': None}


def test_the_newest_log_beside_a_checkpoint(tmp_path):
    assert newest_log(tmp_path / 'models' / 'net.pth') is None
    (tmp_path / 'train_a_1.log').write_text('')
    assert newest_log(tmp_path / 'models' / 'net.pth') == tmp_path / 'train_a_1.log'


def test_versions_of_one_photograph_count_once():
    assert by_photograph([1, 3, 10, 2], ['a', 'a', 'b', 'a']).tolist() == [2, 10]


def test_evenly():
    assert evenly(10, 4) == [0, 3, 6, 9] and evenly(3, None) == [0, 1, 2] and evenly(2, 5) == [0, 1]


def test_the_lead_is_over_the_best_retrained_network():
    curves = {'original': {0: [[9.0]], 10: [[9.0]]}, 'unlearned': {0: [[1.0, 3.0], [1.0, 3.0]], 10: [[4.0, 6.0], [5.0,
              7.0]]}, 'retrained 1': {0: [[2.0]], 10: [[3.0]]}, 'retrained 2': {0: [[1.0]], 10: [[5.0]]}}
    found = compared(curves, ['retrained 1', 'retrained 2'], Yardstick())
    assert found['gap'] == {'0': 0, '10': 0.5} and found['largest_gap'] == 0.5
    assert found['curves']['unlearned']['10'] == {'value': 5.5, 'low': 5, 'high': 6}
    found = compared({key: curves[key] for key in ('original', 'unlearned')}, [], Yardstick())
    assert found['gap']['10'] == 3.5 and found['area'] is None
    # where lower is better, the best retrained network is the lowest and to be below it is a lead
    found = compared(curves, ['retrained 1', 'retrained 2'], Yardstick('lpips', '', higher=False))
    assert found['gap'] == {'0': -1, '10': -2.5}


def test_lira_with_shadow_networks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [f'{seed}_{index}' for seed in (1, 2) for index in range(6)]
    shadow = [{'checkpoint': str(tmp_path / 'nets' / name), 'trained_on': trained} for name, trained in (
        ('original.pth', names[:6]), ('half.pth', names[6:]), ('ascended.pth', names[::2]),
        ('zeroed.pth', names[1::2]))]
    path = option_file(tmp_path, measure={'membership': {'members': 'dark_seen', 'unseen': 'dark', 'shadow': shadow}})
    assert main(['-opt', str(path)]) in (0, 1)
    found = json.loads((tmp_path / 'results/audit/stub/audit.json').read_text())
    assert found['versions']['basicsr_unlearn'] == __version__
    attack = found['measurements']['membership']['result']['attacks']['lira']
    assert attack['state'] == 'measured' and 0 <= attack['auc']['unlearned']['value'] <= 1
    # the same weights have the same scores
    assert attack['auc']['unlearned'] == attack['auc']['retrained']

    shadow[0]['trained_on'] = ['elsewhere']
    path = option_file(tmp_path, measure={'membership': {'members': 'dark_seen', 'unseen': 'dark', 'shadow': shadow}})
    main(['-opt', str(path)])
    found = json.loads((tmp_path / 'results/audit/stub/audit.json').read_text())
    assert 'shadow[0].trained_on names no photograph' in found['measurements']['membership']['reason']


def test_metrics_that_are_not_installed_are_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(__import__('sys').modules, 'pyiqa', None)
    path = option_file(tmp_path, measure={}, metrics={
        'psnr': {'type': 'calculate_psnr', 'crop_border': 0}, 'lpips': {'type': 'calculate_pyiqa', 'metric': 'lpips'}})
    main(['-opt', str(path)])
    scores = json.loads((tmp_path / 'results/audit/stub/audit.json').read_text())['measurements']['scores']['result']
    assert list(scores['metrics']) == ['psnr'] and 'pip install pyiqa' in scores['left_out']['lpips']
    assert np.isfinite(scores['mean']['dark']['unlearned']['psnr']['value'])


@pytest.mark.parametrize('tile', [None, 32])
def test_tiles_are_used_where_the_option_file_says(tmp_path, monkeypatch, tile):
    monkeypatch.chdir(tmp_path)
    calls = []
    from basicsr_unlearn.core import tiling
    restore = tiling.restore_in_tiles
    monkeypatch.setattr(tiling, 'restore_in_tiles', lambda *args: calls.append(1) or restore(*args))
    main(['-opt', str(option_file(tmp_path, measure={}, tile=tile, tile_overlap=0))])
    assert bool(calls) == (tile is not None)
