"""The demo: forget haze the recommended way, with the published one beside it, then learn it again and draw it all."""
import sys
import time
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY
from torch import nn

from basicsr_unlearn.core.judgement import references
from basicsr_unlearn.engine.entry import Parser, guarded, run
from basicsr_unlearn.engine.networks import load_network
from basicsr_unlearn.engine.terminal import wrapped
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.files import write_json
from basicsr_unlearn.metrics.evaluation import evaluate
from basicsr_unlearn.options.option_file import check_options, load_option_file
from basicsr_unlearn.proof.attackers.relearning import relearn
from basicsr_unlearn.proof.run_record import judged, yardstick_of_record
from basicsr_unlearn.proof.verdict import LearnedAgain
from basicsr_unlearn.report.pages import write_findings
from basicsr_unlearn.report.run_end import FinishedRun, finish
from basicsr_unlearn.report.run_findings import AUDIT_COMMAND, beside_section, relearning_cards, run_findings
from basicsr_unlearn.report.still import check_still, write_still
from basicsr_unlearn.report.tables import how_long, score_lines

DEFAULT_OPTION_FILE, PUBLISHED = 'options/unlearn_haze_calibrated.yml', 'options/unlearn_haze.yml'
CURE = 'basicsr-unlearn train -opt options/unlearn_haze_deep.yml'  # takes haze further out of the weights
STEPS, PAIRS, LR = (0, 5, 10, 25), 8, 5e-4  # of learning again: one attacker of the many that an audit has


def main(argv: list[str] | None = None) -> int:
    """Run the demo with the arguments `argv`, by default those of the process; 0, or 2 for bad input."""
    return guarded(lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    parser = Parser(prog='basicsr-unlearn demo', description='Unlearn as an option file says, learn the forget set '
                    'again for a few steps, as one attacker would, and show original, unlearned and retrained network '
                    'in a table and in a report. Under 5 minutes on 2 cores.')
    parser.add_argument('-opt', metavar='FILE.yml', help='an unlearning option file; by default '
                        f'{DEFAULT_OPTION_FILE}, with the published way, {PUBLISHED}, beside it; both are installed')
    parser.add_argument('--out', default='results/demo', metavar='FOLDER', help='for summary.json and report.html; '
                        'default results/demo. Networks and logs go to experiments and tb_logger as always')
    parser.add_argument('--picture', metavar='FILE.png', help='write the verdict, the chart and the photographs as a '
                        'picture too (.png, .jpg or .webp)')
    args = parser.parse_args(argv)
    out = Path(args.out)
    if args.picture:
        check_still(args.picture)
    if out.exists() and not out.is_dir():
        raise OptionError(f'--out {out} is a file: name a folder.')
    begin, runs = time.perf_counter(), []
    files = [args.opt] if args.opt else [DEFAULT_OPTION_FILE, PUBLISHED]
    options = [load_option_file(file) for file in files]
    for opt in options:
        check_options(opt, True)
    for file, opt in zip(files, options):
        # beside an experiment that a person has made with the same file
        code = run('train', ['-opt', file, '--force_yml', f'name=demo_{opt["name"]}'],
                   end=lambda *what: runs.append(finish(*what)))
        if code:
            return code

    curves = learned_again(options[0], runs)
    main_run, *beside = [with_lead(one, 'unlearned' if one is runs[0] else one.record['method'], curves)
                         for one in runs]
    record = main_run.record
    rounded = {name: {column: {str(step): round(value, 4) for step, value in curve.items()}
                      for column, curve in by.items()} for name, by in curves.items()}
    record = {
        **record, 'relearning': {'pairs': PAIRS, 'lr': LR, 'curves': rounded},
        'beside': [one.record for one in beside], 'seconds_in_all': round(time.perf_counter() - begin, 1)}
    found = run_findings(record, main_run.strips, main_run.option_file, main_run.option_text,
                         relearning_cards(curves, PAIRS, LR, yardstick_of_record(record)[1], CURE),
                         [beside_section(one.record, one.option_file) for one in beside])
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / 'summary.json', record)
    write_findings(out / 'report.html', found)
    if args.picture:
        write_still(args.picture, found)
    print('\n' + demo_told(record, beside, curves, out), flush=True)
    return 0


def learned_again(opt: Mapping, runs: Sequence[FinishedRun]) -> dict[str, dict[str, dict[int, float]]]:
    """Curves of PSNR in dB over a few steps of learning each forget set again, on its own training pairs.

    Args:
        opt: the option file of the first run, whose data it is.
        runs: the unlearned networks: `unlearned`, then by the name of the run's method.

    Returns:
        Forget set -> network -> step -> score; empty where no retrained network is a reference for the set.
    """
    record = runs[0].record
    metric, yardstick = yardstick_of_record(record)
    nets, curves = {}, {}
    for name, entry in record['datasets'].items():
        scores = entry['scores'].get(metric, {})
        if entry['role'] != 'forget' or 'retrained' not in scores or references(scores, yardstick) != ['retrained']:
            continue
        if not nets:
            print('Learning the forget set again, as one attacker would ...', flush=True)
            paths = {'unlearned': record['networks']['unlearned'], **{
                one.record['method']: one.record['networks']['unlearned'] for one in runs[1:]},
                'retrained': record['networks']['retrained']}
            nets = {column: load_network({**opt, 'path': {'param_key_g': None}}, file['path'])
                    for column, file in paths.items()}
        block = next(block for block in opt['datasets'].values() if block.get('name') == name)
        test, pairs = _items(opt, block), _forget_pairs(opt)

        def score(net: nn.Module, test: list = test) -> float:
            return evaluate({'net': net}, test, {metric: opt['val']['metrics'][metric]}).mean['net'][metric]

        curves[name] = {column: relearn(net, pairs, STEPS, LR, opt['datasets']['train'].get('gt_size') or 64, score)
                        for column, net in nets.items()}
    return curves


def with_lead(run: FinishedRun, column: str, curves: Mapping[str, Mapping[str, Mapping[int, float]]]) -> FinishedRun:
    """The run with a headline that says what learning again, of the network in this column, has shown."""
    metric, yardstick = yardstick_of_record(run.record)
    found = judged(run.record['datasets'], metric, yardstick, [
        LearnedAgain(name, STEPS[-1], yardstick.gain(by[column][STEPS[-1]], by['retrained'][STEPS[-1]]))
        for name, by in curves.items()])
    return replace(run, record={**run.record, 'headline': list(found.headline)})


def _forget_pairs(opt: Mapping) -> list[tuple]:
    items = [item for block in opt['datasets']['train']['forget'] for item in _items(opt, block)]
    chosen = np.linspace(0, len(items) - 1, min(PAIRS, len(items))).round()
    return [(items[int(i)]['lq'], items[int(i)]['gt']) for i in chosen]


def _items(opt: Mapping, block: Mapping) -> list[dict]:
    options = {'name': 'forget', **deepcopy(dict(block)), 'phase': 'val', 'scale': opt.get('scale', 1)}
    dataset = DATASET_REGISTRY.get(block['type'])(options)
    return [dataset[index] for index in range(len(dataset))]


def demo_told(record: Mapping, beside: Sequence[FinishedRun], curves: Mapping, out: Path) -> str:
    """What the terminal shows at the end, in lines of at most 80 characters."""
    judge = dict([yardstick_of_record(record)])
    parts = [wrapped(' '.join(record['headline'])), wrapped(record['verdict']), '',
             score_lines(record['datasets'], judge)]
    for name, by in curves.items():
        scores = ', '.join(f'{column} {curve[STEPS[-1]]:.2f} dB' for column, curve in by.items())
        parts += ['', wrapped(f'{name} learned again by one attacker at one rate, on {PAIRS} pairs, after {STEPS[-1]} '
                              f'steps: {scores}.'),
                  'Further out of its weights, at more cost:', f'  {CURE}',
                  'By all attackers, who know the method:', f'  {AUDIT_COMMAND}']
    for one in beside:
        parts += ['', wrapped(f'Beside it, {one.record["method"]}, the published way ({one.option_file}). '
                               + ' '.join(one.record['headline'])), '', score_lines(one.record['datasets'], judge)]
    return '\n'.join([*parts, '', f'{how_long(record["seconds_in_all"])} in all.',
                      f'Report:  {out / "report.html"}', f'Numbers: {out / "summary.json"}'])


if __name__ == '__main__':
    sys.exit(main())
