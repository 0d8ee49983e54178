"""Gradient ascent on the forget set, with bounds that say where it ends; one value per sample throughout."""
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from basicsr_unlearn.core.checks import check_choice, check_number

Criterion = Literal['l1', 'l2', 'mse', 'charbonnier'] | Callable[[Tensor, Tensor], Tensor]
Bound = Literal['none', 'adaptive', 'identity', 'margin', 'npo', 'simnpo']
Reduction = Literal['mean', 'sum', 'none']

CHARBONNIER_EPS = 1e-3  # our choice: a quarter of one grey level of 255
# Our choice, for L1 on pixel values in [0, 1]. The push of npo on a sample is 2 sigmoid(-beta (l - l_ref)): 1 at the
# reference, 0.15 once the loss has risen by 0.05 and 0.01 at 0.1, which is about what noise and rain add to an image.
# The 0.1 of the language-model papers belongs to log-likelihoods: here it would bound nothing.
DEFAULT_BETA = 50.0
DEFAULT_FOCUS = 0.5  # SFR-on (NeurIPS 2024), released code for CIFAR-10; 0.6 for TinyImageNet

CRITERIA: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    'l1': lambda pred, target: (pred - target).abs(),
    'l2': lambda pred, target: (pred - target).square(),
    'mse': lambda pred, target: (pred - target).square(),
    'charbonnier': lambda pred, target: ((pred - target).square() + CHARBONNIER_EPS**2).sqrt(),
}
BOUNDS = get_args(Bound)
NEEDS_REFERENCE = ('identity', 'npo')
NEEDS_MARGIN = ('margin', 'simnpo')
NEEDS_BETA = ('npo', 'simnpo')


def check_criterion(criterion: Criterion) -> None:
    """Raise ValueError unless `criterion` is callable or one of 'l1', 'l2', 'mse', 'charbonnier'.

    >>> check_criterion('charbonnier')
    """
    if not callable(criterion):
        check_choice('criterion', criterion, CRITERIA)


def check_bound(bound: str | None, margin: float | None = None, beta: float | None = None, focus: float | None = None
                ) -> None:
    """Raise ValueError unless `bound` is known, and `margin`, `beta` and `focus` are given only where it can use them.

    >>> check_bound('margin', margin=0.1)
    """
    bound = bound or 'none'
    check_choice('bound', bound, BOUNDS)
    if bound in NEEDS_MARGIN:
        if margin is None:
            raise ValueError(f"bound '{bound}' needs a margin: the loss value at which the ascent is to end.")
        check_number('margin', margin, exclusive=bound == 'margin')
    elif margin is not None:
        raise ValueError(f"margin has no effect with bound '{bound}': remove it or use bound 'margin' or 'simnpo'.")
    if beta is not None:
        if bound not in NEEDS_BETA:
            raise ValueError(f"beta has no effect with bound '{bound}': remove it or use bound 'npo' or 'simnpo'.")
        check_number('beta', beta, exclusive=True)
    if focus is not None:
        if bound != 'adaptive':
            raise ValueError(f"focus has no effect with bound '{bound}': remove it or use bound 'adaptive'.")
        check_number('focus', focus)


def sample_loss(pred: Tensor, target: Tensor, criterion: Criterion = 'l1') -> Tensor:
    """Loss of each sample, the mean over everything but the batch.

    Args:
        pred: (b, c, h, w), the network's output.
        target: (b, c, h, w), what it is compared with, pixel values in [0, 1].
        criterion: 'l1' |d|, 'l2' (or 'mse') d^2, 'charbonnier' sqrt(d^2 + eps^2) with eps 1e-3 (our choice), where
            d = pred - target; or a callable (pred, target) -> values of shape (b,) or (b, ...), that is, unreduced.

    Returns:
        (b,), pixel values (their square for 'l2').

    Raises:
        ValueError: shapes differ, the criterion is unknown, or a callable reduced over the batch.

    >>> sample_loss(torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.5), 'l2')
    tensor([0.2500, 0.2500])
    """
    if pred.shape != target.shape:
        raise ValueError(f'The output has shape {tuple(pred.shape)} but its target has {tuple(target.shape)}.')
    check_criterion(criterion)
    values = criterion(pred, target) if callable(criterion) else CRITERIA[criterion](pred, target)
    if values.dim() == 0 or values.shape[0] != pred.shape[0]:
        raise ValueError(f'The criterion returned shape {tuple(values.shape)} for a batch of {pred.shape[0]}: '
                         "it must keep the batch apart (reduction 'none').")
    return values.flatten(1).mean(1) if values.dim() > 1 else values


def bounded_ascent(loss: Tensor, bound: str | None = 'none', reference: Tensor | None = None,
                   margin: float | None = None, beta: float | None = None, focus: float | None = None) -> Tensor:
    """What to minimise so that the forget loss l rises, and where that ends, for each sample by itself.

    ==========  =============================================  ========================================================
    bound       value                                          the push |d value / d l| and where it ends
    ==========  =============================================  ========================================================
    'none'      -l                                             1, never ends
    'adaptive'  -w l, w ~ 1 / l^focus, of mean 1               w: the batch's least forgotten most, never ends
    'identity'  max(l_id - l, 0)                               1 while l < l_id, then 0
    'margin'    max(margin - l, 0)                             1 while l < margin, then 0
    'npo'       -(2 / beta) log sigmoid(beta (l - l_ref))      2 sigmoid(-beta (l - l_ref)): 1 at l_ref, then fades
    'simnpo'    -(2 / beta) log sigmoid(beta (l - margin))     the same with margin for l_ref
    ==========  =============================================  ========================================================

    'identity': the untouched degraded input x has loss l_id = loss(x, y) against the ground truth y. A network that
    knows nothing of the degradation can return x and score l_id, so more loss than that is damage, not forgetting.
    Minimising max(l_id - l, 0) is ascent with the gradient of -l until l reaches l_id, sample by sample, and nothing
    beyond: the constant l_id only shifts the value, the maximum ends it. A sample on which the original is already no
    better than its input is never pushed.

    'adaptive' spreads the push over the batch: w is constant for the gradient, and alone in its batch a sample has 1.

    Args:
        loss: (b,), forget loss of each sample (see `sample_loss`).
        bound: one of the above; None is 'none'.
        reference: (b,), l_id for 'identity', the original network's loss l_ref for 'npo'; carries no gradient.
        margin: for 'margin' and 'simnpo', in units of the loss.
        beta: for 'npo' and 'simnpo', in units of 1 / loss; None is 50 (our choice, see `DEFAULT_BETA`).
        focus: for 'adaptive', 0 or above; 0 pushes all alike; None is 0.5 (see `DEFAULT_FOCUS`).

    Returns:
        (b,); 0 or above unless the bound is 'none' or 'adaptive'.

    Raises:
        ValueError: bound unknown, its reference or margin missing or of another shape, an argument without effect.

    Source: -l, gradient ascent (L2UL, arXiv 2301.11578; arXiv 2409.00685, abstract). npo, simnpo: the losses of the
    same names in open-unlearning (arXiv 2404.05868, 2410.07163), with the restoration loss for the negative
    log-likelihood. adaptive: SFR-on (NeurIPS 2024), `AdaptiveLoss` of its code. identity, margin: our choice.

    >>> bounded_ascent(torch.tensor([0.1, 0.4]), 'margin', margin=0.3)
    tensor([0.2000, 0.0000])
    """
    check_bound(bound, margin, beta, focus)
    bound = bound or 'none'
    beta = DEFAULT_BETA if beta is None else beta
    if bound in NEEDS_REFERENCE:
        if reference is None:
            raise ValueError(f"bound '{bound}' needs the reference loss of each sample.")
        if reference.shape != loss.shape:
            raise ValueError(f'The forget loss has shape {tuple(loss.shape)} but its reference has '
                             f'{tuple(reference.shape)}.')
        end = reference.detach()
    else:
        end = margin
    if bound == 'none':
        return -loss
    if bound == 'adaptive':
        weight = 1 / (loss.detach() ** (DEFAULT_FOCUS if focus is None else focus) + 1e-15)  # finite at loss 0
        return -weight / weight.mean() * loss
    if bound in ('identity', 'margin'):
        return F.relu(end - loss)
    return -2 / beta * F.logsigmoid(beta * (loss - end))


def reduce_samples(values: Tensor, reduction: str) -> Tensor:
    """Reduce (b,) values as BasicSR's losses do: 'mean', 'sum' or 'none'.

    >>> reduce_samples(torch.tensor([1.0, 3.0]), 'mean')
    tensor(2.)
    """
    check_choice('reduction', reduction, get_args(Reduction))
    return values if reduction == 'none' else getattr(torch, reduction)(values)
