"""Forget by moving away from the ground truth, with a bound on how far."""
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from basicsr_unlearn.unlearning.ascent import (
    Criterion,
    bounded_ascent,
    check_bound,
    check_choice,
    check_criterion,
    check_number,
    reduce_samples,
    sample_loss,
)
from basicsr_unlearn.unlearning.images import degraded_as_output


def gradient_ascent_loss(pred: Tensor, target: Tensor, lq: Tensor | None = None, teacher: Tensor | None = None,
                         criterion: Criterion = 'l1', bound: str | None = 'none', margin: float | None = None,
                         beta: float | None = None, reduction: str = 'mean') -> Tensor:
    """Bounded ascent on l = criterion(pred, target); minimising it raises l until the bound ends the push.

    'none' -l; 'identity' max(criterion(lq, target) - l, 0); 'margin' max(margin - l, 0);
    'npo' -(2 / beta) log sigmoid(beta (l - criterion(teacher, target))); 'simnpo' the same with margin as reference.

    Args:
        pred: (b, c, h, w), output on the forget sample.
        target: (b, c, h, w), its ground truth, pixel values in [0, 1].
        lq: (b, c, h', w'), degraded input, used by 'identity'; upsampled bicubically to the target's size.
        teacher: (b, c, h, w), the original network's output on the forget sample, used by 'npo'.
        criterion: see `sample_loss`.
        bound: see `bounded_ascent`, which also gives the sources; None is 'none'.
        margin: loss at which 'margin' ends and around which 'simnpo' fades, in units of the criterion.
        beta: steepness of 'npo' and 'simnpo' in 1 / loss; None is 50 (our choice).
        reduction: 'mean' | 'sum' | 'none' over the batch.

    Returns:
        Scalar, or (b,) for 'none'.

    Raises:
        ValueError: unknown criterion, bound or reduction, shapes that differ, or an input missing that the bound needs.
    """
    reference = None
    if bound == 'identity':
        if lq is None:
            raise ValueError("GradientAscentLoss with bound 'identity' needs lq, the degraded input.")
        reference = sample_loss(degraded_as_output(lq, target), target, criterion)
    elif bound == 'npo':
        if teacher is None:
            raise ValueError("GradientAscentLoss with bound 'npo' needs teacher, the original network's output.")
        reference = sample_loss(teacher, target, criterion)
    loss = sample_loss(pred, target, criterion)
    return reduce_samples(bounded_ascent(loss, bound, reference, margin, beta), reduction)


@LOSS_REGISTRY.register()
class GradientAscentLoss(nn.Module):
    """Module form of `gradient_ascent_loss`, scaled by `loss_weight` (0 or above).

    `needs_lq` and `needs_teacher` tell the caller which inputs the bound uses; others may be given and rest.
    """

    def __init__(self, criterion: Criterion = 'l1', bound: str | None = 'none', margin: float | None = None,
                 beta: float | None = None, loss_weight: float = 1.0, reduction: str = 'mean') -> None:
        super().__init__()
        check_criterion(criterion)
        check_bound(bound, margin, beta)
        check_choice('reduction', reduction, ('mean', 'sum', 'none'))
        check_number('loss_weight', loss_weight)
        self.criterion = criterion
        self.bound = bound
        self.margin = margin
        self.beta = beta
        self.loss_weight = loss_weight
        self.reduction = reduction
        self.needs_lq = bound == 'identity'
        self.needs_teacher = bound == 'npo'

    def forward(self, pred: Tensor, target: Tensor, lq: Tensor | None = None, teacher: Tensor | None = None) -> Tensor:
        return self.loss_weight * gradient_ascent_loss(
            pred, target, lq, teacher, self.criterion, self.bound, self.margin, self.beta, self.reduction)
