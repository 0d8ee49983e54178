"""The losses of plain training, for where BasicSR is not there: of the same names, arguments and bits as its own."""
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from basicsr_unlearn.core.checks import check_choice
from basicsr_unlearn.core.parts import LOSSES, registered_in


class PixelLoss(nn.Module):
    """Mean over all pixels of a subclass's `distance` of output and target, scaled by `loss_weight`.

    Args:
        loss_weight: 0 or above.
        reduction: 'mean', 'sum' or 'none'.
    """

    distance: Callable[[Tensor, Tensor], Tensor]  # of each pixel

    def __init__(self, loss_weight: float = 1.0, reduction: str = 'mean') -> None:
        super().__init__()
        check_choice('reduction', reduction, ('mean', 'sum', 'none'))
        self.loss_weight, self.reduction = loss_weight, reduction

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        values = self.distance(pred, target)
        return self.loss_weight * (values if self.reduction == 'none' else getattr(values, self.reduction)())


@registered_in(LOSSES)
class L1Loss(PixelLoss):
    """|pred - target|."""

    distance = staticmethod(partial(F.l1_loss, reduction='none'))


@registered_in(LOSSES)
class MSELoss(PixelLoss):
    """(pred - target)^2."""

    distance = staticmethod(partial(F.mse_loss, reduction='none'))


@registered_in(LOSSES)
class CharbonnierLoss(PixelLoss):
    """sqrt((pred - target)^2 + eps), as BasicSR has it: `eps` is not squared."""

    def __init__(self, loss_weight: float = 1.0, reduction: str = 'mean', eps: float = 1e-12) -> None:
        super().__init__(loss_weight, reduction)
        self.eps = eps

    def distance(self, pred: Tensor, target: Tensor) -> Tensor:
        return torch.sqrt((pred - target) ** 2 + self.eps)
