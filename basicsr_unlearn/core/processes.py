"""What several processes of one run agree on."""
from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel


def is_shared(net: nn.Module) -> bool:
    """Whether several processes train the network together.

    >>> is_shared(nn.Conv2d(3, 3, 1))
    False
    """
    return isinstance(net, DistributedDataParallel)


def rank() -> int:
    """The number of this process, 0 where it is alone.

    >>> rank()
    0
    """
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def mean_of_processes(values: Tensor, shared: bool) -> Tensor:
    """The mean over all processes in float64; the values themselves where they are not shared.

    >>> mean_of_processes(torch.tensor([1.0]), shared=False)
    tensor([1.], dtype=torch.float64)
    """
    values = values.double()
    if shared:
        distributed.all_reduce(values)
        values /= distributed.get_world_size()
    return values


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give all processes the mean gradient, where DistributedDataParallel was passed by.

    >>> average_gradients([])
    """
    for p in parameters:
        if p.grad is not None:
            distributed.all_reduce(p.grad)
            p.grad /= distributed.get_world_size()


@torch.no_grad()
def share_weights(net: nn.Module) -> None:
    """Give all processes the first one's weights, where DistributedDataParallel has handed them out before.

    >>> share_weights(nn.Identity())
    """
    for p in net.parameters():
        distributed.broadcast(p, src=0)


def of_first_process(value: float, device: torch.device, shared: bool) -> float:
    """The first process's value: rounding may differ between devices.

    >>> of_first_process(0.5, torch.device('cpu'), shared=False)
    0.5
    """
    if not shared:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.broadcast(tensor, src=0)
    return float(tensor)
