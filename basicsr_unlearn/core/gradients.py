"""How the gradients of two goals agree, and how they are brought to agree."""
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from basicsr_unlearn.core.checks import check_number
from basicsr_unlearn.errors import TrainingError


def require_finite(total: Tensor, norm: Tensor, iteration: int) -> None:
    """Raise TrainingError unless a step's loss and the norm of its gradient are numbers.

    >>> require_finite(torch.tensor(0.5), torch.tensor(2.0), iteration=1)
    """
    if not (torch.isfinite(norm) and torch.isfinite(total)):
        raise TrainingError(f'Loss or gradient is not finite at iteration {iteration}, so nothing was changed by it '
                            'and what was saved stays: lower optim_g.lr, set grad_clip, or bound the ascent.')


def gradient_cosine(first: Tensor, second: Tensor, parameters: Iterable[Tensor]) -> Tensor:
    """Cosine between the gradients of two scalar losses, keeping the graph for the step that follows.

    Args:
        first, second: scalars of one graph.
        parameters: those that require a gradient; unused ones count as zero.

    Returns:
        Scalar in [-1, 1]: negative where the two goals conflict; 0 if either gradient vanishes.

    >>> weight = torch.ones(2, requires_grad=True)
    >>> gradient_cosine(weight.sum(), -weight.sum(), [weight])
    tensor(-1.0000)
    """
    parameters = list(parameters)
    pair = [torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True) for loss in (first, second)]
    dot = norm_first = norm_second = torch.zeros((), device=first.device)
    for a, b in zip(*pair):
        if a is not None:
            norm_first = norm_first + a.float().square().sum()
        if b is not None:
            norm_second = norm_second + b.float().square().sum()
        if a is not None and b is not None:
            dot = dot + (a.float() * b.float()).sum()
    # roots first: the product of two squared norms leaves the range of float32 long before the norms do
    length = norm_first.sqrt() * norm_second.sqrt()
    return dot / length if length > 0 else torch.zeros_like(length)


def reconcile(forget: Sequence[Tensor], retain: Sequence[Tensor], project: bool = True, max_ratio: float | None = None
              ) -> list[Tensor]:
    """One gradient from the two of forgetting and retaining, so that the first does not undo the second.

    Args:
        forget, retain: gradients by parameter.
        project: where the two conflict (negative product), take out of the forget gradient what points against the
            retain gradient: PCGrad (Yu et al., NeurIPS 2020, arXiv 2001.06782), one-sided, since forgetting has to give
            way (our choice).
        max_ratio: largest norm of the forget gradient, as a multiple of the retain gradient's; None for no limit
            (our choice). Without effect while the retain gradient is zero, as in the first step, when the network
            still agrees with its teacher.

    Returns:
        Their sum, by parameter.

    >>> reconcile([torch.tensor([-1.0, 1.0])], [torch.tensor([2.0, 0.0])])
    [tensor([2., 1.])]
    """
    dot = sum((f * r).sum() for f, r in zip(forget, retain))
    retain_square = sum(r.square().sum() for r in retain)
    if retain_square > 0:
        if project and dot < 0:
            forget = [f - dot / retain_square * r for f, r in zip(forget, retain)]
        if max_ratio is not None:
            norm = sum(f.square().sum() for f in forget).sqrt()
            scale = (max_ratio * retain_square.sqrt() / norm.clamp_min(1e-30)).clamp(max=1)
            forget = [f * scale for f in forget]
    return [f + r for f, r in zip(forget, retain)]


class Reconciliation:
    """Joins the gradient of forgetting with that of the rest, step after step, so that the first does not undo the
    second.

    Args:
        project, max_ratio: see `reconcile`, which comes last.
        mask: let the forget gradient move only those weights where it has the sign of the running mean of the rest's:
            disruption masking.
        momentum: of this running mean, at least 0 and below 1: how much of it stays at each step.
        norm: length to which the forget gradient is brought before it is masked, above 0, so that it does not fade
            while forgetting goes on; None leaves it.

    Raises:
        ValueError: an argument is out of its range.

    Source of mask, momentum and norm: MUDMAN (arXiv 2506.12484), whose released code has momentum 0.9, and 0.1 for norm
    in steps of plain descent; there the rest is learned from its own targets. Towards the teacher's outputs it has no
    gradient in the first step, so that a mask would let nothing move, ever.

    >>> Reconciliation(project=False, mask=True)([torch.tensor([-1.0, 1.0])], [torch.tensor([2.0, 3.0])])
    [tensor([2., 4.])]
    """

    def __init__(self, project: bool = True, max_ratio: float | None = None, mask: bool = False, momentum: float = 0.9,
                 norm: float | None = None) -> None:
        for name, value in (('max_ratio', max_ratio), ('norm', norm)):
            if value is not None:
                check_number(name, value, exclusive=True)
        check_number('momentum', momentum)
        if momentum >= 1:
            raise ValueError(f'momentum: expected a number below 1 but got {momentum}.')
        self.project, self.max_ratio, self.mask, self.momentum, self.norm = project, max_ratio, mask, momentum, norm
        self.mean: list[Tensor] | None = None  # of the gradient of the rest

    def __call__(self, forget: Sequence[Tensor], rest: Sequence[Tensor]) -> list[Tensor]:
        """One gradient from two, by parameter."""
        if self.norm is not None:
            length = sum(f.square().sum() for f in forget).sqrt().clamp_min(1e-30)
            forget = [self.norm / length * f for f in forget]
        if self.mask:
            before = self.mean or [torch.zeros_like(r) for r in rest]
            self.mean = [self.momentum * mean.to(r) + (1 - self.momentum) * r for mean, r in zip(before, rest)]
            forget = [f * (f.sign() == mean.sign()) for f, mean in zip(forget, self.mean)]
        return reconcile(forget, rest, self.project, self.max_ratio)

    def state_dict(self) -> dict:
        return {'mean': self.mean}

    def load_state_dict(self, state: Mapping) -> None:
        self.mean = state['mean']
