"""What a run took, as its record says: audit and benchmark both read it here."""
import json
from pathlib import Path

from basicsr_unlearn.proof.cache import is_number

RUN_FILE = 'run.json'  # in the folder of an experiment, see `run_record`


def run_cost(path: Path) -> dict | None:
    """Steps, samples, passes, time and memory of a run that came to its end.

    Args:
        path: of its run.json.

    Returns:
        `steps`, those of a proxy with them; `samples`, patches that the objective saw of all streams; `batch`, patches
        of a stream in a step; `passes` by kind (see `run_record`, None in a record of an earlier version); `seconds`;
        `memory_mb`, the peak; `sha256` of the network that it wrote. None if there is no whole record.
    """
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
        proxy = record.get('proxy_steps', 0)
        found = {'steps': record['steps'] + proxy, 'samples': sum(record['samples'].values()),
                 'batch': record['batch'], 'seconds': record['seconds'], 'memory_mb': record['peak_memory_mb']}
        digest = record['networks']['unlearned']['sha256']
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not all(map(is_number, found.values())) or not isinstance(digest, str):
        return None
    return {**found, 'passes': record.get('passes'), 'sha256': digest}
