"""A learning rate that fits the network, from the gradient's size at the start."""
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.ascent import Criterion, sample_loss
from basicsr_unlearn.core.images import degraded_as_output
from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.core.parts import gradients, restoration_error
from basicsr_unlearn.core.samples import Batch

DEFAULT_FORGET_STEP = 0.15  # our choice: about what the tuned rates of the shipped NAFNet and PromptIR come to


def fitted_rate(net: nn.Module, forget: Sequence[Batch], forget_step: float = DEFAULT_FORGET_STEP,
                masks: Mapping[str, Tensor] | None = None, criterion: Criterion = 'l1') -> float:
    """The learning rate at which one step goes the share `forget_step` of the way to the untouched input.

    Adam's first step moves each weight by the rate lr against the sign of its gradient (Kingma and Ba, ICLR 2015,
    section 2), so a step along the gradient g of a batch's error l raises this, to first order, by lr |g|_1. In
    decibels the way from the network's error l to that of the degraded input, l_id, is proportional to log(l_id / l),
    and a small step to lr |g|_1 / l. Hence

        lr = forget_step * log(l_id / l) * l / |g|_1,

    with the means of l, l_id and |g|_1 over the batches: of each batch's own |g|_1, since the gradients of a trained
    network cancel out over many. Our choice: the published method gives no rate, and the rate that suits one network
    takes another nowhere, or too far.

    Args:
        net: the network before its first step; used in eval mode, unchanged afterwards.
        forget: batches {'lq': (b, c, h, w) in [0, 1], 'gt': ...}, of the size that training has.
        forget_step: above 0.
        masks: which weights may move, by name, those that a mask does not name not at all; None for all.
        criterion: of the error, see `sample_loss`.

    Returns:
        Above 0; for Adam and AdamW, whose steps do not depend on the gradient's scale.

    Raises:
        ValueError: the network's error is not below that of the input, so that there is no way to go, or no weight that
            may move has a gradient.

    >>> net, lq = nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2)
    >>> _ = nn.init.constant_(net.bias, 0.5)
    >>> round(fitted_rate(net, [{'lq': lq, 'gt': lq + 0.6}]), 4)
    0.0269
    """
    def error_of(net: nn.Module, batch: Batch) -> Tensor:
        return restoration_error(net, batch, criterion)

    with eval_mode(net), torch.no_grad():
        errors = [(error_of(net, batch),
                   sample_loss(degraded_as_output(batch['lq'], batch['gt']), batch['gt'], criterion).mean())
                  for batch in forget]
    error, untouched = (float(torch.stack(values).double().mean()) for values in zip(*errors))
    if not 0 < error < untouched:
        raise ValueError(f'the error on the forget samples is {error:.4g}, that of the untouched input '
                         f'{untouched:.4g}: there is nothing to forget that a step could be measured by')
    with eval_mode(net):
        size = sum(_size(gradients(net, batch, error_of), masks) for batch in forget) / len(forget)
    if not 0 < size < math.inf:
        raise ValueError(f'the sum of the absolute gradients on the forget samples is {size:.4g}')
    return forget_step * math.log(untouched / error) * error / size


def _size(gradient: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None) -> float:
    """Sum of absolute values, of each weight as far as it may move."""
    if masks is not None:
        gradient = {name: part * masks[name] for name, part in gradient.items() if name in masks}
    return sum(float(part.abs().sum(dtype=torch.float64)) for part in gradient.values())


@contextmanager
def eased(optimizer: torch.optim.Optimizer, share: float) -> Iterator[None]:
    """Inside the block the optimizer has only this share of its rate.

    >>> optimizer = torch.optim.SGD(nn.Conv2d(3, 3, 1).parameters(), lr=0.5)
    >>> with eased(optimizer, 0.1):
    ...     optimizer.param_groups[0]['lr']
    0.05
    """
    rates = [group['lr'] for group in optimizer.param_groups]
    for group, lr in zip(optimizer.param_groups, rates):
        group['lr'] = share * lr
    yield
    for group, lr in zip(optimizer.param_groups, rates):
        group['lr'] = lr
