"""What happened inside the network: features, weights, stability; and what it cost."""
import numpy as np

from basicsr_unlearn.core.attacks import attack_settings
from basicsr_unlearn.core.features import named_stages
from basicsr_unlearn.proof.attackers.image_psnr import Pairs, psnr_of_images
from basicsr_unlearn.proof.attackers.representation import layerwise_cka, restoration_gain
from basicsr_unlearn.proof.attackers.robustness import attacked_psnr
from basicsr_unlearn.proof.attackers.statistics import bootstrap, paired_difference
from basicsr_unlearn.proof.attackers.weights import Movement, weight_movement
from basicsr_unlearn.proof.audit.context import Context
from basicsr_unlearn.proof.audit.measuring import SkippedError, as_dict, measurement
from basicsr_unlearn.proof.run_cost import RUN_FILE, run_cost
from basicsr_unlearn.proof.run_method import record_of


@measurement('representation', optional=True)
def representation(context: Context) -> dict:
    """How alike features are, and what adding back the original's mean features brings."""
    block = context.audit.measure['representation']
    pairs = context.pairs(block['dataset'], block.get('images'))
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
        pairs = context.pairs(name, block.get('images'))
        columns = {}
        for column in context.progress(('original', 'unlearned'), f'attacks on {name}', 2, 'network'):
            clean, attacked = _attacked(context, column, name, pairs, attack)
            columns[column] = {'clean': as_dict(bootstrap(np.mean, clean)),
                               'attacked': as_dict(bootstrap(np.mean, attacked)),
                               'fall': as_dict(paired_difference(clean, attacked))}
        result[name] = {'images': len(pairs), 'attack': attack, 'columns': columns}
    return result


def _attacked(context: Context, column: str, name: str, pairs: Pairs, attack: dict) -> tuple[list, list]:
    """PSNR of each image, as it is and attacked; from the cache if it was measured before."""
    key = context.key('robustness', context.audit.networks[column], name, [attack, len(pairs)])

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
    """Steps, samples, passes, time and memory of the run, of its record, beside those of a retraining."""
    block, network = context.audit.measure['cost'], context.audit.networks['unlearned']
    path = record_of(block.get('record') or block.get('log'), network)
    found = run_cost(path)
    if found is None:
        raise SkippedError(f'there is no whole record of the run at {path}: name its {RUN_FILE} in measure.cost.record')
    if found.pop('sha256') != context.digest(network):
        raise SkippedError(f'{path} is the record of another network: name that of {network} in measure.cost.record')
    retraining = {'steps': block['retraining']['steps'],
                  'samples': block['retraining']['steps'] * block['retraining']['batch']}
    share = {key: round(found[key] / retraining[key], 5) for key in retraining}
    return {'log': path.name, **found, 'retraining': retraining, 'share': share}
