"""Shrink the weights that matter to the forget set far more than to the rest."""
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_number
from basicsr_unlearn.core.hints import NotNegative, Positive
from basicsr_unlearn.core.importance import fisher, output_sensitivity
from basicsr_unlearn.core.inverses import check_attack, each_alone, of_lowest_error
from basicsr_unlearn.core.parts import EDITS, Edit, Evidence, Start, live_parameters, registered_in

# Of the attacker, all our choice: what weights that are chosen again are multiplied with; powers of what the formula
# says, at most the highest, each times a factor, since few pairs measure importances roughly; and the sizes that small
# weights are raised to, in units of the mean size of the others.
FACTORS = (2.0, 8.0, 32.0, 128.0)
POWERS = tuple((power, factor) for power in (0.5, 1.0) for factor in (0.5, 1.0, 2.0, 4.0))
HIGHEST = 1e4
SIZES = (0.25, 0.5, 1.0)


@registered_in(EDITS)
class SynapticDampening(Edit):
    """Selective synaptic dampening: where I_f > alpha I_r, w <- min(dampening I_r / I_f, 1) w.

    I_f and I_r are the importances of a weight to the forget and to the retain batches. Weights that matter to neither
    stay as they are.

    Undone by measuring the importances again on pairs of one's own, and scaling the chosen weights up as far as that
    helps; or by what shows without any pair: dampened weights are small and keep their signs. Raised to the size of
    others, or trained alone, they bring some of the skill back. What was set to zero has to be learned.

    Args:
        alpha: how many times more a weight must matter to the forget set, above 0.
        dampening: how much is left of a chosen weight, in units of I_r / I_f; 0 sets it to zero.
        label_free: importance from outputs alone (`output_sensitivity`) instead of from the loss (`fisher`).

    Raises:
        ValueError: an argument is out of range.

    Source: SSD, Foster et al., AAAI 2024, with its alpha and dampening; label_free: the same authors' LFSSD. The papers
    take the importance to the whole training set in place of I_r: here it is measured on the retain batches (our
    choice), so that it needs no store of the training data and does not depend on the share of forget samples in it.
    """

    needs = ('forget', 'retain')

    def __init__(self, alpha: Positive = 10.0, dampening: NotNegative = 1.0, label_free: bool = False):
        check_number('alpha', alpha, exclusive=True)
        check_number('dampening', dampening)
        self.alpha, self.dampening = alpha, dampening
        self.importance = output_sensitivity if label_free else fisher

    @torch.no_grad()
    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        original = evidence.teacher
        forget, retain = self.importance(original, evidence.forget), self.importance(original, evidence.retain)
        for name, p in live_parameters(net):
            chosen = forget[name] > self.alpha * retain[name]  # never where forget is 0
            factor = (self.dampening * retain[name] / forget[name]).clamp(max=1)
            p.copy_(torch.where(chosen, p * factor, p))

    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget', 'retain')
        net = evidence.teacher
        forget, retain = self.importance(net, evidence.forget), self.importance(net, evidence.retain)
        own = {name: p.detach() for name, p in live_parameters(net)}
        chosen = {name: forget[name] > self.alpha * retain[name] for name in own}
        small = {name: p.abs() <= p.std(unbiased=False) * self.dampening / self.alpha for name, p in own.items()}

        def raised() -> Iterator[dict[str, Tensor]]:
            for factor in FACTORS:
                yield {name: torch.where(chosen[name], p * factor, p) for name, p in own.items()}
            for power, factor in POWERS:
                yield {name: torch.where(chosen[name], factor * p * self._inverse(forget[name], retain[name]) ** power,
                                         p) for name, p in own.items()}
            for size in SIZES:
                yield {name: torch.where(small[name], p.sign() * size * p[~small[name]].abs().mean().nan_to_num(), p)
                       for name, p in own.items()}

        return [Start('dampened weights scaled up', of_lowest_error(raised(), evidence)),
                *each_alone(small, 'small weights', evidence)]

    def _inverse(self, forget: Tensor, retain: Tensor) -> Tensor:
        """What a chosen weight was divided by, between 1 and `HIGHEST`; 1 where it matters to neither."""
        return (forget / (self.dampening * retain)).nan_to_num(1.0, posinf=HIGHEST).clamp(1.0, HIGHEST)
