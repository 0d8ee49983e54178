"""Records of a benchmark as they are read back: whole, of other options, or damaged."""
import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.cache import is_number
from basicsr_unlearn.zoo.checkpoint import resolve_checkpoint

COST = ('steps', 'batch', 'seconds', 'memory_mb')


def is_record(record: Any, measure: Mapping) -> bool:
    """Whether what a JSON file held is a whole record of a network that was measured in this way."""
    if not isinstance(record, dict) or not all(
            isinstance(record.get(part), dict) for part in ('scores', 'identity', 'relearn')) or not _printable(
            record.get('checkpoint', '')):
        return False
    seeds, steps = ([str(value) for value in measure['relearning'][key]] for key in ('seeds', 'steps'))
    curves = [record['relearn'].get(seed) for seed in seeds]
    parts = [record[kind].get(name) for kind in ('scores', 'identity') for name in measure['test']] + curves
    if 'run' in record:
        parts.append({key: record['run'].get(key) for key in COST} if isinstance(record['run'], dict) else None)
    return all(_numbers(part) for part in parts) and all(set(curve) == set(steps) for curve in curves)


def _printable(text: Any) -> bool:
    return isinstance(text, str) and text.isprintable()


def _numbers(block: Any) -> bool:
    return isinstance(block, dict) and len(block) > 0 and all(map(is_number, block.values()))


def finished(job: Mapping) -> dict | None:
    """The record of a job, if it is there, was measured with the same options and did not fail."""
    record = read_record(job)
    return None if record is None or 'error' in record else record


def read_record(job: Mapping) -> dict | None:
    """The record of a job, also one of a failure; None if there is none, or of other options, or it is damaged."""
    record = _content(job)
    if not isinstance(record, dict) or record.get('key') != job['record']['key'] or is_damaged(job):
        return None
    return {**record, **job['record']}


def is_damaged(job: Mapping) -> bool:
    """Whether there is a file for the job, but no whole record in it."""
    if not Path(job['out']).is_file():
        return False
    record = _content(job)
    if not isinstance(record, dict) or not isinstance(record.get('key'), str):
        return True
    if record['key'] != job['record']['key']:
        return False  # of other options, and may have another form
    if 'error' in record:
        return not isinstance(record['error'], str)
    return not is_record(record, job['measure']) or ('run' in job) != ('run' in record)


def _content(job: Mapping) -> Any:
    try:
        return json.loads(Path(job['out']).read_text(encoding='utf-8'))
    except (OSError, ValueError, RecursionError):
        return None


def given_record(path: str, measure: Mapping) -> dict:
    """The record of a retrained network that a benchmark file names, with the relearning curves that are asked for.

    Args:
        path: of a .json file, also one that is shipped.
        measure: how networks are measured here, as `benchmark_cell.measurements` takes it.

    Raises:
        DataError: the file is no whole record, or was measured in another way.
    """
    found = resolve_checkpoint(path)
    try:
        record = json.loads(Path(found).read_text(encoding='utf-8'))
        whole = is_record(record, record['measure'])
        seeds, expected = record['measure']['relearning'].pop('seeds'), deepcopy(dict(measure))
        asked = expected['relearning'].pop('seeds')
        same = _without_roots(record['measure']) == _without_roots(expected)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise DataError(f'{path} is no record of a retrained network, or a damaged one: name a file that this command '
                        'has written to its references folder.')
    if not same:
        raise DataError(f'{path} was measured on other test sets, pairs or relearning steps than this benchmark has: '
                        'name the checkpoint instead, or take the file out.')
    missing = [seed for seed in asked if str(seed) not in record['relearn']]
    if missing:
        raise DataError(f'{path} has relearning curves of the seeds {seeds}, not of {missing}: name the checkpoint '
                        'instead, or take these out of seeds.')
    return {**record, 'relearn': {str(seed): record['relearn'][str(seed)] for seed in asked}}


def _without_roots(measure: Any) -> Any:
    """The same data may lie elsewhere."""
    if isinstance(measure, Mapping):
        return {key: _without_roots(value) for key, value in measure.items() if not key.startswith('dataroot')}
    return [_without_roots(entry) for entry in measure] if isinstance(measure, list) else measure
