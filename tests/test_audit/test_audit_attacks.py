"""Attackers in an audit: a skill that is hidden behind turned kernels is found, and a retrained network is not accused.

Images to forget are dark and moved by two columns, which one tap of a kernel undoes. In the hidden network this kernel
is transposed: it moves rows, and scores like a network that never saw such an image.
"""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from audit_stub import ATTACKS, Shift, option_file
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor, nn

from basicsr_unlearn.cli.audit import main
from basicsr_unlearn.core.judgement import NOT_FORGOTTEN, OVER_FORGOTTEN
from basicsr_unlearn.core.parts import EDITS, Edit
from basicsr_unlearn.core.yardstick import PSNR
from basicsr_unlearn.proof.attackers.attack_plan import Material
from basicsr_unlearn.proof.audit.levels import headline
from basicsr_unlearn.proof.cache import file_digest
from basicsr_unlearn.proof.run_cost import RUN_FILE

TAPS = {'original': (2, 4), 'hidden': (4, 2), 'retrained': (2, 2), 'another': (2, 2), 'third': (2, 2)}


@ARCH_REGISTRY.register()
class TurnStub(nn.Module):
    """Moves dark images by a kernel, adds `tint` to the others."""

    def __init__(self):
        super().__init__()
        self.move = nn.Conv2d(3, 3, 5, padding=2, padding_mode='circular', bias=False)
        self.tint = Shift()

    def forward(self, lq: Tensor) -> Tensor:
        is_dark = (lq.mean((1, 2, 3), keepdim=True) < 0.4).float()
        return is_dark * self.move(lq) + (1 - is_dark) * self.tint(lq)


def moved_file(folder: Path, pixels, **changes) -> Path:
    """The option file of `audit_stub` with images that are moved, and networks that know it or not."""
    path = option_file(folder, network_g={'type': 'TurnStub'}, **changes)
    for place, seed in (('seen', 1), ('new', 2)):
        rng = np.random.default_rng(seed)
        for index in range(6):
            clean = rng.integers(10, 90, (32, 32, 3)).astype(np.uint8)
            pixels(folder / place / 'still' / f'{place}_{index}.png', clean)
            pixels(folder / place / 'moved' / f'{place}_{index}.png', np.roll(clean, 2, 1))
    for index, (name, (row, column)) in enumerate(TAPS.items()):
        net = TurnStub()
        with torch.no_grad():
            net.move.weight.zero_()
            for channel in range(3):
                net.move.weight[channel, channel, row, column] = 0.97 + 0.005 * index
            net.tint.value[0, 2] = 0.19
        torch.save({'params': net.state_dict()}, folder / 'nets' / f'{name}.pth')
    options = yaml.safe_load(path.read_text())
    nets = folder / 'nets'
    options['networks'] = {'original': f'{nets}/original.pth', 'unlearned': f'{nets}/hidden.pth',
                           'retrained': [f'{nets}/retrained.pth', f'{nets}/another.pth']}
    for name, place in (('dark_seen', 'seen'), ('dark', 'new')):
        options['datasets'][name] |= {'dataroot_lq': str(folder / place / 'moved'),
                                      'dataroot_gt': str(folder / place / 'still')}
    options['measure'] = {'attacks': ATTACKS}
    options['verdict']['levels']['members'].pop('membership')
    path.write_text(yaml.safe_dump(options, sort_keys=False), encoding='utf-8')
    return path


@pytest.fixture
def audit(in_tmp_path, pixels):
    """Run an audit with overrides; the exit code and audit.json."""
    path = moved_file(in_tmp_path, pixels)

    def run(*overrides: str, flags: tuple[str, ...] = ()):
        code = main(['-opt', str(path), *flags, *(['--force_yml', *overrides] if overrides else [])])
        file = in_tmp_path / 'results/audit/stub' / 'audit.json'
        return code, json.loads(file.read_text()) if file.is_file() else None

    run.folder = in_tmp_path
    return run


def test_a_skill_behind_transposed_kernels_fails_and_its_inverse_is_named(audit):
    code, found = audit('verdict:require=weights')
    levels, attacks = found['verdict']['levels'], found['measurements']['attacks']['result']
    assert levels['outputs']['state'] == 'passed' and levels['weights']['state'] == 'failed' and code == 1
    assert all(attacks['families'][family]['beyond'] > 10 for family in ('inverse', 'orientation'))
    assert attacks['families']['plain']['beyond'] < 0.5
    assert 'TransposeKernels' in attacks['families']['inverse']['attacker']
    failed = [check for check in levels['weights']['checks'] if check['state'] == 'failed']
    assert 'by draw' not in failed[0]['words']  # who turns the images draws nothing
    assert failed and all(check['name'] == 'lead' for check in failed)
    assert all(words in found['verdict']['headline'] for words in (attacks['worst']['attacker'], 'sleeps'))
    assert any(attacks['worst']['attacker'] in check['subject'] for check in failed)
    assert 'sleeps' in headline(OVER_FORGOTTEN, levels, found, PSNR)  # what is hidden is told, whatever else is wrong
    assert 'sleeps' not in headline(NOT_FORGOTTEN, levels, found, PSNR)


def test_a_retrained_network_passes_and_the_claim_names_who_attacked(audit):
    code, found = audit(f'networks:unlearned={audit.folder}/nets/third.pth', 'verdict:require=weights')
    assert code == 0 and found['verdict']['outcome'] == 'weights'
    assert 'no attacker of this audit, who knows the defaults' in found['verdict']['headline']  # there is no run.json
    warning, = [words for words in found['verdict']['warnings'] if 'had less' in words]
    assert 'see pairs, steps, draws, rates and retain of measure.attacks' in warning
    lead, = [check for check in found['verdict']['levels']['weights']['checks'] if check['name'] == 'lead']
    assert lead['state'] == 'passed' and abs(lead['value']) < 0.5
    attackers = {column: sorted((trail['family'], trail['attacker']) for trail in trails if trail['family'] != 'plain')
                 for column, trails in found['measurements']['attacks']['result']['trails'].items()}
    assert attackers['unlearned'] == attackers['retrained 1'] == attackers['retrained 2']  # none has more of them
    digest = file_digest(f'{audit.folder}/nets/third.pth')
    record = {'seed': 0, 'parts': {}, 'networks': {'unlearned': {'sha256': digest}}}
    (audit.folder / RUN_FILE).write_text(json.dumps(record))
    _, found = audit(f'networks:unlearned={audit.folder}/nets/third.pth')
    assert 'no attacker of this audit, who knows the method, has' in found['verdict']['headline']


def test_a_quick_audit_finds_it_but_cannot_clear_a_network(audit):
    _, found = audit(flags=('--quick',))
    file = audit.folder / 'results/audit/stub_quick/audit.json'
    assert json.loads(file.read_text())['verdict']['levels']['weights']['state'] == 'failed'
    audit(f'networks:unlearned={audit.folder}/nets/third.pth', flags=('--quick',))
    level = json.loads(file.read_text())['verdict']['levels']['weights']
    assert level['state'] == 'not shown' and 'no attacker' not in json.loads(file.read_text())['verdict']['headline']


def test_the_self_check_calls_known_networks_what_they_are(audit, capsys):
    code, found = audit(flags=('--self-check',))
    told = capsys.readouterr().out
    assert code == 0 and found is None and 'Passed' in told
    rows = [line.split() for line in told.splitlines() if line.startswith(('retrained', 'original'))]
    assert len(rows) > 6 and all('passed' in row for row in rows)
    code, _ = audit(f'networks:retrained=[{audit.folder}/nets/retrained.pth, {audit.folder}/nets/hidden.pth]',
                    flags=('--self-check',))
    assert code == 1 and 'Failed: retrained 2' in capsys.readouterr().out


@pytest.mark.parametrize('overrides, sentence', [
    (('networks:retrained=[]',), 'but there are 0'), (('measure:attacks=~',), 'measure.attacks')])
def test_a_self_check_that_cannot_be_made_is_one_sentence(audit, capsys, overrides, sentence):
    assert audit(*overrides, flags=('--self-check',))[0] == 2
    told = capsys.readouterr().err
    assert sentence in told and told.count('\n') == 1


def test_photographs_that_are_scored_are_not_learned_from(audit):
    _, found = audit('measure:attacks:train=dark')  # 3 of its 6 are scored
    assert found['measurements']['attacks']['state'] == 'measured'
    _, found = audit('measure:attacks:train=dark', 'measure:attacks:images=6')
    assert 'no photograph that is not scored too' in found['measurements']['attacks']['reason']
    assert found['verdict']['levels']['weights']['state'] == 'not shown'


def test_each_draw_has_forget_pairs_of_its_own(audit, monkeypatch):
    seen = []
    monkeypatch.setattr('basicsr_unlearn.proof.audit.attacking.Material',
                        lambda forget, *others: seen.append(len(forget)) or Material(forget, *others))
    audit()
    assert set(seen) == {2 * 2}  # draws of so many pairs


def test_a_set_without_a_forget_pair_is_refused_before_anything_is_measured(audit, capsys):
    code, found = audit(f'datasets:dark_seen:dataroot_lq={audit.folder}/seen/still', 'datasets:dark_seen:role=attacker')
    assert code == 2 and found is None
    told = capsys.readouterr().err
    assert 'dark_seen' in told and 'no forget pair' in told and told.count('\n') == 1


def test_a_part_that_declares_no_inverse_is_refused(audit, capsys, monkeypatch):
    class Fade(Edit):
        def __call__(self, net, evidence):
            """Nothing."""

    monkeypatch.setitem(EDITS, 'Fade', Fade)
    assert audit()[0] == 2
    told = capsys.readouterr().err
    assert 'Fade declares neither' in told and told.count('\n') == 1


def test_without_a_retrained_network_the_reference_is_named(audit):
    _, found = audit('networks:retrained=[]')
    assert found['measurements']['attacks']['result']['against'] == ['identity']
    assert found['verdict']['levels']['weights']['state'] == 'not shown'
    assert 'untouched input, for want of a retrained network' in found['verdict']['sentence']


def test_attackers_undo_the_parts_that_the_record_of_the_run_has(audit, monkeypatch):
    _, found = audit()
    assert any('No record' in warning for warning in found['verdict']['warnings'])
    record = {'seed': 0, 'parts': {'edit_opt': {'type': 'TransposeKernels'}},
              'networks': {'unlearned': {'sha256': file_digest(f'{audit.folder}/nets/hidden.pth')}}}
    (audit.folder / RUN_FILE).write_text(json.dumps(record))
    with monkeypatch.context() as patch:
        patch.setattr('basicsr_unlearn.proof.audit.attacking.sweep', None)  # these are tried without a record too
        _, found = audit()
    assert found['measurements']['attacks']['result']['method']['parts'] == record['parts']
    record |= {'seed': 5, 'parts': {'edit_opt': {'type': 'TransposeKernels', 'share': 0.5}}}
    (audit.folder / RUN_FILE).write_text(json.dumps(record))
    _, found = audit()
    assert found['measurements']['attacks']['result']['method'] == {'seed': 5, 'parts': record['parts']}
    assert not any('No record' in warning for warning in found['verdict']['warnings'])
