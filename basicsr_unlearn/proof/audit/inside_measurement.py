"""What happened inside the network: features, weights, stability; and what it cost."""
import re
from pathlib import Path

import numpy as np

from basicsr_unlearn.core.attacks import attack_settings
from basicsr_unlearn.core.features import named_stages
from basicsr_unlearn.proof.attackers.representation import layerwise_cka, restoration_gain
from basicsr_unlearn.proof.attackers.robustness import attacked_psnr
from basicsr_unlearn.proof.attackers.scores import Pairs, psnr_of_images
from basicsr_unlearn.proof.attackers.statistics import bootstrap, paired_difference
from basicsr_unlearn.proof.attackers.weights import Movement, weight_movement
from basicsr_unlearn.proof.audit.context import Context, digest_of
from basicsr_unlearn.proof.audit.quality_measurement import interval
from basicsr_unlearn.proof.audit.registry import SkippedError, measurement
from basicsr_unlearn.proof.run_record import STOPPED

ENDED = re.compile(r'End of training\. Time consumed: (?:(\d+) days?, )?(\d+):(\d+):(\d+)')  # BasicSR's log lines
MEMORY = re.compile(r'Peak memory: (\d+) MB')


@measurement('representation', optional=True)
def representation(context: Context) -> dict:
    """How alike features are, and what adding back the original's mean features brings."""
    block = context.audit.measure['representation']
    pairs, _ = context.pairs(block['dataset'], block.get('images'))
    lq = [pair[0] for pair in pairs]
    layers = [block['layers']] if isinstance(block.get('layers'), str) else block.get('layers')
    names = list(named_stages(context.net('unlearned'), layers))
    others = ['unlearned', *context.audit.retrained]
    compared = [('unlearned', 'original'), *((column, 'original') for column in context.audit.retrained),
                *(('unlearned', column) for column in context.audit.retrained)]
    cka = {f'{one} / {other}': layerwise_cka(context.net(one), context.net(other), lq, layers)
           for one, other in context.progress(compared, 'features', len(compared), 'pair')}
    gain = {}
    for column in context.progress(others, 'adding features back', len(others), 'network'):
        found = restoration_gain(context.net(column), context.net('original'), lq, layers, pairs)
        gain[column] = {name: round(float(np.mean(values)), 4) for name, values in found.items()}
    return {'dataset': block['dataset'], 'images': len(pairs), 'layers': names, 'cka': cka, 'gain': gain}


@measurement('robustness', needs=('retain set',), optional=True)
def robustness(context: Context) -> dict:
    """PSNR on the retain sets where an attack moved the input to where the restoration is worst."""
    block, result = context.audit.measure['robustness'], {}
    attack = attack_settings(block.get('attack'))
    for name in context.usable('retain'):
        pairs, _ = context.pairs(name, block.get('images'))
        columns = {}
        for column in context.progress(('original', 'unlearned'), f'attacks on {name}', 2, 'network'):
            clean, attacked = _attacked(context, column, name, pairs, attack)
            columns[column] = {'clean': interval(bootstrap(np.mean, clean)),
                               'attacked': interval(bootstrap(np.mean, attacked)),
                               'fall': interval(paired_difference(clean, attacked))}
        result[name] = {'images': len(pairs), 'attack': attack, 'columns': columns}
    return result


def _attacked(context: Context, column: str, name: str, pairs: Pairs, attack: dict) -> tuple[list, list]:
    """PSNR of each image, as it is and attacked; from the cache if it was measured before."""
    opt = context.audit.options
    key = digest_of(['robustness', attack, len(pairs), context.contents(name).sha256, opt['network_g'],
                     context.digest(context.audit.networks[column]), opt.get('param_key_g')])

    def compute() -> dict:
        net = context.net(column)
        return {'clean': psnr_of_images(net, pairs), 'attacked': attacked_psnr(net, pairs, attack)}

    found = context.cached(key, compute)
    return found['clean'], found['attacked']


@measurement('weights')
def weights(context: Context) -> dict:
    """Which weights differ from the original's, and how far."""
    before, result = context.net('original').state_dict(), {}
    for column in context.columns[1:]:
        whole, layers = weight_movement(before, context.net(column).state_dict())
        result[column] = {**_moved(whole), 'layers': {name: _moved(movement) for name, movement in layers.items()}}
    return result


def _moved(movement: Movement) -> dict:
    return {key: value if value is None or isinstance(value, int) else round(value, 6)
            for key, value in vars(movement).items()}


@measurement('cost', optional=True)
def cost(context: Context) -> dict:
    """Steps, samples, time and memory of the run, read from its log, beside those of a retraining."""
    block = context.audit.measure['cost']
    path = Path(block['log']) if block.get('log') else newest_log(Path(context.audit.networks['unlearned']))
    if path is None or not path.is_file():
        raise SkippedError(f'there is no training log {path or "beside " + context.audit.networks["unlearned"]}: name '
                           'it in measure.cost.log')
    found = read_log(path.read_text(encoding='utf-8', errors='replace'))
    retraining = {'steps': block['retraining']['steps'],
                  'samples': block['retraining']['steps'] * block['retraining']['batch']}
    share = {key: None if found[key] is None else round(found[key] / retraining[key], 5) for key in retraining}
    return {'log': path.name, **found, 'retraining': retraining, 'share': share}


def newest_log(checkpoint: Path) -> Path | None:
    """The newest training log of the experiment whose models folder holds the checkpoint."""
    logs = sorted(checkpoint.resolve().parent.parent.glob('train_*.log'), key=lambda path: path.stat().st_mtime)
    return logs[-1] if logs else None


def read_log(text: str) -> dict:
    """`steps`, `samples` (patches of the streams that train), `seconds` and `memory_mb` of a run; None where unsaid."""
    stopped, ended, memory = STOPPED.search(text), ENDED.search(text), MEMORY.search(text)
    total, batch = (re.search(rf'^\s*{key}: (\d+)$', text, re.MULTILINE)
                    for key in ('total_iter', 'batch_size_per_gpu'))
    streams = len(re.findall(r'^    (?:forget_opt|retain_opt):\[', text, re.MULTILINE))
    steps = int(stopped[2]) if stopped else int(total[1]) if total else None
    samples = steps * int(batch[1]) * max(streams, 1) if steps is not None and batch else None
    seconds = None
    if ended:
        days, hours, minutes, rest = (int(part or 0) for part in ended.groups())
        seconds = ((days * 24 + hours) * 60 + minutes) * 60 + rest
    return {'steps': steps, 'samples': samples, 'seconds': seconds, 'memory_mb': int(memory[1]) if memory else None}
