"""A network with its weights, as an option file names them."""
from collections.abc import Mapping
from copy import deepcopy

import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from basicsr_unlearn.zoo.checkpoint import check_fit, read_weights, resolve_checkpoint


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
