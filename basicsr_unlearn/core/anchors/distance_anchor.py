"""Drive the weights away from the original."""
import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_number
from basicsr_unlearn.core.hints import NotNegative
from basicsr_unlearn.core.parts import ANCHORS, Anchor, Evidence, live_parameters, registered_in

SMOOTHING = 1e-8  # the code of the paper: keeps the gradient finite at the original


@registered_in(ANCHORS)
class DistanceAnchor(Anchor):
    """-loss_weight * sqrt(mean_i (w_i - w0_i)^2 + 1e-8) over all live weights, w0 being the original's.

    It only lengthens a way that another term has begun: at the original it has no gradient.

    Args:
        loss_weight: at least 0.

    Raises:
        ValueError: loss_weight is out of range.

    Source: the weight distance regulariser of arXiv 2505.22310, as in its code, with loss_weight 1 beside training on
    the retain set: its authors found that a network resists relearning the longer, the further it is from the original.
    """

    keeps = ('original',)
    no_inverse = ('It pushes away from the original, which an attacker does not have, along whatever the retain set '
                  'began: no direction is its own that he could go back.')

    def __init__(self, loss_weight: NotNegative = 1.0):
        super().__init__()
        check_number('loss_weight', loss_weight)
        self.loss_weight = loss_weight

    def prepare(self, evidence: Evidence) -> None:
        self.original = {name: p.detach().clone() for name, p in live_parameters(evidence.teacher)}

    def forward(self, net: nn.Module) -> Tensor:
        distance = torch.cat([(p - self.original[name]).flatten() for name, p in live_parameters(net)])
        return -self.loss_weight * (distance.square().mean() + SMOOTHING).sqrt()
