"""What losses, edits, masks and anchors have in common: the tables they are found in, and what parts may look at."""
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.ascent import Criterion, sample_loss
from basicsr_unlearn.core.samples import Batch, Runner, restore
from basicsr_unlearn.errors import OptionError

ErrorOf = Callable[[nn.Module, Batch], Tensor]

LOSSES: dict[str, type] = {}
EDITS: dict[str, type] = {}
MASKS: dict[str, type] = {}
ANCHORS: dict[str, type] = {}


def registered_in(table: dict[str, type]) -> Callable[[type], type]:
    """Class decorator: enter the class in `table` under its name, by which option files call it.

    >>> @registered_in(table := {})
    ... class Mine: ...
    >>> list(table)
    ['Mine']
    """
    def enter(cls: type) -> type:
        table[cls.__name__] = cls
        return cls
    return enter


def restoration_error(net: nn.Module, batch: Batch, criterion: Criterion = 'l1') -> Tensor:
    """How far a network is from the clean images of a batch, a scalar; see `sample_loss` for the criterion.

    >>> restoration_error(nn.Identity(), {'lq': torch.zeros(1, 3, 8, 8), 'gt': torch.ones(1, 3, 8, 8)})
    tensor(1.)
    """
    return sample_loss(net(batch['lq']), batch['gt'], criterion).mean()


@dataclass
class Evidence:
    """What a part may look at before the first step. All batches lie on the network's device.

    Args:
        teacher: a copy of the original network, in eval mode, whose weights take gradients; not to be changed.
        forget, retain: lists of batches, for images {'lq': (b, c, h, w), 'gt': ...}; empty where there is no such
            stream.
        untrained: makes a network of the same architecture with fresh weights, set by a seed; None for those that
            manual_seed sets.
        generator: source of random numbers, on the CPU.
        error: error(net, batch) -> scalar, what the network was trained to make small.
        run: how a network is used on a batch.
    """
    teacher: nn.Module
    forget: list[Batch] = field(default_factory=list)
    retain: list[Batch] = field(default_factory=list)
    untrained: Callable[[int | None], nn.Module] | None = None
    generator: torch.Generator = field(default_factory=torch.Generator)
    error: ErrorOf = restoration_error
    run: Runner = restore


@dataclass(frozen=True)
class Start:
    """Where an attacker starts from: a network, and which of its weights he trains.

    Args:
        name: what was done to the attacked network, in a few words.
        net: any module that runs as the attacked network does; its own parameters are trained.
        trains: mask by parameter name, true or above 0 where a weight is trained; None for all.
    """
    name: str
    net: nn.Module
    trains: Mapping[str, Tensor] | None = None


class Invertible:
    """A part says how an attacker who knows it undoes it, by `attack`, or in `no_inverse` why nobody can."""
    no_inverse: str = ''

    def attack(self, evidence: Evidence) -> list[Start]:
        """Starting points from which the skill comes back the soonest, if this part has only hidden it.

        Args:
            evidence: what the attacker has. `teacher` is the attacked network, not to be changed, `forget` and `retain`
                are a few batches of his own, `generator` is seeded as that of the attacked run was.
        """
        return []


class Edit(Invertible, ABC):
    """A change of the weights before the first step.

    `needs` names the streams of Evidence it looks at.
    """
    needs: tuple[str, ...] = ()

    @abstractmethod
    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        """Change the bare network in place."""


class Mask(Invertible, ABC):
    """Which weights may move: gives for each parameter name a bool tensor, true where it may, or a tensor of rates in
    [0, 1], the share of each step that a weight takes.

    `needs` names the streams of Evidence it looks at.
    """
    needs: tuple[str, ...] = ()

    @abstractmethod
    def __call__(self, evidence: Evidence) -> dict[str, Tensor]:
        """A mask for each live parameter of the teacher."""


class Anchor(Invertible, nn.Module, ABC):
    """A term in the space of weights: `prepare` once, then the loss of the network as it is now.

    `needs` names the streams of Evidence that `prepare` looks at, `keeps` the attributes that it sets, which are the
    state. `needs_end` says whether the term depends on the length of the run. `loss_weight` scales the term.
    """
    needs: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()
    needs_end = False
    progress = 0.0  # share of the run that is done; kept up to date by the unlearner

    @abstractmethod
    def prepare(self, evidence: Evidence) -> None:
        """Keep what `forward` compares with, measured on the original network."""

    @abstractmethod
    def forward(self, net: nn.Module) -> Tensor:
        """The term for the bare network, a scalar."""

    def get_extra_state(self) -> dict:
        """What `prepare` kept, for a resume."""
        return {name: getattr(self, name) for name in self.keeps if hasattr(self, name)}

    def set_extra_state(self, state: dict) -> None:
        for name, value in state.items():
            setattr(self, name, value)


def live_parameters(net: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Parameters by name that can learn: without frozen ones and those the architecture lists as `dead_parameters`.

    >>> [name for name, _ in live_parameters(nn.Conv2d(3, 3, 1))]
    ['weight', 'bias']
    """
    dead = set(getattr(net, 'dead_parameters', ()))
    return ((name, p) for name, p in net.named_parameters() if p.requires_grad and name not in dead)


def gradients(net: nn.Module, batch: Batch, error: ErrorOf = restoration_error) -> dict[str, Tensor]:
    """Gradient of the batch's error for each live parameter, zero where there is none.

    The network is used in the mode it is in; `.grad` stays as it is.

    >>> batch = {'lq': torch.ones(1, 1, 2, 2), 'gt': torch.full((1, 1, 2, 2), 9.0)}
    >>> gradients(nn.Conv2d(1, 1, 1), batch)['bias']
    tensor([-1.])
    """
    names, parameters = zip(*live_parameters(net))
    with torch.enable_grad():
        found = torch.autograd.grad(error(net, batch), parameters, allow_unused=True)
    return {name: torch.zeros_like(p) if g is None else g for name, p, g in zip(names, parameters, found)}


def check_invertible(part: type[Invertible]) -> None:
    """Raise OptionError unless a part declares its inverse, or the reason why it has none.

    >>> class Shrink(Edit): ...
    >>> check_invertible(Shrink)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    basicsr_unlearn.errors.OptionError: Shrink declares neither attack(), ...
    """
    if part.attack is Invertible.attack and not part.no_inverse:
        raise OptionError(f'{part.__name__} declares neither attack(), how an attacker who knows it undoes it, nor '
                          'no_inverse, why nobody can: add one of them, as an audit would say more than it knows.')
