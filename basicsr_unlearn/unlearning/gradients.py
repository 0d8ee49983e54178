"""How the gradients of two goals agree."""
from collections.abc import Iterable

import torch
from torch import Tensor


def gradient_cosine(first: Tensor, second: Tensor, parameters: Iterable[Tensor]) -> Tensor:
    """Cosine between the gradients of two scalar losses, keeping the graph for the step that follows.

    Args:
        first, second: scalars of one graph.
        parameters: those that require a gradient; unused ones count as zero.

    Returns:
        Scalar in [-1, 1]: negative where the two goals conflict; 0 if either gradient vanishes.
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
