"""Tell the own degradation from others': the contrastive term that AirNet's encoder learns from."""
from torch import Tensor, nn
from torch.nn import functional as F

from basicsr_unlearn.core.checks import check_number
from basicsr_unlearn.core.hints import NotNegative
from basicsr_unlearn.core.parts import LOSSES, registered_in


def contrast_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The mean over the batch of -log softmax(logits)[label].

    Args:
        logits: (b, k), similarities to k candidates, divided by a temperature.
        labels: (b,), whole numbers: the candidate that is the right one.

    Returns:
        Scalar; log(k) where nothing is told apart.

    Source: InfoNCE (van den Oord et al., arXiv 1807.03748, equation 4), as in MoCo (He et al., CVPR 2020, equation 1).

    >>> contrast_loss(torch.zeros(2, 4), torch.tensor([0, 3]))
    tensor(1.3863)
    """
    return F.cross_entropy(logits, labels)


@registered_in(LOSSES)
class ContrastLoss(nn.Module):
    """Module form of `contrast_loss`, scaled by `loss_weight` (0 or above).

    Called with logits and labels, by AirNetModel: nothing is unlearned by it.
    """

    terms = ('contrast',)  # the options `<term>_opt` that take it

    def __init__(self, loss_weight: NotNegative = 1.0) -> None:
        super().__init__()
        check_number('loss_weight', loss_weight)
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.loss_weight * contrast_loss(logits, labels)
