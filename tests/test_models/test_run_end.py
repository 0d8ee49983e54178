"""How a run ends for a person: verdict, table, run.json and report.html, from runs whose outcome is known."""
import hashlib
import json
from pathlib import Path

import pytest
import torch

RUN = Path('experiments/tiny')
TOWARDS_INPUT = {'train.forget_opt': {'type': 'TargetLoss', 'target': 'degraded'}, 'train.optim_g.lr': 5e-3,
                 'train.total_iter': 60, 'val.val_freq': 20}


def record() -> dict:
    return json.loads((RUN / 'run.json').read_text(encoding='utf-8'))


@pytest.fixture
def darker(folder, weights) -> dict:
    """Options with a retrained network that leaves its input about as it is."""
    net = dict(weights(folder / 'base.pth'))
    net['ending.bias'] = net['ending.bias'] * 0.0
    torch.save({'params': net}, folder / 'retrained.pth')
    return {'path.pretrain_network_retrained': str(folder / 'retrained.pth')}


def test_the_record_is_of_this_run(unlearn, folder, darker, capsys):
    assert unlearn({**TOWARDS_INPUT, **darker}) == 0
    found = record()
    assert (found['steps'], found['total_iter'], found['ended_by']) == (60, 60, 'total_iter')
    assert found['samples'] == {'forget': 120, 'retain': 120} and found['seconds'] > 0 < found['peak_memory_mb']
    files = {'original': folder / 'base.pth', 'retrained': folder / 'retrained.pth',
             'unlearned': RUN / 'models' / 'net_g_latest.pth'}
    for name, path in files.items():
        assert found['networks'][name]['sha256'] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [step for step, _ in found['curves']['haze']] == [0, 20, 40, 60]
    haze = found['datasets']['haze']['scores']['psnr']
    assert list(haze) == ['identity', 'original', 'unlearned', 'retrained']
    assert haze['unlearned'] == pytest.approx(found['curves']['haze'][-1][1]['psnr'], abs=1e-4)
    assert haze['original'] == pytest.approx(found['curves']['haze'][0][1]['psnr'], abs=1e-4)
    shown = capsys.readouterr().out
    table = shown.partition('PSNR, dB')[2]
    assert f'{haze["unlearned"]:.2f}' in table and str(RUN / 'models' / 'net_g_latest.pth') in table
    assert str(RUN / 'report.html') in table and 'basicsr-unlearn audit' in table
    assert ' '.join(found['headline']) in ' '.join(shown.split())
    assert (RUN / 'report.html').read_text(encoding='utf-8').count('class="strip details"') == 4


def test_a_run_that_moved_nothing_says_so_and_why(unlearn, capsys):
    assert unlearn({**TOWARDS_INPUT, 'train.optim_g.lr': 1e-7, 'train.total_iter': 4}) == 0
    shown = ' '.join(capsys.readouterr().out.split())
    assert 'Haze is not forgotten.' in shown and 'Likely cause: The steps are too small' in shown
    assert record()['likely_cause'] in shown


def test_a_wrong_reference_makes_no_verdict(unlearn, capsys):
    """Held against the untouched input instead of a network that has the skill."""
    assert unlearn({**TOWARDS_INPUT, 'path.pretrain_network_retrained': '../base.pth'}) == 0
    shown = capsys.readouterr()
    assert 'never saw' not in shown.out and 'is no reference for haze' in ' '.join(shown.err.split())
    assert 'untouched input' in record()['verdict']


def test_a_skill_that_is_not_there_is_not_judged(unlearn, folder, weights, capsys):
    net = dict(weights(folder / 'base.pth'))
    net['ending.bias'] = net['ending.bias'] * 0.0
    torch.save({'params': net}, folder / 'base.pth')
    assert unlearn({**TOWARDS_INPUT, 'train.total_iter': 4, 'train.skill_opt': {'required': False}}) == 0
    assert 'Whether haze is forgotten cannot be judged by PSNR.' in ' '.join(capsys.readouterr().out.split())


def test_another_metric_judges(unlearn, capsys):
    metrics = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0},
               'to_input': {'type': 'calculate_psnr_to_input', 'better': 'lower'}}
    assert unlearn({**TOWARDS_INPUT, 'val.metrics': metrics, 'train.skill_opt': {'metric': 'to_input'}}) == 0
    scores = record()['datasets']['haze']['scores']['to_input']
    assert scores['identity'] == 100 > scores['unlearned'] > scores['original'] + 3
    assert record()['judged_by']['metric'] == 'to_input' and record()['judged_by']['higher'] is False


def test_without_validation_nothing_is_claimed(unlearn, capsys):
    assert unlearn({'datasets.val_haze': {'name': 'haze', 'role': 'forget', 'type': 'SingleImageDataset',
                                          'dataroot_lq': '../haze/lq', 'io_backend': {'type': 'disk'}}}) == 0
    shown = capsys.readouterr().out
    assert 'forgotten' not in shown and 'haze' not in record()['datasets']


def test_a_resumed_run_goes_on_with_the_curve(unlearn):
    states = {'logger.save_checkpoint_freq': 30}
    assert unlearn({**TOWARDS_INPUT, **states}) == 0
    whole = record()
    assert unlearn({**TOWARDS_INPUT, **states, 'train.total_iter': 30}) == 0
    assert unlearn({**TOWARDS_INPUT, **states}, '--auto_resume') == 0
    assert record()['curves'] == whole['curves'] and record()['datasets'] == whole['datasets']
