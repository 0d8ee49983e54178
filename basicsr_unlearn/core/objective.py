"""What a step minimises: terms by name, which of them take turns, and how their gradients are joined."""
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.dual import DualWeight
from basicsr_unlearn.core.gradients import Reconciliation
from basicsr_unlearn.core.parts import Anchor, live_parameters
from basicsr_unlearn.core.phases import check_phases, phase_terms
from basicsr_unlearn.core.samples import Sample
from basicsr_unlearn.errors import OptionError

TEACHER = 'teacher'


class Paired(nn.Module):
    """A loss of BasicSR's kind, loss(output, target), as one that is called with a sample.

    Args:
        loss: perhaps in two parts, one of which may be None, as BasicSR's PerceptualLoss.
        target: 'gt', or 'teacher' for the output of the original.

    >>> images = {'lq': torch.zeros(1, 3, 8, 8), 'gt': torch.ones(1, 3, 8, 8)}
    >>> Paired(nn.L1Loss())(Sample(images, net=nn.Identity()))
    tensor(1.)
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Any], target: str = 'gt') -> None:
        super().__init__()
        if target not in ('gt', TEACHER):
            raise ValueError(f"target: '{target}' is neither 'gt' nor 'teacher'.")
        self.loss, self.target = loss, target

    def forward(self, sample: Sample) -> Tensor:
        output = sample.output
        loss = self.loss(output, sample.teacher_output if self.target == TEACHER else sample.gt)
        return sum(part for part in loss if part is not None) if isinstance(loss, tuple) else loss


class Objective:
    """The sum of some terms: losses of samples, and anchors of the weights as one more, `anchor`.

    Args:
        losses: by term, each called with a sample (see `samples`); one without `terms` is taken as loss(output, gt).
            The term says which stream it looks at, unless the loss has a `source`: `forget`, `retain`, or another's
            name. `adversarial` looks at `retain`.
        anchors: see `Anchor`.
        phases: `{terms, iters}` one after another, and then anew; None is all terms always.
        dual: a weight of all terms but `forget` and `anchor` that finds itself.
        conflict: options of `Reconciliation`, which then joins the gradient of what forgets with that of the rest.
        where: what comes before the name of an option in a message.

    Raises:
        OptionError: there is no term, a phase has one that is not there, or `conflict` an option that cannot be.

    >>> from basicsr_unlearn.core.losses import TargetLoss
    >>> Objective({'forget': TargetLoss('degraded'), 'retain': nn.L1Loss()}).terms
    ['forget', 'retain']
    """

    def __init__(self, losses: Mapping[str, Callable], anchors: Sequence[Anchor] = (),
                 phases: Sequence[Mapping[str, Any]] | None = None, dual: DualWeight | None = None,
                 conflict: Mapping[str, Any] | None = None, where: str = '') -> None:
        self.losses = {term: loss if hasattr(loss, 'terms') or isinstance(loss, Paired) else Paired(loss)
                       for term, loss in losses.items()}
        self.anchors = nn.ModuleList(anchors)
        self.dual, self.where = dual, where
        try:
            self.conflict = None if conflict is None else Reconciliation(**conflict)
        except (TypeError, ValueError) as error:
            raise OptionError(f'{where}conflict_opt: {str(error).rstrip(".")}.') from error
        if not self.terms:
            raise OptionError(f'{where.rstrip(".") or "The objective"} has none of forget_opt, retain_opt, '
                              'adversarial_opt and anchor_opt: there is nothing to do.')
        self.phases = phases or [{'terms': self.terms}]
        try:
            check_phases(self.phases, self.terms)
        except ValueError as error:
            raise OptionError(f'{where}phases: {error}.') from error

    @property
    def terms(self) -> list[str]:
        """The terms by name."""
        return [*self.losses, *(['anchor'] if len(self.anchors) else [])]

    def source(self, term: str) -> str:
        """The stream that a loss looks at."""
        return getattr(self.losses[term], 'source', 'retain' if term == 'adversarial' else term)

    @property
    def streams(self) -> set[str]:
        """The streams that the losses look at."""
        return {self.source(term) for term in self.losses}

    def trains(self, term: str) -> str | None:
        """The name of the network that a term moves, None for the first."""
        return getattr(self.losses.get(term), 'trains', None)

    def forgets(self, term: str) -> bool:
        """Whether the gradient of a term is one of forgetting: that of `forget`, and of a loss that says so."""
        return term == 'forget' or getattr(self.losses.get(term), 'forgets', False)

    @property
    def splits(self) -> bool:
        """Whether something takes the gradient of one stream's outputs alone: then each has a pass of its own."""
        return self.conflict is not None or any(getattr(loss, 'own_pass', False) for loss in self.losses.values())

    def active(self, iteration: int, resting: bool = False) -> list[str]:
        """The terms of an iteration, from 1; while forgetting rests, others, also in a phase that has none of them."""
        active = phase_terms(self.phases, iteration)
        if not resting:
            return active
        return [term for term in active if term != 'forget'] or [term for term in self.terms if term != 'forget']

    def values(self, samples: Mapping[str, Sample], terms: Sequence[str], net: nn.Module) -> dict[str, Tensor]:
        """The value of some terms, each a scalar. Raises OptionError where a loss refuses what it is given.

        Args:
            samples: by stream.
            terms: of these.
            net: the bare network, for the anchors.
        """
        values = {}
        for term, loss in self.losses.items():
            if term in terms:
                try:
                    values[term] = loss(samples[self.source(term)])
                except ValueError as error:
                    raise OptionError(f'{self.where}{term}_opt: {str(error).rstrip(".")}.') from error
        if 'anchor' in terms:
            values['anchor'] = sum(anchor(net) for anchor in self.anchors)
        return values

    def backward(self, values: Mapping[str, Tensor], terms: Sequence[str], net: nn.Module) -> Tensor:
        """Fill the gradients of the network's weights by these terms; their weighted sum."""
        weight = self.dual.value if self.dual else 1.0
        terms = {term: values[term] if term in ('forget', 'anchor') else values[term] * weight for term in terms}
        total = sum(terms.values())
        forget = sum(value for term, value in terms.items() if self.forgets(term))
        rest = sum(value for term, value in terms.items() if not self.forgets(term))
        if self.conflict is None or not (torch.is_tensor(forget) and torch.is_tensor(rest)):
            total.backward()
        else:
            weights = [p for _, p in live_parameters(net)]  # weight decay moves the dead
            pair = [torch.autograd.grad(goal, weights, retain_graph=True, materialize_grads=True, allow_unused=True)
                    for goal in (forget, rest)]
            for p, gradient in zip(weights, self.conflict(*pair)):
                p.grad = gradient
        return total

    def to(self, device: torch.device) -> 'Objective':
        """Move what the terms hold to a device."""
        for loss in (*self.losses.values(), self.anchors):
            if isinstance(loss, nn.Module):
                loss.to(device)
        return self

    def state_dict(self) -> dict:
        return {'dual_weight': self.dual.value if self.dual else None,
                'conflict': self.conflict and self.conflict.state_dict(),
                'losses': {term: loss.state_dict() for term, loss in self.losses.items()
                           if isinstance(loss, nn.Module)}}

    def load_state_dict(self, state: Mapping) -> None:
        if self.dual and state['dual_weight'] is not None:
            self.dual.value = state['dual_weight']
        if self.conflict and state.get('conflict'):
            self.conflict.load_state_dict(state['conflict'])
        for term, loss in self.losses.items():
            if isinstance(loss, nn.Module):
                loss.load_state_dict(state['losses'].get(term, {}), strict=False)
