"""The demo: run an unlearning option file through BasicSR's pipeline, then measure and draw what came of it."""
import json
import os
import platform
import re
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from copy import deepcopy
from importlib.metadata import version
from pathlib import Path

import torch
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY
from torch import nn

from basicsr_unlearn.checkpoint import check_fit, read_weights, resolve_checkpoint
from basicsr_unlearn.entry import Parser, guarded
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.evaluate import Evaluation, evaluate, forget_gap, retain_loss, verdict
from basicsr_unlearn.options import check_options, find_option_file, load_option_file
from basicsr_unlearn.report import write_report
from basicsr_unlearn.signals import child_process
from basicsr_unlearn.terminal import VARIABLE
from basicsr_unlearn.version import __version__

DEFAULT_OPTION_FILE = 'options/unlearn_haze.yml'
COLUMNS = ('identity', 'original', 'unlearned', 'retrained')
STRIPS = 2  # pictures per data set in the report, where the option file does not say
PACKAGES = ('basicsr', 'torch', 'numpy')
STEP = re.compile(r'\[epoch:.*? iter:\s*([\d,]+)')  # of BasicSR's log lines, as are the next three
SCORE = re.compile(r'psnr_(forget|retain): (\S+)')
WARNING = re.compile(r' WARNING: (?!Multiple validation datasets)(.*)')  # BasicSR warns of a limit that is not ours
STOPPED = re.compile(r'(Stop rule met at iteration (\d+).*)')


def main(argv: list[str] | None = None) -> int:
    """Run the demo with the arguments `argv`, by default those of the process; 0, or 2 for bad input."""
    return guarded(lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    parser = Parser(prog='basicsr-unlearn demo', description='Unlearn as an option file says, then compare original, '
                    'unlearned and retrained network, in a table and in a report. Under 5 minutes on 2 cores.')
    parser.add_argument('-opt', default=DEFAULT_OPTION_FILE, metavar='FILE.yml',
                        help=f'an unlearning option file; default {DEFAULT_OPTION_FILE}, which is installed too')
    parser.add_argument('--out', default='results/demo', metavar='FOLDER', help='for summary.json and report.html; '
                        'default results/demo. Network and logs go to experiments and tb_logger as always')
    args = parser.parse_args(argv)
    out = Path(args.out)
    if out.exists() and not out.is_dir():
        raise OptionError(f'--out {out} is a file: name a folder.')
    begin = time.perf_counter()
    option_file = find_option_file(args.opt)
    opt = load_option_file(args.opt)
    check_options(opt, True)
    name = f'demo_{opt["name"]}'  # beside an experiment that a person has made with the same file
    metrics = measures(opt)
    nets = reference_networks(opt)

    print(f'Unlearning as {option_file} says ...', flush=True)
    code, iterations = unlearn(option_file, name, int(opt['train']['total_iter']))
    if code:
        return code
    seconds_training = time.perf_counter() - begin
    nets['unlearned'] = load_network(opt, str(Path('experiments', name, 'models', 'net_g_latest.pth')))

    print('Measuring original, unlearned and retrained network ...' if 'retrained' in nets else
          'Measuring original and unlearned network ...', flush=True)
    nets = {column: nets[column] for column in COLUMNS if column in nets}
    strips = opt['val'].get('strips', STRIPS) or 0
    evaluations = {key: evaluate(nets, dataset, metrics, strips) for key, dataset in validation_sets(opt).items()}
    curves = read_curves(Path('tb_logger', name), opt, iterations)
    summary = summarise(opt, option_file, name, evaluations, iterations, seconds_training,
                        time.perf_counter() - begin)
    out.mkdir(parents=True, exist_ok=True)
    write_report(out / 'report.html', summary, {key: value.strips for key, value in evaluations.items()}, curves)
    (out / 'summary.json').write_text(json.dumps(summary, indent=2) + '\n', encoding='utf-8')

    print(f'\n{summary["headline"]}\n{summary["verdict"]}\n\n{table(summary["datasets"])}\n')
    print(f'{summary["iterations"]} iterations; {summary["seconds"]:.0f} s in all, {seconds_training:.0f} s of them '
          f'unlearning.\nPictures and curves: {out / "report.html"}\nNumbers:             {out / "summary.json"}')
    return 0


def load_network(opt: Mapping, path: str) -> nn.Module:
    """The network of `network_g` with the weights of `path`, on the GPU if there is one.

    Raises:
        CheckpointError: the file is missing, is no checkpoint, or does not fit.
    """
    settings = deepcopy(dict(opt['network_g']))
    net = ARCH_REGISTRY.get(settings.pop('type'))(**settings)
    path = resolve_checkpoint(path)
    weights = read_weights(path, opt['path'].get('param_key_g', 'params'), net)
    check_fit(net, weights, path)
    net.load_state_dict(weights)
    return net.to('cuda' if torch.cuda.is_available() and opt.get('num_gpu') != 0 else 'cpu').eval()


def reference_networks(opt: Mapping) -> dict[str, nn.Module]:
    """The original and, where the option file names one, the retrained network. Raises CheckpointError, OptionError."""
    paths = {'original': opt['path'].get('pretrain_network_g'),
             'retrained': opt['path'].get('pretrain_network_retrained')}
    if paths['original'] is None:
        raise OptionError('path.pretrain_network_g is empty: give the checkpoint that has something to forget.')
    return {column: load_network(opt, path) for column, path in paths.items() if path is not None}


def validation_blocks(opt: Mapping) -> dict[str, dict]:
    """The option file's val_ blocks by the name of their data set, `role` filled in. Raises OptionError without any."""
    blocks = {block['name']: {**deepcopy(dict(block)), 'role': block.get('role') or 'retain'}
              for key, block in opt['datasets'].items() if key.startswith('val')}
    if not blocks:
        raise OptionError('datasets has no val_ block: the demo needs data to measure on.')
    return blocks


def validation_sets(opt: Mapping) -> dict[str, torch.utils.data.Dataset]:
    """The validation data sets by name, built as BasicSR does. Raises OptionError, DataError."""
    return {name: DATASET_REGISTRY.get(block['type'])({**block, 'phase': 'val', 'scale': opt.get('scale', 1)})
            for name, block in validation_blocks(opt).items()}


def unlearn(option_file: Path, name: str, total_iter: int) -> tuple[int, int]:
    """Train in a process of its own, since BasicSR keeps one global logger, and show how far it is.

    Returns:
        Its exit code and the iterations it took.
    """
    package_root = str(Path(__file__).resolve().parent.parent)
    # threads that spin while they wait cost several times the time on a machine that is busy with other things
    environment = {'OMP_WAIT_POLICY': 'passive', **os.environ, VARIABLE: 'log', 'PYTHONUNBUFFERED': '1',
                   'PYTHONIOENCODING': 'utf-8',
                   'PYTHONPATH': os.pathsep.join([package_root, *filter(None, [os.environ.get('PYTHONPATH')])])}
    command = [sys.executable, '-m', 'basicsr_unlearn.train', '-opt', str(option_file), '--force_yml', f'name={name}']
    last, iterations, show = deque(maxlen=20), total_iter, Progress(total_iter)
    with child_process(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment, encoding='utf-8',
                       errors='replace') as process:
        for line in process.stdout:
            last.append(line)
            show(line.rstrip())
            stopped = STOPPED.search(line)
            if stopped:
                iterations = int(stopped[2])
    show.end()
    if process.returncode:
        # one sentence if the input was bad; otherwise what led to it
        sys.stderr.write(last[-1] if process.returncode == 2 and last else ''.join(last))
    return process.returncode, iterations


class Progress:
    """Turns BasicSR's log into one line a step: moving on a terminal, plain lines otherwise."""

    def __init__(self, total_iter: int, write: Callable[[str], object] | None = None, moving: bool | None = None):
        self.total_iter, self.write = total_iter, write or sys.stdout.write
        self.moving = sys.stdout.isatty() if moving is None else moving
        self.begin, self.open, self.told = time.perf_counter(), False, None

    def __call__(self, line: str) -> None:
        step, scores = STEP.search(line), dict(SCORE.findall(line))
        if step:
            at = int(step[1].replace(',', ''))
            scores = '   '.join(f'{role} {float(value):5.2f} dB' for role, value in scores.items())
            self._show(f'  step {at:>{len(str(self.total_iter))}} of {self.total_iter}   '
                       f'{time.perf_counter() - self.begin:4.0f} s   {scores}'.rstrip())
        elif told := WARNING.search(line) or STOPPED.search(line):
            if told[1] != self.told:  # BasicSR validates the last step twice
                self.end()
                self.write(f'  {told[1]}\n')
            self.told = told[1]

    def _show(self, text: str) -> None:
        self.write(f'\r{text}\x1b[K' if self.moving else f'{text}\n')
        self.open = self.moving
        sys.stdout.flush()

    def end(self) -> None:
        """Close the moving line, if one is open."""
        if self.open:
            self.write('\n')
            self.open = False


def measures(opt: Mapping) -> dict[str, dict]:
    """The metrics of `val:` by name, the one that measures PSNR as `psnr`. Raises OptionError if there is none."""
    metrics = dict((opt.get('val') or {}).get('metrics') or {})
    name = psnr_name(metrics)
    return {'psnr': metrics.pop(name), **metrics}


def psnr_name(metrics: Mapping[str, Mapping]) -> str:
    """The name under which PSNR is measured. Raises OptionError if it is not."""
    for name, metric in metrics.items():
        if metric.get('type') == 'calculate_psnr':
            return name
    raise OptionError('val.metrics has no calculate_psnr, in which forgetting is measured: add '
                      'psnr: {type: calculate_psnr, crop_border: 0}.')


def read_curves(folder: Path, opt: Mapping, iterations: int) -> dict[str, list[tuple[int, float]]]:
    """(iteration, PSNR in dB) of every validation data set from a run's TensorBoard events; {} without a logger."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # slow to import
    if not folder.is_dir():
        return {}
    events = EventAccumulator(str(folder), size_guidance={'scalars': 0}).Reload()
    metric, curves = psnr_name(opt['val']['metrics']), {}
    for name, block in validation_blocks(opt).items():
        tag = f'{block["role"]}/{name}/{metric}'
        if tag in events.Tags()['scalars']:
            # BasicSR validates once more after the last step, and counts on while doing so
            points = {min(event.step, iterations): float(event.value) for event in events.Scalars(tag)}
            curves[name] = sorted(points.items())
    return curves


def summarise(opt: Mapping, option_file: Path, name: str, evaluations: Mapping[str, Evaluation], iterations: int,
              seconds_training: float, seconds: float) -> dict:
    """Everything that summary.json holds and the report shows; scores are means over the images of a data set."""
    datasets = {}
    for key, block in validation_blocks(opt).items():
        mean = evaluations[key].mean
        datasets[key] = {'role': block['role'], 'images': len(evaluations[key].per_image)}
        for metric in measures(opt):
            datasets[key][metric] = {column: round(mean[column][metric], 4) for column in COLUMNS if column in mean}
    headline, sentence = verdict(datasets)
    train = opt['train']
    terms = [term for term in ('forget_opt', 'retain_opt', 'adversarial_opt') if train.get(term)]
    settings = {key: describe(train[key]) for key in (*terms, 'stop_opt', 'optim_g') if train.get(key)}
    settings['batch_size_per_gpu'] = opt['datasets']['train'].get('batch_size_per_gpu')
    settings['gt_size'] = opt['datasets']['train'].get('gt_size')
    settings['manual_seed'] = opt.get('manual_seed')
    return {
        'headline': headline, 'verdict': sentence, 'name': name,
        'method': ' + '.join(train[term]['type'] for term in terms), 'option_file': str(option_file),
        'seconds': round(seconds, 1), 'seconds_training': round(seconds_training, 1), 'iterations': iterations,
        'datasets': datasets, 'settings': {key: value for key, value in settings.items() if value is not None},
        'versions': {'basicsr_unlearn': __version__, **{package: version(package) for package in PACKAGES},
                     'python': platform.python_version()},
        'option_text': option_file.read_text(encoding='utf-8'),
    }


def describe(block: Mapping) -> str:
    """An option block on one line: `GradientAscentLoss, bound identity, attack (pgd, steps 2)`."""
    return ', '.join(str(value) if key == 'type' else f'{key} ({describe(value)})' if isinstance(value, Mapping)
                     else f'{key} {"~" if value is None else value}' for key, value in block.items())


def table(datasets: Mapping[str, Mapping]) -> str:
    """PSNR and SSIM, or whatever was measured, of every network on every data set, aligned for a terminal."""
    columns = [column for column in COLUMNS if any(column in entry['psnr'] for entry in datasets.values())]
    metrics = [key for key, value in next(iter(datasets.values())).items() if isinstance(value, Mapping)]
    wide = max(len(key) for key in (*datasets, *metrics, 'psnr, dB'))
    lines = []
    for metric in metrics:
        title = 'PSNR, dB' if metric == 'psnr' else metric.upper()
        lines += ['', f'{title:<{wide}}  {"role":<6}' + ''.join(f'{column:>11}' for column in columns)]
        for key, entry in datasets.items():
            cells = ''.join(f'{entry[metric][column]:>11.{2 if metric == "psnr" else 4}f}' if column in entry[metric]
                            else f'{"-":>11}' for column in columns)
            note = ''
            if metric == 'psnr' and entry['role'] == 'forget':
                reference = 'retrained' if 'retrained' in entry['psnr'] else 'identity'
                note = f'   {forget_gap(entry["psnr"]):+.2f} dB from {reference}'
            elif metric == 'psnr':
                note = f'   {-retain_loss(entry["psnr"]):+.2f} dB from original'
            lines.append(f'{key:<{wide}}  {entry["role"]:<6}{cells}{note}')
    return '\n'.join(lines[1:])


if __name__ == '__main__':
    sys.exit(main())
