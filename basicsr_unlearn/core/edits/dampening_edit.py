"""Shrink the weights that matter to the forget set far more than to the rest."""
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_number
from basicsr_unlearn.core.hints import NotNegative, Positive
from basicsr_unlearn.core.importance import fisher, highest_share, output_sensitivity
from basicsr_unlearn.core.inverses import check_attack, each_alone, of_lowest_error
from basicsr_unlearn.core.parts import EDITS, Edit, Evidence, Start, live_parameters, registered_in

# Of the attacker, all our choice: the share of the weights that counts as dampened where none exceeds alpha any more;
# the most that the formula multiplies one with; what all are multiplied with; and in its place powers of what the
# formula says, each times a factor, since few pairs measure importances only roughly.
FEW_DAMPENED, HIGHEST = 0.01, 1e4
FACTORS = tuple(2.0**power for power in range(1, 9))
POWERS = tuple((power, factor) for power in (0.5, 1.0) for factor in (0.5, 1.0, 2.0, 4.0))


@registered_in(EDITS)
class SynapticDampening(Edit):
    """Selective synaptic dampening: where I_f > alpha I_r, w <- min(dampening I_r / I_f, 1) w.

    I_f and I_r are the importances of a weight to the forget and to the retain batches. Weights that matter to neither
    stay as they are.

    Undone by measuring the importances again on pairs of one's own, and scaling the chosen weights up as far as that
    helps. What was set to zero does not come back, but little else has to be trained.

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
        if not any(mask.any() for mask in chosen.values()):
            ratio = {name: torch.where(forget[name] > 0, forget[name] / retain[name], 0) for name in own}
            chosen = highest_share(ratio, FEW_DAMPENED)

        def raised() -> Iterator[dict[str, Tensor]]:
            for factor in FACTORS:
                yield {name: torch.where(chosen[name], p * factor, p) for name, p in own.items()}
            for power, factor in POWERS:
                yield {name: torch.where(chosen[name], factor * p * self._inverse(forget[name], retain[name]) ** power,
                                         p) for name, p in own.items()}

        empty = {name: mask | (own[name] == 0) for name, mask in chosen.items()}
        return [Start('dampened weights scaled up', of_lowest_error(raised(), evidence)),
                *each_alone(empty, 'dampened weights', evidence)]

    def _inverse(self, forget: Tensor, retain: Tensor) -> Tensor:
        """What a chosen weight was divided by, between 1 and `HIGHEST`; 1 where it matters to neither."""
        return (forget / (self.dampening * retain)).nan_to_num(1.0, posinf=HIGHEST).clamp(1.0, HIGHEST)
