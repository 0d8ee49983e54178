"""What an unlearning run was and what came of it, as run.json holds it (documented in docs/training.md)."""
import platform
from collections.abc import Mapping, Sequence
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path
from typing import Any

from basicsr.utils.registry import DATASET_REGISTRY

from basicsr_unlearn.core.judgement import CANNOT_JUDGE, FORGOTTEN, forget_gap
from basicsr_unlearn.core.memory import peak_memory
from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.methods.presets import method_of
from basicsr_unlearn.models.first_batches import STREAMS
from basicsr_unlearn.models.unlearn_model import UnlearnModel
from basicsr_unlearn.proof.cache import data_digest, file_digest
from basicsr_unlearn.proof.causes import RunFacts, likely_cause
from basicsr_unlearn.proof.verdict import LearnedAgain, RunVerdict, judge_run
from basicsr_unlearn.version import __version__

RUN_SCHEMA = 1
PACKAGES = ('basicsr', 'torch', 'numpy')
INVERTIBLE = ('edit_opt', 'mask_opt', 'anchor_opt')  # what an attacker who knows the run undoes
PARTS_OF_METHOD = ('edit_opt', 'forget_opt', 'retain_opt', 'adversarial_opt', 'anchor_opt')


def run_record(model: UnlearnModel, method: str | None, seconds: float) -> dict[str, Any]:
    """Everything that is said about a run, numbers before words.

    Args:
        model: after the last validation.
        method: the preset that the option file names, None where it spells the parts out.
        seconds: from the start of this process's run to its end.
    """
    opt, (metric, yardstick) = model.opt, model.tracking.yardstick()
    datasets = {}
    for name, role in model.tracking.roles().items():
        points = model.tracking.history.get(name)
        if points:
            columns = {**model.tracking.references.get(name, {}), 'unlearned': points[-1][1]}
            datasets[name] = {'role': role, 'images': model.tracking.counts[name], 'scores': _by_metric(columns)}
    train, path = opt['train'], opt['path']
    found = judged(datasets, metric, yardstick)
    return {
        'schema': RUN_SCHEMA, 'name': opt['name'], 'method': method or method_of(train) or ' + '.join(
            part for term in PARTS_OF_METHOD if train.get(term) for part in _types(train[term])),
        'steps': model.iteration, 'total_iter': int(train['total_iter']),
        'proxy_steps': (train.get('proxy_opt') or {}).get('iters', 0),
        'batch': opt['datasets']['train']['batch_size_per_gpu'] * opt['world_size'],
        'ended_by': 'stop rule' if model.unlearner.stop_rule and model.unlearner.stop_rule.met(model.iteration) else
                    'total_iter' if model.iteration >= int(train['total_iter']) else 'end of the data',
        'changed_at_resumes': getattr(getattr(model, 'run_record', None), 'changes', []),
        'samples': {stream: model.iteration * opt['datasets']['train']['batch_size_per_gpu'] * opt['world_size']
                    for stream in STREAMS if stream in model.unlearner.objective.streams},
        'passes': {(kind.replace('g_', 'student_') if kind.startswith('g_') else kind): round(count * opt['world_size'])
                   for kind, count in model.unlearner.passes.samples.items()},
        'seconds': round(seconds, 1), 'peak_memory_mb': round(peak_memory()), 'device': str(model.device),
        'networks': {'original': _file(path['pretrain_network_g'] if model.original_path is None
                                       else model.original_path),
                     'unlearned': _file(str(Path(path['models'], 'net_g_latest.pth'))),
                     **({'retrained': _file(path['pretrain_network_retrained'])}
                        if path.get('pretrain_network_retrained') else {})},
        'judged_by': {'metric': metric, **vars(yardstick)}, 'datasets': datasets,
        'curves': {name: [[step, dict(values)] for step, values in points]
                   for name, points in model.tracking.history.items()},
        'settings': _settings(opt), 'seed': opt['manual_seed'],
        'parts': {key: train[key] for key in INVERTIBLE if train.get(key)},
        'versions': {'basicsr_unlearn': __version__, **{package: version(package) for package in PACKAGES},
                     'python': platform.python_version()},
        'data': {key: data_digest(DATASET_REGISTRY.get(block['type'])(deepcopy(dict(block))))
                 for key, block in opt['datasets'].items()},
        'outcome': found.outcome, 'headline': list(found.headline), 'verdict': found.details,
        'likely_cause': _cause(model, found, datasets),
    }


def judged(datasets: Mapping[str, Mapping], metric: str | None, yardstick: Yardstick,
           relearning: Sequence[LearnedAgain] = ()) -> RunVerdict:
    """The verdict on the data sets of a record."""
    return judge_run({name: entry['role'] for name, entry in datasets.items()},
                     {name: entry['scores'].get(metric, {}) for name, entry in datasets.items()}, yardstick, relearning)


def yardstick_of_record(record: Mapping) -> tuple[str | None, Yardstick]:
    """The metric that a record was judged by, and its yardstick."""
    block = dict(record['judged_by'])
    return block.pop('metric'), Yardstick(**block)


def _by_metric(columns: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    metrics = dict.fromkeys(metric for values in columns.values() for metric in values)
    order = ('identity', 'original', 'unlearned', 'retrained')
    return {metric: {column: round(columns[column][metric], 4) for column in order if metric in columns.get(column, {})}
            for metric in metrics}


def _cause(model: UnlearnModel, found: RunVerdict, datasets: Mapping[str, Mapping]) -> str | None:
    """Why the forget set that ended furthest off did."""
    metric, yardstick = model.tracking.yardstick()
    off = {name: abs(forget_gap(datasets[name]['scores'][metric], yardstick))
           for name, forgetting in found.forgetting.items() if forgetting.state not in (FORGOTTEN, CANNOT_JUDGE)}
    if not off:
        return None
    name, train = max(off, key=off.get), model.opt['train']
    points = [values[metric] for _, values in model.tracking.history[name] if metric in values]
    forget, holder = train.get('forget_opt') or {}, train.get('retain_opt') or train.get('adversarial_opt')
    objective, rule = model.unlearner.objective, model.unlearner.stop_rule
    adversarial = objective.losses.get('adversarial')
    default = 'gt' if holder is train.get('retain_opt') else getattr(adversarial, 'target', 'gt')
    return likely_cause(RunFacts(
        scores=datasets[name]['scores'][metric], before=points[-2] if len(points) > 2 else None,
        retain=[datasets[other]['scores'][metric] for other in found.keeping], steps=model.iteration,
        total_iter=int(train['total_iter']), rate=max(group['initial_lr'] for group in model.optimizer_g.param_groups),
        last_rate=max(group['lr'] for group in model.optimizer_g.param_groups), terms=objective.terms,
        forgets=any(map(objective.forgets, objective.terms)),
        ascent=forget.get('type') == 'GradientAscentLoss' and (forget.get('bound') or 'none') == 'none',
        held_to=None if holder is None else holder.get('target') or default,
        stop_rule_met=None if rule is None else rule.met(model.iteration),
        scaled=train['optim_g'].get('lr') == 'auto'), yardstick)


def _file(path: str) -> dict[str, str]:
    return {'path': path, 'sha256': file_digest(path)}


def _types(block: Mapping | list) -> list[str]:
    return [part['type'] for part in (block if isinstance(block, list) else [block])]


def _settings(opt: Mapping) -> dict[str, Any]:
    train, data = opt['train'], opt['datasets']['train']
    parts = {key: block for key, block in train.items() if block and (key.endswith('_opt') or key == 'optim_g')}
    values = {'batch_size_per_gpu': data.get('batch_size_per_gpu'), 'gt_size': data.get('gt_size'),
              'manual_seed': opt.get('manual_seed')}
    return {**{key: block_in_words(block) for key, block in parts.items()},
            **{key: value for key, value in values.items() if value is not None}}


def block_in_words(block: Any) -> str:
    """An option block on one line: `GradientAscentLoss, bound identity, attack (pgd, steps 2)`."""
    if isinstance(block, list):
        return '; '.join(map(block_in_words, block))
    return ', '.join(str(value) if key == 'type' else f'{key} ({block_in_words(value)})' if isinstance(value, Mapping)
                     else f'{key} {"~" if value is None else value}' for key, value in block.items())
