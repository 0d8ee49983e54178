"""Tell the own degradation from others': the contrastive term that AirNet's encoder learns from."""
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn
from torch.nn import functional as F

from basicsr_unlearn.core.checks import check_number
from basicsr_unlearn.core.hints import NotNegative


def contrast_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over the batch of -log softmax(logits)[label].

    Args:
        logits: (b, k), similarities to k candidates, divided by a temperature.
        labels: (b,), whole numbers: the candidate that is the right one.

    Returns:
        Scalar; log(k) where nothing is told apart.

    Source: InfoNCE (van den Oord et al., arXiv 1807.03748, equation 4), as in MoCo (He et al., CVPR 2020, equation 1).
    """
    return F.cross_entropy(logits, labels)


@LOSS_REGISTRY.register()
class ContrastLoss(nn.Module):
    """Module form of `contrast_loss`, scaled by `loss_weight` (0 or above)."""

    terms = ('contrast',)  # the options `<term>_opt` that take it

    def __init__(self, loss_weight: NotNegative = 1.0) -> None:
        super().__init__()
        check_number('loss_weight', loss_weight)
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.loss_weight * contrast_loss(logits, labels)
