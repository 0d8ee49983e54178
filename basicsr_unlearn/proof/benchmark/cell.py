"""One cell of a benchmark, in a process of its own: unlearn, score, relearn, and write down what was measured.

The benchmark starts `python -m basicsr_unlearn.proof.benchmark.cell` with a job as JSON on stdin.
"""
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from basicsr.utils.registry import DATASET_REGISTRY

from basicsr_unlearn import train
from basicsr_unlearn.core.memory import keep_freed_memory
from basicsr_unlearn.data.mixed_dataset import MixedDataset
from basicsr_unlearn.engine.entry import guarded
from basicsr_unlearn.engine.networks import load_network
from basicsr_unlearn.errors import CheckpointError
from basicsr_unlearn.files import write_json
from basicsr_unlearn.metrics.evaluation import evaluate, evenly
from basicsr_unlearn.options.loader import import_plugins
from basicsr_unlearn.options.option_text import option_text
from basicsr_unlearn.proof.attackers.relearning import relearn
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
            see `measurements`.

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
    write_json(job['out'], {**job['record'], **({'run': run} if run else {}), 'measure': job['measure'],
                            **measurements(net, **job['measure'])})
    return 0


def unlearn(option_file: str, options: dict) -> dict | int:
    """Train with these options, which are written to `option_file`, unless a run of their name is there and complete.

    Returns:
        checkpoint, steps (a proxy's with them), batch (patches of a stream), passes, seconds (of the processor, which
        other work beside this hardly adds to) and memory in MB; or the exit code of a training that failed.
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
        numbers = [found[key] for key in ('steps', 'batch', 'seconds', 'memory_mb')]
        return found if Path(found['checkpoint']).is_file() and all(
            isinstance(number, (int, float)) for number in numbers) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def measurements(net: torch.nn.Module, forget: str, test: Mapping[str, Mapping], metric: Mapping, images: int | None,
                 relearning: Mapping) -> dict:
    """Scores of every image, and how fast the forget set is learned again.

    Args:
        net: the network.
        forget: name of the test set that was to be forgotten.
        test: data set blocks by name.
        metric: options of the metric, which gives PSNR in dB.
        images: measure on so many of each set, evenly spread; None for all.
        relearning: `blocks`, paired data sets; `seeds`, each of a curve, its `pairs` and their patches; `images` of the
            forget test set to score, None for all; `steps`, `lr` and `patch` as in `attackers.relearning.relearn`.

    Returns:
        `scores` and `identity` (of the untouched input): test set -> image -> dB; `relearn`: seed -> step -> mean dB on
        the forget test set.
    """
    sets = {name: chosen(DATASET_REGISTRY.get(block['type'])({**block, 'phase': 'val'}), images)
            for name, block in test.items()}
    scores, identity = {}, {}
    for name, items in sets.items():
        found = evaluate({'net': net}, items, {'psnr': metric}).per_image
        scores[name] = {image: round(score['net']['psnr'], 4) for image, score in found.items()}
        identity[name] = {image: round(score['identity']['psnr'], 4) for image, score in found.items()}

    scored = chosen(sets[forget], relearning.get('images'))

    def forget_psnr(tuned: torch.nn.Module) -> float:
        return evaluate({'net': tuned}, scored, {'psnr': metric}).mean['net']['psnr']

    source = MixedDataset({'name': 'relearn', 'phase': 'val', 'sets': relearning['blocks']})
    curves = {}
    for seed in relearning['seeds']:
        drawn = np.random.default_rng(seed).permutation(len(source))[:relearning['pairs']]
        pairs = [(item['lq'], item['gt']) for item in (source[int(index)] for index in drawn)]
        curve = relearn(net, pairs, relearning['steps'], relearning['lr'], relearning['patch'], forget_psnr, seed)
        curves[str(seed)] = {str(step): round(psnr, 4) for step, psnr in curve.items()}
    return {'scores': scores, 'identity': identity, 'relearn': curves}


def chosen(dataset: Sequence, count: int | None) -> list[dict]:
    """The items of a data set, or `count` of them, evenly spread, decoded once."""
    return [dataset[index] for index in evenly(len(dataset), count)]


if __name__ == '__main__':
    sys.exit(main())
