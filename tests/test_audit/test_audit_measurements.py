import json

import numpy as np
import pytest
from audit_stub import option_file

from basicsr_unlearn.cli.audit import main
from basicsr_unlearn.core.leads import Trail
from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.proof.audit.attack_measurement import compared
from basicsr_unlearn.proof.audit.measuring import by_photograph
from basicsr_unlearn.proof.cache import file_digest
from basicsr_unlearn.proof.run_cost import RUN_FILE, run_cost
from basicsr_unlearn.version import __version__

RECORD = {'steps': 107, 'proxy_steps': 3, 'batch': 8, 'samples': {'forget': 856, 'retain': 856}, 'seconds': 90.5,
          'peak_memory_mb': 512, 'passes': {'student forward': 1712}, 'networks': {'unlearned': {'sha256': 'a'}}}


def test_what_a_run_took_is_read_from_its_record(tmp_path):
    path = tmp_path / RUN_FILE
    path.write_text(json.dumps(RECORD))
    assert run_cost(path) == {'steps': 110, 'samples': 1712, 'batch': 8, 'seconds': 90.5, 'memory_mb': 512,
                              'passes': {'student forward': 1712}, 'sha256': 'a'}


@pytest.mark.parametrize('damaged', ['', '[]', '{', json.dumps({**RECORD, 'steps': '107'}),
                                     json.dumps({**RECORD, 'samples': None}), json.dumps({**RECORD, 'seconds': 1e99}),
                                     json.dumps({key: value for key, value in RECORD.items() if key != 'batch'})])
def test_a_record_that_is_not_whole_is_as_none(tmp_path, damaged):
    path = tmp_path / RUN_FILE
    path.write_text(damaged)
    assert run_cost(path) is None and run_cost(tmp_path / 'gone.json') is None


@pytest.mark.parametrize('how', ['beside', 'record', 'log'])
def test_cost_is_of_the_network_that_is_audited(in_tmp_path, how):
    block = {'retraining': {'steps': 1000, 'batch': 8}, **({} if how == 'beside' else {
        how: {'record': 'run.json', 'log': 'train.log'}[how]})}
    file = option_file(in_tmp_path, measure={'cost': block})
    record = RECORD | {'networks': {'unlearned': {'sha256': file_digest(str(in_tmp_path / 'nets/unlearned.pth'))}}}

    def cost() -> dict:
        main(['-opt', str(file), '--quick'])
        return json.loads((in_tmp_path / 'results/audit/stub_quick/audit.json').read_text())['measurements']['cost']

    place = in_tmp_path / RUN_FILE  # the folder above that of the networks
    assert cost()['reason'].startswith('there is no whole record of the run at ')
    place.write_text(json.dumps(RECORD))
    assert 'is the record of another network' in cost()['reason']
    place.write_text(json.dumps(record))
    found = cost()['result']
    assert found['share'] == {'steps': 0.11, 'samples': 0.214} and found['passes'] == RECORD['passes']


def test_versions_of_one_photograph_count_once():
    assert by_photograph([1, 3, 10, 2], ['a', 'a', 'b', 'a']).tolist() == [2, 10]


def test_the_lead_is_over_retrained_networks_and_beyond_the_best_of_them():
    def one(*scores: float, step: int = 10) -> list[Trail]:
        return [Trail('untouched', 'plain', 0, {0: [2.0]}), Trail('plain', 'plain', 8, {step: scores})]

    trails = {'original': one(9.0), 'unlearned': one(5.0, 6.0), 'retrained 1': one(3.0), 'retrained 2': one(5.0)}
    found = compared(trails, ['retrained 1', 'retrained 2'], 1.0, Yardstick())
    assert found['worst'] == {'pairs': 8, 'step': 10, 'attacker': 'plain', 'family': 'plain', 'value': 1.5, 'low': 1,
                              'high': 2, 'beyond': 0.5}
    assert {column: lead['value'] for column, lead in found['zero'].items()} == {'retrained 1': 0, 'retrained 2': 2}
    assert found['strength']['unlearned']['8']['10'] == {'value': 5.5, 'attacker': 'plain'}
    found = compared({key: trails[key] for key in ('original', 'unlearned')}, [], 1.0, Yardstick())
    assert found['against'] == ['identity'] and found['worst']['value'] == 4.5 and found['zero'] == {}


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
