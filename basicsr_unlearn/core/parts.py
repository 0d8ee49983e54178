"""What edits, masks and anchors have in common: the tables they are found in, and what they may look at."""
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.ascent import Criterion, sample_loss

Batches = list[tuple[Tensor, Tensor]]  # (lq, gt), each (b, c, h, w) in [0, 1]

EDITS: dict[str, type] = {}
MASKS: dict[str, type] = {}
ANCHORS: dict[str, type] = {}


def registered_in(table: dict[str, type]) -> Callable[[type], type]:
    """Class decorator: enter the class in `table` under its name, by which option files call it."""
    def enter(cls: type) -> type:
        table[cls.__name__] = cls
        return cls
    return enter


@dataclass
class Evidence:
    """What a part may look at before the first step. All batches lie on the network's device.

    Args:
        teacher: a copy of the original network, in eval mode, whose weights take gradients; not to be changed.
        forget, retain: batches of (lq, gt); empty where the run has no such stream.
        untrained: makes a network of the same architecture with fresh weights, set by a seed; None for those that
            manual_seed sets.
        generator: source of random numbers, on the CPU.
    """
    teacher: nn.Module
    forget: Batches = field(default_factory=list)
    retain: Batches = field(default_factory=list)
    untrained: Callable[[int | None], nn.Module] | None = None
    generator: torch.Generator = field(default_factory=torch.Generator)


class Edit(ABC):
    """A change of the weights before the first step.

    `needs` names the streams of Evidence it looks at.
    """
    needs: tuple[str, ...] = ()

    @abstractmethod
    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        """Change the bare network in place."""


class Mask(ABC):
    """Which weights may move: gives for each parameter name a bool tensor, true where it may, or a tensor of rates in
    [0, 1], the share of each step that a weight takes.

    `needs` names the streams of Evidence it looks at.
    """
    needs: tuple[str, ...] = ()

    @abstractmethod
    def __call__(self, evidence: Evidence) -> dict[str, Tensor]:
        """A mask for each live parameter of the teacher."""


class Anchor(nn.Module, ABC):
    """A term in the space of weights: `prepare` once, then the loss of the network as it is now.

    `needs` names the streams of Evidence that `prepare` looks at. `loss_weight` scales the term.
    """
    needs: tuple[str, ...] = ()
    progress = 0.0  # share of train.total_iter that is done; kept up to date by the model

    @abstractmethod
    def prepare(self, evidence: Evidence) -> None:
        """Keep what `forward` compares with, measured on the original network."""

    @abstractmethod
    def forward(self, net: nn.Module) -> Tensor:
        """The term for the bare network, a scalar."""


def live_parameters(net: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters by name that can learn: without frozen ones and those the architecture lists as `dead_parameters`."""
    dead = set(getattr(net, 'dead_parameters', ()))
    return ((name, p) for name, p in net.named_parameters() if p.requires_grad and name not in dead)


def gradients(net: nn.Module, batch: tuple[Tensor, Tensor], criterion: Criterion = 'l1') -> dict[str, Tensor]:
    """Gradient of the batch's mean restoration loss for each live parameter, zero where there is none.

    The network is used in the mode it is in; `.grad` stays as it is.
    """
    lq, gt = batch
    names, parameters = zip(*live_parameters(net))
    with torch.enable_grad():
        loss = sample_loss(net(lq), gt, criterion).mean()
        found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for name, p, g in zip(names, parameters, found)}
