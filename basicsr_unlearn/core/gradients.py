"""How the gradients of two goals agree, and how they are brought to agree."""
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

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
