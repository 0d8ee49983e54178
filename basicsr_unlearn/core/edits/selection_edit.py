"""Unlearn along what is the forget set's own: the gradient without the directions that it shares with the rest."""
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.ascent import sample_loss
from basicsr_unlearn.core.checks import check_number, check_share, check_whole
from basicsr_unlearn.core.hints import Count, NotNegative, Positive, Share
from basicsr_unlearn.core.images import degraded_as_output
from basicsr_unlearn.core.importance import mean_gradient
from basicsr_unlearn.core.inverses import LONGEST_WAY, check_attack, of_lowest_error
from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.core.parts import EDITS, Edit, ErrorOf, Evidence, Start, live_parameters, registered_in
from basicsr_unlearn.core.samples import Batch
from basicsr_unlearn.core.tuning import tuned

FIRST_STEP = 1e-3  # length of the first trial, relative to the weights that it moves; our choice
DOUBLINGS, HALVINGS = 12, 4  # of the trials; our choice


def collapsed(gradient: Tensor, shared: Tensor, share: float = 0.25, power: float = 2.0) -> Tensor:
    """A gradient with the strongest directions of another one shrunk, on the side of inputs and on that of outputs.

    Args:
        gradient: (outputs, inputs).
        shared: (outputs, inputs), whose strongest singular directions are taken.
        share: how many of them, in (0, 1].
        power: each is divided by its singular value, relative to the smallest of those taken, to this power.

    >>> collapsed(torch.ones(2, 2), torch.diag(torch.tensor([2.0, 1.0])), share=1.0, power=1.0)
    tensor([[0.2500, 0.5000],
            [0.5000, 1.0000]])
    """
    left, values, right = torch.linalg.svd(shared, full_matrices=False)
    count = max(1, round(share * len(values)))
    values = values[:count].clamp_min(1e-6 * values[0].clamp_min(torch.finfo(values.dtype).tiny))
    taken = 1 - (values[-1] / values) ** power  # of each direction
    for directions in (right[:count], left[:, :count].T):
        gradient = (gradient - (gradient @ directions.T * taken) @ directions).T
    return gradient


@registered_in(EDITS)
class RepresentationSelection(Edit):
    """One long step up the error on the forget batches, along what only they use.

    A copy is first trained on the forget batches for a while, so that its gradient shows where an attacker would learn
    them again. Of the mean gradient on them, each matrix (outputs, inputs x kernel) loses the strongest singular
    directions of that on the retain batches. The network goes up along what is left, as far as the budget lets it, or
    until the forget batches are restored no better than their input.

    Undone by a step down along such a gradient of the attacker's own pairs, of the length that helps them most.

    Args:
        budget: share by which the error on the retain batches may grow, above 0; 0.012 is 0.1 dB.
        share: of the singular directions, in (0, 1].
        power: how much they are shrunk, at least 0: see `collapsed`; 0 leaves them.
        iters: steps of Adam that train the copy on the forget batches, at least 1.
        lr: of these.

    Raises:
        ValueError: an argument is out of range.

    Source: RepSelect, arXiv 2606.17168, as in its code: power 1 in the paper, 2 since; 512 directions of 2048 or more;
    the copy learns by a low-rank adapter, on transformers. All weights of the copy, a line search for the length, the
    end at the input, and the values of budget, iters and lr: our choice.
    """

    needs = ('forget', 'retain')

    def __init__(self, budget: Positive = 0.1, share: Share = 0.25, power: NotNegative = 2.0, iters: Count = 50,
                 lr: Positive = 1e-4):
        check_number('budget', budget, exclusive=True)
        check_share('share', share)
        check_number('power', power)
        check_whole('iters', iters, minimum=1)
        check_number('lr', lr, exclusive=True)
        self.budget, self.share, self.power, self.iters, self.lr = budget, share, power, iters, lr

    def __call__(self, net: nn.Module, evidence: Evidence) -> None:
        way = self.selected(*self.elicited(evidence, self.iters), self.power)
        limit = (1 + self.budget) * mean_error(net, evidence.retain, evidence.error)
        end = error_of_input(evidence.forget)

        def allowed(length: float) -> bool:
            moved = along(net, way, length)
            return (mean_error(moved, evidence.retain, evidence.error) <= limit
                    and mean_error(moved, evidence.forget, evidence.error) <= end)

        length = FIRST_STEP
        for _ in range(DOUBLINGS):
            if not allowed(length):
                break
            length *= 2
        low = 0.0 if length == FIRST_STEP else length / 2
        for _ in range(HALVINGS):
            middle = (low + length) / 2
            low, length = (middle, length) if allowed(middle) else (low, middle)
        net.load_state_dict(along(net, way, low or length).state_dict())  # it takes a step, be it a small one

    def attack(self, evidence: Evidence) -> list[Start]:
        """Back along the selected gradient, and along the whole one, as far as the attacker's pairs gain by it."""
        check_attack(self, evidence, 'forget')
        starts, gradients = [], self.elicited(evidence, LONGEST_WAY)
        for name, power in (('step back along the selected gradient', self.power),
                            ('step back along the whole gradient', 0.0)):
            way = self.selected(*gradients, power)
            starts.append(Start(name, of_lowest_error((dict(along(evidence.teacher, way, -FIRST_STEP * 2**i)
                                                            .named_parameters()) for i in range(DOUBLINGS)), evidence)))
        return starts

    def elicited(self, evidence: Evidence, steps: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The gradients of the error on the forget and on the retain batches, by parameter name, after at most so many
        steps on the forget batches.
        """
        copy = deepcopy(evidence.teacher)
        copy.load_state_dict(tuned(copy, evidence.forget, min(steps, self.iters), self.lr, evidence.error),
                             strict=False)
        return tuple(mean_gradient(copy, batches, evidence.error)
                     for batches in (evidence.forget, evidence.retain or evidence.forget))

    def selected(self, forget: dict[str, Tensor], shared: dict[str, Tensor], power: float) -> dict[str, Tensor]:
        """The gradients of matrices on the forget batches, without what is shared with the retain batches."""
        return {name: collapsed(gradient.flatten(1), shared[name].flatten(1), self.share, power).view_as(gradient)
                for name, gradient in forget.items() if gradient.dim() in (2, 4)}


@torch.no_grad()
def along(net: nn.Module, way: dict[str, Tensor], length: float) -> nn.Module:
    """A copy whose weights went so far along a way, relative to the size of all the weights that move.

    >>> net = nn.Conv2d(1, 1, 1, bias=False)
    >>> moved = along(net, {'weight': torch.ones(1, 1, 1, 1)}, 0.5)
    >>> bool(torch.isclose((moved.weight - net.weight).abs(), 0.5 * net.weight.abs()).all())
    True
    """
    copy = deepcopy(net)
    own = dict(live_parameters(copy))
    size, steep = (sum(part.square().sum() for part in parts).sqrt()
                   for parts in ([own[name] for name in way], way.values()))
    for name, gradient in way.items():
        own[name] += length * size / steep.clamp_min(1e-30) * gradient
    return copy


@torch.no_grad()
def mean_error(net: nn.Module, batches: Sequence[Batch], error: ErrorOf) -> float:
    """Mean error of a network over batches, in eval mode.

    >>> mean_error(nn.Identity(), [torch.tensor(1.0), torch.tensor(3.0)], lambda net, batch: net(batch))
    2.0
    """
    with eval_mode(net):
        return sum(float(error(net, batch)) for batch in batches) / len(batches)


def error_of_input(batches: Sequence[Batch]) -> float:
    """Mean absolute error of the degraded inputs themselves; infinity where there are none.

    >>> error_of_input([{'lq': torch.zeros(1, 3, 4, 4), 'gt': torch.ones(1, 3, 4, 4)}]), error_of_input([{}])
    (1.0, inf)
    """
    found = [float(sample_loss(degraded_as_output(batch['lq'], batch['gt']), batch['gt']).mean())
             for batch in batches if 'lq' in batch and 'gt' in batch]
    return sum(found) / len(found) if found else float('inf')
