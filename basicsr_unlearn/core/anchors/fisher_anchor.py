"""Hold the weights that matter to what has to stay."""
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_choice, check_number
from basicsr_unlearn.core.hints import NotNegative
from basicsr_unlearn.core.importance import fisher, highest_share
from basicsr_unlearn.core.inverses import check_attack, each_alone
from basicsr_unlearn.core.parts import ANCHORS, Anchor, Evidence, Start, live_parameters, registered_in

HELD = 0.5  # the share of the weights that an attacker takes for held near the original; our choice


class QuadraticAnchor(Anchor):
    """loss_weight * sum_i importance_i (w_i - w0_i)^2 / 2 over all live weights, w0 being the original's.

    A subclass says in `measure` how much each weight matters. Weights that matter stay near the original's: an attacker
    measures again, and trains those that were free alone, or those that were held.

    Args:
        loss_weight: at least 0.

    Raises:
        ValueError: an argument is out of range.
    """

    keeps = ('original', 'importance')

    def __init__(self, loss_weight: NotNegative = 1.0):
        super().__init__()
        check_number('loss_weight', loss_weight)
        self.loss_weight = loss_weight

    @abstractmethod
    def measure(self, evidence: Evidence) -> dict[str, Tensor]:
        """Importance of each weight, by parameter name."""

    def prepare(self, evidence: Evidence) -> None:
        self.original = {name: p.detach().clone() for name, p in live_parameters(evidence.teacher)}
        self.importance = self.measure(evidence)

    def forward(self, net: nn.Module) -> Tensor:
        return self.loss_weight * sum((self.importance[name] * (p - self.original[name]).square()).sum()
                                      for name, p in live_parameters(net)) / 2

    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget', *self.needs)
        return each_alone(highest_share(self.measure(evidence), HELD), 'weights held by importance', evidence)


@registered_in(ANCHORS)
class FisherAnchor(QuadraticAnchor):
    """Elastic weight consolidation: sum_i F_i (w_i - w0_i)^2 / 2, F the diagonal Fisher information.

    Args:
        loss_weight: at least 0.
        stream: where F is measured, 'retain' or 'forget'.
        normalise: divide F by its mean over all weights, so that loss_weight has the same meaning for any loss, batch
            size and network: where all weights matter alike, the term is loss_weight |w - w0|^2 / 2. F itself is tiny,
            since gradients of a mean over pixels are.
        per_sample: square each sample's gradient, as the definition has it, instead of each batch's mean; one backward
            pass per sample.

    Raises:
        ValueError: an argument is out of range.

    Source: EWC, Kirkpatrick et al., PNAS 2017, equation 3; there loss_weight is the open lambda, and F is not
    normalised. normalise, and batches in place of samples: our choice.
    """

    def __init__(self, loss_weight: NotNegative = 1.0, stream: Literal['retain', 'forget'] = 'retain',
                 normalise: bool = True, per_sample: bool = False):
        super().__init__(loss_weight)
        check_choice('stream', stream, ('retain', 'forget'))
        self.stream, self.normalise, self.per_sample = stream, normalise, per_sample
        self.needs = (stream,)

    def measure(self, evidence: Evidence) -> dict[str, Tensor]:
        values = fisher(evidence.teacher, getattr(evidence, self.stream), evidence.error, self.per_sample)
        if not self.normalise:
            return values
        mean = sum(value.double().sum() for value in values.values()) / sum(value.numel() for value in values.values())
        scale = 1 / mean.clamp_min(torch.finfo(torch.float32).tiny)  # where nothing matters, all stays 0
        return {name: (value * scale).to(value.dtype) for name, value in values.items()}
