"""How long what is missing of a benchmark will take, from what is done."""
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import NamedTuple


class Estimate(NamedTuple):
    """Processor time in seconds; `whole` is false where nothing tells how long unlearning takes."""
    seconds: float
    whole: bool


def estimate(jobs: Sequence[Mapping], done: Sequence[Mapping]) -> Estimate | None:
    """What jobs will take one after the other; None where no network was attacked by one of their plans yet.

    A network takes as long as others that were attacked alike, and unlearning as long for a patch as other runs of its
    method, or of any.
    """
    alike = {plan: [record['seconds'] for record in done if record['plan'] == plan]
             for plan in {job['record']['plan'] for job in jobs}}
    if not all(alike.values()):
        return None
    seconds, runs = sum(mean(alike[job['record']['plan']]) for job in jobs), [job for job in jobs if 'run' in job]
    known = [record for record in done if 'run' in record]
    if not known:
        return Estimate(seconds, not runs)
    for job in runs:
        named = [record for record in known if record['name'] == job['record']['name']] or known
        train = job['run']['options']
        patches = train['train']['total_iter'] * train['datasets']['train']['batch_size_per_gpu']
        seconds += patches * mean(record['run']['seconds'] / (record['run']['steps'] * record['run']['batch'])
                                  for record in named)
    return Estimate(seconds, True)
