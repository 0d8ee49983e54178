"""Drive the weights away from those of a network that knows the forget set even better."""
from typing import Literal

from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_choice, check_number, check_whole
from basicsr_unlearn.core.hints import Count, NotNegative, Positive
from basicsr_unlearn.core.inverses import check_attack, towards_relearned
from basicsr_unlearn.core.parts import ANCHORS, Anchor, Evidence, Start, live_parameters, registered_in
from basicsr_unlearn.core.tuning import tuned
from basicsr_unlearn.errors import OptionError

FORMS = ('il2', 'nl2', 'el2')


@registered_in(ANCHORS)
class RepulsionAnchor(Anchor):
    """Repulsion from a copy of the original that was adapted to the forget set, at the squared distance d.

    'il2' is 1 / d, 'nl2' is -d, which falls without end, and 'el2' is exp(-alpha d).

    Undone by the same adaptation on forget pairs of one's own: where it leads is the way back, in a length that fits.

    Args:
        form: 'il2', 'nl2' or 'el2'.
        reduction: of d; 'sum' over all weights, or 'mean' over the parameter tensors of the mean within each.
        normalise: divide d by its value at the original, so that d starts at 1 there and neither alpha nor loss_weight
            depends on the network, on adapt_iters or on the reduction.
        alpha: of 'el2', above 0.
        adapt_iters: steps of Adam on L1 that adapt the copy to the forget batches, taken in turn; at least 1. In eval
            mode, so that statistics of batch normalisation stay.
        adapt_lr: learning rate of these steps.
        loss_weight: at least 0.

    Raises:
        ValueError: an argument is out of range.
        OptionError: in `prepare`, the adapted weights are the original ones.

    Source: Adapt-then-Unlearn, arXiv 2309.14054 (TMLR), for GANs: adapts to samples with the unwanted feature, then
    trains on others while repelling. The paper has the sum; its code the mean and alpha 1, and several adapted networks
    where this has one. Adapting to pairs of the forget set, that is, restoring them still better, is our reading for
    restoration; normalise, adapt_iters and adapt_lr are our choice.
    """

    needs = ('forget',)
    keeps = ('adapted', 'unit')

    def __init__(self, form: Literal['il2', 'nl2', 'el2'] = 'el2', reduction: Literal['sum', 'mean'] = 'mean',
                 normalise: bool = True, alpha: Positive = 1.0, adapt_iters: Count = 100, adapt_lr: Positive = 1e-4,
                 loss_weight: NotNegative = 1.0):
        super().__init__()
        check_choice('form', form, FORMS)
        check_choice('reduction', reduction, ('sum', 'mean'))
        check_number('alpha', alpha, exclusive=True)
        check_whole('adapt_iters', adapt_iters, minimum=1)
        check_number('adapt_lr', adapt_lr, exclusive=True)
        check_number('loss_weight', loss_weight)
        self.form, self.reduction, self.normalise, self.alpha = form, reduction, normalise, alpha
        self.adapt_iters, self.adapt_lr, self.loss_weight = adapt_iters, adapt_lr, loss_weight

    def prepare(self, evidence: Evidence) -> None:
        self.adapted = tuned(evidence.teacher, evidence.forget, self.adapt_iters, self.adapt_lr, evidence.error)
        start = float(self.distance(evidence.teacher).detach())
        if not start > 0:
            raise OptionError('RepulsionAnchor: adapting to the forget set moved no weight, so there is nothing to '
                              'move away from: raise adapt_lr or adapt_iters.')
        self.unit = start if self.normalise else 1.0

    def distance(self, net: nn.Module) -> Tensor:
        """Squared distance from the adapted weights, a scalar."""
        squares = [(p - self.adapted[name]).square() for name, p in live_parameters(net)]
        if self.reduction == 'sum':
            return sum(square.sum() for square in squares)
        return sum(square.mean() for square in squares) / len(squares)

    def forward(self, net: nn.Module) -> Tensor:
        d = self.distance(net) / self.unit
        value = {'il2': lambda: 1 / d, 'nl2': lambda: -d, 'el2': lambda: (-self.alpha * d).exp()}[self.form]()
        return self.loss_weight * value

    def attack(self, evidence: Evidence) -> list[Start]:
        check_attack(self, evidence, 'forget')
        return [Start('the way back to what repels', towards_relearned(evidence, self.adapt_iters, self.adapt_lr))]

