"""Forget by moving towards another target than the ground truth: bounded, whatever the number of steps."""
from typing import Literal

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.ascent import Criterion, Reduction, check_criterion, reduce_samples, sample_loss
from basicsr_unlearn.core.attacks import DEFAULT_EPS, pgd
from basicsr_unlearn.core.checks import check_choice, check_number
from basicsr_unlearn.core.hints import NotNegative, Positive
from basicsr_unlearn.core.images import degraded_as_output
from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.core.parts import LOSSES, registered_in
from basicsr_unlearn.core.samples import Sample

TARGETS: dict[str, tuple[str, ...]] = {  # what each needs
    'degraded': ('lq',),
    'teacher': ('teacher',),
    'proxy': ('proxy',),
    'boundary': ('gt', 'lq', 'teacher_net'),
    'noise': ('gt',),
    'other': ('gt',),
}
INPUTS = {'gt': 'the ground truth', 'lq': 'the degraded input', 'teacher': "the teacher's output",
          'proxy': "the proxy network's output", 'teacher_net': 'the original network'}
ASKED = {'teacher': 'teacher_output', 'proxy': 'proxy_output', 'teacher_net': 'teacher'}  # other names in a sample


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

    >>> gaussian_image(torch.rand(2, 3, 8, 8)).shape
    torch.Size([2, 3, 8, 8])
    """
    device = gt.device if generator is None else generator.device
    noise = torch.randn(gt.shape, generator=generator, device=device, dtype=gt.dtype).to(gt.device)
    std = gt.std(dim=(2, 3), unbiased=False, keepdim=True) if noise_std is None else noise_std
    return (gt.mean(dim=(2, 3), keepdim=True) + std * noise).clamp(0, 1)


def boundary_output(teacher_net: nn.Module, lq: Tensor, gt: Tensor, criterion: Criterion = 'l1',
                    eps: float = DEFAULT_EPS['linf']) -> Tensor:
    """The worst answer that the original has nearby: its output where one step of FGSM raises its error most.

    Args:
        teacher_net: the original network, used in eval mode, (b, c, h, w) -> (b, c, h', w').
        lq: (b, c, h, w), degraded input, pixel values in [0, 1].
        gt: (b, c, h', w'), ground truth.
        criterion: see `sample_loss`.
        eps: largest change of a pixel.

    Returns:
        (b, c, h', w'), without gradient. It costs two forward passes and one backward pass that skips the weights.

    Source: boundary shrink (CVPR 2023) goes to the nearest wrong class, found by FGSM on a frozen copy. The output
    itself, which restoration has in place of a class, is our choice.

    >>> lq = torch.full((1, 3, 8, 8), 0.5)
    >>> boundary_output(nn.Identity(), lq, gt=lq - 0.1, eps=0.1).mean()
    tensor(0.6000)
    """
    with eval_mode(teacher_net):
        x = pgd(lambda x: sample_loss(teacher_net(x), gt, criterion), lq, eps, eps, steps=1, random_start=False)
        with torch.no_grad():
            return teacher_net(x).float()


def next_of_batch(gt: Tensor) -> Tensor:
    """The ground truth of the next sample. Raises ValueError on a batch of one.

    >>> next_of_batch(torch.tensor([1, 2, 3]))
    tensor([3, 1, 2])
    """
    if gt.shape[0] < 2:
        raise ValueError("TargetLoss with target 'other' needs a batch of at least 2.")
    return gt.roll(1, dims=0)


def target_loss(pred: Tensor, gt: Tensor | None = None, lq: Tensor | None = None, teacher: Tensor | None = None,
                target: str = 'degraded', criterion: Criterion = 'l1', noise_std: float | None = None,
                reduction: str = 'mean', generator: torch.Generator | None = None, proxy: Tensor | None = None,
                teacher_net: nn.Module | None = None, eps: float | None = None) -> Tensor:
    """criterion(pred, t), with t in place of the forget sample's ground truth.

    Args:
        pred: (b, c, h, w), output on the forget sample.
        gt: (b, c, h, w), its ground truth, pixel values in [0, 1], for 'boundary', 'noise' and 'other'.
        lq: (b, c, h', w'), degraded input; upsampled bicubically to the output's size.
        teacher: (b, c, h, w), a teacher's output on the forget sample.
        target: what t is.
            'degraded': lq, the identity (our choice: about what a network returns that was retrained without haze).
            'teacher': the teacher's output. UnlearnModel's teacher is the original, which has forgotten nothing.
            'proxy': the output of a network that never saw the forget set: untrained (bad teacher, AAAI 2023) or
                trained briefly without it (Blindspot unlearning, ICML 2023), so the nearest to a retrained network.
            'boundary': the original's output at its worst input nearby (boundary shrink, see `boundary_output`).
            'noise': a Gaussian image, drawn anew at each call (see `gaussian_image`).
            'other': the ground truth of the next sample of the batch (rolled by one): random labels, as in Amnesiac
                and SalUn, which state no form for images; this form is our choice.
        criterion: see `sample_loss`.
        noise_std: only for 'noise', see `gaussian_image`.
        reduction: 'mean' | 'sum' | 'none' over the batch.
        generator: only used by 'noise'.
        proxy: (b, c, h, w), the proxy network's output on the forget sample.
        teacher_net: the original network, for 'boundary'.
        eps: only for 'boundary', in pixel values of [0, 1]; None is 4/255 (our choice, as for the adversary; the
            paper's 0.1 is in units of normalised pixels of small photographs).

    Returns:
        Scalar, or (b,) for 'none'.

    Raises:
        ValueError: unknown target, criterion or reduction, shapes that differ, an input missing that the target needs,
            or 'other' on a batch of one.

    >>> lq = torch.zeros(2, 3, 8, 8)
    >>> target_loss(lq + 0.25, lq=lq)
    tensor(0.2500)
    """
    check_choice('target', target, TARGETS)
    given = {'gt': gt, 'lq': lq, 'teacher': teacher, 'proxy': proxy, 'teacher_net': teacher_net}
    for name in TARGETS[target]:
        if given[name] is None:
            raise ValueError(f"TargetLoss with target '{target}' needs {name}, {INPUTS[name]}.")
    goal = {
        'degraded': lambda: degraded_as_output(lq, pred),
        'teacher': lambda: teacher,
        'proxy': lambda: proxy,
        'boundary': lambda: boundary_output(teacher_net, lq, gt, criterion, eps or DEFAULT_EPS['linf']),
        'noise': lambda: gaussian_image(gt, noise_std, generator),
        'other': lambda: next_of_batch(gt),
    }[target]()
    return reduce_samples(sample_loss(pred, goal.detach(), criterion), reduction)


@registered_in(LOSSES)
class TargetLoss(nn.Module):
    """Module form of `target_loss`, scaled by `loss_weight` (0 or above)."""

    terms = ('forget',)  # the options `<term>_opt` that take it

    def __init__(self, target: Literal['degraded', 'teacher', 'proxy', 'boundary', 'noise', 'other'] = 'degraded',
                 criterion: Criterion = 'l1', loss_weight: NotNegative = 1.0, noise_std: NotNegative | None = None,
                 eps: Positive | None = None, reduction: Reduction = 'mean') -> None:
        super().__init__()
        check_choice('target', target, TARGETS)
        check_criterion(criterion)
        check_choice('reduction', reduction, ('mean', 'sum', 'none'))
        check_number('loss_weight', loss_weight)
        for name, value, user in (('noise_std', noise_std, 'noise'), ('eps', eps, 'boundary')):
            if value is not None:
                if target != user:
                    raise ValueError(f"{name} has no effect with target '{target}': remove it or use target '{user}'.")
                check_number(name, value, exclusive=name == 'eps')
        self.target = target
        self.criterion = criterion
        self.loss_weight = loss_weight
        self.noise_std = noise_std
        self.eps = eps
        self.reduction = reduction

    def forward(self, sample: Sample) -> Tensor:
        given = {name: getattr(sample, ASKED.get(name, name)) for name in TARGETS[self.target]}
        return self.loss_weight * target_loss(
            sample.output, **given, target=self.target, criterion=self.criterion, noise_std=self.noise_std,
            reduction=self.reduction, generator=sample.generator, eps=self.eps)
