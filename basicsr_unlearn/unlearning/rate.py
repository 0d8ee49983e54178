"""A learning rate that fits the network, from the gradient's size at the start."""
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from basicsr_unlearn.unlearning.ascent import Criterion, sample_loss
from basicsr_unlearn.unlearning.attacks import eval_mode
from basicsr_unlearn.unlearning.images import degraded_as_output
from basicsr_unlearn.unlearning.importance import saliency
from basicsr_unlearn.unlearning.parts import Batches

DEFAULT_FORGET_STEP = 0.06  # our choice: what the tuned rates of the shipped NAFNet (1e-4) and PromptIR (3e-4) come to


def fitted_rate(net: nn.Module, forget: Batches, forget_step: float = DEFAULT_FORGET_STEP,
                masks: Mapping[str, Tensor] | None = None, criterion: Criterion = 'l1') -> float:
    """The learning rate at which one step goes the share `forget_step` of the way to the untouched input.

    Adam's first step moves each weight by the rate lr against the sign of its gradient (Kingma and Ba, ICLR 2015,
    section 2), so a step along the gradient g of the error l raises it, to first order, by lr |g|_1. In decibels the
    way from the network's error l to that of the degraded input, l_id, is proportional to log(l_id / l), and a small
    step to lr |g|_1 / l. Hence

        lr = forget_step * log(l_id / l) * l / |g|_1,

    with l, l_id and g the means over all batches. Our choice: the published method gives no rate, and the rate that
    suits one network takes another nowhere, or too far.

    Args:
        net: the network before its first step; used in eval mode, unchanged afterwards.
        forget: batches of (lq, gt), each (b, c, h, w) in [0, 1].
        forget_step: above 0. After 1 / forget_step such steps the network would be where it shall go; it takes about
            twice as many, since the gradient turns.
        masks: which weights may move, by name, those that a mask does not name not at all; None for all.
        criterion: of the error, see `sample_loss`.

    Returns:
        Above 0; for Adam and AdamW, whose steps do not depend on the gradient's scale.

    Raises:
        ValueError: the network's error is not below that of the input, so that there is no way to go, or no weight that
            may move has a gradient.
    """
    with eval_mode(net), torch.no_grad():
        errors = [(sample_loss(net(lq), gt, criterion).mean(),
                   sample_loss(degraded_as_output(lq, gt), gt, criterion).mean()) for lq, gt in forget]
    error, untouched = (float(torch.stack(values).double().mean()) for values in zip(*errors))
    if not 0 < error < untouched:
        raise ValueError(f'the error on the forget samples is {error:.4g}, that of the untouched input '
                         f'{untouched:.4g}: there is nothing to forget that a step could be measured by')
    slope = sum(float((size if masks is None else size * masks[name]).sum(dtype=torch.float64))
                for name, size in saliency(net, forget, criterion).items() if masks is None or name in masks)
    if not 0 < slope < math.inf:
        raise ValueError(f'the sum of the absolute gradients on the forget samples is {slope:.4g}')
    return forget_step * math.log(untouched / error) * error / slope
