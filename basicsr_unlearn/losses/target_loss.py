"""Forget by moving towards another target than the ground truth: bounded, whatever the number of steps."""
import torch
from basicsr.utils.registry import LOSS_REGISTRY
from torch import Tensor, nn

from basicsr_unlearn.unlearning.ascent import (
    Criterion,
    check_choice,
    check_criterion,
    check_number,
    reduce_samples,
    sample_loss,
)
from basicsr_unlearn.unlearning.images import degraded_as_output

TARGETS = ('degraded', 'teacher', 'noise', 'other')


def gaussian_image(gt: Tensor, noise_std: float | None = None, generator: torch.Generator | None = None) -> Tensor:
    """A Gaussian image with each ground truth's own mean and standard deviation per channel, clamped to [0, 1].

    Args:
        gt: (b, c, h, w), pixel values in [0, 1].
        noise_std: standard deviation in pixel values instead of each channel's own.
        generator: source of the noise; may live on another device than gt.

    Returns:
        (b, c, h, w) in [0, 1].

    Source: targets drawn from N(mean, std of the training targets): Gaussian-Amnesiac regression (Blindspot unlearning,
    ICML 2023); as an image with the batch's mean and std, clamped to [0, 1]: I2I (ICLR 2024, branch `i2i` of its code).
    Mean and std per image and channel instead of per batch: our choice, so that samples do not influence each other.
    """
    device = gt.device if generator is None else generator.device
    noise = torch.randn(gt.shape, generator=generator, device=device, dtype=gt.dtype).to(gt.device)
    std = gt.std(dim=(2, 3), unbiased=False, keepdim=True) if noise_std is None else noise_std
    return (gt.mean(dim=(2, 3), keepdim=True) + std * noise).clamp(0, 1)


def target_loss(pred: Tensor, gt: Tensor, lq: Tensor | None = None, teacher: Tensor | None = None,
                target: str = 'degraded', criterion: Criterion = 'l1', noise_std: float | None = None,
                reduction: str = 'mean', generator: torch.Generator | None = None) -> Tensor:
    """criterion(pred, t), with t in place of the forget sample's ground truth.

    Args:
        pred: (b, c, h, w), output on the forget sample.
        gt: (b, c, h, w), its ground truth, pixel values in [0, 1].
        lq: (b, c, h', w'), degraded input; upsampled bicubically to the ground truth's size.
        teacher: (b, c, h, w), a teacher's output on the forget sample.
        target: what t is.
            'degraded': lq, the identity (our choice: about what a network returns that was retrained without haze).
            'teacher': the teacher's output, e.g. a network trained without the forget set, or an incompetent one
                (bad teacher, AAAI 2023; Blindspot unlearning, ICML 2023).
            'noise': a Gaussian image, drawn anew at each call (see `gaussian_image`).
            'other': the ground truth of the next sample of the batch (rolled by one): random labels, as in Amnesiac
                and SalUn, which state no form for images; this form is our choice.
        criterion: see `sample_loss`.
        noise_std: only for 'noise', see `gaussian_image`.
        reduction: 'mean' | 'sum' | 'none' over the batch.
        generator: only used by 'noise'.

    Returns:
        Scalar, or (b,) for 'none'.

    Raises:
        ValueError: unknown target, criterion or reduction, shapes that differ, an input missing that the target needs,
            or 'other' on a batch of one.
    """
    check_choice('target', target, TARGETS)
    if target == 'degraded':
        if lq is None:
            raise ValueError("TargetLoss with target 'degraded' needs lq, the degraded input.")
        goal = degraded_as_output(lq, gt)
    elif target == 'teacher':
        if teacher is None:
            raise ValueError("TargetLoss with target 'teacher' needs teacher, the teacher's output.")
        goal = teacher
    elif target == 'noise':
        goal = gaussian_image(gt, noise_std, generator)
    else:
        if gt.shape[0] < 2:
            raise ValueError("TargetLoss with target 'other' needs a batch of at least 2.")
        goal = gt.roll(1, dims=0)
    return reduce_samples(sample_loss(pred, goal.detach(), criterion), reduction)


@LOSS_REGISTRY.register()
class TargetLoss(nn.Module):
    """Module form of `target_loss`, scaled by `loss_weight` (0 or above).

    `needs_lq` and `needs_teacher` tell the caller which inputs the target uses; others may be given and rest.
    """

    def __init__(self, target: str = 'degraded', criterion: Criterion = 'l1', loss_weight: float = 1.0,
                 noise_std: float | None = None, reduction: str = 'mean') -> None:
        super().__init__()
        check_choice('target', target, TARGETS)
        check_criterion(criterion)
        check_choice('reduction', reduction, ('mean', 'sum', 'none'))
        check_number('loss_weight', loss_weight)
        if noise_std is not None:
            if target != 'noise':
                raise ValueError(f"noise_std has no effect with target '{target}': remove it or use target 'noise'.")
            check_number('noise_std', noise_std)
        self.target = target
        self.criterion = criterion
        self.loss_weight = loss_weight
        self.noise_std = noise_std
        self.reduction = reduction
        self.needs_lq = target == 'degraded'
        self.needs_teacher = target == 'teacher'

    def forward(self, pred: Tensor, target: Tensor, lq: Tensor | None = None, teacher: Tensor | None = None,
                generator: torch.Generator | None = None) -> Tensor:
        return self.loss_weight * target_loss(
            pred, target, lq, teacher, self.target, self.criterion, self.noise_std, self.reduction, generator)
