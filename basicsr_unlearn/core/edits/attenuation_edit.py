"""Weaken the weights: all by a factor, or some to nothing."""
from copy import deepcopy

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_share
from basicsr_unlearn.core.hints import Share
from basicsr_unlearn.core.inverses import drawn_again
from basicsr_unlearn.core.parts import EDITS, Edit, Evidence, Start, live_parameters, registered_in


@registered_in(EDITS)
class WeightAttenuation(Edit):
    """w <- factor w for all live weights.

    Undone by division, which brings all of it back as long as little was trained since.

    Args:
        factor: in (0, 1].

    Raises:
        ValueError: factor is out of range.

    Source: weight attenuation in arXiv 2505.22310, with its factor of 0.5 for a ResNet-18, before training on the
    retain set.
    """

    def __init__(self, factor: Share = 0.5):
        check_share('factor', factor)
        self.factor = factor

    @torch.no_grad()
    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        for _, p in live_parameters(net):
            p.mul_(self.factor)

    @torch.no_grad()
    def attack(self, evidence: Evidence) -> list[Start]:
        """The weights divided by the factor, and by its root, since training has grown some of them again."""
        starts = []
        for name, factor in (('weights scaled back', self.factor), ('weights scaled half way back', self.factor**0.5)):
            net = deepcopy(evidence.teacher)
            for _, p in live_parameters(net):
                p.div_(factor)
            starts.append(Start(name, net))
        return starts


@registered_in(EDITS)
class WeightDropout(Edit):
    """Set weights to zero, drawn at random among all live ones.

    Their values are gone; who has the run's seed knows which they were, and may train them alone, or all others.

    Args:
        share: odds of each weight, in (0, 1].

    Raises:
        ValueError: share is out of range.

    Source: weight dropout in arXiv 2505.22310, with its 0.2 for a ResNet-18, before training on the retain set.
    """

    def __init__(self, share: Share = 0.2):
        check_share('share', share)
        self.share = share

    @torch.no_grad()
    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        gone = self.drawn(net, evidence.generator)
        for name, p in live_parameters(net):
            p.masked_fill_(gone[name], 0)

    def drawn(self, net: nn.Module, generator: torch.Generator) -> dict[str, Tensor]:
        """True for the weights that go, by parameter name."""
        return {name: (torch.rand(p.shape, generator=generator) < self.share).to(p.device)
                for name, p in live_parameters(net)}

    def attack(self, evidence: Evidence) -> list[Start]:
        """Those that were set to zero, drawn again from the run's seed, are trained alone; or all others."""
        gone = self.drawn(evidence.teacher, drawn_again(evidence))
        return [Start('dropped weights alone', deepcopy(evidence.teacher), gone),
                Start('all but the dropped weights', deepcopy(evidence.teacher),
                      {name: ~mask for name, mask in gone.items()})]
