"""Raise a barrier on the straight way back to the original."""
import torch
from torch import Tensor, nn

from basicsr_unlearn.core.ascent import Criterion, bounded_ascent, check_criterion, sample_loss
from basicsr_unlearn.core.checks import check_number
from basicsr_unlearn.core.hints import NotNegative, Positive
from basicsr_unlearn.core.losses.sharpness_aware_ascent_loss import Moved
from basicsr_unlearn.core.modes import bare
from basicsr_unlearn.core.parts import LOSSES, registered_in
from basicsr_unlearn.core.samples import Sample

BOTH = ('forget', 'retain')


@registered_in(LOSSES)
class ConnectivityLoss(nn.Module):
    """Ascent on the error of the network half way to the original, on forget and retain samples; for `forget_opt`.

    max(margin - criterion(net_half(lq), gt), 0), net_half having the means of both networks' weights. Relearning is
    quick where the way back to the original is one of low error. The retain term has to hold the network itself.

    Args:
        criterion: see `sample_loss`.
        margin: error of a sample at which its push ends, above 0, in units of the criterion.
        loss_weight: 0 or above.

    Raises:
        ValueError: an option is out of its range.

    Source: the mode-connectivity regulariser of arXiv 2505.22310, as in its code, which ends the push at a
    cross-entropy of 50, of the mean over the batch, and has a loss_weight of 0.001 for it. For images, a margin of 0.1,
    about what a degradation adds, and per sample: our choice.
    """

    terms = ('forget',)  # the options `<term>_opt` that take it
    own_pass = True

    def __init__(self, criterion: Criterion = 'l1', margin: Positive = 0.1, loss_weight: NotNegative = 1.0) -> None:
        super().__init__()
        check_criterion(criterion)
        check_number('margin', margin, exclusive=True)
        check_number('loss_weight', loss_weight)
        self.criterion, self.margin, self.loss_weight = criterion, margin, loss_weight

    def forward(self, sample: Sample) -> Tensor:
        net, original = bare(sample.net), dict(sample.teacher.named_parameters())
        middle = {name: original[name].detach().lerp(p, 0.5) for name, p in net.named_parameters()}
        errors = [sample_loss(Moved(one, net, middle).output, one.gt, self.criterion)
                  for name, one in sample.streams.items() if name in BOTH]
        return self.loss_weight * bounded_ascent(torch.cat(errors), 'margin', margin=self.margin).mean()
