"""Forget in feature space: what the encoder makes of a forget sample goes to features that hold nothing of it."""
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.ascent import sample_loss
from basicsr_unlearn.core.checks import check_choice, check_number
from basicsr_unlearn.core.features import captured
from basicsr_unlearn.core.hints import NotNegative, Positive, Seed
from basicsr_unlearn.core.losses.target_loss import gaussian_image
from basicsr_unlearn.core.modes import bare, eval_mode
from basicsr_unlearn.core.parts import LOSSES, registered_in
from basicsr_unlearn.core.processes import is_shared
from basicsr_unlearn.core.samples import Sample

FEATURE_TARGETS = ('noise', 'direction')
DEFAULT_STEERING = 2.0  # RMU in open-unlearning, its option file (20 in its code)


def directions(features: dict[str, Tensor], steering: float = DEFAULT_STEERING, seed: int = 0) -> dict[str, Tensor]:
    """A vector of length `steering` for each layer, the same at every pixel and at every call.

    Args:
        features: (b, c, h, w), or (b, ..., c), by layer.
        steering: length over the channels, in units of the features.
        seed: of the directions, which are uniform in [0, 1) per channel before they are normalised, as in RMU.

    >>> goal = directions({'latent': torch.zeros(1, 16, 4, 4)}, steering=2.0)['latent']
    >>> round(float(goal[0, :, 0, 0].norm()), 4)
    2.0
    """
    generator = torch.Generator().manual_seed(seed)
    goals = {}
    for name, feature in features.items():
        channel = 1 if feature.dim() == 4 else -1
        u = torch.rand(feature.shape[channel], generator=generator)
        u = (steering * u / u.norm()).to(feature)
        goals[name] = (u.view(-1, 1, 1) if channel == 1 else u).expand_as(feature)
    return goals


def feature_target_loss(net: nn.Module, lq: Tensor, teacher_net: nn.Module | None = None, target: str = 'noise',
                        layers: Sequence[str] | None = None, steering: float = DEFAULT_STEERING, seed: int = 0,
                        generator: torch.Generator | None = None) -> Tensor:
    """The mean square of E(lq) - t for each layer, summed over the layers E.

    Args:
        net: the network that is unlearning; used in the mode it is in.
        lq: (b, c, h, w), degraded input of the forget sample, pixel values in [0, 1].
        teacher_net: frozen original network, for 'noise'.
        target: what t is.
            'noise': E0(n), what the original makes of a Gaussian image n with the input's mean and standard deviation,
                drawn anew at each call (I2I, ICLR 2024; see `gaussian_image`).
            'direction': steering * u at every pixel, u a fixed random unit vector over the channels (RMU, ICML 2024).
        layers: module names, see `named_stages`; None for the encoder and bottleneck stages of NAFNet and Restormer's
            family. All levels that the decoder reads, since a skip connection would lead past those left out.
        steering, seed: for 'direction', see `directions`.
        generator: source of the noise.

    Returns:
        Scalar. Sum over layers of means: I2I's code for a U-Net (Palette).

    Raises:
        ValueError: unknown target, no such layer, or teacher_net missing.

    >>> net, lq = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 3, 1)), torch.rand(1, 3, 8, 8)
    >>> bool(feature_target_loss(net, lq, target='direction', layers='0') > 0)
    True
    """
    check_choice('target', target, FEATURE_TARGETS)
    if target == 'noise' and teacher_net is None:
        raise ValueError("FeatureTargetLoss with target 'noise' needs teacher_net, the original network.")
    net = bare(net)
    with captured(net, layers) as features:
        net(lq)
    if target == 'noise':
        with eval_mode(teacher_net), torch.no_grad(), captured(teacher_net, layers) as goals:
            teacher_net(gaussian_image(lq, generator=generator))
    else:
        goals = directions(features, steering, seed)
    return sum(sample_loss(features[name].float(), goals[name].float(), 'l2').mean() for name in features)


@registered_in(LOSSES)
class FeatureTargetLoss(nn.Module):
    """Module form of `feature_target_loss`, scaled by `loss_weight` (0 or above).

    What it costs: a second forward pass of the forget batch, since features of the first are gone, a backward pass
    through the encoder, and for 'noise' a forward pass of the original. The output `pred` is not looked at.

    I2I also holds the features of retain samples; here the rest is held by retain_opt at the output, where a target of
    the teacher serves every network alike. I2I's weight of forgetting to retaining is 0.2 (MAGE) or 0.1 (Palette).
    """

    terms = ('forget',)  # the options `<term>_opt` that take it

    def __init__(self, target: Literal['noise', 'direction'] = 'noise', layers: Sequence[str] | None = None,
                 steering: Positive | None = None, seed: Seed | None = None, loss_weight: NotNegative = 1.0) -> None:
        super().__init__()
        check_choice('target', target, FEATURE_TARGETS)
        check_number('loss_weight', loss_weight)
        for name, value in (('steering', steering), ('seed', seed)):
            if value is not None:
                if target != 'direction':
                    raise ValueError(f"{name} has no effect with target '{target}': remove it or use target "
                                     "'direction'.")
                check_number(name, value, exclusive=name == 'steering')
        if seed is not None and not isinstance(seed, int):
            raise ValueError(f'seed: expected a whole number but got {seed}.')
        self.target = target
        self.layers = layers
        self.steering = DEFAULT_STEERING if steering is None else steering
        self.seed = seed
        self.loss_weight = loss_weight

    def forward(self, sample: Sample) -> Tensor:
        loss = feature_target_loss(
            sample.net, sample.lq, sample.teacher if self.target == 'noise' else None, self.target, self.layers,
            self.steering, self.seed or 0, sample.generator)
        if is_shared(sample.net):
            loss = loss + 0 * sample.output.sum()  # it waits for a gradient of every weight, the decoder's too
        return self.loss_weight * loss
