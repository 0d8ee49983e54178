"""What undoes a reset: which weights were reset, and what they were before an untrained network was mixed in."""
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.granularity import Granularity, highest_ratio
from basicsr_unlearn.core.inverses import of_lowest_error
from basicsr_unlearn.core.parts import Evidence, Start

LEFT_OF_FRESH = (0.25, 0.5, 0.75, 1.0)  # of the untrained weights, after the training that followed; our choice


@torch.no_grad()
def taken_out(net: nn.Module, untrained: nn.Module, chosen: Mapping[str, Tensor], fresh: float) -> dict[str, Tensor]:
    """The weights w of before (1 - fresh) w + fresh w_untrained, by parameter name: what undoes `reset_edit.reset`.

    Arguments as `reset_edit.reset`, with fresh below 1; the networks are not changed.

    >>> mixed, fresh = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
    >>> mixed.bias.data, fresh.bias.data = torch.tensor([0.4 * 5 + 0.6 * 2]), torch.tensor([2.0])
    >>> taken_out(mixed, fresh, {'bias': torch.tensor([True])}, 0.6)
    {'bias': tensor([5.])}
    """
    start = dict(untrained.named_parameters())
    return {name: torch.where(chosen[name], (p - fresh * start[name].to(p)) / (1 - fresh), p)
            for name, p in net.named_parameters() if name in chosen}


def mixed_back(evidence: Evidence, seed: int | None, chosen: Mapping[str, Tensor], fresh: float) -> Start:
    """The untrained part of the attacked network taken out again, as much of it as is best on the forget batches.

    Args:
        evidence: of the attacker, with an untrained network.
        seed, chosen, fresh: those of the reset; fresh is below 1.

    >>> batch = {'lq': torch.ones(1, 1, 2, 2), 'gt': torch.ones(1, 1, 2, 2)}
    >>> evidence = Evidence(nn.Conv2d(1, 1, 1), [batch], untrained=lambda seed: nn.Conv2d(1, 1, 1))
    >>> mixed_back(evidence, 0, {'bias': torch.tensor([True])}, 0.5).name
    'untrained part taken out'
    """
    untrained = evidence.untrained(seed)
    return Start('untrained part taken out', of_lowest_error(
        (taken_out(evidence.teacher, untrained, chosen, fresh * share) for share in LEFT_OF_FRESH), evidence))


def nearest_to_untrained(evidence: Evidence, seed: int | None, names: Sequence[str], share: float,
                         granularity: Granularity = 'weight', per_layer: bool = False) -> dict[str, Tensor]:
    """True for the share of the attacked network's weights that are nearest to those of an untrained network.

    Where weights were reset and trained since, those are: steps of training are short beside the distance of a trained
    weight from one that was drawn anew.

    Args:
        evidence: of the attacker, with an untrained network.
        seed: that of the reset.
        names: of the parameters that it may have chosen.
        share, granularity, per_layer: how it chose; see `highest_ratio`.

    >>> net, fresh = nn.Conv2d(1, 2, 1), nn.Conv2d(1, 2, 1)
    >>> net.bias.data, fresh.bias.data = torch.tensor([0.5, 0.1]), torch.tensor([-0.5, 0.2])
    >>> nearest_to_untrained(Evidence(net, untrained=lambda seed: fresh), 0, ['bias'], 0.5)
    {'bias': tensor([False,  True])}
    """
    start, own = (dict(net.named_parameters()) for net in (evidence.untrained(seed), evidence.teacher))
    distance = {name: (own[name].detach() - start[name].detach().to(own[name])).abs() for name in names}
    return highest_ratio({name: torch.ones_like(value) for name, value in distance.items()}, distance, share,
                         granularity, per_layer)
