"""Before the first step: is there something to forget?"""
from collections.abc import Mapping
from copy import deepcopy

import torch
from basicsr.utils.registry import DATASET_REGISTRY
from torch import nn

from basicsr_unlearn.core.judgement import has_skill
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.metrics.evaluation import evaluate, evenly, in_tiles
from basicsr_unlearn.models.tracking import judged_by
from basicsr_unlearn.zoo.checkpoint import read_weights

IMAGES = 8  # of each forget set that the original is tried on, evenly spread: our choice, for seconds


def check_skill(opt: Mapping, net: nn.Module, resumes: bool) -> None:
    """Try the original on the forget sets of validation; it has to be better than their untouched input.

    A run that is resumed, that is no unlearning, or that has no metric to judge by, is let through.

    Args:
        opt: as BasicSR's parse_options returns it.
        net: the network of `network_g`; the original's weights are put into it.
        resumes: whether the run goes on from a saved state.

    Raises:
        OptionError: it is not better by `train.skill_opt.margin`, and `train.skill_opt.required` is not false.
    """
    skill, (metric, yardstick) = (opt.get('train') or {}).get('skill_opt') or {}, judged_by(opt)
    if not opt['is_train'] or opt['model_type'] != 'UnlearnModel' or resumes or metric is None \
            or skill.get('required') is False:
        return
    forget = {key: block for key, block in opt['datasets'].items() if block.get('role') == 'forget'}
    if forget:
        weights = read_weights(opt['path']['pretrain_network_g'], opt['path'].get('param_key_g'), net)
        own = net.state_dict()
        if not own.keys() <= weights.keys():
            return  # the model says what is missing
        net.load_state_dict({name: weights[name] for name in own})
        net.to('cuda' if torch.cuda.is_available() and opt['num_gpu'] != 0 else 'cpu')
    original = in_tiles(net, opt['val'], opt.get('scale', 1))
    for key, block in forget.items():
        dataset = DATASET_REGISTRY.get(block['type'])(deepcopy(dict(block)))
        few = [dataset[index] for index in evenly(len(dataset), IMAGES)]
        if any('gt' not in item for item in few):
            continue
        mean = evaluate({'original': original}, few, {metric: opt['val']['metrics'][metric]}).mean
        scores = {column: mean[column][metric] for column in ('original', 'identity')}
        if not has_skill(**scores, yardstick=yardstick):
            raise OptionError(
                f'There is nothing to forget in datasets.{key}: by {yardstick.name} the original has '
                f'{yardstick.shown(scores["original"])} on {len(few)} of its images and the untouched input '
                f'{yardstick.shown(scores["identity"])}, where it has to be better by {yardstick.skill_margin:g}. '
                'Correct the data or path.pretrain_network_g; for a network trained for perception, name another '
                'metric of val.metrics in train.skill_opt.metric; to go on all the same, set '
                'train.skill_opt.required: false.')
