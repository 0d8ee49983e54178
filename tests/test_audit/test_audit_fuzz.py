"""A slice of what `make torture` does to the files that compare, audit and benchmark read back."""
import json
from pathlib import Path

from audit_example import example_audit
from torture.mutated import mutations
from torture.sample_record import sample_record

from basicsr_unlearn.cli.compare import main
from basicsr_unlearn.proof.benchmark.records import is_damaged, read_record
from basicsr_unlearn.proof.cache import Kept


def test_compare_refuses_a_damaged_audit_in_one_sentence(in_tmp_path, capsys):
    text = json.dumps(example_audit(2))
    Path('good.json').write_text(text)
    codes = []
    for name, content in mutations(text, 150):
        Path('bad.json').write_bytes(content)
        codes.append(main(['good.json', 'bad.json']))
        err = capsys.readouterr().err
        assert codes[-1] in (0, 2), name
        assert codes[-1] == 0 or err.startswith('Error: bad.json is ') and err.count('\n') == 1, (name, err)
    assert codes.count(2) > 25 and codes.count(0) > 25  # of the others the damage is where nothing is compared


def test_a_damaged_file_of_an_audit_is_as_none_and_said_once(in_tmp_path, capsys):
    path = Path('kept.json')
    content = {'state': 'measured', 'result': {'haze': [1.5, 2]}}
    assert Kept().write(path, 'a', content) == content == Kept().read(path, 'a')
    assert Kept().read(path, 'b') is None and capsys.readouterr().err == ''
    text, kept = path.read_text().strip(), Kept()
    for name, damaged in mutations(text, 120):
        path.write_bytes(damaged)
        assert kept.read(path, 'a') is None, name
    assert capsys.readouterr().err.count('\n') == 1


def test_a_damaged_record_of_a_benchmark_is_recognised(in_tmp_path):
    record = sample_record()
    job = {'out': 'record.json', 'record': {key: record[key] for key in ('key', 'target', 'kind')},
           'measure': record['measure']}
    Path('record.json').write_text(json.dumps(record))
    assert read_record(job) == record
    refused = 0
    for name, content in mutations(json.dumps(record), 150, 1):
        Path('record.json').write_bytes(content)
        found = read_record(job)
        refused += found is None
        assert found is None or set(found['scores']) >= set(record['measure']['test']) and not is_damaged(job), name
    assert refused > 30
