"""Make a forgotten skill slow to come back: hold the forgetting at the weights that learning it again would reach."""
from copy import deepcopy

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.ascent import Criterion, check_criterion, sample_loss
from basicsr_unlearn.core.checks import check_number, check_whole
from basicsr_unlearn.core.hints import Count, NotNegative, Positive
from basicsr_unlearn.core.images import degraded_as_output
from basicsr_unlearn.core.modes import bare
from basicsr_unlearn.core.parts import LOSSES, registered_in
from basicsr_unlearn.core.samples import Sample


@registered_in(LOSSES)
class RelearningResistanceLoss(nn.Module):
    """Error of an attacker's network towards the degraded input, for use as `adversarial_opt`; needs forget pairs.

    The attacker has a copy of the network and learns the forget set again on it, by a step of Adam at each call; after
    `steps` of them it starts anew from the network as it then is. In between, the copy moves along with the network.
    The gradient is that of the copy's weights, handed to the network's: first order, as if both were one.

    An attacker who learns much longer than `steps`, or otherwise, is not held off by it: see the audit's relearning.

    Args:
        criterion: see `sample_loss`, of the attacker's loss and of this one.
        steps: of an attack, 1 or above.
        lr: the attacker's learning rate, above 0.
        loss_weight: 0 or above.

    Raises:
        ValueError: an option is out of its range.

    Source: tamper-resistant safeguards (TAR, arXiv 2408.00761), which adds up the gradients along simulated attacks.
    One attack that goes on from step to step, so that a step stays cheap, and the degraded input as what is to be left:
    our choice, as are the defaults.
    """

    terms = ('adversarial',)  # the options `<term>_opt` that take it

    source = 'forget'

    def __init__(self, criterion: Criterion = 'l1', steps: Count = 200, lr: Positive = 1e-3,
                 loss_weight: NotNegative = 1.0) -> None:
        super().__init__()
        check_criterion(criterion)
        check_number('loss_weight', loss_weight)
        check_number('lr', lr, exclusive=True)
        check_whole('steps', steps, minimum=1)
        self.criterion, self.steps, self.lr, self.loss_weight = criterion, steps, lr, loss_weight
        self.attack: Attack | None = None
        self.saved: dict | None = None  # of an attack that a resumed run goes on with

    def forward(self, sample: Sample) -> Tensor:
        """The error at the attacker's weights, after which the attacker takes a step."""
        net, lq, gt = bare(sample.net), sample.lq, sample.gt
        attack = self._under_way(net)
        attack.move_along(net)
        weights = trained(attack.net)
        output = attack.net(lq).float()
        held = sample_loss(output, degraded_as_output(lq, gt), self.criterion).mean()
        gradients = torch.autograd.grad(held, weights, retain_graph=True, allow_unused=True, materialize_grads=True)
        attack.step(weights, sample_loss(output, gt, self.criterion).mean())
        linear = sum((weight * gradient).sum() for weight, gradient in zip(trained(net), gradients))
        return self.loss_weight * (held.detach() + linear - linear.detach())

    def _under_way(self, net: nn.Module) -> 'Attack':
        if self.saved is not None:
            self.attack = Attack(net, self.lr)
            self.attack.load(self.saved)
            self.saved = None
        if self.attack is None or self.attack.steps >= self.steps:
            self.attack = Attack(net, self.lr)
        return self.attack

    def get_extra_state(self) -> dict | None:
        """The attack under way, for a resume."""
        return self.saved if self.attack is None else self.attack.state()

    def set_extra_state(self, state: dict | None) -> None:
        self.attack, self.saved = None, state


class Attack:
    """A copy of the network that learns the forget set again."""

    def __init__(self, net: nn.Module, lr: float) -> None:
        self.net = deepcopy(net)
        self.optimizer = torch.optim.Adam(trained(self.net), lr=lr, betas=(0.9, 0.99))
        self.steps = 0
        self.seen = weights_of(net)  # of the network, when the copy moved along last

    @torch.no_grad()
    def move_along(self, net: nn.Module) -> None:
        now = weights_of(net)
        for weight, before, after in zip(trained(self.net), self.seen, now):
            weight += after - before
        self.seen = now

    def step(self, weights: list[nn.Parameter], loss: Tensor) -> None:
        for weight, gradient in zip(weights, torch.autograd.grad(loss, weights, allow_unused=True,
                                                                 materialize_grads=True)):
            weight.grad = gradient
        self.optimizer.step()
        self.steps += 1

    def state(self) -> dict:
        return {'net': self.net.state_dict(), 'optimizer': self.optimizer.state_dict(), 'steps': self.steps,
                'seen': self.seen}

    def load(self, state: dict) -> None:
        self.net.load_state_dict(state['net'])
        self.optimizer.load_state_dict(state['optimizer'])
        self.steps = state['steps']
        self.seen = [seen.to(weight.device) for seen, weight in zip(state['seen'], self.seen)]


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
