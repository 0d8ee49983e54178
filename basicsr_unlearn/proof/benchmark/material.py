"""What the attackers of a benchmark have: images, what they know of the method, a network to merge with."""
from collections.abc import Mapping, Sequence
from copy import deepcopy

import numpy as np
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from basicsr_unlearn.core.seeds import fresh_seed, own_random_numbers
from basicsr_unlearn.data.mixed_dataset import MixedDataset
from basicsr_unlearn.engine.networks import load_network
from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.attack_plan import AttackPlan, Material
from basicsr_unlearn.proof.attackers.image_psnr import Pairs
from basicsr_unlearn.proof.attackers.starts import known_parts
from basicsr_unlearn.proof.run_method import TABLES, parts_of

CHECKED_PAIRS = 4
PAIRS_SEED = 0  # which images attackers have, the same for every network


def material_of(job: Mapping, plan: AttackPlan) -> Material:
    """What attackers of the network of one job have, see `cell.run_job`.

    They try to undo every registered part, and that of the job's own method with its own options.

    Raises:
        DataError: there is no forget pair.
    """
    attacks, seed = job['measure']['attacks'], job['record'].get('seed', 0)
    train = job['run']['options']['train'] if 'run' in job else {}
    own = parts_of({'parts': {key: train[key] for key in TABLES if train.get(key)}})
    parts = own + [part for part in known_parts() if type(part) not in map(type, own)]
    count = plan.draws * max(plan.pairs)  # each draw of others
    relatives = {'retrained': load_network(job['network'], job['relative'])} if job.get('relative') else {}
    return Material(pairs_of(attacks['forget'], count), pairs_of(attacks['retain'], max(plan.pairs)),
                    lambda given: untrained(job['network'], fresh_seed(seed) if given is None else given),
                    parts, relatives, seed)


def pairs_of(blocks: Sequence[Mapping], count: int) -> Pairs:
    """So many pairs, or all there are, drawn from paired data sets."""
    if not blocks:
        return []
    source = MixedDataset({'name': 'attacks', 'phase': 'val', 'sets': list(blocks)})
    drawn = np.random.default_rng(PAIRS_SEED).permutation(len(source))[:count]
    return [(item['lq'], item['gt']) for item in (source[int(index)] for index in drawn)]


def untrained(opt: Mapping, seed: int) -> nn.Module:
    """A network of these options with fresh weights, where `load_network` puts those with weights."""
    settings = deepcopy(dict(opt['network_g']))
    with own_random_numbers(seed):
        net = ARCH_REGISTRY.get(settings.pop('type'))(**settings)
    return net.to('cuda' if torch.cuda.is_available() and opt.get('num_gpu') != 0 else 'cpu')


def check_attack_data(blocks: Sequence[Mapping], where: str) -> None:
    """Raise DataError if the first images of these data sets are all as clean as their clean images.

    Args:
        where: the option, for the words.
    """
    pairs = pairs_of(blocks, CHECKED_PAIRS)
    if all(lq.shape == gt.shape and torch.equal(lq, gt) for lq, gt in pairs):
        raise DataError(f'{where} holds no forget pair: its degraded images are the clean ones, so name a data set '
                        'with the degradation that is to be forgotten.')
