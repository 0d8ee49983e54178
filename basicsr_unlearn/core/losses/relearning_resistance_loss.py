"""Make a forgotten skill slow to come back: hold the forgetting at the weights that learning it again would reach."""
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.ascent import Criterion, check_criterion, sample_loss
from basicsr_unlearn.core.checks import check_choice, check_number, check_whole
from basicsr_unlearn.core.hints import Count, NotNegative, Positive
from basicsr_unlearn.core.images import degraded_as_output
from basicsr_unlearn.core.modes import bare
from basicsr_unlearn.core.parts import LOSSES, registered_in
from basicsr_unlearn.core.samples import Sample


@registered_in(LOSSES)
class RelearningResistanceLoss(nn.Module):
    """Error of an attacker's network towards what is to be left, for use as `adversarial_opt`; needs forget pairs.

    The attacker has a copy of the network and learns the forget set again on it, by a step of Adam at each call; after
    `steps` of them it starts anew from the network as it then is. In between, the copy moves along with the network.
    The gradient is that of the copy's weights, handed to the network's: first order, as if both were one.

    Where an option is a list [low, high], each attack draws its own, evenly on the scale of logarithms: so no attacker
    is the one that is held off. One who learns otherwise is not: see the audit's attacks.

    Args:
        criterion: see `sample_loss`, of the attacker's loss and of this one.
        steps: of an attack, 1 or above, or [low, high].
        lr: the attacker's learning rate, above 0, or [low, high].
        pairs: how many pairs the attacker has, or [low, high]: the first that come, of which each step takes a batch,
            at the cost of a forward pass of its own; None for fresh ones at each step.
        target: what is to be left: 'degraded', the input, or 'proxy', the output of the network of `proxy_opt`, for
            where a retrained network does not return its input.
        loss_weight: 0 or above.

    Raises:
        ValueError: an option is out of its range.

    Source: tamper-resistant safeguards (TAR, arXiv 2408.00761), which adds up the gradients along simulated attacks,
    and whose attackers have different rates. One attack that goes on from step to step, so that a step stays cheap,
    what is to be left, and lengths and pairs that are drawn: our choice, as are the defaults.
    """

    terms = ('adversarial',)  # the options `<term>_opt` that take it

    source = 'forget'
    forgets = True

    def __init__(self, criterion: Criterion = 'l1', steps: Count | list[Count] = 200,
                 lr: Positive | list[Positive] = 1e-3, pairs: Count | list[Count] | None = None,
                 target: Literal['degraded', 'proxy'] = 'degraded', loss_weight: NotNegative = 1.0) -> None:
        super().__init__()
        check_criterion(criterion)
        check_number('loss_weight', loss_weight)
        check_span('lr', lr, lambda name, value: check_number(name, value, exclusive=True))
        check_span('steps', steps, lambda name, value: check_whole(name, value, minimum=1))
        if pairs is not None:
            check_span('pairs', pairs, lambda name, value: check_whole(name, value, minimum=1))
        check_choice('target', target, ('degraded', 'proxy'))
        self.criterion, self.steps, self.lr, self.pairs, self.target, self.loss_weight = (
            criterion, steps, lr, pairs, target, loss_weight)
        self.attack: Attack | None = None
        self.saved: dict | None = None  # of an attack that a resumed run goes on with

    def forward(self, sample: Sample) -> Tensor:
        """The error at the attacker's weights, after which the attacker takes a step."""
        net, lq, gt = bare(sample.net), sample.lq, sample.gt
        attack = self._under_way(net)
        attack.move_along(net)
        weights = trained(attack.net)
        output = attack.net(lq).float()
        left = degraded_as_output(lq, gt) if self.target == 'degraded' else sample.proxy_output
        held = sample_loss(output, left, self.criterion).mean()
        gradients = torch.autograd.grad(held, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
        if attack.pairs is not None:
            lq, gt = attack.batch(lq, gt)
            output = attack.net(lq).float()
        attack.step(weights, sample_loss(output, gt, self.criterion).mean())
        linear = sum((weight * gradient).sum() for weight, gradient in zip(trained(net), gradients))
        return self.loss_weight * (held.detach() + linear - linear.detach())

    def _under_way(self, net: nn.Module) -> 'Attack':
        if self.saved is not None:
            self.attack = Attack(net, self.saved.get('plan') or self._plan())  # states of older versions have none
            self.attack.load(self.saved)
            self.saved = None
        if self.attack is None or self.attack.steps >= self.attack.plan['steps']:
            self.attack = Attack(net, self._plan())
        return self.attack

    def _plan(self) -> dict[str, Any]:
        return {'steps': round(drawn(self.steps)), 'lr': drawn(self.lr),
                'pairs': None if self.pairs is None else round(drawn(self.pairs))}

    def get_extra_state(self) -> dict | None:
        """The attack under way, for a resume."""
        return self.saved if self.attack is None else self.attack.state()

    def set_extra_state(self, state: dict | None) -> None:
        self.attack, self.saved = None, state


class Attack:
    """A copy of the network that learns the forget set again.

    Args:
        net: the network.
        plan: `steps`, `lr`, and `pairs`, how many the attacker has, None for fresh ones at each step.
    """

    def __init__(self, net: nn.Module, plan: dict[str, Any]) -> None:
        self.net, self.plan = deepcopy(net), plan
        self.optimizer = torch.optim.Adam(trained(self.net), lr=plan['lr'], betas=(0.9, 0.99))
        self.steps = 0
        self.seen = weights_of(net)  # of the network, when the copy moved along last
        self.pairs: list[Tensor] | None = None if plan['pairs'] is None else []  # lq and gt, once there are any

    @torch.no_grad()
    def move_along(self, net: nn.Module) -> None:
        now = weights_of(net)
        for weight, before, after in zip(trained(self.net), self.seen, now):
            weight += after - before
        self.seen = now

    def batch(self, lq: Tensor, gt: Tensor) -> list[Tensor]:
        """A batch of the attacker's pairs, lq and gt, drawn at random, which the first batches are kept for."""
        missing = self.plan['pairs'] - (len(self.pairs[0]) if self.pairs else 0)
        if missing > 0:
            self.pairs = [torch.cat([*self.pairs[i:i + 1], images[:missing]]) for i, images in enumerate((lq, gt))]
        chosen = torch.randperm(len(self.pairs[0]))[:len(lq)]
        return [images[chosen] for images in self.pairs]

    def step(self, weights: list[nn.Parameter], loss: Tensor) -> None:
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights, allow_unused=True,
                                                                 materialize_grads=True)):
            weight.grad = gradient
        self.optimizer.step()
        self.steps += 1

    def state(self) -> dict:
        return {'net': self.net.state_dict(), 'optimizer': self.optimizer.state_dict(), 'steps': self.steps,
                'seen': self.seen, 'plan': self.plan, 'pairs': self.pairs}

    def load(self, state: dict) -> None:
        self.net.load_state_dict(state['net'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.steps = state['steps']
        self.seen = [seen.to(weight.device) for seen, weight in zip(state['seen'], self.seen)]
        if state.get('pairs') is not None:
            self.pairs = [images.to(self.seen[0].device) for images in state['pairs']]


def drawn(span: float | list[float]) -> float:
    """A number between two, drawn evenly on the scale of logarithms; a single number is itself, and draws nothing.

    >>> drawn(200), 1 <= drawn([1, 4]) <= 4
    (200, True)
    """
    if not isinstance(span, (list, tuple)):
        return span
    low, high = span
    return low * (high / low) ** torch.rand(()).item()


def check_span(name: str, span: float | list[float], check: Callable[[str, float], None]) -> None:
    """Raise ValueError unless `span` is a number, or a list of two that do not fall, each of which passes `check`.

    >>> check_span('lr', [2e-4, 4e-3], check_number)
    """
    several = isinstance(span, (list, tuple))
    for value in span if several else [span]:
        check(name, value)
    if several and (len(span) != 2 or span[0] > span[1]):
        raise ValueError(f'{name}: expected a number or [low, high] but got {list(span)}')


def trained(net: nn.Module) -> list[nn.Parameter]:
    """The parameters that learn.

    >>> len(trained(nn.Conv2d(3, 3, 1)))
    2
    """
    return [p for p in net.parameters() if p.requires_grad]


def weights_of(net: nn.Module) -> list[Tensor]:
    """Their values as they are now.

    >>> weights_of(nn.Conv2d(3, 3, 1))[0].requires_grad
    False
    """
    return [p.detach().clone() for p in trained(net)]
