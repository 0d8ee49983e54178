"""Shrink the weights that matter to the forget set far more than to the rest."""
import torch
from torch import nn

from basicsr_unlearn.core.checks import check_number
from basicsr_unlearn.core.hints import NotNegative, Positive
from basicsr_unlearn.core.importance import fisher, output_sensitivity
from basicsr_unlearn.core.parts import EDITS, Edit, Evidence, live_parameters, registered_in


@registered_in(EDITS)
class SynapticDampening(Edit):
    """Selective synaptic dampening: where I_f > alpha I_r, w <- min(dampening I_r / I_f, 1) w.

    I_f and I_r are the importances of a weight to the forget and to the retain batches. Weights that matter to neither
    stay as they are.

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
