"""The results of docs/results.md: unlearn with several seeds, test each network, print the table with mean and spread.

    python tests/benchmarks/bench_seeds.py options/unlearn_haze_calibrated.yml options/unlearn_haze.yml

An option file may be followed by overrides, each after a plus sign: options/unlearn_haze.yml+train:grad_clip=0.5.
The network and its references are those of the first file. Run where datasets/CBSD68 and datasets/SOTS-indoor are laid
out as docs/data.md shows. Resumable: a network that is there is not trained again, a score that is there is not
measured again (results/seeds). The seconds are the wall time of a run on one thread, longer where --jobs runs several
side by side.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import torch

from basicsr_unlearn.engine.networks import load_network
from basicsr_unlearn.metrics.evaluation import evaluate
from basicsr_unlearn.options.option_file import load_option_file
from basicsr_unlearn.options.validation_sets import measures, validation_sets

OUT = Path('results/seeds')
ROOT = Path(__file__).resolve().parents[2]


def label(run: str) -> str:
    """`options/unlearn_haze.yml+train:grad_clip=0.5` -> `unlearn_haze+grad_clip=0.5`."""
    file, *overrides = run.split('+')
    return '+'.join([Path(file).stem, *(entry.rpartition(':')[2] for entry in overrides)])


def unlearn(run: str, seed: int) -> dict:
    """Train unless it is done; the checkpoint, the seconds and the iterations."""
    option_file, *overrides = run.split('+')
    name = f'{label(run)}_seed{seed}'
    record = OUT / f'{name}.json'
    if not record.is_file():
        begin = time.perf_counter()
        subprocess.run(
            [sys.executable, '-m', 'basicsr_unlearn.train', '-opt', option_file, '--force_yml', f'name={name}',
             f'manual_seed={seed}', 'val:val_freq=1000000', 'logger:use_tb_logger=false', *overrides], check=True,
            capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'})
        steps = json.loads(Path('experiments', name, 'run.json').read_text())['steps']
        record.write_text(json.dumps({'checkpoint': f'experiments/{name}/models/net_g_latest.pth', 'steps': steps,
                                      'seconds': round(time.perf_counter() - begin, 1)}))
    return json.loads(record.read_text())


def scores(test_file: str, crop: int | None, run: dict, network: str, checkpoint: str | None) -> dict[str, float]:
    """PSNR by data set of the test file for a network as the options `run` have it, or of the untouched input."""
    record = OUT / f'{Path(test_file).stem}_{crop or "whole"}_{run["network_g"]["type"]}_{network}.json'
    means = json.loads(record.read_text()) if record.is_file() else {}
    opt = {**load_option_file(test_file), 'network_g': run['network_g']}
    opt['datasets'] = {key.replace('test', 'val', 1): block for key, block in opt['datasets'].items()
                       if block['name'] not in means}
    for block in opt['datasets'].values():
        if crop:
            block['center_crop'] = crop
    if opt['datasets']:
        nets = {} if checkpoint is None else {'net': load_network(opt, checkpoint)}
        metrics = {'psnr': measures(opt)['psnr']}
        column = 'identity' if checkpoint is None else 'net'
        for name, dataset in validation_sets(opt).items():
            means[name] = evaluate(nets, dataset, metrics).mean[column]['psnr']
        record.write_text(json.dumps(means))
    return means


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', metavar='FILE.yml[+KEY=VALUE...]')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2])
    parser.add_argument('--test', default='options/test_cbsd68.yml')
    parser.add_argument('--crop', type=int, help='score the central square of so many pixels instead of whole images')
    parser.add_argument('--jobs', type=int, default=1)
    args = parser.parse_args()
    OUT.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    first = load_option_file(args.runs[0].split('+')[0])  # all runs are of its network
    paths = first['path']
    with ThreadPoolExecutor(args.jobs) as pool:
        runs = {(run, seed): pool.submit(unlearn, run, seed) for run in args.runs for seed in args.seeds}
        def score(network: str, checkpoint: str | None) -> Future:
            return pool.submit(scores, args.test, args.crop, first, network, checkpoint)

        references = {network: score(network, path) for network, path in (
            ('identity', None), ('original', paths['pretrain_network_g']),
            ('retrained', paths['pretrain_network_retrained']))}
        runs = {key: run.result() for key, run in runs.items()}
        tested = {key: score(f'{label(key[0])}_seed{key[1]}', run['checkpoint']) for key, run in runs.items()}
        references = {network: result.result() for network, result in references.items()}
        tested = {key: result.result() for key, result in tested.items()}
    sets = list(references['original'])
    print('| PSNR, dB | ' + ' | '.join(sets) + ' | steps | seconds |\n|' + ' --- |' * (len(sets) + 3))
    for network, values in references.items():
        print(f'| {network} | ' + ' | '.join(f'{values[name]:.2f}' for name in sets) + ' | | |')
    for run in args.runs:
        cells = []
        for name in sets:
            values = [tested[run, seed][name] for seed in args.seeds]
            cells.append(f'{statistics.mean(values):.2f} ± {statistics.stdev(values) if len(values) > 1 else 0:.2f}')
        steps, seconds = ([runs[run, seed][key] for seed in args.seeds] for key in ('steps', 'seconds'))
        print(f'| {label(run)} | ' + ' | '.join(cells) + f' | {min(steps)} to {max(steps)} | '
              f'{statistics.mean(seconds):.0f} |')


if __name__ == '__main__':
    main()
