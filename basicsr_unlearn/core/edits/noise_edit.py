"""Shake the weights."""
import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_number
from basicsr_unlearn.core.hints import Positive
from basicsr_unlearn.core.inverses import check_attack, drawn_again, of_lowest_error
from basicsr_unlearn.core.layers import convolution_weights
from basicsr_unlearn.core.parts import EDITS, Edit, Evidence, Start, live_parameters, registered_in

NOISE_LEFT = (0.25, 0.5, 0.75, 1.0)  # of the noise, after the training that followed; our choice


@registered_in(EDITS)
class WeightNoise(Edit):
    """w <- w + std s n with standard normal n, where s is the standard deviation of the weight's own tensor.

    Undone by who knows the seed: the same noise is drawn again, its size solved for, and taken away.

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
        for p, noise in self._draw(net, evidence.generator).values():
            p.add_(self.std * p.std(unbiased=False) * noise)

    @torch.no_grad()
    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget')
        noise = {name: (p, spread_before(p, n, self.std) * self.std * n)
                 for name, (p, n) in self._draw(evidence.teacher, drawn_again(evidence)).items()}
        return [Start('the same noise drawn again and taken away', of_lowest_error(
            ({name: p - share * n for name, (p, n) in noise.items()} for share in NOISE_LEFT), evidence))]

    def _draw(self, net: nn.Module, generator: torch.Generator) -> dict[str, tuple[Tensor, Tensor]]:
        """The weights that are shaken, each with its standard normal numbers."""
        weights = convolution_weights(net) if self.convs_only else dict(live_parameters(net))
        return {name: (p, torch.randn(p.shape, generator=generator).to(p)) for name, p in weights.items()}


def spread_before(shaken: Tensor, noise: Tensor, std: float) -> float:
    """The standard deviation s of weights w, from w + std s n and the noise n.

    It solves var(w + std s n - std s n) = s^2, which is quadratic in s. Of two positive roots it is the one nearer to
    where w and n do not vary together; where there is none, since the weights moved afterwards, that one itself.

    >>> w, n = torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0.5, -1.0, 2.0])
    >>> s = w.std(unbiased=False)
    >>> bool(abs(spread_before(w + 0.6 * s * n, n, 0.6) - s) < 1e-5)
    True
    """
    shaken, noise = shaken.double().flatten(), noise.double().flatten()
    centred = noise - noise.mean()
    variance, together, of_noise = (float(value.mean()) for value in (
        (shaken - shaken.mean()).square(), (shaken - shaken.mean()) * centred, centred.square()))
    if not of_noise > 0:  # a tensor of one weight has no spread
        return 0.0
    near = max(0.0, together / (std * of_noise))
    # a s^2 - 2 b s + c = 0
    a, b, c = std**2 * of_noise - 1, std * together, variance
    if a == 0:
        return c / (2 * b) if b > 0 else near
    inside = b**2 - a * c
    roots = [] if inside < 0 else [(b + sign * inside**0.5) / a for sign in (1, -1)]
    return min((root for root in roots if root > 0), key=lambda root: abs(root - near), default=near)
