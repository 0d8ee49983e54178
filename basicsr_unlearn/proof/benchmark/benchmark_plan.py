"""What a benchmark file asks for, and the option file of every run."""
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.data.drawn import DEFAULT_PATCH
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.methods.presets import expand_method
from basicsr_unlearn.options.benchmark_sections import AttacksOnAll, BenchmarkFile
from basicsr_unlearn.options.loader import plugins_of
from basicsr_unlearn.options.option_file import check_options, find_option_file, load_option_file
from basicsr_unlearn.options.section_checks import check_section
from basicsr_unlearn.options.sentences import shortened
from basicsr_unlearn.options.validation_sets import measures
from basicsr_unlearn.proof.attackers.attack_plan import AttackPlan
from basicsr_unlearn.proof.benchmark.leaderboard import Contest

BENCHMARKS = Path('results/benchmark')
QUICK_IMAGES = 8  # of each test set


@dataclass(frozen=True)
class Benchmark:
    """A benchmark file, read and checked. `methods` are blocks by label; `base` are the base file's options; `attacks`
    are options of an AttackPlan, and `images`.
    """
    name: str
    text: str
    plugins: list[str]
    base: dict
    targets: dict[str, dict]
    methods: dict[str, dict]
    seeds: list[int]
    test: dict[str, dict]
    attacks: dict
    retraining: dict
    budgets: list[float]
    yardstick: Yardstick
    jobs: int
    images: int | None
    out: Path


def read_benchmark(path: str, quick: bool = False, whole_sweep: bool = False) -> Benchmark:
    """Read a benchmark file and its base file.

    Args:
        path: as given; `options/NAME.yml` is found in an installed package too.
        quick: the first seed and QUICK_IMAGES images of each set alone, in a folder of their own.
        whole_sweep: all attackers, whatever the file says, in a folder of their own.

    Raises:
        OptionError: an option is unknown, missing or out of range, or a file does not exist.
    """
    opt = load_option_file(path)
    _check_former(opt)
    check_section(opt, BenchmarkFile, '')
    base = _read_base(opt['base'])
    base['datasets']['train'] |= opt.get('data', {})
    if len(opt['test']) < 2:
        raise OptionError('test has a single set: add one of what is to be kept.')
    for name, block in opt['targets'].items():
        _check_target(name, block, opt['test'])
    budgets = opt.get('budgets', BenchmarkFile.model_fields['budgets'].default)
    for key, values in (('seeds', opt['seeds']), ('budgets', budgets)):
        if sorted(set(values)) != values:
            raise OptionError(f'{key} is {shortened(values)}, not a list of numbers, each larger than the one before.')
    name = '_'.join([opt['name'], *['quick'] * quick, *['whole'] * whole_sweep])
    _check_name(name, 'name')
    attacks = {'quick': AttacksOnAll.model_fields['quick'].default, **opt.get('attacks', {})}
    benchmark = Benchmark(
        name=name, text=find_option_file(path).read_text(encoding='utf-8'), plugins=plugins_of(base, opt), base=base,
        targets=dict(opt['targets']), methods=_methods(opt), seeds=opt['seeds'][:1] if quick else list(opt['seeds']),
        test=dict(opt['test']), attacks={**attacks, 'quick': False} if whole_sweep else attacks,
        retraining=dict(opt['retraining']), budgets=list(budgets), yardstick=Yardstick(margin=opt.get('skill_margin')),
        jobs=opt.get('jobs', 1), images=QUICK_IMAGES if quick else None, out=BENCHMARKS / name)
    for label in benchmark.methods:
        attack_plan_of(benchmark, label)
    return benchmark


def _check_former(opt: Mapping) -> None:
    """Raise OptionError where a file is written for the one attacker of earlier versions."""
    if 'relearn' in opt:
        raise OptionError('The block relearn is now attacks, which tries many attackers: take it out, or see what '
                          'attacks takes in options/benchmark_nafnet.yml.')
    targets = opt.get('targets')
    for name, block in targets.items() if isinstance(targets, Mapping) else ():
        if isinstance(block, Mapping) and 'relearn' in block:
            raise OptionError(f'targets.{name}.relearn is now targets.{name}.attack_data.forget.')


def _check_target(name: str, block: Mapping, test: Mapping) -> None:
    _check_name(name, f'targets.{name}')
    if name not in test:
        raise OptionError(f'targets.{name} has no test set of its name: add test.{name}, on which forgetting is '
                          'measured.')
    others = [key for key in test if key != name]
    for key in ('strengths', 'keep'):
        for other in block.get(key) or ():
            if other not in others:
                raise OptionError(f'targets.{name}.{key} has {other}, which is no other test set; use '
                                  f'{", ".join(others)}.')
    both = set(block.get('keep') or ()) & set(block.get('strengths') or ())
    if both:
        raise OptionError(f'targets.{name} is to forget and to keep {sorted(both)[0]}: take it out of one of strengths '
                          'and keep.')
    for path in block.get('retrained') or ():
        if path.endswith('.json'):
            raise OptionError(f'targets.{name}.retrained has {path}, a record: name the checkpoint, as attackers need '
                              'the network.')
    if not kept_of(name, block, test):
        raise OptionError(f'targets.{name} keeps no test set: add one of what is to be kept to test.')


def kept_of(target: str, block: Mapping, test: Mapping) -> list[str]:
    """Names of the test sets of what is to be kept."""
    return block.get('keep') or [name for name in test if name not in (target, *(block.get('strengths') or ()))]


def attack_plan_of(benchmark: Benchmark, label: str | None = None) -> AttackPlan:
    """How a method's networks are attacked, or, for None, those of all that do not say it themselves.

    Raises:
        OptionError: there is no such plan.
    """
    own = {} if label is None else benchmark.methods[label].get('attacks', {})
    options = {key: value for key, value in {**benchmark.attacks, **own}.items() if key != 'images'}
    try:
        return AttackPlan(**options)
    except OptionError as error:
        where = 'attacks' if label is None or not own else f'the attacks of method {label}'
        raise OptionError(f'{where}: {str(error).removeprefix("attacks ")}') from None


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
        own = {} if 'total_iter' in block else {'total_iter': opt['total_iter'], 'budget': opt.get('budget')}
        methods[label] = {**own, **block}
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


def contest_of(benchmark: Benchmark, target: str) -> Contest:
    """What the methods are compared on."""
    return Contest(target, benchmark.retraining, benchmark.base['datasets']['train'].get('gt_size') or DEFAULT_PATCH,
                   tuple(benchmark.targets[target].get('strengths') or ()), tuple(benchmark.budgets),
                   benchmark.yardstick)
