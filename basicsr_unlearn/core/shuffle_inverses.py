"""What undoes shuffled kernels without their order: guesses, and the attacker's own pairs."""
from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn

from basicsr_unlearn.core.importance import highest_share, mean_gradient
from basicsr_unlearn.core.inverses import of_lowest_error
from basicsr_unlearn.core.layers import convolution_weights
from basicsr_unlearn.core.parts import Evidence

# How often, and which shares of the kernels, an attacker puts in another order at once; our choice.
REORDER_ROUNDS, REORDERED_SHARES = 8, (1.0, 0.5, 0.25, 0.1, 0.03, 0.01)


@torch.no_grad()
def largest_in_the_middle(net: nn.Module) -> nn.Module:
    """A copy in which the largest tap of each kernel has changed places with the one in the middle, as kernels have it.

    >>> net = nn.Conv2d(1, 1, (1, 3), bias=False)
    >>> net.weight.data = torch.tensor([[[[1.0, 2.0, -5.0]]]])
    >>> largest_in_the_middle(net).weight.flatten().tolist()
    [1.0, -5.0, 2.0]
    """
    net = deepcopy(net)
    for weight in convolution_weights(net).values():
        flat = weight.flatten(2)
        middle = flat.shape[2] // 2
        largest = flat.abs().argmax(2, keepdim=True)
        values = flat.gather(2, largest)
        flat = flat.scatter(2, largest, flat[:, :, middle:middle + 1])
        flat[:, :, middle] = values[:, :, 0]
        weight.copy_(flat.view(weight.shape))
    return net


def reordered_by_gain(evidence: Evidence, rounds: int = REORDER_ROUNDS) -> nn.Module:
    """A copy of the attacked network whose kernels are in an order that restores the forget batches better.

    To first order the best order of a kernel puts its largest tap where the gradient is smallest, and so on. A round
    does this for the share of the kernels with the largest gain that is best on the forget batches; it ends where none
    is better.

    Args:
        evidence: of the attacker, with forget batches.
        rounds: at most.

    >>> net, given = nn.Conv2d(1, 1, 2, bias=False), {'lq': torch.rand(1, 1, 9, 9)}
    >>> given['gt'] = given['lq'][..., 1:, 1:]
    >>> net.weight.data = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    >>> reordered_by_gain(Evidence(net, [given])).weight.flatten().tolist()
    [0.0, 0.0, 0.0, 1.0]
    """
    net = evidence.teacher
    for _ in range(rounds):
        slope = mean_gradient(net, evidence.forget, evidence.error)
        own = {name: p.detach() for name, p in convolution_weights(net).items() if p[0, 0].numel() > 1}
        other = {name: torch.empty_like(p.flatten(2)).scatter_(
            2, slope[name].flatten(2).argsort(2), p.flatten(2).sort(2, descending=True).values).view(p.shape)
            for name, p in own.items()}
        gain = {name: (slope[name] * (p - other[name])).sum((2, 3), keepdim=True) for name, p in own.items()}
        if not any((value > 0).any() for value in gain.values()):
            break
        candidates = ({name: torch.where(chosen[name], other[name], p) for name, p in own.items()}
                      for chosen in (highest_share(gain, share) for share in REORDERED_SHARES))
        better = of_lowest_error(candidates, replace(evidence, teacher=net))
        if all(torch.equal(p, q) for p, q in zip(better.parameters(), net.parameters())):
            break
        net = better
    return net if net is not evidence.teacher else deepcopy(net)
