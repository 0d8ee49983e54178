"""A few steps of plain training on given batches, away from the run."""
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.parts import ErrorOf, live_parameters, restoration_error
from basicsr_unlearn.core.samples import Batch


def tuned(net: nn.Module, batches: Sequence[Batch], iters: int, lr: float, error: ErrorOf = restoration_error
          ) -> dict[str, Tensor]:
    """Live weights of a copy of a network after some steps of Adam, by parameter name.

    In eval mode (our choice), so that normalisation statistics rest and no dropout is drawn.

    Args:
        net: not changed.
        batches: taken in turn.
        iters: steps.
        lr: learning rate.
        error: of a network on a batch.

    >>> batch = {'lq': torch.zeros(1, 1, 2, 2), 'gt': torch.ones(1, 1, 2, 2) * 9}
    >>> weights = tuned(nn.Conv2d(1, 1, 1), [batch], iters=1, lr=0.1)
    """
    copy = deepcopy(net).eval()
    live = dict(live_parameters(copy))
    optimizer = torch.optim.Adam(live.values(), lr=lr)
    with torch.enable_grad():
        for step in range(iters):
            optimizer.zero_grad()
            error(copy, batches[step % len(batches)]).backward()
            optimizer.step()
    return {name: p.detach() for name, p in live.items()}
