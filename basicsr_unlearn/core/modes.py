"""The modes of a network, and the network inside a wrapper."""
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel


@contextmanager
def eval_mode(*nets: nn.Module) -> Iterator[None]:
    """Networks in eval mode inside the block; afterwards each submodule is back in the mode that it had.

    >>> net = nn.Dropout()
    >>> with eval_mode(net):
    ...     net.training
    False
    """
    modes = [(module, module.training) for net in nets for module in net.modules()]
    for net in nets:
        net.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def bare(net: nn.Module) -> nn.Module:
    """The network itself, without DataParallel or DistributedDataParallel around it.

    >>> bare(DataParallel(nn.Conv2d(3, 3, 1)))
    Conv2d(3, 3, kernel_size=(1, 1), stride=(1, 1))
    """
    return net.module if isinstance(net, (DataParallel, DistributedDataParallel)) else net


def frozen_copy(net: nn.Module) -> nn.Module:
    """A copy of the bare network in eval mode that never trains.

    >>> frozen_copy(nn.Conv2d(3, 3, 1)).weight.requires_grad
    False
    """
    return deepcopy(bare(net)).eval().requires_grad_(False)


def learning_copy(net: nn.Module, like: nn.Module) -> nn.Module:
    """A copy whose weights take gradients where those of another network of its architecture do.

    >>> learning_copy(frozen_copy(nn.Conv2d(3, 3, 1)), nn.Conv2d(3, 3, 1)).weight.requires_grad
    True
    """
    copy, asked = deepcopy(net), {name: p.requires_grad for name, p in like.named_parameters()}
    for name, p in copy.named_parameters():
        p.requires_grad_(asked[name])
    return copy
