"""What a run computes, counted where it happens: samples that go through its networks, forward and backward."""
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from basicsr_unlearn.core.modes import bare


class PassCounter:
    """Counts samples by kind of pass. A backward pass is worth two forward, one of an attack, which skips the weights,
    as much as one. Passes that end early, for features alone, are not counted.

    `g_forward`, `g_backward`, `teacher_forward` ...: by the name of the network; `attack_forward`,
    `attack_backward`: of any network in eval mode whose input is moved; `copy_forward`, `copy_backward`: of copies that
    a loss or a measurement made of one meanwhile.

    Set `patch` to what a sample is of a whole patch, by its pixels, where that changes: one of 0.25 counts a quarter.

    >>> counter, net = PassCounter(), nn.Conv2d(3, 3, 1)
    >>> with counter.counting({'student': net}):
    ...     net(torch.rand(4, 3, 8, 8)).mean().backward()
    >>> counter.samples
    {'student_forward': 4, 'student_backward': 4}
    """

    patch: float = 1

    def __init__(self, samples: Mapping[str, float] | None = None) -> None:
        self._counts = Counter(samples or {})
        self._watched: list[nn.Module] = []  # now

    @property
    def samples(self) -> dict[str, float]:
        """Samples so far by kind."""
        return dict(self._counts)

    @contextmanager
    def counting(self, nets: Mapping[str, nn.Module | None]) -> Iterator[None]:
        """Count inside the block what goes through these networks by name, perhaps wrapped; None is passed over."""
        watched = {name: bare(net) for name, net in nets.items() if net is not None}
        handles = [net.register_forward_hook(self._hook(name, net)) for name, net in watched.items()]
        self._watched = list(watched.values())
        try:
            yield
        finally:
            self._watched = []
            for handle in handles:
                handle.remove()

    def _hook(self, name: str, watched: nn.Module) -> Callable:
        def hook(module: nn.Module, inputs: tuple, output: object) -> None:
            # a copy that was made of one has its hook, and may be watched itself by now
            known = any(module is one for one in self._watched)
            if not self._watched or not torch.is_tensor(output) or known and module is not watched:
                return
            moved = any(torch.is_tensor(one) and one.requires_grad for one in inputs)
            kind = 'copy' if module is not watched else 'attack' if moved and not module.training else name
            self._counts[f'{kind}_forward'] += len(output) * self.patch
            if output.requires_grad:
                output.register_hook(lambda gradient: self._backward(kind, len(gradient)))
        return hook

    def _backward(self, kind: str, samples: int) -> None:
        if self._watched:
            self._counts[f'{kind}_backward'] += samples * self.patch
