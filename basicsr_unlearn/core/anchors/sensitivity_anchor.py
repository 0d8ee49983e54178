"""Hold all weights but those that matter to the forget set."""
import torch
from torch import Tensor

from basicsr_unlearn.core.anchors.fisher_anchor import QuadraticAnchor
from basicsr_unlearn.core.hints import NotNegative
from basicsr_unlearn.core.importance import output_sensitivity
from basicsr_unlearn.core.parts import ANCHORS, Evidence, registered_in


@registered_in(ANCHORS)
class SensitivityAnchor(QuadraticAnchor):
    """sum_i (1 - minmax(O)_i) (w_i - w0_i)^2 / 2, O being the sensitivity of the output on the forget set.

    O is scaled to [0, 1] in each tensor. So in each tensor the weight that matters most to forgetting moves freely and
    the one that matters least is held fully. A tensor whose weights all matter alike, such as one of a single weight,
    is held fully (our choice: the formula gives 0 / 0).

    Args:
        loss_weight: at least 0; 1 is that of L2UL's run scripts, 10 that of its code.
        residual: measure the sensitivity of what the network adds to its input, see `output_sensitivity`.

    Raises:
        ValueError: loss_weight is out of range.

    Source: L2UL, AAAI 2024 (arXiv 2301.11578), whose code takes the norm of the output; `output_sensitivity` takes its
    square, as memory aware synapses (ECCV 2018), and eval mode.
    """

    needs = ('forget',)

    def __init__(self, loss_weight: NotNegative = 1.0, residual: bool = True):
        super().__init__(loss_weight)
        self.residual = residual

    def measure(self, evidence: Evidence) -> dict[str, Tensor]:
        values = output_sensitivity(evidence.teacher, evidence.forget, self.residual, evidence.run)
        return {name: 1 - minmax(value) for name, value in values.items()}


def minmax(values: Tensor) -> Tensor:
    """Scaled to [0, 1]; 0 where all are alike.

    >>> minmax(torch.tensor([1.0, 2.0, 3.0]))
    tensor([0.0000, 0.5000, 1.0000])
    """
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else torch.zeros_like(values)
