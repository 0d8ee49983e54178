"""The command `basicsr-unlearn compare`: its table, its files, its warnings, its sentences on bad input."""
import json
import re

import pytest
from audit_example import example_audit

from basicsr_unlearn.cli.compare import main, unique_names

SECTIONS = ('PSNR in dB', 'forget gap in dB', 'worst forget gap in dB', 'retain loss in dB', 'worst lead in dB',
            'lead beyond the best, by family in dB', 'membership, threshold attack', 'shares')


@pytest.fixture
def files(in_tmp_path, monkeypatch):
    """files(a=audit, b=audit) writes a/audit.json, b/audit.json, named as their folders, and returns their paths."""
    monkeypatch.setenv('COLUMNS', '120')

    def write(**audits: dict) -> list[str]:
        for folder, audit in audits.items():
            audit['name'] = folder if audit['name'] == 'audit_haze' else audit['name']
            (in_tmp_path / folder).mkdir()
            (in_tmp_path / folder / 'audit.json').write_text(json.dumps(audit))
        return [f'{folder}/audit.json' for folder in audits]

    return write


def rows(out: str) -> dict[tuple[str, str], list[str]]:
    """(section, label) -> cells of the printed table."""
    found, section = {}, ''
    for line in out.splitlines():
        if line in SECTIONS:
            section = line
        cells = re.split(r'\s{2,}', line.strip())
        if len(cells) > 1:
            found.setdefault((section, cells[0]), cells[1:])
    return found


def measured(audit: dict, name: str) -> dict:
    return audit['measurements'][name]['result']


def test_key_figures_stand_side_by_side(files, capsys):
    first, second = example_audit(), example_audit()
    second['verdict'].update(outcome='partly forgotten', passed=False)
    second['verdict']['levels']['outputs']['state'] = 'not shown'
    measured(second, 'scores')['mean']['haze']['unlearned']['psnr']['value'] = 14.504
    measured(second, 'forgetting')['haze']['gap']['value'] = -1.25
    measured(second, 'keeping')['rain']['loss']['value'] = -0.3
    second['verdict']['worst_gap'].update(value=-1.25, dataset='haze_train')
    measured(second, 'attacks')['worst'].update(value=0.4, beyond=0.0, attacker='int4')
    measured(second, 'attacks')['families'] = {'merging': {'beyond': -0.1}}
    measured(second, 'membership')['attacks']['threshold']['auc']['unlearned']['value'] = 0.8
    measured(second, 'membership')['attacks']['threshold']['difference'] = {
        'retrained 1': {'value': 0.3, 'low': 0, 'high': 1}, 'retrained 2': {'value': -0.2, 'low': -1, 'high': 0}}
    measured(second, 'weights')['unlearned']['changed'] = 0.005
    measured(second, 'cost')['share']['samples'] = 0.1
    assert main(files(a=first, b=second)) == 0
    out, err = capsys.readouterr()
    found = rows(out)
    assert err == ''
    assert found['', 'outcome'] == ['members', 'partly forgotten']
    assert found['', 'required level'] == ['members passed', 'members failed']
    assert found['', 'level outputs'] == ['passed', 'not shown']
    assert found['PSNR in dB', 'haze'] == ['11.02', '14.50']
    assert ('PSNR in dB', 'rain') not in found  # to be kept: its loss says more
    assert found['forget gap in dB', 'haze'] == ['+0.07', '-1.25']
    assert found['retain loss in dB', 'rain'] == ['+0.07', '-0.30']
    assert found['worst forget gap in dB', 'the gap'] == ['+0.07', '-1.25']
    assert found['worst forget gap in dB', 'on'] == ['haze', 'haze_train']
    assert found['worst lead in dB', 'over the mean'] == found['worst lead in dB', 'beyond the best'][:1] + ['+0.40']
    assert found['worst lead in dB', 'beyond the best'] == ['+4.70', '0.00']
    assert found['worst lead in dB', 'by'] == ['kernels transposed', 'int4']
    assert found['lead beyond the best, by family in dB', 'inverse'] == ['+4.70', '-']
    assert found['lead beyond the best, by family in dB', 'merging'] == ['-', '-0.10']
    assert found['membership, threshold attack', 'AUC'] == ['0.52', '0.80']
    assert found['membership, threshold attack', 'less AUC of retrained'] == ['+0.01', '-0.20']  # of the nearest
    assert found['shares', 'weights changed'] == ['97.0 %', '0.5 %']
    assert found['shares', 'cost of retraining'] == ['1.0 %', '10.0 %']


@pytest.mark.parametrize('missing', list(example_audit()['measurements']))
def test_what_an_audit_lacks_is_a_dash(files, capsys, missing):
    audit = example_audit()
    audit['measurements'][missing] = {'state': 'skipped', 'reason': 'no', 'seconds': 0, 'result': None}
    absent = example_audit()
    del absent['measurements'][missing]
    assert main(files(a=example_audit(), b=audit, c=absent)) == 0
    dashes = {section or label for (section, label), cells in rows(capsys.readouterr().out).items()
              if cells[1:] == ['-', '-'] and cells[0] != '-'}
    assert dashes == {'scores': {'PSNR in dB'}, 'forgetting': {'forget gap in dB'}, 'keeping': {'retain loss in dB'},
                      'attacks': {'worst lead in dB', 'lead beyond the best, by family in dB'},
                      'membership': {'membership, threshold attack'}, 'weights': {'shares'}, 'cost': {'shares'}
                      }.get(missing, set())


@pytest.mark.parametrize('count', [2, 3, 6, 8, 9, 20])
@pytest.mark.parametrize('width', [80, 100, 120])
def test_the_table_fits_its_terminal_and_has_every_audit(files, capsys, monkeypatch, count, width):
    monkeypatch.setenv('COLUMNS', str(width))
    outcomes = ['over-forgotten', 'not forgotten', 'members']
    audits = {f'unlearn_haze_dark_channel_proxy_{i:02d}': example_audit() for i in range(count)}
    for i, audit in enumerate(audits.values()):
        audit['verdict']['outcome'] = outcomes[i % 3]
        measured(audit, 'scores')['mean']['haze']['unlearned']['psnr']['value'] = 20.0 + i
    assert main(files(**audits)) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    values = [value for line in re.findall(r'^  haze  .*$', out, re.MULTILINE) for value in line.split()[1:]]
    assert [value for value in values if value != '+0.07'] == [f'{20 + i}.00' for i in range(count)]


def test_files_hold_the_same_as_the_table(files, capsys, in_tmp_path):
    paths = files(a=example_audit(), b=example_audit(0))
    assert main([*paths, '--out', 'deeper/side']) == 0
    out, err = capsys.readouterr()
    folder = in_tmp_path / 'deeper' / 'side'
    assert sorted(path.name for path in folder.iterdir()) == ['compare.html', 'compare.json', 'compare.md']
    written = json.loads((folder / 'compare.json').read_text())
    assert [entry['name'] for entry in written['audits']] == ['a', 'b']
    assert [entry['file'] for entry in written['audits']] == paths
    by_label = {(row['section'], row['label']): row['values'] for row in written['rows']}
    assert by_label['worst lead in dB', 'over the mean'] == [4.7, 9.4]  # of the retrained network; of the input
    assert by_label['membership, threshold attack', 'less AUC of retrained'] == [0.01, None]
    text = (folder / 'compare.md').read_text()
    assert re.search(r'^\| worst lead in dB: over the mean +\| +\+4\.70 \|', text, re.MULTILINE)
    assert len(written['warnings']) == 1 and f'> {written["warnings"][0]}' in text
    assert f'Warning: {written["warnings"][0]}' in err and 'mind the warnings' in out


def changed(what: str) -> dict:
    audit = example_audit()
    if what == 'data':
        audit['datasets']['rain']['sha256'] = 'other'
    elif what == 'original':
        audit['networks']['original']['sha256'] = 'other'
    elif what == 'retrained':
        audit['networks']['retrained']['sha256'] = 'other'
    elif what == 'quick':
        audit['quick'] = True
    elif what == 'protocol':
        measured(audit, 'attacks')['draws'] = 1
    elif what == 'former':
        audit['schema'] = 2
        audit['measurements']['relearning'] = {'state': 'measured', 'result': {'largest_gap': 4.3}}
    elif what == 'limits':
        audit['options']['verdict'] = {'levels': {'weights': {'forget_gap': 9}}}
    return audit


@pytest.mark.parametrize('what, sentence', [
    ('data', 'rain is other data in b than in a'), ('original', 'The original is another network in b than in a'),
    ('retrained', 'The retrained networks of b are not those of a'),
    ('quick', 'Quick audits try three kinds of attackers alone, unlike the others: b.'),
    ('protocol', 'Networks were attacked in another way in b than in a'),
    ('former', 'The leads of b are not shown: they were those of one attacker'),
    ('limits', 'The limits of the levels are others in b than in a'),
])
def test_audits_that_cannot_be_compared_are_named(files, capsys, what, sentence):
    assert main(files(a=example_audit(), b=changed(what), c=example_audit())) == 0
    out, err = capsys.readouterr()
    assert sentence in err and err.startswith('Warning: ') and err.count('\n') == 1
    assert 'mind the warnings' in out


def test_a_data_set_of_one_audit_alone_or_one_that_failed_is_no_difference(files, capsys):
    audit = example_audit()
    audit['datasets']['hail'] = {**audit['datasets']['rain'], 'sha256': 'x'}
    audit['datasets']['rain'].update(sha256=None, problem='gone')
    audit['networks']['unlearned']['sha256'] = 'what is compared'
    assert main(files(a=example_audit(), b=audit)) == 0
    assert capsys.readouterr().err == ''


def test_an_audit_of_schema_1_has_the_levels_of_today(files, capsys):
    old = example_audit()
    former = {'outputs': 'published', 'members': 'calibrated', 'weights': 'deep'}
    old['schema'] = 1
    old['verdict'].update(outcome='calibrated', required='deep', levels={
        former[name]: level for name, level in old['verdict']['levels'].items()})
    del old['verdict']['metric']
    assert main(files(a=old, b=example_audit())) == 0
    out, err = capsys.readouterr()
    found = rows(out)
    assert found['', 'outcome'] == ['members', 'members'] and found['', 'required level'] == [
        'weights passed', 'members passed']
    assert found['', 'level weights'] == ['failed', 'failed'] and err == ''
    assert not any(name in out for name in former.values())


def test_gaps_by_different_metrics_do_not_compare(files, capsys):
    other = example_audit()
    other['verdict']['metric'] = {'key': 'lpips', 'name': 'lpips', 'unit': '', 'better': 'lower', 'skill_margin': 0}
    measured(other, 'forgetting')['haze']['gap']['value'] = 0.0123
    assert main(files(a=other, b=example_audit())) == 0
    out, err = capsys.readouterr()
    assert 'Forgetting is judged by another metric in b than in a' in err
    assert '+0.0123' in out and 'forget gap in dB' not in out


def test_a_set_that_cannot_be_judged_is_a_dash(files, capsys):
    audit = example_audit()
    measured(audit, 'forgetting')['haze']['gap'] = None
    assert main(files(a=example_audit(), b=audit)) == 0
    assert rows(capsys.readouterr().out)['forget gap in dB', 'haze'] == ['+0.07', '-']


def test_equal_names_are_told_apart_by_their_folders():
    audits = [{'name': 'haze'}, {'name': 'haze'}, {'name': 'rain'}]
    assert unique_names(['one/haze/audit.json', 'two/haze/audit.json', 'x/rain/audit.json'], audits) == [
        'haze (one)', 'haze (two)', 'rain']
    assert unique_names(['a.json', 'b.json'], audits[:2]) == ['haze (a.json)', 'haze (b.json)']
    assert unique_names(['p/a/x.json', 'p/b/x.json', 'q/a/x.json'], [{'name': 'n'}] * 3) == [
        'n (p/a)', 'n (p/b)', 'n (q/a)']


@pytest.mark.parametrize('content, sentence', [
    (None, 'bad.json does not exist'), ('{', 'bad.json is no JSON'), ('\xff\x00', 'bad.json is no JSON'),
    ('[1]', 'is JSON but no audit'), ('{"schema": 1}', 'is JSON but no audit'),
    ('{"schema": 3}', 'is JSON but no audit'),
    ('{"schema": 4}', 'has schema 4 but schema 3 is the newest known here: update basicsr_unlearn'),
    ('[' * 100000, 'bad.json is no JSON'), ('{"schema":' * 100000, 'bad.json is no JSON'),
])
def test_a_file_that_is_no_audit_is_refused(files, capsys, in_tmp_path, content, sentence):
    good, = files(a=example_audit())
    if content is not None:
        (in_tmp_path / 'bad.json').write_bytes(content.encode('latin-1'))
    assert main([good, 'bad.json', '--out', 'out']) == 2
    out, err = capsys.readouterr()
    assert out == '' and err.startswith('Error: ') and err.count('\n') == 1 and sentence in err
    assert not (in_tmp_path / 'out').exists()


@pytest.mark.parametrize('argv, sentence', [
    (['a/audit.json'], 'name two or more to compare'), ([], 'required: audit.json'),
    (['a/audit.json', './a/audit.json'], 'is given twice'), (['a/audit.json', 'a'], 'a cannot be read'),
])
def test_wrong_command_lines_are_one_sentence(files, capsys, argv, sentence):
    files(a=example_audit())
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and sentence in err


def test_a_folder_that_cannot_be_written_is_one_sentence(files, capsys, in_tmp_path):
    (in_tmp_path / 'out').write_text('a file')
    assert main([*files(a=example_audit(), b=example_audit()), '--out', 'out']) == 2
    out, err = capsys.readouterr()
    assert out == '' and err.count('\n') == 1 and 'cannot be written' in err
