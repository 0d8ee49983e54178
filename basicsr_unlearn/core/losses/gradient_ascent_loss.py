"""Forget by moving away from the ground truth or from the original's output, with a bound on how far."""
from typing import Literal

from torch import Tensor, nn

from basicsr_unlearn.core.ascent import (
    Bound,
    Criterion,
    Reduction,
    bounded_ascent,
    check_bound,
    check_criterion,
    reduce_samples,
    sample_loss,
)
from basicsr_unlearn.core.checks import check_choice, check_number
from basicsr_unlearn.core.hints import NotNegative, Positive
from basicsr_unlearn.core.images import degraded_as_output
from basicsr_unlearn.core.parts import LOSSES, registered_in
from basicsr_unlearn.core.samples import Sample

AWAY_FROM = ('gt', 'teacher')
TIE = 1e-6  # pixel values: above the resolution of float32 at 1, far below anything that counts


def gradient_ascent_loss(pred: Tensor, target: Tensor, lq: Tensor | None = None, teacher: Tensor | None = None,
                         criterion: Criterion = 'l1', bound: str | None = 'none', margin: float | None = None,
                         beta: float | None = None, focus: float | None = None, away_from: str = 'gt',
                         reduction: str = 'mean') -> Tensor:
    """Bounded ascent on l = criterion(pred, a); minimising it raises l until the bound ends the push.

    a is the ground truth, or the teacher's output (`away_from`). 'none' -l; 'adaptive' -w l with w ~ 1 / l^focus;
    'identity' max(criterion(lq, a) - l, 0); 'margin' max(margin - l, 0);
    'npo' -(2 / beta) log sigmoid(beta (l - criterion(teacher, a))); 'simnpo' the same with margin as reference.

    Args:
        pred: (b, c, h, w), output on the forget sample.
        target: (b, c, h, w), its ground truth, pixel values in [0, 1].
        lq: (b, c, h', w'), degraded input, used by 'identity'; upsampled bicubically to the target's size.
        teacher: (b, c, h, w), the original network's output on the forget sample, used by 'npo' and for `away_from`.
        criterion: see `sample_loss`.
        bound: see `bounded_ascent`, which also gives the sources; None is 'none'.
        margin: loss at which 'margin' ends and around which 'simnpo' fades, in units of the criterion.
        beta: steepness of 'npo' and 'simnpo' in 1 / loss; None is 50 (our choice).
        focus: how much 'adaptive' prefers the less forgotten samples of the batch; None is 0.5 (SFR-on).
        away_from: 'gt', or 'teacher' (SCRUB, NeurIPS 2023: the largest distance between student and teacher). A
            network that still agrees with its teacher exactly has no direction to leave in: it goes away from the
            ground truth, since a is 1e-6 nearer to that than the teacher's output is (our choice).
        reduction: 'mean' | 'sum' | 'none' over the batch.

    Returns:
        Scalar, or (b,) for 'none'.

    Raises:
        ValueError: unknown criterion, bound or reduction, shapes that differ, or an input missing that the bound needs.

    >>> gt = torch.zeros(2, 3, 8, 8)
    >>> gradient_ascent_loss(gt + 0.25, gt, bound='margin', margin=1.0)
    tensor(0.7500)
    """
    check_choice('away_from', away_from, AWAY_FROM)
    if teacher is None and (bound == 'npo' or away_from == 'teacher'):
        option = "bound 'npo'" if bound == 'npo' else "away_from 'teacher'"
        raise ValueError(f"GradientAscentLoss with {option} needs teacher, the original network's output.")
    if bound == 'identity' and lq is None:
        raise ValueError("GradientAscentLoss with bound 'identity' needs lq, the degraded input.")
    if away_from == 'teacher':
        target = teacher.detach() + TIE * (target - teacher.detach()).sign()
    reference = None
    if bound == 'identity':
        reference = sample_loss(degraded_as_output(lq, target), target, criterion)
    elif bound == 'npo':
        reference = sample_loss(teacher, target, criterion)
    loss = sample_loss(pred, target, criterion)
    return reduce_samples(bounded_ascent(loss, bound, reference, margin, beta, focus), reduction)


@registered_in(LOSSES)
class GradientAscentLoss(nn.Module):
    """Module form of `gradient_ascent_loss`, scaled by `loss_weight` (0 or above)."""

    terms = ('forget',)  # the options `<term>_opt` that take it

    def __init__(self, criterion: Criterion = 'l1', bound: Bound | None = 'none', margin: NotNegative | None = None,
                 beta: Positive | None = None, focus: NotNegative | None = None,
                 away_from: Literal['gt', 'teacher'] = 'gt', loss_weight: NotNegative = 1.0,
                 reduction: Reduction = 'mean') -> None:
        super().__init__()
        check_criterion(criterion)
        check_bound(bound, margin, beta, focus)
        check_choice('away_from', away_from, AWAY_FROM)
        check_choice('reduction', reduction, ('mean', 'sum', 'none'))
        check_number('loss_weight', loss_weight)
        self.criterion = criterion
        self.bound = bound
        self.margin = margin
        self.beta = beta
        self.focus = focus
        self.away_from = away_from
        self.loss_weight = loss_weight
        self.reduction = reduction

    def forward(self, sample: Sample) -> Tensor:
        lq = sample.lq if self.bound == 'identity' else None
        teacher = sample.teacher_output if self.bound == 'npo' or self.away_from == 'teacher' else None
        return self.loss_weight * gradient_ascent_loss(
            sample.output, sample.gt, lq, teacher, self.criterion, self.bound, self.margin, self.beta, self.focus,
            self.away_from, self.reduction)
