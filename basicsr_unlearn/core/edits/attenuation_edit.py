"""Weaken the weights: all by a factor, or some to nothing."""
import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_share
from basicsr_unlearn.core.hints import Share
from basicsr_unlearn.core.inverses import check_attack, drawn_again, each_alone, of_lowest_error
from basicsr_unlearn.core.parts import EDITS, Edit, Evidence, Start, live_parameters, registered_in

SCALED_BACK = (0.25, 0.5, 0.75, 1.0)  # of the way, on the scale of logarithms: weights have grown since; our choice


@registered_in(EDITS)
class WeightAttenuation(Edit):
    """w <- factor w for all live weights.

    Undone by division, all the way or a part of it: all comes back as long as little was trained since.

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

    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget')
        own = {name: p.detach() for name, p in live_parameters(evidence.teacher)}
        return [Start('weights scaled back', of_lowest_error(
            ({name: p / self.factor**share for name, p in own.items()} for share in SCALED_BACK), evidence))]


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
        check_attack(self, evidence, 'forget')
        return each_alone(self.drawn(evidence.teacher, drawn_again(evidence)), 'dropped weights', evidence)
