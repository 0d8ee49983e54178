"""What a run took, as its record says: audit and benchmark both read it here."""
import json
from collections.abc import Mapping
from pathlib import Path

from basicsr_unlearn.proof.cache import is_number

RUN_FILE = 'run.json'  # in the folder of an experiment, see `run_record`
OF_A_STEP = 3  # forward passes that a patch of a training step takes: one, and the backward pass twice as many


def arithmetic(passes: Mapping[str, int]) -> int:
    """What passes by kind come to, in forward passes of a patch; see `core.passes.PassCounter`.

    A backward pass is worth two forward; one of an attack, which skips the weights, as much as one.

    >>> arithmetic({'student_forward': 10, 'student_backward': 10, 'attack_forward': 4, 'attack_backward': 4})
    38
    """
    worth = {'forward': 1, 'backward': 2, 'attack_backward': 1}
    return sum(count * worth.get(kind, worth[kind.rpartition('_')[2]]) for kind, count in passes.items())


def retraining_arithmetic(retraining: Mapping[str, int]) -> int:
    """The same of training from scratch for so many `steps` of `batch` patches.

    >>> retraining_arithmetic({'steps': 100, 'batch': 8})
    2400
    """
    return OF_A_STEP * retraining['steps'] * retraining['batch']


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
