import json

import pytest
from audit_stub import option_file, psnr

from basicsr_unlearn.auditing.command import main


@pytest.fixture
def audit(tmp_path, monkeypatch):
    """Run an audit with overrides; the exit code and audit.json."""
    monkeypatch.chdir(tmp_path)
    path = option_file(tmp_path)

    def run(*overrides: str, flags: tuple[str, ...] = (), name: str = 'stub'):
        code = main(['-opt', str(path), *flags, *(['--force_yml', *overrides] if overrides else [])])
        file = tmp_path / 'results/audit' / name / 'audit.json'
        return code, json.loads(file.read_text()) if file.is_file() else None

    run.folder = tmp_path
    return run


def unlearned(audit, name: str):
    return f'networks:unlearned={audit.folder / "nets" / name}.pth'


def test_an_audit_has_the_numbers_that_can_be_worked_out(audit):
    code, found = audit()
    assert code == 0
    result = {name: entry['result'] for name, entry in found['measurements'].items()}
    mean = result['scores']['mean']['dark']
    # 76 levels of darkness; the original brings 0.29 of them back
    assert mean['unlearned']['psnr']['value'] == pytest.approx(psnr(76 / 255), abs=1e-3)
    assert mean['original']['psnr']['value'] == pytest.approx(psnr(2 / 255), abs=1.5)
    assert mean['identity'] == mean['unlearned'] == mean['retrained']
    assert result['forgetting']['dark']['gap'] == {'value': 0, 'low': 0, 'high': 0}
    assert result['forgetting']['dark']['ks']['retrained'] == {'statistic': 0, 'p': 1}
    assert result['forgetting']['dark']['distance']['unlearned'] == {'retrained': 0}
    assert result['forgetting']['dark']['distance']['original']['retrained'] == pytest.approx(74, abs=0.5)
    assert result['keeping']['tinted']['loss']['value'] == 0 and result['keeping']['tinted']['kept'] == 1
    assert result['membership']['attacks']['threshold']['difference']['retrained']['value'] == 0
    assert result['relearning']['largest_gap'] == 0  # the same weights as the retrained network
    assert result['relearning']['curves']['original']['0']['value'] > 30
    # the dark layer alone was switched off: adding its mean back restores all
    assert result['representation']['gain']['unlearned']['dark'] == pytest.approx(
        result['relearning']['curves']['original']['0']['value'] - psnr(76 / 255), abs=1)
    assert result['representation']['gain']['unlearned']['tint'] == 0
    assert result['weights']['unlearned']['changed'] == 0.5
    assert result['weights']['unlearned']['layers']['dark']['distance'] == pytest.approx(0.29 * 3**0.5, abs=1e-5)
    assert found['measurements']['recovery']['reason'] == 'not asked for: add measure.recovery to the option file'
    assert found['verdict']['outcome'] == 'deep' and found['verdict']['passed']


@pytest.mark.parametrize('name, outcome, code', [
    ('original', 'not forgotten', 1), ('half', 'partly forgotten', 1), ('ascended', 'over-forgotten', 1),
    ('zeroed', 'over-forgotten', 1), ('damaged', 'damaged', 1), ('retrained', 'deep', 0)])
def test_networks_are_told_apart(audit, name, outcome, code):
    found = audit(unlearned(audit, name))
    assert found[0] == code and found[1]['verdict']['outcome'] == outcome


def test_a_network_that_lost_the_rest_is_over_forgotten_though_its_forget_gap_is_zero(audit):
    _, found = audit(unlearned(audit, 'zeroed'))
    forgetting, keeping = (found['measurements'][name]['result'] for name in ('forgetting', 'keeping'))
    assert forgetting['dark']['gap']['value'] == 0 and not forgetting['dark']['over_forgotten']
    assert keeping['tinted']['kept'] == 0 and keeping['tinted']['collapsed']


def test_what_was_measured_is_not_measured_again(audit, monkeypatch):
    _, first = audit()
    for name in ('relearning_curve', 'psnr_of_images'):
        monkeypatch.setattr(f'basicsr_unlearn.auditing.learning_measurement.{name}', None)
    monkeypatch.setattr('basicsr_unlearn.auditing.context.Context._infer', None)
    code, second = audit()
    assert code == 0 and second['measurements'] == first['measurements'] and second['verdict'] == first['verdict']
    (audit.folder / 'results/audit/stub/measurements/relearning.json').unlink()
    assert audit()[1]['measurements']['relearning']['result'] == first['measurements']['relearning']['result']


def test_another_network_is_measured_anew_but_the_original_is_not(audit, monkeypatch):
    audit()
    seen = []
    from basicsr_unlearn.auditing.context import Context
    infer = Context._infer
    monkeypatch.setattr(Context, '_infer', lambda self, path, name, title, key: seen.append((title, name)) or
                        infer(self, path, name, title, key))
    audit(unlearned(audit, 'half'))
    assert seen == [('unlearned', name) for name in ('dark_seen', 'dark', 'tinted')]


def test_without_a_retrained_network_the_untouched_input_is_the_yardstick(audit):
    code, found = audit('networks:retrained=[]')
    assert code == 0 and list(found['networks']) == ['original', 'unlearned']
    assert found['measurements']['forgetting']['result']['dark']['against'] == 'identity'
    assert found['verdict']['levels']['deep']['state'] == 'not shown'
    assert found['verdict']['warnings'][0].startswith('There is no retrained network to compare with')


def test_shared_images_and_unreadable_sets_are_said_and_the_rest_goes_on(audit, capsys):
    code, found = audit(f'datasets:dark:dataroot_lq={audit.folder}/seen/dark',
                        f'datasets:dark:dataroot_gt={audit.folder}/seen/clean')
    assert found['measurements']['membership']['reason'] == (
        'data sets dark_seen and dark share 6 images, so one of them is no set of unseen images: separate them, for '
        'instance with except_files')
    assert code == 1 and found['verdict']['levels']['calibrated']['state'] == 'not shown'
    for image in (audit.folder / 'new/tinted').glob('*_3.png'):
        image.write_bytes(image.read_bytes()[:60])
    code, found = audit()
    assert code == 1 and found['datasets']['tinted']['problem'].count('_3.png') == 1
    assert found['measurements']['keeping']['reason'] == 'no data set with role retain can be used'
    assert found['measurements']['forgetting']['state'] == 'measured'


def test_sizes_that_differ_are_said(audit):
    import cv2
    import numpy as np
    cv2.imwrite(str(next((audit.folder / 'new/tinted').glob('*_0.png'))), np.zeros((16, 16, 3), np.uint8))
    _, found = audit()
    assert '16x16' in found['datasets']['tinted']['problem'] and '32x32' in found['datasets']['tinted']['problem']


def test_one_photograph_has_no_interval(audit):
    for role in ('seen', 'new'):
        for kind in ('clean', 'dark', 'tinted'):
            for image in sorted((audit.folder / role / kind).glob('*.png'))[1:]:
                image.unlink()
    _, found = audit()
    assert found['measurements']['scores']['result']['mean']['dark']['original']['psnr']['low'] is None
    assert any('single photograph' in warning for warning in found['verdict']['warnings'])
    assert found['measurements']['membership']['result']['attacks']['threshold']['reading'] == 'undecided'
    assert 'at least 2' in found['measurements']['membership']['result']['attacks']['logistic']['reason']


def test_quick_takes_few_images_and_one_seed_in_a_folder_of_its_own(audit):
    _, found = audit(flags=('--quick',), name='stub_quick')
    assert found['quick'] and found['measurements']['relearning']['result']['seeds'] == [0]
    assert not (audit.folder / 'results/audit/stub').exists()


def test_everything_is_written(audit):
    audit()
    out = audit.folder / 'results/audit/stub'
    assert '<title>' in (out / 'report.html').read_text() and '# ' in (out / 'audit.md').read_text()
    assert list((out / 'tb_logger').rglob('events.*'))


@pytest.mark.parametrize('override, sentence', [
    ('networks:unlearned=none.pth', 'none.pth does not exist'),
    ('datasets:dark:role=test', "datasets.dark.role is 'test'"),
    ('measure:membership:members=tinted', "measure.membership.members is 'tinted', but it must be a data set with role "
     'forget: use dark_seen'),
    ('measure:relearning:steps=[5, 2]', 'measure.relearning.steps is [5, 2]'),
    ('verdict:require=good', "verdict.require is 'good'"),
    ('measure:robustness:attack={type: carried}', 'measure.robustness.attack')])
def test_bad_input_is_one_sentence(audit, capsys, override, sentence):
    code, found = audit(override)
    assert code == 2 and found is None
    told = capsys.readouterr().err
    assert sentence in told and told.count('\n') == 1
    assert not (audit.folder / 'results').exists()
