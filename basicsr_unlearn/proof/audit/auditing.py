"""An audit from its first measurement to its verdict: all that audit.json holds."""
import sys
import time
from datetime import datetime, timezone
from importlib.metadata import version

import numpy as np

from basicsr_unlearn.core.images import degraded_as_output
from basicsr_unlearn.errors import DataError, OptionError
from basicsr_unlearn.metrics.evaluation import IDENTITY, Strip, strip_from
from basicsr_unlearn.metrics.image_scores import to_image
from basicsr_unlearn.proof.audit.attacking import check_forget_pairs
from basicsr_unlearn.proof.audit.audit_file import SCHEMA
from basicsr_unlearn.proof.audit.context import Context
from basicsr_unlearn.proof.audit.levels import audit_verdict
from basicsr_unlearn.proof.audit.measuring import MEASUREMENTS, Measurement, SkippedError, retrained_references
from basicsr_unlearn.proof.cache import cache_key
from basicsr_unlearn.proof.run_record import PACKAGES
from basicsr_unlearn.version import __version__

# each registers its measurements, in the order in which an audit makes them
# isort: off
from basicsr_unlearn.proof.audit import quality_measurement  # noqa: F401
from basicsr_unlearn.proof.audit import membership_measurement  # noqa: F401
from basicsr_unlearn.proof.audit import attack_measurement  # noqa: F401
from basicsr_unlearn.proof.audit import inside_measurement  # noqa: F401
# isort: on

MEASURED, SKIPPED = 'measured', 'skipped'


def make_audit(context: Context) -> dict:
    """Make every measurement, or take it from an earlier run, and judge: all that audit.json holds."""
    plan = context.audit
    print(f'Audit {plan.name}: {", ".join(context.columns)} on {", ".join(plan.datasets)}.', flush=True)
    datasets = {name: _dataset(context, name) for name in plan.datasets}
    if not context.usable('forget', 'unseen'):
        raise DataError('No data set with role forget or unseen can be used. ' + ' '.join(
            f'{name}: {block["problem"]}' for name, block in datasets.items() if 'problem' in block))
    if 'attacks' in plan.measure and context.contents(plan.attack_sets[0]).problem is None:
        check_forget_pairs(context)
    audit = {
        'schema': SCHEMA, 'name': plan.name, 'created': datetime.now(timezone.utc).isoformat(timespec='seconds'),
        'quick': plan.quick, 'versions': _versions(), 'option_file': plan.file, 'option_text': plan.text,
        'options': plan.options, 'networks': {column: _network(context, column) for column in context.columns},
        'datasets': datasets, 'measurements': {}}
    for entry in MEASUREMENTS.values():
        audit['measurements'][entry.name] = found = _measure(context, entry, audit)
        told = f'{found["seconds"]:.0f} s' if found['state'] == MEASURED else f'skipped, {found["reason"]}'
        print(f'  {entry.name:<15} {told}', flush=True)
    audit['seconds'] = round(sum(found['seconds'] for found in audit['measurements'].values()), 1)
    return {**audit, 'verdict': audit_verdict(audit, plan.yardstick)}


def _measure(context: Context, entry: Measurement, audit: dict) -> dict:
    """One measurement, from its file if it was made before with the same networks, data and options."""
    plan = context.audit
    reason = entry.missing(context)
    how = {key: plan.options.get(key) for key in ('network_g', 'param_key_g', 'scale', 'tile', 'tile_overlap')}
    judged = {key: plan.options['verdict'].get(key) for key in ('metric', 'skill_margin', 'over_forgotten')}
    key = cache_key(f'{entry.name} {SCHEMA}', audit['networks'], audit['datasets'],
                    [plan.measure.get(entry.name), context.working_metrics[0], plan.quick, how, judged,
                     entry.depends(context) if reason is None else None])
    path = plan.out / 'measurements' / f'{entry.name}.json'
    kept = context.kept.read(path, key)
    if kept is not None and kept['state'] == MEASURED:
        return kept
    begin, result = time.perf_counter(), None
    if reason is None:
        try:
            result = entry.function(context)
        except (SkippedError, DataError, OptionError, ValueError) as error:
            reason = str(error)
    found = {'state': SKIPPED if result is None else MEASURED, 'reason': reason,
             'seconds': round(time.perf_counter() - begin, 2), 'result': result}
    return context.kept.write(path, key, found)


def _network(context: Context, column: str) -> dict:
    path = context.audit.networks[column]
    return {'path': path, 'sha256': context.digest(path),
            'parameters': sum(parameter.numel() for parameter in context.net(column).parameters())}


def _dataset(context: Context, name: str) -> dict:
    block, contents = context.audit.datasets[name], context.contents(name)
    if contents.problem is not None:
        return {'role': block['role'], 'type': block['type'], 'images': None, 'photographs': None, 'sha256': None,
                'problem': contents.problem}
    return {'role': block['role'], 'type': block['type'], 'images': len(contents.images),
            'photographs': len(set(contents.photographs)), 'sha256': contents.sha256}


def _versions() -> dict[str, str]:
    return {'basicsr_unlearn': __version__, **{package: version(package) for package in (*PACKAGES, 'scipy')},
            'python': sys.version.split()[0]}


def audit_strips(context: Context, audit: dict) -> dict[str, list[Strip]]:
    """Of every data set the images where forgetting or keeping went best, in the middle, and worst.

    On a forget or unseen set the best is where the score lies nearest to the retrained networks' (the input's without
    one), on a retain set where the least was lost.
    """
    found, yardstick = {}, context.audit.yardstick
    measured_scores = audit['measurements']['scores']['result'] or {'per_image': {}}
    for name, scores in measured_scores['per_image'].items():
        values = {column: np.array(entry[context.audit.metric]) for column, entry in scores.items()}
        if context.audit.datasets[name]['role'] == 'retain':
            order = np.argsort(yardstick.gain(values['original'], values['unlearned']), kind='stable')
        else:
            reference = np.mean([values[column] for column in retrained_references(context, name) or [IDENTITY]], 0)
            order = np.argsort(np.abs(values['unlearned'] - reference), kind='stable')
        chosen = list(dict.fromkeys(int(order[place]) for place in (0, len(order) // 2, -1)))
        found[name] = [_strip(context, name, index, scores) for index in chosen]
    return found


def _strip(context: Context, name: str, position: int, scores: dict) -> Strip:
    item = context.item(name, position)
    lq, gt = item['lq'][None], item['gt'][None]
    images = {IDENTITY: to_image(degraded_as_output(lq, gt)),
              **{column: context.outputs(column, name, [position])[0] for column in context.columns_on(name)},
              'gt': to_image(gt)}
    each = {column: {metric: values[position] for metric, values in entry.items()} for column, entry in scores.items()}
    return strip_from(context.contents(name).images[position], images, each)
