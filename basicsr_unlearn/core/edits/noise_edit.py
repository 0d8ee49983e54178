"""Shake the weights."""
import torch
from torch import nn

from basicsr_unlearn.core.checks import check_number
from basicsr_unlearn.core.hints import Positive
from basicsr_unlearn.core.layers import convolution_weights
from basicsr_unlearn.core.parts import EDITS, Edit, Evidence, live_parameters, registered_in


@registered_in(EDITS)
class WeightNoise(Edit):
    """w <- w + std s n with standard normal n, where s is the standard deviation of the weight's own tensor.

    Args:
        std: of the noise, relative to that of the tensor, above 0.
        convs_only: only weights of Conv2d layers; otherwise all weights. A tensor of equal values stays as it is.

    Raises:
        ValueError: std is out of range.

    Source: third and seventh of the NeurIPS 2023 machine unlearning challenge, as in xcadet/deepunlearn: noise of an
    absolute std of 0.6 on convolutions, and of 0.04 on layers drawn at random, for one ResNet-18. Relative, so that one
    number fits any network, and the default: our choice.
    """

    def __init__(self, std: Positive = 0.6, convs_only: bool = True):
        check_number('std', std, exclusive=True)
        self.std, self.convs_only = std, convs_only

    @torch.no_grad()
    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        weights = convolution_weights(net) if self.convs_only else dict(live_parameters(net))
        for p in weights.values():
            noise = torch.randn(p.shape, generator=evidence.generator).to(p)
            p.add_(self.std * p.std(unbiased=False) * noise)
