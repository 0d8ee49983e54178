"""Keep few weights: what a sparse network cannot hold it forgets first."""
from typing import Literal

from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_choice, check_number
from basicsr_unlearn.core.hints import NotNegative
from basicsr_unlearn.core.importance import highest_share
from basicsr_unlearn.core.inverses import check_attack, each_alone
from basicsr_unlearn.core.parts import ANCHORS, Anchor, Evidence, Start, live_parameters, registered_in

PRUNED = 0.5  # the share of the weights, the smallest, that an attacker takes for emptied; our choice
DECAYS = ('linear', 'none')


@registered_in(ANCHORS)
class SparsityAnchor(Anchor):
    """loss_weight * (1 - t) * sum_i |w_i| over all live weights, t the share of the run that is done.

    Weights that it emptied stay near zero and are free to learn: an attacker trains them alone, or all others.

    Args:
        loss_weight: at least 0; the pull on each weight at the start, in the unit of its gradient in the other terms.
        decay: 'linear' as above; 'none' keeps the pull, t = 0.

    Raises:
        ValueError: an argument is out of range or unknown.

    Source: l1-sparse, Jia et al., NeurIPS 2023 (arXiv 2304.04934): the norm of all parameters, summed and not averaged,
    beside training on the retain set, with a factor that falls linearly to 0. There it falls by the epoch, and its
    released code can keep the last epochs free of it; here it falls by the step. Its size is our choice: factors around
    5e-4 are meant for cross-entropy, while half of the weights of the NAFNet in zoo/ have a gradient below 2e-5 on L1.
    """

    def __init__(self, loss_weight: NotNegative = 1e-5, decay: Literal['linear', 'none'] = 'linear'):
        super().__init__()
        check_number('loss_weight', loss_weight)
        check_choice('decay', decay, DECAYS)
        self.loss_weight, self.decay = loss_weight, decay
        self.needs_end = decay == 'linear'

    def prepare(self, evidence: Evidence) -> None:
        """Nothing to measure: the weights are compared with zero."""

    def forward(self, net: nn.Module) -> Tensor:
        left = 1 - self.progress if self.decay == 'linear' else 1
        return self.loss_weight * left * sum(p.abs().sum() for _, p in live_parameters(net))

    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget')
        smallest = highest_share({name: -p.detach().abs() for name, p in live_parameters(evidence.teacher)}, PRUNED)
        return each_alone(smallest, 'emptied weights', evidence)
