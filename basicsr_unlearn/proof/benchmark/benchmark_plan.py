"""What a benchmark file asks for: the option file of every run, and what has to be measured."""
import json
import re
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from basicsr.utils.registry import DATASET_REGISTRY

from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.engine.networks import load_network
from basicsr_unlearn.engine.preflight import preflight
from basicsr_unlearn.errors import OptionError, UnlearnError
from basicsr_unlearn.methods.presets import expand_method
from basicsr_unlearn.options.benchmark_sections import BenchmarkFile
from basicsr_unlearn.options.loader import plugins_of
from basicsr_unlearn.options.option_file import check_options, find_option_file, load_option_file
from basicsr_unlearn.options.section_checks import check_section
from basicsr_unlearn.options.sentences import shortened
from basicsr_unlearn.options.validation_sets import measures
from basicsr_unlearn.proof.benchmark.records import given_record
from basicsr_unlearn.proof.cache import cache_key, data_digest, file_digest

BENCHMARKS = Path('results/benchmark')
QUICK_IMAGES = 8  # of each test set


@dataclass(frozen=True)
class Benchmark:
    """A benchmark file, read and checked. `methods` are blocks by label; `base` are the base file's options."""
    name: str
    text: str
    plugins: list[str]
    base: dict
    targets: dict[str, dict]
    methods: dict[str, dict]
    seeds: list[int]
    test: dict[str, dict]
    relearn: dict
    retraining: dict
    yardstick: Yardstick
    jobs: int
    images: int | None
    out: Path


def read_benchmark(path: str, quick: bool = False) -> Benchmark:
    """Read a benchmark file and its base file.

    Args:
        path: as given; `options/NAME.yml` is found in an installed package too.
        quick: the first seed and QUICK_IMAGES images of each set alone, in a folder of their own.

    Raises:
        OptionError: an option is unknown, missing or out of range, or a file does not exist.
    """
    opt = load_option_file(path)
    check_section(opt, BenchmarkFile, '')
    base = _read_base(opt['base'])
    base['datasets']['train'] |= opt.get('data', {})
    for name, block in opt['targets'].items():
        _check_name(name, f'targets.{name}')
        if name not in opt['test']:
            raise OptionError(f'targets.{name} has no test set of its name: add test.{name}, on which forgetting is '
                              'measured.')
        for kept in block.get('keep') or ():
            if kept not in opt['test'] or kept == name:
                raise OptionError(f'targets.{name}.keep has {kept}, which is no other test set; use '
                                  f'{", ".join(key for key in opt["test"] if key != name)}.')
    if len(opt['test']) < 2:
        raise OptionError('test has a single set: add one of what is to be kept.')
    for key, values in (('seeds', opt['seeds']), ('relearn.steps', opt['relearn']['steps'])):
        if sorted(set(values)) != values:
            raise OptionError(f'{key} is {shortened(values)}, not a list of whole numbers, each larger than the one '
                              'before.')
    name = f'{opt["name"]}_quick' if quick else opt['name']
    _check_name(name, 'name')
    return Benchmark(
        name=name, text=find_option_file(path).read_text(encoding='utf-8'), plugins=plugins_of(base, opt), base=base,
        targets=dict(opt['targets']), methods=_methods(opt), seeds=opt['seeds'][:1] if quick else list(opt['seeds']),
        test=dict(opt['test']), relearn=dict(opt['relearn']), retraining=dict(opt['retraining']),
        yardstick=Yardstick(margin=opt.get('skill_margin')), jobs=opt.get('jobs', 1),
        images=QUICK_IMAGES if quick else None, out=BENCHMARKS / name)


def _read_base(path: str) -> dict:
    try:
        find_option_file(path)
    except OptionError:
        raise OptionError(f'base {path} does not exist: name an unlearning option file.') from None
    base = load_option_file(path)
    try:
        check_options(base, is_train=True)
        if base['model_type'] != 'UnlearnModel':
            raise OptionError('model_type is not UnlearnModel.')
        measures(base)
    except OptionError as error:
        raise OptionError(f'base {path}: {error}') from error
    return base


def _methods(opt: Mapping) -> dict[str, dict]:
    methods = {}
    for index, entry in enumerate(opt['methods']):
        block = {'method': entry} if isinstance(entry, str) else entry
        label = block.get('label', block['method'])
        _check_name(label, f'methods[{index}].label')
        if label in methods:
            raise OptionError(f"methods[{index}] is called '{label}' like another one: give it a label.")
        for target in block.get('targets', ()):
            if target not in opt['targets']:
                raise OptionError(f'methods[{index}].targets has {target}, which is no target; use '
                                  f'{", ".join(opt["targets"])}.')
        methods[label] = {'total_iter': opt['total_iter'], **block}
    if not methods:
        raise OptionError('methods is an empty list: name at least one; basicsr-unlearn methods lists them.')
    return methods


def _check_name(name: str, where: str) -> None:
    if not re.fullmatch(r'[\w.=-]+', str(name)):
        raise OptionError(f"{where} is '{name}', which is part of file names: use letters, digits, _, -, . and =.")


def methods_of(benchmark: Benchmark, target: str) -> list[str]:
    """Labels of the methods that are for this target, in the order of the file."""
    return [label for label, block in benchmark.methods.items() if target in block.get('targets', benchmark.targets)]


def run_options(benchmark: Benchmark, target: str, label: str, seed: int) -> dict:
    """The option file of one run, its method spelt out, without `name`.

    Raises:
        OptionError: there is no such method.
    """
    base, block, method = benchmark.base, benchmark.targets[target], benchmark.methods[label]
    sources = ('forget', 'retain', 'retain_from', 'retain_degradations')
    data = {key: value for key, value in base['datasets']['train'].items() if key not in sources}
    data |= {key: block[key] for key in sources if block.get(key)} | method.get('data', {})
    if data.get('retain'):
        data.pop('retain_degradations', None)
    elif data.get('retain_degradations'):
        data['retain_from'] = 'forget_gt'
    data = {key: value for key, value in data.items() if value is not None}
    train = {'method': method['method'], **method.get('train', {}), 'total_iter': method['total_iter']}
    train = expand_method({'train': train})['train']
    train.setdefault('warmup_iter', base['train'].get('warmup_iter', -1))
    if 'scheduler' not in train:
        train['scheduler'] = dict(base['train']['scheduler'])
        if len(train['scheduler'].get('periods', ())) == 1:
            train['scheduler']['periods'] = [method['total_iter']]
    return deepcopy({
        'model_type': 'UnlearnModel', 'scale': base.get('scale', 1), 'num_gpu': base['num_gpu'],
        'manual_seed': seed, 'datasets': {'train': data}, 'network_g': base['network_g'],
        'path': {**base['path'], 'pretrain_network_retrained': None, 'resume_state': None}, 'train': train,
        'logger': {'print_freq': 50, 'save_checkpoint_freq': method['total_iter'] + 1, 'use_tb_logger': False}})


def jobs_of(benchmark: Benchmark, target: str) -> list[dict]:
    """What has to be measured for a target: the original, the retrained networks, then all methods seed by seed.

    A job is what `benchmark_cell.run_job` takes.

    Raises:
        CheckpointError: a checkpoint does not exist.
    """
    base = benchmark.base
    original = base['path']['pretrain_network_g']
    digest, measured_on = file_digest(original), _data(benchmark, target)

    def job(file: str, weights: str, record: dict, param_key: str | None = None, **source: Any) -> dict:
        seeds = [record['seed']] if 'seed' in record else benchmark.seeds
        measure = _measure(benchmark, target, seeds)
        network = {'network_g': base['network_g'], 'num_gpu': base['num_gpu'], 'path': {'param_key_g': param_key}}
        key = cache_key('benchmark', weights, measured_on, [network, measure])
        return {'out': str(benchmark.out / file), 'record': {'key': key, 'target': target, **record},
                'plugins': benchmark.plugins, 'network': network, 'measure': measure, **source}

    jobs = [job(f'references/{target}_original.json', digest, {'kind': 'original'},
                base['path'].get('param_key_g'), checkpoint=original)]
    for index, path in enumerate(_checkpoints(benchmark.targets[target])):
        jobs.append(job(f'references/{target}_retrained{index}.json', file_digest(path),
                        {'kind': 'retrained', 'checkpoint': path}, checkpoint=path))
    learned_from = {label: _digest_of_set(run_options(benchmark, target, label, 0)['datasets']['train'], 'train',
                                          base.get('scale', 1)) for label in methods_of(benchmark, target)}
    for seed in benchmark.seeds:
        for label in methods_of(benchmark, target):
            opt = run_options(benchmark, target, label, seed)
            run_key = cache_key('run', digest, learned_from[label], opt)
            cell = f'{target}_{label}_seed{seed}'
            run = {'option_file': str(benchmark.out / 'options' / f'{cell}.yml'),
                   'options': {'plugin': benchmark.plugins, 'name': f'benchmark_{cell}_{run_key[:8]}', **opt}}
            jobs.append(job(f'cells/{cell}.json', run_key, {'kind': 'method', 'name': label, 'seed': seed}, run=run))
    return jobs


def _measure(benchmark: Benchmark, target: str, seeds: Sequence[int]) -> dict:
    """How a network is judged, as `benchmark_cell.measurements` takes it; `seeds` are of relearning."""
    base = benchmark.base
    scale = base.get('scale', 1)
    kept = benchmark.targets[target].get('keep') or [name for name in benchmark.test if name != target]
    return json.loads(json.dumps({  # plain dicts and lists, as they are read back from a record
        'forget': target, 'metric': measures(base)['psnr'], 'images': benchmark.images,
        'test': {name: {**benchmark.test[name], 'name': name, 'scale': scale} for name in (target, *kept)},
        'relearning': {'patch': base['datasets']['train'].get('gt_size') or 64, **benchmark.relearn, 'seeds': seeds,
                       'blocks': [{'name': 'relearn', **block, 'scale': scale}
                                  for block in benchmark.targets[target]['relearn']]}}))


def _data(benchmark: Benchmark, target: str) -> list[str]:
    """Hashes of what a network is scored on and learns again from."""
    measure = _measure(benchmark, target, ())
    return [_digest_of_set(block, 'val') for block in (*measure['test'].values(), *measure['relearning']['blocks'])]


def _digest_of_set(block: Mapping, phase: str, scale: int = 1) -> str:
    return _digest_of_options(json.dumps({'name': 'data', 'scale': scale, **block, 'phase': phase}))


@cache
def _digest_of_options(options: str) -> str:
    """Of a data set by its options as JSON, listed once a process."""
    block = json.loads(options)
    return data_digest(DATASET_REGISTRY.get(block['type'])(block))


def _checkpoints(target: Mapping) -> list[str]:
    return [path for path in target.get('retrained') or () if not path.endswith('.json')]


def retrained_records(benchmark: Benchmark, target: str) -> list[dict]:
    """Records of retrained networks that are given as .json. With few images they are left out, as theirs are of all.

    Raises:
        DataError: a file cannot be read, or was measured otherwise than this benchmark does.
    """
    given = [] if benchmark.images is not None else benchmark.targets[target].get('retrained') or ()
    measure = _measure(benchmark, target, benchmark.seeds)
    return [given_record(path, measure) for path in given if path.endswith('.json')]


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
        measure, size = _measure(benchmark, target, benchmark.seeds), opt['datasets']['train'].get('gt_size') or 64
        opt['datasets']['train'] |= {'phase': 'train', 'scale': opt['scale']}
        opt['datasets'] |= {f'val_{name}': {**block, 'phase': 'val'} for name, block in measure['test'].items()}
        opt['datasets'] |= {f'val_{index}': {'gt_size': size, **block, 'phase': 'train'}  # patches are taken of them
                            for index, block in enumerate(measure['relearning']['blocks'])}
        try:
            preflight({**opt, 'is_train': True})
        except UnlearnError as error:
            raise type(error)(f'Target {target}: {error}') from error
        for path in _checkpoints(benchmark.targets[target]):
            load_network({**opt, 'path': {'param_key_g': None}}, path)
        retrained_records(benchmark, target)
