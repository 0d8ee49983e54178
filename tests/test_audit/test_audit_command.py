import json

import pytest
from audit_stub import ATTACKS, option_file, psnr

from basicsr_unlearn.cli.audit import main

ATTACKED = f'measure:attacks={ATTACKS}'


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
    code, found = audit(ATTACKED)
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
    assert result['attacks']['worst']['beyond'] == 0  # the same weights as the retrained network
    strength = result['attacks']['strength']['original']['0']['0']['value']
    assert strength > 30
    # the dark layer alone was switched off: adding its mean back restores all
    assert result['representation']['gain']['unlearned']['dark'] == pytest.approx(strength - psnr(76 / 255), abs=1)
    assert result['representation']['gain']['unlearned']['tint'] == 0
    assert result['weights']['unlearned']['changed'] == 0.5
    assert result['weights']['unlearned']['layers']['dark']['distance'] == pytest.approx(0.29 * 3**0.5, abs=1e-5)
    assert found['measurements']['cost']['reason'] == 'not asked for: add measure.cost to the option file'
    assert found['verdict']['outcome'] == 'weights' and found['verdict']['passed']


def test_step_zero_of_learning_again_scores_as_everywhere(audit):
    """One PSNR: of 8-bit images, whether as a score or on a curve."""
    _, found = audit(unlearned(audit, 'half'), f'measure:attacks={ATTACKS | {"images": 6}}')
    result = {name: entry['result'] for name, entry in found['measurements'].items()}
    for column, (untouched, *_) in result['attacks']['trails'].items():
        scores = result['scores']['per_image']['dark'][column]['psnr']
        assert untouched['curve']['0'][0] == pytest.approx(sum(scores) / len(scores), abs=1e-4)


@pytest.mark.parametrize('name, outcome, code', [
    ('original', 'not forgotten', 1), ('half', 'partly forgotten', 1), ('ascended', 'over-forgotten', 1),
    ('zeroed', 'over-forgotten', 1), ('damaged', 'damaged', 1), ('retrained', 'members', 0)])
def test_networks_are_told_apart(audit, name, outcome, code):
    found = audit(unlearned(audit, name))
    assert found[0] == code and found[1]['verdict']['outcome'] == outcome


def test_a_score_below_the_limit_is_over_forgotten_though_the_margin_is_wide(audit):
    """The ascended network is 2.5 dB below the retrained one."""
    _, found = audit(unlearned(audit, 'ascended'), 'verdict:over_forgotten:below=9')
    gap = found['measurements']['forgetting']['result']['dark']
    assert -3 < gap['gap']['value'] < -2 and not gap['over_forgotten']
    assert found['verdict']['outcome'] == 'over-forgotten' and not found['verdict']['passed']


def test_a_network_that_lost_the_rest_is_over_forgotten_though_its_forget_gap_is_zero(audit):
    _, found = audit(unlearned(audit, 'zeroed'))
    forgetting, keeping = (found['measurements'][name]['result'] for name in ('forgetting', 'keeping'))
    assert forgetting['dark']['gap']['value'] == 0 and not forgetting['dark']['over_forgotten']
    assert keeping['tinted']['kept'] == 0 and keeping['tinted']['collapsed']


def test_what_was_measured_is_not_measured_again(audit, monkeypatch):
    _, first = audit(ATTACKED)
    monkeypatch.setattr('basicsr_unlearn.proof.audit.attacking.sweep', None)
    monkeypatch.setattr('basicsr_unlearn.proof.audit.context.Context._infer', None)
    code, second = audit(ATTACKED)
    assert code == 0 and second['measurements'] == first['measurements'] and second['verdict'] == first['verdict']
    (audit.folder / 'results/audit/stub/measurements/attacks.json').unlink()
    assert audit(ATTACKED)[1]['measurements']['attacks']['result'] == first['measurements']['attacks']['result']


def test_the_same_weights_in_a_network_of_other_options_are_measured_anew(audit):
    _, first = audit('network_g={type: AuditStub, strength: 1.0}')
    _, second = audit('network_g={type: AuditStub, strength: 0.9}')
    means = [found['measurements']['scores']['result']['mean']['tinted']['original']['psnr']['value']
             for found in (first, second)]
    assert means[0] > means[1] + 10


def test_a_metric_that_is_added_runs_no_network_again(audit, monkeypatch):
    audit(flags=('--quick',), name='stub_quick')
    from basicsr_unlearn.proof.audit import context
    seen, loop = set(), context.restorations

    def restorations(nets, items, metrics):
        for restored in loop(nets, items, metrics):
            seen.update((column, 'tinted' in restored.path) for column in nets)
            yield restored

    monkeypatch.setattr(context, 'restorations', restorations)
    monkeypatch.setattr(context.Context, 'judged_scores', lambda self, net, items: [0.0] * len(items))
    code, found = audit()
    assert code == 0 and seen == {('retrained', True)}
    monkeypatch.undo()
    scores = found['measurements']['scores']['result']['per_image']
    for file in (audit.folder / 'results/audit').glob('*/*.*'):
        file.unlink()
    monkeypatch.chdir(audit.folder)
    assert audit()[1]['measurements']['scores']['result']['per_image'] == scores


def test_another_network_is_measured_anew_but_the_original_is_not(audit, monkeypatch):
    audit()
    seen = []
    from basicsr_unlearn.proof.audit.context import Context
    infer = Context._infer
    monkeypatch.setattr(Context, '_infer', lambda self, path, name, title, *rest: seen.append((title, name)) or
                        infer(self, path, name, title, *rest))
    audit(unlearned(audit, 'half'))
    assert seen == [('unlearned', name) for name in ('dark_seen', 'dark', 'tinted')]


def test_without_a_retrained_network_the_untouched_input_is_the_yardstick(audit):
    code, found = audit('networks:retrained=[]')
    assert code == 0 and list(found['networks']) == ['original', 'unlearned']
    assert found['measurements']['forgetting']['result']['dark']['against'] == ['identity']
    assert found['verdict']['levels']['weights']['state'] == 'not shown'
    assert found['verdict']['warnings'][0].startswith('There is no retrained network to compare with')


def test_shared_images_and_unreadable_sets_are_said_and_the_rest_goes_on(audit, capsys):
    code, found = audit(f'datasets:dark:dataroot_lq={audit.folder}/seen/dark',
                        f'datasets:dark:dataroot_gt={audit.folder}/seen/clean')
    assert found['measurements']['membership']['reason'] == (
        'data sets dark_seen and dark share 6 images, so one of them is no set of unseen images: separate them, for '
        'instance with except_files')
    assert code == 1 and found['verdict']['levels']['members']['state'] == 'not shown'
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


@pytest.mark.parametrize('name', ['unlearned', 'half', 'zeroed', 'damaged'])
def test_quick_passes_no_check_that_the_full_audit_fails(audit, name):
    """What it measures has the very values; what needs steps or seeds is not measured."""
    quick_code, quick = audit(unlearned(audit, name), ATTACKED, flags=('--quick',), name='stub_quick')
    code, full = audit(unlearned(audit, name), ATTACKED)
    assert quick['quick'] and list(quick['measurements']['scores']['result']['metrics']) == ['psnr']
    assert code <= quick_code  # 0 is passed
    mean = {name: list(found) for name, found in quick['measurements']['scores']['result']['mean'].items()}
    assert mean['tinted'] == ['identity', 'original', 'unlearned'] and mean['dark'] == [*mean['tinted'], 'retrained']
    compared = 0
    for level, judged in quick['verdict']['levels'].items():
        for check in judged['checks']:
            same = [other for other in full['verdict']['levels'][level]['checks']
                    if (other['name'], other['subject']) == (check['name'], check['subject'])]
            if check['state'] == 'not measured':
                assert check['name'] == 'lead' and 'quick audit' in check['words']
            elif check['name'] != 'lead':
                assert same == [check]
                compared += 1
        assert judged['state'] != 'passed' or full['verdict']['levels'][level]['state'] == 'passed'
    assert compared == 3 + 5 + 3
    assert quick['measurements']['attacks']['result']['quick'] and quick['verdict']['levels']['weights'] != 'passed'
    for measurement in ('representation', 'robustness'):
        assert quick['measurements'][measurement]['reason'] == 'left out by --quick'
        assert full['measurements'][measurement]['state'] == 'measured'


def test_a_set_that_the_original_cannot_restore_is_not_judged(audit):
    """On tinted images as a forget set a network that is worse than its input 'forgets' by becoming better."""
    code, found = audit(f'networks:original={audit.folder}/nets/zeroed.pth', unlearned(audit, 'original'), ATTACKED)
    scores = {column: metrics['psnr']['value']
              for column, metrics in found['measurements']['scores']['result']['mean']['dark'].items()}
    assert scores['unlearned'] > scores['original'] == scores['identity']
    assert code == 1 and found['verdict']['outcome'] == 'cannot be judged' and not found['verdict']['passed']
    for level in found['verdict']['levels'].values():
        assert level['state'] != 'passed'
        gaps = [check for check in level['checks'] if check['name'] == 'forget gap']
        assert [check['state'] for check in gaps] == ['not measured'] * 2
        assert all('the original has 10.51 dB' in check['words'] and '1.00 dB' in check['words'] for check in gaps)
    assert found['measurements']['attacks']['state'] == 'skipped'
    forgetting = found['measurements']['forgetting']['result']['dark']
    assert not forgetting['judged'] and forgetting['gap'] is None and forgetting['skill'] == 0


def test_a_set_that_the_original_cannot_restore_is_judged_by_likeness_to_retrained_networks(audit):
    """The photographs of one set are as they are: nothing to restore. Without retrained networks it is not judged."""
    for image in (audit.folder / 'seen/dark').glob('*.png'):
        image.write_bytes((audit.folder / 'seen/clean' / image.name).read_bytes())
    code, found = audit('networks:retrained=[]')
    gaps = {check['subject']: check for check in found['verdict']['levels']['outputs']['checks']}
    assert gaps['dark_seen']['state'] == 'not measured' and gaps['dark']['state'] == 'passed'
    assert code == 1 and found['verdict']['outcome'] == 'not shown'
    code, found = audit()
    entry = found['measurements']['forgetting']['result']['dark_seen']
    assert code == 0 and entry['likeness'] and entry['against'] == ['retrained'] and entry['gap']['value'] == 0
    for name, outcome in (('ascended', 'over-forgotten'), ('half', 'partly forgotten')):  # on these blue counts: tint
        assert audit(unlearned(audit, name))[1]['verdict']['outcome'] == outcome
    code, found = audit(unlearned(audit, 'damaged'), 'verdict:levels:outputs:retain_loss=40')
    entry = found['measurements']['forgetting']['result']['dark_seen']
    assert entry['fall'] < 0 < entry['gap']['value'] and found['verdict']['outcome'] == 'partly forgotten'
    assert found['verdict']['worst_gap']['dataset'] == 'dark_seen'
    assert 'worst on dark_seen' in found['verdict']['headline']


def test_retrained_networks_that_disagree_are_no_yardstick(audit):
    """`half` counts as retrained, and the original is hardly better: they differ by more than they lie below it."""
    nets = audit.folder / 'nets'
    code, found = audit(f'networks:original={nets}/two_thirds.pth',
                        f'networks:retrained=[{nets}/retrained.pth, {nets}/half.pth]')
    entry = found['measurements']['forgetting']['result']['dark']
    assert not entry['judged'] and 'disagree on dark' in entry['reason']
    assert code == 1 and found['verdict']['outcome'] == 'cannot be judged'
    assert 'disagree' in found['verdict']['headline'] and 'disagree' in found['verdict']['warnings'][0]


def test_one_more_retrained_network_has_an_interval(audit):
    nets = audit.folder / 'nets'
    _, found = audit(f'networks:retrained=[{nets}/retrained.pth, {nets}/slightly.pth]', unlearned(audit, 'half'))
    entry = found['measurements']['forgetting']['result']['dark']
    low, high = entry['reference']['low'], entry['reference']['high']
    assert entry['one_more']['low'] < low < entry['one_more']['value'] < high < entry['one_more']['high']
    check = found['verdict']['levels']['outputs']['checks'][0]
    assert check['state'] == 'failed' and f'{entry["one_more"]["high"]:.2f} dB' in check['words']


def test_the_margin_of_a_skill_is_an_option(audit):
    code, found = audit('verdict:skill_margin=40')
    assert code == 1 and found['verdict']['outcome'] == 'cannot be judged'
    assert found['verdict']['metric']['skill_margin'] == 40


def test_a_network_that_restores_the_forget_set_is_no_reference(audit):
    """It is named once, left out of gap and lead, and the others or the untouched input take its place."""
    nets = audit.folder / 'nets'
    code, found = audit(f'networks:retrained=[{nets}/untouched.pth, {nets}/retrained.pth]', ATTACKED)
    forgetting, attacks = (found['measurements'][name]['result'] for name in ('forgetting', 'attacks'))
    assert code == 0 and forgetting['dark']['no_reference'] == ['retrained 1']
    assert forgetting['dark']['against'] == attacks['against'] == ['retrained 2']
    assert [warning for warning in found['verdict']['warnings'] if 'retrained' in warning and 'same file' not in warning
            ] == [found['verdict']['warnings'][0]]
    assert all(word in found['verdict']['warnings'][0] for word in ('retrained 1', 'dark_seen', 'dark', 'No reference'))

    code, found = audit(f'networks:retrained={nets}/untouched.pth', ATTACKED)
    forgetting, attacks = (found['measurements'][name]['result'] for name in ('forgetting', 'attacks'))
    assert forgetting['dark']['against'] == ['identity'] and not forgetting['dark']['over_forgotten']
    assert attacks['against'] == ['identity'] and attacks['zero'] == {}
    levels = found['verdict']['levels']
    assert levels['outputs']['state'] == 'passed' and levels['weights']['state'] == 'not shown'
    membership = found['measurements']['membership']['result']
    assert membership['attacks']['threshold']['difference'] == {}


def test_what_could_not_be_measured_is_neither_forgotten_nor_unjudgeable(audit, monkeypatch):
    def broken(*_, **__):
        raise ValueError('the value is nan.')

    monkeypatch.setattr('basicsr_unlearn.proof.audit.quality_measurement.bootstrap', broken)
    code, found = audit()
    assert code == 1 and found['verdict']['outcome'] == 'not shown'
    assert found['verdict']['levels']['outputs']['state'] == 'not shown'
    assert found['measurements']['forgetting']['reason'] == 'the value is nan.'


def test_a_level_without_a_forget_gap_cannot_pass_where_nothing_can_be_judged(audit):
    code, found = audit('verdict:levels:members={retain_loss: 1}', 'verdict:skill_margin=40')
    assert found['verdict']['levels']['members']['state'] == 'passed'
    assert code == 1 and not found['verdict']['passed'] and found['verdict']['outcome'] == 'cannot be judged'


METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}, 'away': {'type': 'calculate_psnr_to_input'},
           'ssim': {'type': 'calculate_ssim', 'crop_border': 0}}


def test_another_metric_can_judge_and_lower_can_be_better(audit):
    """The distance to the input: the nearer to it, the less is restored."""
    code, found = audit(f'metrics={METRICS}', 'verdict:metric=away', ATTACKED)
    result = {name: entry['result'] for name, entry in found['measurements'].items()}
    mean = {column: value['away']['value'] for column, value in result['scores']['mean']['dark'].items()}
    assert mean['identity'] == mean['unlearned'] == mean['retrained'] == 100
    assert mean['original'] == pytest.approx(psnr(74 / 255), abs=0.1)
    assert result['scores']['metrics']['away'] == {'unit': 'dB', 'better': 'lower'}
    assert result['forgetting']['dark']['skill'] == pytest.approx(100 - mean['original'], abs=1e-4)
    assert result['forgetting']['dark']['gap']['value'] == 0 and result['keeping']['tinted']['loss']['value'] == 0
    untouched, strength = result['attacks']['trails']['unlearned'][0], result['attacks']['strength']['unlearned']['2']
    assert untouched['curve'] == {'0': [100]} and strength['5']['value'] <= strength['0']['value'] < 100
    assert code == 0 and found['verdict']['metric']['better'] == 'lower'
    assert any('PSNR was not used' in warning for warning in found['verdict']['warnings'])

    _, found = audit(f'metrics={METRICS}', 'verdict:metric=away', unlearned(audit, 'half'))
    gap = found['measurements']['forgetting']['result']['dark']['gap']['value']
    assert gap > 50 and found['verdict']['levels']['outputs']['state'] == 'failed'  # skill is left: far from the input
    _, found = audit(f'metrics={METRICS}', 'verdict:metric=ssim', unlearned(audit, 'zeroed'))
    assert found['verdict']['metric'] == {'key': 'ssim', 'name': 'SSIM', 'unit': '', 'better': 'higher',
                                          'skill_margin': 0}
    assert found['verdict']['outcome'] == 'over-forgotten'


DAMAGE = [lambda text: b'', lambda text: text[:len(text) // 2], lambda text: b'null', lambda text: b'[]',
          lambda text: b'{"a": 1}', lambda text: b'\xff\xfe\x00', lambda text: text.replace(b'1', b'2'),
          lambda text: b'[' * 100000]


def test_damaged_files_of_its_own_are_measured_again_with_one_warning(audit, capsys):
    """Each file in another of the ways."""
    _, first = audit()
    results = audit.folder / 'results/audit'
    files = [*results.glob('stub/measurements/*.json'), *results.glob('cache/*.json'), *results.glob('cache/*.npz')]
    assert len(files) > 20
    for index, file in enumerate(files):
        file.write_bytes(DAMAGE[index % len(DAMAGE)](file.read_bytes()))
    capsys.readouterr()
    code, second = audit()
    assert code == 0 and second['verdict'] == first['verdict']
    assert {name: entry['result'] for name, entry in second['measurements'].items()} == {
        name: entry['result'] for name, entry in first['measurements'].items()}
    told = capsys.readouterr().err
    assert told.count('\n') == 1 and told.startswith('Warning: ') and 'damaged' in told
    audit()
    assert capsys.readouterr().err == ''


def test_without_an_option_file_the_command_says_what_it_needs(audit, capsys):
    assert main([]) == main(['--quick']) == 2
    told = capsys.readouterr().out
    assert 'basicsr-unlearn audit -opt options/audit_haze.yml' in told and 'minutes' in told and 'BSD500' in told
    assert not (audit.folder / 'results').exists()


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
    (f'measure:attacks={ATTACKS | {"steps": [5, 2]}}', 'measure.attacks steps: expected rising numbers but got [5, 2]'),
    (f'measure:attacks={ATTACKS | {"train": "tinted"}}', "measure.attacks.train is 'tinted', but it must be a data set "
     'of forget pairs with role forget or unseen or attacker: use dark_seen or dark'),
    (f'measure:attacks={ATTACKS | {"retain": "tinted"}}', "measure.attacks.retain is 'tinted', but it must be a data "
     'set with role attacker'),
    ('measure={relearning: {train: dark, test: dark}}', 'measure.attacks runs all of them now'),
    ('verdict:levels:weights={recovery_gap: 0.5}', 'verdict.levels.weights.recovery_gap is lead now'),
    ('verdict:require=good', "verdict.require is 'good'"),
    ('verdict:require=calibrated', "verdict.require is 'calibrated', a level that is called members now"),
    ('verdict:levels={published: {forget_gap: 1}}', 'verdict.levels.published is called outputs now'),
    ('verdict:metric=lpips', "verdict.metric is 'lpips', which is none of metrics: use one of psnr, ssim"),
    ('measure:robustness:attack={type: carried}', 'measure.robustness.attack')])
def test_bad_input_is_one_sentence(audit, capsys, override, sentence):
    code, found = audit(override)
    assert code == 2 and found is None
    told = capsys.readouterr().err
    assert sentence in told and told.count('\n') == 1
    assert not (audit.folder / 'results').exists()
