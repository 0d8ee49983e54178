"""A tiny restoration task, brightening dark images, and a check that a measurement leaves everything as it was."""
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn


class Brighten(nn.Module):
    """Two 1x1 convolutions, `head` and `tail`, that together multiply the image by `gain`; dropout of 0 beside.

    Dropout draws from torch's global generator in training mode only.
    """

    def __init__(self, gain: float = 2.0, dropout: float = 0.0):
        super().__init__()
        self.head, self.tail, self.dropout = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1), nn.Dropout(dropout)
        for layer, factor in ((self.head, 1.0), (self.tail, gain)):
            nn.init.zeros_(layer.bias)
            layer.weight.data = factor * torch.eye(3).view(3, 3, 1, 1)

    def forward(self, x):
        return self.tail(self.dropout(self.head(x)))


@pytest.fixture
def brighten():
    return Brighten


@pytest.fixture
def dark_pairs():
    """dark_pairs(count, seed) gives pairs of an image in [0, 1], 3x20x24, and its half as the degraded one."""

    def make(count: int = 2, seed: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
        clean = torch.rand(count, 3, 20, 24, generator=torch.Generator().manual_seed(seed))
        return [(gt / 2, gt) for gt in clean]

    return make


@pytest.fixture
def untouched():
    """Inside `untouched(net, ...)` weights, gradients, modes, hooks and the global generators must stay as they are."""

    @contextmanager
    def check(*nets: nn.Module):
        for net in nets:
            net.train()
            list(net.children())[0].eval()  # a mixture of modes
            for p in net.parameters():
                p.grad = torch.full_like(p, 0.5)
        modes = [[module.training for module in net.modules()] for net in nets]
        weights = [{name: value.clone() for name, value in net.state_dict().items()} for net in nets]
        torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
        yield
        assert torch.equal(torch.get_rng_state(), torch_state)
        assert (np.random.get_state()[1] == numpy_state).all()
        for net, before, mode in zip(nets, weights, modes):
            assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
            assert all((p.grad == 0.5).all() and p.requires_grad for p in net.parameters())
            assert [module.training for module in net.modules()] == mode
            assert not any(module._forward_hooks for module in net.modules())

    return check
