"""How much each weight matters to a set of samples."""
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.core.parts import ErrorOf, gradients, live_parameters, restoration_error
from basicsr_unlearn.core.samples import Batch, Runner, restore


def fisher(net: nn.Module, batches: Sequence[Batch], error: ErrorOf = restoration_error, per_sample: bool = False
           ) -> dict[str, Tensor]:
    """Mean squared gradient of the error, the diagonal of the empirical Fisher information.

    Args:
        net: used in eval mode.
        batches: for images {'lq': (b, c, h, w), 'gt': ...}.
        error: of a network on a batch.
        per_sample: square the gradient of each sample instead of each batch's mean: the definition, at the cost of one
            backward pass per sample. Batches are what selective synaptic dampening's code squares (AAAI 2024).

    Returns:
        A tensor of its shape for each live parameter.

    >>> net, batch = nn.Conv2d(1, 1, 1), {'lq': torch.zeros(1, 1, 2, 2), 'gt': torch.ones(1, 1, 2, 2) * 9}
    >>> fisher(net, [batch])['bias']
    tensor([1.])
    """
    if per_sample:
        batches = [{name: value[i:i + 1] for name, value in batch.items()} for batch in batches
                   for i in range(len(next(iter(batch.values()))))]
    return _mean(net, ({name: g.square() for name, g in gradients(net, batch, error).items()}
                       for batch in batches), len(batches))


def saliency(net: nn.Module, batches: Sequence[Batch], error: ErrorOf = restoration_error) -> dict[str, Tensor]:
    """Absolute value of the mean gradient of the error (SalUn, ICLR 2024: summed with its sign, then abs).

    Arguments and result as `fisher`.

    >>> net, batch = nn.Conv2d(1, 1, 1), {'lq': torch.zeros(1, 1, 2, 2), 'gt': torch.ones(1, 1, 2, 2) * 9}
    >>> saliency(net, [batch])['bias']
    tensor([1.])
    """
    return {name: value.abs() for name, value in mean_gradient(net, batches, error).items()}


def mean_gradient(net: nn.Module, batches: Sequence[Batch], error: ErrorOf = restoration_error) -> dict[str, Tensor]:
    """Mean over the batches of the error's gradient. Arguments and result as `fisher`.

    >>> net, batch = nn.Conv2d(1, 1, 1), {'lq': torch.zeros(1, 1, 2, 2), 'gt': torch.ones(1, 1, 2, 2) * 9}
    >>> mean_gradient(net, [batch])['bias']
    tensor([-1.])
    """
    return _mean(net, (gradients(net, batch, error) for batch in batches), len(batches))


def output_sensitivity(net: nn.Module, batches: Sequence[Batch], residual: bool = True, run: Runner = restore
                       ) -> dict[str, Tensor]:
    """Mean absolute gradient of the mean squared norm of the output: importance without labels.

    Memory aware synapses (ECCV 2018), as label-free dampening (LFSSD) and L2UL use it.

    Args:
        net: used in eval mode.
        batches: for images {'lq': (b, c, h, w)}.
        residual: take the norm of what the network adds to its input, since that of the whole image is mostly its
            brightness (our choice); where there is no `lq` of its size, of the output.
        run: how the network is used on a batch.

    Returns:
        A tensor of its shape for each live parameter.

    >>> net = nn.Conv2d(1, 1, 1)
    >>> sorted(output_sensitivity(net, [{'lq': torch.rand(1, 1, 4, 4)}]))
    ['bias', 'weight']
    """
    def of(batch: Batch) -> dict[str, Tensor]:
        names, parameters = zip(*live_parameters(net))
        with torch.enable_grad():
            output, lq = run(net, batch), batch.get('lq')
            if residual and lq is not None and output.shape == lq.shape:
                output = output - lq
            norm = output.square().flatten(1).mean(1).mean()
            found = torch.autograd.grad(norm, parameters, allow_unused=True)
        return {name: torch.zeros_like(p) if g is None else g.abs() for name, p, g in zip(names, parameters, found)}

    return _mean(net, (of(batch) for batch in batches), len(batches))


def highest_share(scores: dict[str, Tensor], share: float, per_layer: bool = False) -> dict[str, Tensor]:
    """True for the highest `share` of the weights.

    The count is exact, round(share n) of n and at least one: of weights with equal scores, those that come first in
    `scores` are in. Else a network with many weights of score 0 could have all of them in.

    Args:
        scores: by parameter name; without NaN.
        share: in (0, 1].
        per_layer: of each tensor by itself instead of all tensors together.

    >>> highest_share({'weight': torch.tensor([3.0, 1.0, 2.0, 0.0])}, 0.5)
    {'weight': tensor([ True, False,  True, False])}
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
