"""Which weights of a network may move, how fast, and what the others stay at."""
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.parts import live_parameters


class Masking:
    """Several masks as one, held over a network: a weight moves as far as all of them let it.

    Args:
        masks: by parameter name, bool or a share of each step in [0, 1]; see `Mask`.
        net: the bare network as it is when they begin to hold; the weights that may not move stay at that.

    >>> net = nn.Conv2d(1, 1, 1)
    >>> Masking([{'weight': torch.tensor([[[[True]]]]), 'bias': torch.tensor([False])}], net).moving
    1
    """

    def __init__(self, masks: Sequence[Mapping[str, Tensor]], net: nn.Module) -> None:
        own = dict(live_parameters(net))
        rates = {name: torch.stack([mask[name].to(p) for mask in masks]).prod(0) for name, p in own.items()}
        self.masks = {name: rate > 0 for name, rate in rates.items()}
        self.slow = {name: rate for name, rate in rates.items() if ((rate > 0) & (rate < 1)).any()}
        self.resting = {name: p.detach().clone() for name, p in own.items()}

    @property
    def moving(self) -> int:
        """How many weights may move."""
        return sum(int(mask.sum()) for mask in self.masks.values())

    @property
    def total(self) -> int:
        """How many weights there are."""
        return sum(mask.numel() for mask in self.masks.values())

    def mask_gradients(self, net: nn.Module) -> None:
        """Take away the gradients of the weights that may not move."""
        for name, p in live_parameters(net):
            if p.grad is not None:
                p.grad.mul_(self.masks[name])

    @contextmanager
    def held(self, net: nn.Module) -> Iterator[None]:
        """Let the optimizer's step inside go only so far, and not at all where a weight may not move. A factor on the
        gradient would not do: Adam divides by the gradient's size.
        """
        own = dict(net.named_parameters())
        before = {name: own[name].detach().clone() for name in self.slow}
        yield
        with torch.no_grad():
            for name, rate in self.slow.items():
                own[name].copy_(torch.where(rate < 1, before[name].lerp(own[name], rate), own[name]))
        self.restore(net)

    @torch.no_grad()
    def restore(self, net: nn.Module) -> None:
        """Put the weights that may not move back, exactly: weight decay and momentum move them even without gradient.
        """
        for name, p in net.named_parameters():
            if name in self.masks:
                p.copy_(torch.where(self.masks[name], p, self.resting[name]))

    def state_dict(self) -> dict:
        return {'masks': self.masks, 'slow': self.slow, 'resting': self.resting}

    @classmethod
    def of_state(cls, state: Mapping, device: torch.device) -> 'Masking':
        """The masking that `state_dict` was of."""
        masking = cls.__new__(cls)
        for part, tensors in state.items():
            setattr(masking, part, {name: tensor.to(device) for name, tensor in tensors.items()})
        return masking
