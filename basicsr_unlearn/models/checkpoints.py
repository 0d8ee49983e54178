"""Weights of a network in and out of files, in BasicSR's keys, and what tells two sets of them apart."""
import hashlib
from collections import OrderedDict
from collections.abc import Mapping

import torch
from basicsr.utils import get_root_logger
from torch import nn

from basicsr_unlearn.core.modes import bare
from basicsr_unlearn.errors import TrainingError
from basicsr_unlearn.zoo.checkpoint import check_fit, fits, read_weights, write_atomically


def load_weights(net: nn.Module, path: str, key: str | None = None, strict: bool = True) -> None:
    """Fill a network with the weights of a file.

    Args:
        net: wrapped or bare.
        path: of an existing file, any container that `read_weights` knows.
        key: the one to insist on; None takes what is there.
        strict: false lets the file hold more than the network needs; it can never hold less.

    Raises:
        CheckpointError: the file cannot be read or does not fit.
    """
    net = bare(net)
    weights = read_weights(path, key, net)
    if not strict:
        own = net.state_dict()
        weights = OrderedDict((name, weight) for name, weight in weights.items()
                              if name in own and fits(net, name, own[name].shape, weight.shape))
    check_fit(net, weights, path)
    net.load_state_dict(weights)
    get_root_logger().info(f'Loaded {type(net).__name__} from {path}.')


def save_weights(nets: Mapping[str, nn.Module], path: str, iteration: int) -> None:
    """Write networks by key, atomically.

    Raises:
        TrainingError: a weight is not finite; nothing is written.
        CheckpointError: it cannot be written.
    """
    content = {key: OrderedDict((name.replace('_orig_mod.', ''), value.detach().cpu().contiguous())
                                for name, value in bare(net).state_dict().items()) for key, net in nets.items()}
    for weights in content.values():
        for name, value in weights.items():
            if not torch.isfinite(value).all():
                raise TrainingError(f'The weight {name} is not finite after iteration {iteration}, so it was not '
                                    'saved: go back to an earlier checkpoint with a lower train.optim_g.lr.')
    write_atomically(content, path)


def weights_digest(net: nn.Module) -> str:
    """SHA-256 over names and values of a network's weights."""
    digest = hashlib.sha256()
    for name, value in net.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
