"""Shrink all weights and add noise, so that a network has to learn again what it is then taught."""
import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_number
from basicsr_unlearn.core.granularity import is_vector
from basicsr_unlearn.core.hints import Fraction, NotNegative
from basicsr_unlearn.core.inverses import check_attack, drawn_again, of_lowest_error
from basicsr_unlearn.core.parts import EDITS, Edit, Evidence, Start, live_parameters, registered_in
from basicsr_unlearn.core.seeds import evenly_drawn

SHRINKING_LEFT = (0.25, 0.5, 0.75, 1.0)  # of the shrinking and the noise, after the training that followed; our choice


@registered_in(EDITS)
class ShrinkAndPerturb(Edit):
    """w <- (1 - alpha) w + alpha beta n, with n of Xavier's even distribution; biases, norms and scales only shrink.

    Meant for a network whose outputs have forgotten already: what it then learns from its own outputs of before is what
    they show, and the rest fades, the more the larger alpha is, and the longer it takes.

    Undone at once by who knows the run's seed: the noise is drawn again and taken away, and the rest scaled up. With
    `secret` only the scale is; beta is small, and training in between is what deletes.

    Args:
        alpha: how much of a weight goes, above 0 and below 1.
        beta: size of the noise, 0 or above: 1 is that of fresh weights.
        secret: draw the noise from the operating system's entropy instead of the run's seed, and keep no record of it.
            The run then cannot be repeated exactly; an interrupted one goes on from its last state all the same.

    Raises:
        ValueError: an argument is out of range.

    Source: the noise of UNDO (Lee et al., arXiv 2506.06278), a shrink and perturb (Ash and Adams, NeurIPS 2020): beta
    0.1 as in its code, alpha 0.2 to 0.8 there for language. 0.6: our choice. The fans of a grouped convolution's kernel
    are those of its group.
    """

    def __init__(self, alpha: Fraction = 0.6, beta: NotNegative = 0.1, secret: bool = False):
        check_number('alpha', alpha, exclusive=True)
        if alpha >= 1:
            raise ValueError(f'alpha: expected a number below 1 but got {alpha}: ResetAll starts anew.')
        check_number('beta', beta)
        self.alpha, self.beta, self.secret = alpha, beta, secret

    @torch.no_grad()
    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        noise = self._noise(net, None if self.secret else evidence.generator)
        for name, p in live_parameters(net):
            p.mul_(1 - self.alpha).add_(noise[name])

    @torch.no_grad()
    def attack(self, evidence: Evidence) -> list[Start]:
        """Scaled up again, and unless it was secret, with the noise taken away before: as far as that is best on the
        forget batches, since training has moved the weights in between.
        """
        check_attack(self, evidence, 'forget')
        own, added = dict(live_parameters(evidence.teacher)), {'scaled up again': {}}
        if not self.secret:
            added['noise taken away, scaled up again'] = self._noise(evidence.teacher, drawn_again(evidence))
        return [Start(name, of_lowest_error(
            ({key: (p - share * noise.get(key, 0)) / (1 - share * self.alpha) for key, p in own.items()}
             for share in SHRINKING_LEFT), evidence)) for name, noise in added.items()]

    def _noise(self, net: nn.Module, generator: torch.Generator | None) -> dict[str, Tensor]:
        """alpha beta n for each live parameter."""
        noise = {}
        for name, p in live_parameters(net):
            if is_vector(p):
                noise[name] = torch.zeros_like(p)
                continue
            field = p[0, 0].numel()  # taps of a kernel
            bound = (6 / (field * (p.shape[0] + p.shape[1]))) ** 0.5
            noise[name] = (self.alpha * self.beta * bound * (2 * evenly_drawn(p.shape, generator) - 1)).to(p)
        return noise
