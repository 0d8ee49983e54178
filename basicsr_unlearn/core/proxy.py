"""A network that knows nothing of the forget set, to be copied where the original is to be forgotten."""
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import nn

from basicsr_unlearn.core.checks import check_number, check_whole
from basicsr_unlearn.core.parts import Edit, Evidence


def train_proxy(evidence: Evidence, iters: int = 0, lr: float = 1e-3, seed: int = 0,
                edits: Sequence[Edit] = ()) -> nn.Module:
    """Train a network of the original's architecture on retain batches only.

    Args:
        evidence: gives the retain batches, which are gone through in turn, and the architecture.
        iters: steps of Adam on L1; 0 leaves an incompetent teacher (bad teacher, AAAI 2023: a randomly initialised
            network). Blindspot unlearning (ICML 2023) trains its proxy for two epochs.
        lr: learning rate.
        seed: of the fresh weights.
        edits: what takes the forget set out of a copy of the original, which the proxy then starts from instead of
            fresh weights; our choice: it is nearer to a retrained network after a few steps.

    Returns:
        The network, in eval mode.

    Raises:
        ValueError: an option out of range.

    >>> train_proxy(Evidence(None, untrained=lambda seed: nn.Conv2d(3, 3, 1)))
    Conv2d(3, 3, kernel_size=(1, 1), stride=(1, 1))
    """
    check_number('proxy_opt lr', lr, exclusive=True)
    check_whole('proxy_opt iters', iters)
    if edits:
        proxy = deepcopy(evidence.teacher)
        for edit in edits:
            edit(proxy, evidence)
    else:
        proxy = evidence.untrained(seed)
    optimizer = torch.optim.Adam(proxy.parameters(), lr=lr)
    proxy.train()
    with torch.random.fork_rng():  # for networks with dropout
        torch.manual_seed(seed)
        for step in range(iters):
            optimizer.zero_grad()
            evidence.error(proxy, evidence.retain[step % len(evidence.retain)]).backward()
            optimizer.step()
    proxy.zero_grad()
    return proxy.eval()
