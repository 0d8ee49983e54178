"""Keep few weights: what a sparse network cannot hold it forgets first."""
from torch import Tensor, nn

from basicsr_unlearn.unlearning.ascent import check_number
from basicsr_unlearn.unlearning.parts import ANCHORS, Anchor, Evidence, live_parameters, registered_in


@registered_in(ANCHORS)
class SparsityAnchor(Anchor):
    """loss_weight * sum_i |w_i| over all live weights.

    Args:
        loss_weight: at least 0; the pull on each weight, in the unit of its gradient in the other terms.

    Raises:
        ValueError: loss_weight is out of range.

    Source: l1-sparse, Jia et al., NeurIPS 2023 (arXiv 2304.04934): the norm of all parameters, summed and not averaged,
    beside training on the retain set. There the factor falls linearly to 0 during unlearning; here it stays. Its size
    is our choice: factors around 5e-4 are meant for cross-entropy, while half of the weights of the NAFNet in zoo/ have
    a gradient below 2e-5 on L1.
    """

    def __init__(self, loss_weight: float = 1e-5):
        super().__init__()
        check_number('loss_weight', loss_weight)
        self.loss_weight = loss_weight

    def prepare(self, evidence: Evidence) -> None:
        """Nothing to measure: the weights are compared with zero."""

    def forward(self, net: nn.Module) -> Tensor:
        return self.loss_weight * sum(p.abs().sum() for _, p in live_parameters(net))
