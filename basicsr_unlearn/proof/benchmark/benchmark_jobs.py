"""What has to be measured for a benchmark, network by network, and whether it can be."""
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from basicsr.utils.registry import DATASET_REGISTRY

from basicsr_unlearn.engine.networks import load_network
from basicsr_unlearn.engine.preflight import preflight
from basicsr_unlearn.errors import OptionError, UnlearnError
from basicsr_unlearn.options.option_file import check_options
from basicsr_unlearn.options.validation_sets import measures
from basicsr_unlearn.proof.attackers.attack_plan import AttackPlan
from basicsr_unlearn.proof.benchmark.benchmark_plan import Benchmark, attack_plan_of, kept_of, methods_of, run_options
from basicsr_unlearn.proof.benchmark.material import check_attack_data
from basicsr_unlearn.proof.cache import cache_key, data_digest, file_digest


def jobs_of(benchmark: Benchmark, target: str) -> list[dict]:
    """What has to be measured for a target: the original and the retrained networks, by each plan of attack that there
    is, then all methods seed by seed.

    A job is what `cell.run_job` takes.

    Raises:
        CheckpointError: a checkpoint does not exist.
    """
    base, block = benchmark.base, benchmark.targets[target]
    original, retrained = base['path']['pretrain_network_g'], block.get('retrained') or []
    digest, measured_on, digests = file_digest(original), _data(benchmark, target), [*map(file_digest, retrained)]

    def job(file: str, weights: str, plan: AttackPlan, relative: int | None, record: dict,
            param_key: str | None = None, **source: Any) -> dict:
        measure = _measure(benchmark, target, plan)
        network = {'network_g': base['network_g'], 'num_gpu': base['num_gpu'], 'path': {'param_key_g': param_key}}
        relative = None if plan.quick else relative  # only the whole sweep merges networks
        merged = None if relative is None else digests[relative]
        key = cache_key('benchmark', [weights, merged], measured_on, [network, measure])
        return {'out': str(benchmark.out / file), 'plugins': benchmark.plugins, 'network': network, 'measure': measure,
                'record': {'key': key, 'target': target, 'plan': plan_name(benchmark, plan), **record},
                'relative': None if relative is None else retrained[relative], **source}

    first = 0 if retrained else None
    jobs, labels = [], methods_of(benchmark, target)
    for plan in dict.fromkeys([attack_plan_of(benchmark), *(attack_plan_of(benchmark, label) for label in labels)]):
        suffix = plan_name(benchmark, plan) and f'_{plan_name(benchmark, plan)}'
        jobs.append(job(f'references/{target}_original{suffix}.json', digest, plan, first, {'kind': 'original'},
                        base['path'].get('param_key_g'), checkpoint=original))
        for index, path in enumerate(retrained):
            another = (index + 1) % len(retrained) if len(retrained) > 1 else None
            jobs.append(job(f'references/{target}_retrained{index}{suffix}.json', digests[index], plan, another,
                            {'kind': 'retrained', 'checkpoint': path}, checkpoint=path))
    learned_from = {label: _digest_of_set(run_options(benchmark, target, label, 0)['datasets']['train'], 'train',
                                          base.get('scale', 1)) for label in labels}
    for seed in benchmark.seeds:
        for label in labels:
            opt = run_options(benchmark, target, label, seed)
            run_key = cache_key('run', digest, learned_from[label], opt)
            cell = f'{target}_{label}_seed{seed}'
            run = {'option_file': str(benchmark.out / 'options' / f'{cell}.yml'),
                   'options': {'plugin': benchmark.plugins, 'name': f'benchmark_{cell}_{run_key[:8]}', **opt}}
            jobs.append(job(f'cells/{cell}.json', run_key, attack_plan_of(benchmark, label), first,
                            {'kind': 'method', 'name': label, 'seed': seed,
                             'budget': benchmark.methods[label].get('budget')}, run=run))
    return jobs


def plan_name(benchmark: Benchmark, plan: AttackPlan) -> str:
    """What the plan of some methods is called in files, nothing for that of all others."""
    if plan == attack_plan_of(benchmark):
        return ''
    return cache_key('plan', options=vars(plan))[:6]


def _measure(benchmark: Benchmark, target: str, plan: AttackPlan) -> dict:
    """How a network is judged, as `cell.measurements` takes it."""
    base, block = benchmark.base, benchmark.targets[target]
    scale, data = base.get('scale', 1), block['attack_data']
    attacked = {stream: [{'name': stream, **one, 'scale': scale} for one in blocks or ()]
                for stream, blocks in (('forget', data['forget']), ('retain', data.get('retain', block.get('retain'))))}
    names = (target, *(block.get('strengths') or ()), *kept_of(target, block, benchmark.test))
    return json.loads(json.dumps({  # plain dicts and lists, as they are read back from a record
        'forget': target, 'metric': measures(base)['psnr'], 'images': benchmark.images,
        'test': {name: {**benchmark.test[name], 'name': name, 'scale': scale} for name in names},
        'attacks': {'plan': vars(plan), 'images': benchmark.attacks.get('images'), **attacked}}))


def _data(benchmark: Benchmark, target: str) -> list[str]:
    """Hashes of what a network is scored on and attackers learn from."""
    measure = _measure(benchmark, target, attack_plan_of(benchmark))
    return [_digest_of_set(block, 'val') for block in (*measure['test'].values(), *measure['attacks']['forget'],
                                                       *measure['attacks']['retain'])]


def _digest_of_set(block: Mapping, phase: str, scale: int = 1) -> str:
    return _digest_of_options(json.dumps({'name': 'data', 'scale': scale, **block, 'phase': phase}))


@cache
def _digest_of_options(options: str) -> str:
    """Of a data set by its options as JSON, listed once a process."""
    block = json.loads(options)
    return data_digest(DATASET_REGISTRY.get(block['type'])(block))


def check_selected(benchmark: Benchmark, targets: Sequence[str], methods: Sequence[str]) -> None:
    """Check options, images and checkpoints of these cells, in seconds.

    Raises:
        OptionError, DataError, CheckpointError: the first thing that would keep a cell from running.
    """
    for target in targets:
        chosen = [label for label in methods_of(benchmark, target) if label in methods]
        if not chosen:
            raise OptionError(f'Target {target} has none of the methods {", ".join(methods)}: name one of '
                              f'{", ".join(methods_of(benchmark, target))}, or other targets.')
        for label in chosen:
            try:
                check_options({'name': 'x', **run_options(benchmark, target, label, benchmark.seeds[0])}, is_train=True)
            except OptionError as error:
                raise OptionError(f'Method {label}, target {target}: {error}') from error
        opt = run_options(benchmark, target, chosen[0], benchmark.seeds[0])
        measure, plan = _measure(benchmark, target, attack_plan_of(benchmark)), attack_plan_of(benchmark, chosen[0])
        opt['datasets']['train'] |= {'phase': 'train', 'scale': opt['scale']}
        opt['datasets'] |= {f'val_{name}': {**block, 'phase': 'val'} for name, block in measure['test'].items()}
        learned = [*measure['attacks']['forget'], *measure['attacks']['retain']]
        opt['datasets'] |= {f'val_{index}': {'gt_size': plan.patch, **block, 'phase': 'train'}  # patches are taken
                            for index, block in enumerate(learned)}
        try:
            preflight({**opt, 'is_train': True})
        except UnlearnError as error:
            raise type(error)(f'Target {target}: {error}') from error
        check_attack_data(measure['attacks']['forget'], f'targets.{target}.attack_data.forget')
        for path in benchmark.targets[target].get('retrained') or ():
            load_network({**opt, 'path': {'param_key_g': None}}, path)
