"""One cell of a benchmark, in a process of its own: unlearn, score, attack, and write down what was measured.

The benchmark starts `python -m basicsr_unlearn.proof.benchmark.cell` with a job as JSON on stdin.
"""
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from basicsr.utils.registry import DATASET_REGISTRY

from basicsr_unlearn import train
from basicsr_unlearn.core.memory import keep_freed_memory
from basicsr_unlearn.data.drawn import DEFAULT_PATCH
from basicsr_unlearn.engine.entry import guarded
from basicsr_unlearn.engine.networks import load_network
from basicsr_unlearn.errors import CheckpointError
from basicsr_unlearn.files import write_json
from basicsr_unlearn.metrics.evaluation import evaluate, evenly
from basicsr_unlearn.options.loader import import_plugins
from basicsr_unlearn.options.option_text import option_text
from basicsr_unlearn.proof.attackers.attack_plan import AttackPlan
from basicsr_unlearn.proof.attackers.sweep import sweep
from basicsr_unlearn.proof.benchmark.material import material_of
from basicsr_unlearn.proof.benchmark.records import COST
from basicsr_unlearn.proof.cache import is_number
from basicsr_unlearn.proof.run_cost import RUN_FILE, run_cost


def main() -> int:
    """Do the job on stdin; 0, or the exit code of what failed."""
    keep_freed_memory()
    job = json.load(sys.stdin)
    return guarded(lambda: run_job(job))


def run_job(job: Mapping) -> int:
    """Measure one network and write its record.

    Args:
        job: `out`, the file to write; `record`, what else it is to hold; `plugins`, the packages that register its
            components; `network`, options with network_g and path;
            `checkpoint`, of a network that is there, or `run`, of one that is to be made (see `unlearn`); `measure`,
            see `measurements`; `relative`, another network of the same task for attackers to merge with, or None.

    Returns:
        0, or the exit code of the training.
    """
    import_plugins(job['plugins'], 'the benchmark')
    run = None
    if 'run' in job:
        run = unlearn(**job['run'])
        if isinstance(run, int):
            return run
    try:
        net = load_network(job['network'], run['checkpoint'] if run else job['checkpoint'])
    except CheckpointError as error:
        if not run:
            raise
        print(f'Warning: {error} It is made again.', flush=True)
        done_file(job['run']['options']).unlink()
        run = unlearn(**job['run'])
        if isinstance(run, int):
            return run
        net = load_network(job['network'], run['checkpoint'])
    begin = time.process_time()
    found = measurements(net, job, **job['measure'])
    write_json(job['out'], {**job['record'], **({'run': run} if run else {}), 'measure': job['measure'], **found,
                            'seconds': round(time.process_time() - begin, 1)})
    return 0


def unlearn(option_file: str, options: dict) -> dict | int:
    """Train with these options, which are written to `option_file`, unless a run of their name is there and complete.

    Returns:
        checkpoint, steps (a proxy's with them), batch (patches of a stream), patch (its side), passes, seconds (of the
        processor, which other work beside this hardly adds to) and memory in MB; or the exit code of a training that
        failed.
    """
    done = done_file(options)
    folder, found = done.parent, _finished_run(done)
    if found is None:
        shutil.rmtree(folder, ignore_errors=True)  # what an interrupted run of this very name has left
        Path(option_file).parent.mkdir(parents=True, exist_ok=True)
        Path(option_file).write_text(option_text(options), encoding='utf-8')
        begin = time.process_time()
        code = train.main(['-opt', option_file])
        if code:
            return code
        cost = run_cost(folder / RUN_FILE)
        found = {'checkpoint': str(folder / 'models' / 'net_g_latest.pth'),
                 'steps': cost['steps'], 'batch': cost['batch'], 'passes': cost['passes'],
                 'patch': options['datasets']['train'].get('gt_size') or DEFAULT_PATCH,
                 'seconds': round(time.process_time() - begin, 1), 'memory_mb': cost['memory_mb']}
        write_json(done, found)
    return found


def done_file(options: Mapping) -> Path:
    """What a complete run of this name leaves beside its checkpoint."""
    return Path('experiments', options['name'], 'benchmark.json')


def _finished_run(done: Path) -> dict | None:
    """What `unlearn` returned of a run that is complete; None if there is none, or its file is damaged."""
    try:
        found = json.loads(done.read_text(encoding='utf-8'))
        numbers = [found[key] for key in COST] + list(found['passes'].values())
        return found if Path(found['checkpoint']).is_file() and all(map(is_number, numbers)) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def measurements(net: torch.nn.Module, job: Mapping, forget: str, test: Mapping[str, Mapping], metric: Mapping,
                 images: int | None, attacks: Mapping) -> dict:
    """Scores of every image, and what each attacker reached.

    Args:
        net: the network.
        job: it is of, for what its attackers know and have (see `material_of`).
        forget: name of the test set that was to be forgotten, which attackers are scored on.
        test: data set blocks by name.
        metric: options of the metric, which gives PSNR in dB.
        images: measure on so many of each set, evenly spread; None for all.
        attacks: `plan`, the fields of an AttackPlan; `forget` and `retain`, paired data sets; `images` of the forget
            test set to score, None for all.

    Returns:
        `scores` and `identity` (of the untouched input): test set -> image -> dB; `trails` of the attackers, see
        `core.leads.Trail`; `left_out`, a sentence for each that could not be tried.
    """
    sets = {name: chosen(DATASET_REGISTRY.get(block['type'])({**block, 'phase': 'val'}), images)
            for name, block in test.items()}
    scores, identity = {}, {}
    for name, items in sets.items():
        found = evaluate({'net': net}, items, {'psnr': metric}).per_image
        scores[name] = {image: round(score['net']['psnr'], 4) for image, score in found.items()}
        identity[name] = {image: round(score['identity']['psnr'], 4) for image, score in found.items()}
    scored, plan = chosen(sets[forget], attacks.get('images')), AttackPlan(**attacks['plan'])

    def mean_score(attacked: torch.nn.Module) -> float:
        return evaluate({'net': attacked}, scored, {'psnr': metric}).mean['net']['psnr']

    found = sweep(net, material_of(job, plan.shortened()), plan, mean_score,
                  lambda attacker: print(f'Attacked: {attacker}', flush=True))
    return {'scores': scores, 'identity': identity, 'trails': [trail.record() for trail in found.trails],
            'left_out': list(found.left_out)}


def chosen(dataset: Sequence, count: int | None) -> list[dict]:
    """The items of a data set, or `count` of them, evenly spread, decoded once."""
    return [dataset[index] for index in evenly(len(dataset), count)]


if __name__ == '__main__':
    sys.exit(main())
