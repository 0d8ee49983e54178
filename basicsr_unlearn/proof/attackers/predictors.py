"""What weights alone let expect of an attack, without learning: how far from the original, and what lies between."""
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.modes import bare
from basicsr_unlearn.proof.attackers.image_psnr import Pairs, check_pairs, device_of
from basicsr_unlearn.proof.attackers.weights import mixed, weight_movement

LINE_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the original, from the network to it


@dataclass(frozen=True)
class Barrier:
    """The error on the straight line from a network to the original, by the share of the original, and the `height`:
    its maximum on the line minus the maximum of its ends.
    """
    errors: dict[float, float]
    height: float


def distance_to(original: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> float:
    """L2 distance of two state dicts over the norm of the original's.

    A retrained network is another network, far from the original; one that lies much nearer than retrained networks do
    has mostly stayed what it was. Raises CheckpointError if the two are not of one architecture.
    """
    return weight_movement(original, weights)[0].relative or 0.0


@torch.no_grad()
def loss_barrier(net: nn.Module, original: nn.Module, pairs: Pairs) -> Barrier:
    """Whether the way back to the original leads over higher errors on the forget pairs.

    Without a barrier the two lie in one valley, and learning again needs only to roll down. Source: linear mode
    connectivity, Frankle et al., ICML 2020 (arXiv 1912.05671); as a sign of shallow unlearning: arXiv 2505.22310.

    Args:
        net, original: of one architecture; left as they are.
        pairs: forget pairs of any sizes; the error is the mean L1 of the images.

    Raises:
        DataError: there is no pair.
        CheckpointError: the two are not of one architecture.
    """
    check_pairs(pairs)
    errors, device = {}, device_of(net)
    for share in LINE_SHARES:
        between = mixed(bare(net), bare(original), share).eval()
        errors[share] = sum(float((between(lq[None].to(device)) - gt[None].to(device)).abs().mean())
                            for lq, gt in pairs) / len(pairs)
    return Barrier(errors, max(errors.values()) - max(errors[0.0], errors[1.0]))
