"""How an unlearning run ends for the person who started it: verdict, table, report, and what to do next."""
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from basicsr.utils.registry import DATASET_REGISTRY

from basicsr_unlearn.engine.terminal import short, wrapped
from basicsr_unlearn.files import write_json
from basicsr_unlearn.metrics.evaluation import Strip, evaluate, evenly, in_tiles
from basicsr_unlearn.models.tracking import DEFAULT_STRIPS
from basicsr_unlearn.models.unlearn_model import UnlearnModel
from basicsr_unlearn.options.option_file import find_option_file
from basicsr_unlearn.proof.run_record import run_record, yardstick_of_record
from basicsr_unlearn.report.pages import write_findings
from basicsr_unlearn.report.run_findings import run_findings, shipped_audit
from basicsr_unlearn.report.tables import how_long, score_lines

AUDITED = 'nafnet_allinone.pth'  # the original of the audit files that are shipped


@dataclass(frozen=True)
class FinishedRun:
    """A run with its record, see `run_record`, its pictures by data set, and its folder."""
    record: dict
    strips: dict[str, list[Strip]]
    folder: Path
    option_file: str
    option_text: str


def finish(model: UnlearnModel, option_file: str, method: str | None, seconds: float) -> FinishedRun:
    """Write run.json and report.html to the folder of the experiment.

    Args:
        model: after the last validation.
        option_file: its path, as it was given.
        method: see `run_record`.
        seconds: how long the run took.
    """
    folder = Path(model.opt['path']['experiments_root'])
    run = FinishedRun(run_record(model, method, seconds), strips_of_run(model), folder, option_file,
                      find_option_file(option_file).read_text(encoding='utf-8'))
    write_json(folder / 'run.json', run.record)
    write_findings(folder / 'report.html', run_findings(run.record, run.strips, option_file, run.option_text))
    return run


def strips_of_run(model: UnlearnModel) -> dict[str, list[Strip]]:
    """`val.strips` images of each validation set that has ground truth, through every network."""
    val, scale = model.opt.get('val') or {}, model.opt.get('scale', 1)
    count = DEFAULT_STRIPS if val.get('strips') is None else val['strips']
    unlearned = getattr(model, 'net_g_ema', None) or model.get_bare_model(model.net_g)
    nets = {'original': model.networks.get('original'), 'unlearned': unlearned,
            'retrained': model.networks.get('retrained')}
    nets = {column: in_tiles(net, val, scale) for column, net in nets.items() if net is not None}
    found = {}
    for key, block in model.opt['datasets'].items():
        if key == 'train' or block['name'] not in model.tracking.history:
            continue
        dataset = DATASET_REGISTRY.get(block['type'])(deepcopy(dict(block)))
        few = [dataset[index] for index in evenly(len(dataset), count)]
        if few and all('gt' in item for item in few):
            found[block['name']] = evaluate(nets, few, val['metrics'], strips=len(few)).strips
    return found


def run_told(run: FinishedRun) -> str:
    """What the terminal shows at the end: verdict, table, files, next command; lines of at most 80 characters."""
    record, (metric, yardstick) = run.record, yardstick_of_record(run.record)
    network = record['networks']['unlearned']['path']
    parts = ['\n' + wrapped(' '.join(record['headline'])), wrapped(record['verdict']) if record['verdict'] else '']
    if record['likely_cause']:
        parts.append(wrapped(f'Likely cause: {record["likely_cause"]}'))
    if record['datasets']:
        parts.append('\n' + score_lines(record['datasets'], {metric: yardstick}))
    parts.append(f'\n{record["steps"]:,} steps in {how_long(record["seconds"])}, ended by: {record["ended_by"]}.')
    folder = Path(short(run.folder))
    files = [('Network', short(network)), ('Report', folder / 'report.html'), ('Numbers', folder / 'run.json'),
             ('Next', 'does it come back? An audit attacks the network:')]
    parts += [f'{name + ":":<10}{value}' for name, value in files]
    audit_file = shipped_audit(record['datasets'])
    if Path(record['networks']['original']['path']).name == AUDITED and audit_file:
        parts += [f'  basicsr-unlearn audit -opt {audit_file} \\',
                  f'    --force_yml networks:unlearned={short(network)}']
    else:
        parts += ['  basicsr-unlearn audit -opt COPY.yml',
                  '  (COPY.yml: options/audit_haze.yml with your network_g, networks and data)']
    return '\n'.join(part for part in parts if part)
