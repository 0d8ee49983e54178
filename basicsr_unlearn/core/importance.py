"""How much each weight matters to a set of samples."""
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.ascent import Criterion
from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.core.parts import Batches, gradients, live_parameters


def fisher(net: nn.Module, batches: Batches, criterion: Criterion = 'l1', per_sample: bool = False
           ) -> dict[str, Tensor]:
    """Mean squared gradient of the restoration loss, the diagonal of the empirical Fisher information.

    Args:
        net: used in eval mode.
        batches: (lq, gt), each (b, c, h, w).
        criterion: see `sample_loss`.
        per_sample: square the gradient of each sample instead of each batch's mean: the definition, at the cost of one
            backward pass per sample. Batches are what selective synaptic dampening's code squares (AAAI 2024).

    Returns:
        A tensor of its shape for each live parameter.
    """
    if per_sample:
        batches = [(lq[i:i + 1], gt[i:i + 1]) for lq, gt in batches for i in range(len(lq))]
    return _mean(net, ({name: g.square() for name, g in gradients(net, batch, criterion).items()}
                       for batch in batches), len(batches))


def saliency(net: nn.Module, batches: Batches, criterion: Criterion = 'l1') -> dict[str, Tensor]:
    """Absolute value of the mean gradient of the restoration loss (SalUn, ICLR 2024: summed with its sign, then abs).

    Arguments and result as `fisher`.
    """
    mean = _mean(net, (gradients(net, batch, criterion) for batch in batches), len(batches))
    return {name: value.abs() for name, value in mean.items()}


def output_sensitivity(net: nn.Module, batches: Batches, residual: bool = True) -> dict[str, Tensor]:
    """Mean absolute gradient of the mean squared norm of the output: importance without labels.

    Memory aware synapses (ECCV 2018), as label-free dampening (LFSSD) and L2UL use it.

    Args:
        net: used in eval mode.
        batches: (lq, gt); only lq is used.
        residual: take the norm of what the network adds to its input, since that of the whole image is mostly its
            brightness (our choice); where sizes differ, of the output.

    Returns:
        A tensor of its shape for each live parameter.
    """
    def of(lq: Tensor) -> dict[str, Tensor]:
        names, parameters = zip(*live_parameters(net))
        with torch.enable_grad():
            output = net(lq)
            if residual and output.shape == lq.shape:
                output = output - lq
            norm = output.square().flatten(1).mean(1).mean()
            found = torch.autograd.grad(norm, parameters, allow_unused=True)
        return {name: torch.zeros_like(p) if g is None else g.abs() for name, p, g in zip(names, parameters, found)}

    return _mean(net, (of(lq) for lq, _ in batches), len(batches))


def highest_share(scores: dict[str, Tensor], share: float, per_layer: bool = False) -> dict[str, Tensor]:
    """True for the highest `share` of the weights.

    The count is exact, round(share n) of n and at least one: of weights with equal scores, those that come first in
    `scores` are in. Else a network with many weights of score 0 could have all of them in.

    Args:
        scores: by parameter name; without NaN.
        share: in (0, 1].
        per_layer: of each tensor by itself instead of all tensors together.
    """
    if per_layer:
        return {name: mask for name, score in scores.items() for mask in highest_share({name: score}, share).values()}
    flat = torch.cat([score.detach().flatten().cpu() for score in scores.values()])
    count = max(1, round(share * len(flat)))
    threshold = flat.kthvalue(len(flat) - count + 1).values
    inside = flat > threshold
    inside[(flat == threshold).nonzero().flatten()[:count - int(inside.sum())]] = True
    parts = inside.split([score.numel() for score in scores.values()])
    return {name: part.view(score.shape).to(score.device) for (name, score), part in zip(scores.items(), parts)}


def _mean(net: nn.Module, values: Iterable[dict[str, Tensor]], count: int) -> dict[str, Tensor]:
    total: dict[str, Tensor] = {}
    with eval_mode(net):
        for value in values:
            for name, tensor in value.items():
                total[name] = total[name] + tensor if name in total else tensor
    return {name: tensor / count for name, tensor in total.items()}
