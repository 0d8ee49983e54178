"""Damaged audits, records and caches: a command refuses them in a sentence, or measures again what they held."""
import io
import json
import os
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from basicsr_unlearn.cli import commands as cli
from basicsr_unlearn.proof.benchmark.leaderboard import Contest, target_board
from basicsr_unlearn.proof.benchmark.records import is_damaged, read_record
from basicsr_unlearn.report.leaderboard_text import board_markdown
from tests.torture import Section
from tests.torture.calling import is_sentence
from tests.torture.mutated import mutations
from tests.torture.sample_record import sample_record

TESTS = Path(__file__).resolve().parents[1]
sys.path.append(str(TESTS / 'test_audit'))  # whose hand-made audit and tiny networks serve here too


def run(budget: float) -> Section:
    """Spoil what the commands read back of what they wrote."""
    section, begin = Section('records'), time.monotonic()
    with tempfile.TemporaryDirectory() as place, _inside(Path(place)):
        _compare(section, begin + 0.3 * budget)
        _benchmark(section, begin + 0.6 * budget)
        _audit(section, begin + budget)
    return section


@contextmanager
def _inside(folder: Path):
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _call(argv: list[str]) -> tuple[int | None, str]:
    """Exit code (None for an exception) and what was said on stderr."""
    said = io.StringIO()
    with redirect_stdout(io.StringIO()), redirect_stderr(said):
        try:
            return cli.main(argv), said.getvalue()
        except Exception:
            return None, traceback.format_exc()


def _ended(code: int | None, said: str) -> str | None:
    lines = said.strip().splitlines()
    if code is None:
        return f'traceback, {lines[-1]}'
    refused = code == 2 and len(lines) == 1 and is_sentence(lines[0])
    return None if code == 0 or refused else f'code {code}, {said[-200:]}'


def _compare(section: Section, end: float) -> None:
    """The command `compare` with a whole audit and a damaged one."""
    from audit_example import example_audit
    text = json.dumps(example_audit(2))
    Path('good.json').write_text(text)
    for name, content in mutations(text, 2000):
        if time.monotonic() > end:
            return
        Path('bad.json').write_bytes(content)
        section.add(f'compare, {name}', _ended(*_call(['compare', 'good.json', 'bad.json'])))


def _benchmark(section: Section, end: float) -> None:
    """Records that a benchmark wrote: whole ones make a leaderboard, others are recognised."""
    record = sample_record()
    job = {'out': 'record.json', 'record': {key: record[key] for key in ('key', 'target', 'kind')},
           'measure': record['measure']}
    for name, content in mutations(json.dumps(record), 2000, 1):
        if time.monotonic() > end:
            return
        Path('record.json').write_bytes(content)
        section.add(f'record, {name}', _caught(lambda: _board(job, record)))


def _board(job: dict, original: dict) -> None:
    found = read_record(job)
    if found is not None and not is_damaged(job) and 'error' not in found:
        better = {name: {image: value + 9 for image, value in scores.items()}
                  for name, scores in original['scores'].items()}
        board_markdown(target_board(Contest('haze', {'steps': 1, 'batch': 1}, 64), {**original, 'scores': better},
                                    [found], []))


def _caught(call) -> str | None:
    try:
        call()
    except Exception:
        return 'traceback, ' + traceback.format_exc().strip().splitlines()[-1]


def _audit(section: Section, end: float) -> None:
    """All files that an audit keeps, damaged alike, then one by one; it ends with the same verdict and one warning."""
    from audit_stub import option_file
    argv = ['audit', '-opt', str(option_file(Path.cwd()))]
    code, said = _call(argv)
    verdict = _verdict()
    files = [path for pattern in ('stub/measurements/*.json', 'cache/*.json', 'cache/*.npz')
             for path in sorted(Path('results/audit').glob(pattern))]
    whole = {path: path.read_bytes() for path in files}
    for index in range(10000):
        spoiled = [files[index % len(files)]] if index % 2 else files
        for path in spoiled:
            text = whole[path].decode('latin-1') if path.suffix == '.npz' else whole[path].decode()
            found = [content for _, content in mutations(json.dumps({'a': text}) if path.suffix == '.npz' else text, 40,
                                                         index)]
            path.write_bytes(found[index % len(found)])
        if time.monotonic() > end:
            return
        now, said = _call(argv)
        lines = said.strip().splitlines()
        problem = f'traceback, {lines[-1]}' if now is None else None
        if problem is None and (now != code or _verdict() != verdict):
            problem = f'another verdict or code {now}: {said[-200:]}'
        elif problem is None and len(lines) > 1:
            problem = f'{len(lines)} lines: {said[:300]}'
        section.add(f'audit, {"all files" if spoiled is files else spoiled[0].name} {index}', problem)


def _verdict() -> dict:
    return json.loads(Path('results/audit/stub/audit.json').read_text())['verdict']
