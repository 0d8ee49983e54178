"""Records of a benchmark as they are read back: whole, of other options, or damaged."""
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr_unlearn.core.leads import Trail
from basicsr_unlearn.proof.cache import is_number

COST = ('steps', 'batch', 'patch', 'seconds', 'memory_mb')


def is_record(record: Any, measure: Mapping) -> bool:
    """Whether what a JSON file held is a whole record of a network that was measured in this way."""
    if not isinstance(record, dict) or not all(isinstance(record.get(part), dict) for part in ('scores', 'identity')):
        return False
    if not _printable(record.get('checkpoint', '')) or not is_number(record.get('seconds')):
        return False
    parts = [record[kind].get(name) for kind in ('scores', 'identity') for name in measure['test']]
    if 'run' in record:
        run = record['run'] if isinstance(record['run'], dict) else {}
        parts += [{key: run.get(key) for key in COST}, run.get('passes')]
    return all(map(_numbers, parts)) and _are_trails(record.get('trails')) and _are_sentences(record.get('left_out'))


def _are_trails(found: Any) -> bool:
    try:
        trails = [Trail.from_record(trail) for trail in found]
        return len(trails) > 0 and all(
            _printable(trail.attacker) and _printable(trail.family) and is_number(trail.pairs) and trail.curve
            and all(scores and all(map(is_number, scores)) for scores in trail.curve.values()) for trail in trails)
    except (TypeError, ValueError, AttributeError, KeyError):
        return False


def _are_sentences(found: Any) -> bool:
    return isinstance(found, list) and all(map(_printable, found))


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
