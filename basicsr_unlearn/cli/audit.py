"""The command `basicsr-unlearn audit`: measure, judge, write."""
import sys
import time
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np

from basicsr_unlearn.core.images import degraded_as_output
from basicsr_unlearn.engine.entry import BAD_INPUT, INTERRUPTED, Parser, guarded
from basicsr_unlearn.errors import DataError, OptionError
from basicsr_unlearn.files import write_json, write_text
from basicsr_unlearn.metrics.evaluation import Strip
from basicsr_unlearn.metrics.image_scores import to_image
from basicsr_unlearn.proof.audit.context import IDENTITY, Context, digest_of
from basicsr_unlearn.proof.audit.judging import references
from basicsr_unlearn.proof.audit.measurements import MEASUREMENTS, Measurement, SkippedError
from basicsr_unlearn.proof.audit.plan import read_audit
from basicsr_unlearn.proof.audit.schema import SCHEMA
from basicsr_unlearn.proof.audit.verdict import verdict
from basicsr_unlearn.proof.run_record import PACKAGES
from basicsr_unlearn.report.audit_findings import audit_findings
from basicsr_unlearn.report.audit_tensorboard import write_tensorboard
from basicsr_unlearn.report.audit_text import audit_markdown, audit_summary
from basicsr_unlearn.report.pages import write_findings
from basicsr_unlearn.report.still import check_still, write_still
from basicsr_unlearn.version import __version__

ABOUT = """\
An audit measures what a network has forgotten, what it has kept and what its
weights still hold, and judges it.

It needs an option file that names the original, the unlearned network, networks
that were retrained without the forget set (the yardstick; where there is none,
the untouched input is) and images to forget and to keep. The one that is
shipped is of a network that forgot haze. It needs BSD500, CBSD68, SOTS-indoor
and Rain100H laid out as datasets/README.md shows:

  basicsr-unlearn train -opt options/unlearn_haze_calibrated.yml
  basicsr-unlearn audit -opt options/audit_haze.yml --quick
      outputs and members alone, about 2 minutes on 2 cores
  basicsr-unlearn audit -opt options/audit_haze.yml
      attackers too, under 10 minutes

Exit code 0 if the level that the file requires was passed, 1 if not, 2 where
nothing was audited, as now."""
NOT_PASSED = 1
MEASURED, SKIPPED = 'measured', 'skipped'


def main(argv: list[str] | None = None) -> int:
    """Audit as an option file says; 0 if the required level was passed, 1 if not, 2 for bad input."""
    return guarded(lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    parser = Parser(prog='basicsr-unlearn audit', description='Measure what was forgotten, what was kept and what '
                    'still sleeps in the weights, and judge it. Exit code 0 if the level that the file requires was '
                    'passed, 1 if not. What is measured is not measured again.')
    parser.add_argument('-opt', metavar='FILE.yml', help="the audit's option file, such as options/audit_haze.yml; "
                        'without it the command says what it needs, exit code 2')
    parser.add_argument('--quick', action='store_true', help='scores alone, to a folder of its own: what they cannot '
                        'tell is not measured')
    parser.add_argument('--force_yml', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override options of the file, such as name=mine networks:unlearned=FILE.pth')
    parser.add_argument('--picture', metavar='FILE.png', help='write the verdict, the charts that decide and a strip '
                        'of photographs for each set as a picture too (.png, .jpg or .webp)')
    args = parser.parse_args(argv)
    if args.picture:
        check_still(args.picture)
    if args.opt is None:
        print(ABOUT)
        return BAD_INPUT
    plan = read_audit(args.opt, args.force_yml, args.quick)
    context = Context(plan)
    for column in context.columns:
        context.net(column)  # what cannot be loaded is said before anything is measured
    try:
        audit = measured(context)
    except KeyboardInterrupt:
        print('Interrupted: the same command goes on with what is missing.', file=sys.stderr, flush=True)
        return INTERRUPTED
    paths = write(context, audit, args.picture)
    print(f'\n{audit_summary(audit)}\n')
    print('\n'.join(map(str, paths)), flush=True)
    return 0 if audit['verdict']['passed'] else NOT_PASSED


def measured(context: Context) -> dict:
    """Make every measurement, or take it from an earlier run, and judge: all that audit.json holds."""
    plan = context.audit
    print(f'Audit {plan.name}: {", ".join(context.columns)} on {", ".join(plan.datasets)}.', flush=True)
    datasets = {name: _dataset(context, name) for name in plan.datasets}
    if not context.usable('forget', 'unseen'):
        raise DataError('No data set with role forget or unseen can be used. ' + ' '.join(
            f'{name}: {block["problem"]}' for name, block in datasets.items() if 'problem' in block))
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
    return {**audit, 'verdict': verdict(audit, plan.yardstick)}


def _measure(context: Context, entry: Measurement, audit: dict) -> dict:
    """One measurement, from its file if it was made before with the same networks, data and options."""
    plan = context.audit
    how = {key: plan.options.get(key) for key in ('network_g', 'param_key_g', 'scale', 'tile', 'tile_overlap')}
    judged = {key: plan.options['verdict'].get(key) for key in ('metric', 'skill_margin', 'over_forgotten')}
    key = digest_of([__version__, plan.measure.get(entry.name), context.working_metrics[0], plan.quick,
                     audit['networks'], audit['datasets'], how, judged])
    path = plan.out / 'measurements' / f'{entry.name}.json'
    kept = context.kept.read(path, key)
    if kept is not None and kept['state'] == MEASURED:
        return kept
    begin, reason, result = time.perf_counter(), entry.missing(context), None
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


def write(context: Context, audit: dict, picture: str | None = None) -> list[Path]:
    """Write audit.json, audit.md, report.html, the TensorBoard log and, where asked for, a picture; their paths."""
    out, strips = context.audit.out, pictures(context, audit)
    write_json(out / 'audit.json', audit)
    write_text(out / 'audit.md', audit_markdown(audit))
    found = audit_findings(audit, strips)
    write_findings(out / 'report.html', found)
    write_tensorboard(out / 'tb_logger', audit, strips)
    if picture:
        write_still(picture, found)
    return [out / 'report.html', out / 'audit.md', out / 'audit.json', out / 'tb_logger',
            *([Path(picture)] if picture else [])]


def pictures(context: Context, audit: dict) -> dict[str, list[Strip]]:
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
            reference = np.mean([values[column] for column in references(context, name) or [IDENTITY]], 0)
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
    return Strip(context.contents(name).images[position],
                 {column: np.ascontiguousarray(image[..., ::-1]) for column, image in images.items()}, each)


if __name__ == '__main__':
    sys.exit(main())
