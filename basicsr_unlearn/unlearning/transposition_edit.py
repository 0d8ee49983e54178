"""Turn convolution kernels on their side."""
import torch
from torch import nn

from basicsr_unlearn.unlearning.layers import check_share, convolution_weights
from basicsr_unlearn.unlearning.parts import EDITS, Edit, Evidence, registered_in


@registered_in(EDITS)
class TransposeKernels(Edit):
    """Swap height and width of square convolution kernels, which keeps their statistics and spoils their features.

    Kernels of 1x1 are what they were.

    Args:
        share: of the kernels of each Conv2d layer, in (0, 1]; below 1 they are drawn at random (our choice).

    Raises:
        ValueError: share is out of range.

    Source: CT, fifth of the NeurIPS 2023 machine unlearning challenge, as in xcadet/deepunlearn, which transposes all.
    """

    def __init__(self, share: float = 1.0):
        check_share('share', share)
        self.share = share

    @torch.no_grad()
    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        for weight in convolution_weights(net).values():
            height, width = weight.shape[2:]
            if height != width or height == 1:
                continue
            kernels = weight.shape[0] * weight.shape[1]
            chosen = torch.zeros(kernels, dtype=torch.bool)
            chosen[torch.randperm(kernels, generator=evidence.generator)[:round(self.share * kernels)]] = True
            chosen = chosen.view(*weight.shape[:2], 1, 1).to(weight.device)
            weight.copy_(torch.where(chosen, weight.transpose(2, 3), weight))
