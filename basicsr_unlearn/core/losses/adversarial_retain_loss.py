"""Hold what must stay at the inputs where it is about to go: the worst case in a small ball around each sample."""
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.ascent import Criterion, check_criterion, sample_loss
from basicsr_unlearn.core.attacks import AttackOptions, CarriedPerturbation, attack_settings, pgd
from basicsr_unlearn.core.checks import check_choice, check_number
from basicsr_unlearn.core.hints import NotNegative
from basicsr_unlearn.core.modes import bare, eval_mode
from basicsr_unlearn.core.parts import LOSSES, registered_in
from basicsr_unlearn.core.samples import Sample


def _check(settings: Mapping[str, Any], target: str) -> None:
    check_choice('target', target, ('gt', 'teacher'))
    standstill = target == 'teacher' and settings['network'] == 'teacher' and not settings['random_start']
    if standstill and settings['type'] != 'none':
        raise ValueError("attack random_start must be true with attack network 'teacher' and target 'teacher': the "
                         'distance to the clean output has no gradient at the clean input, so the attack would stand '
                         'still.')


def _require(target: str, gt: Tensor | None, teacher_net: nn.Module | None, attacks_teacher: bool = False) -> None:
    if target == 'gt' and gt is None:
        raise ValueError("AdversarialRetainLoss with target 'gt' needs gt, the ground truth.")
    if (attacks_teacher or target == 'teacher') and teacher_net is None:
        raise ValueError("AdversarialRetainLoss with target or attack network 'teacher' needs teacher_net.")


def adversarial_input(net: nn.Module, lq: Tensor, gt: Tensor | None = None, teacher_net: nn.Module | None = None,
                      criterion: Criterion = 'l1', target: str = 'gt', attack: Mapping[str, Any] | None = None,
                      generator: torch.Generator | None = None) -> Tensor:
    """Move lq inside the ball to where the attacked network is worst.

    With a = net (attack network 'student') or teacher_net ('teacher'), it maximises over x, per sample,

    - target 'gt': criterion(a(x), gt);
    - target 'teacher' on 'student': criterion(net(x), teacher_net(x)). Where both still agree exactly, as before the
      first step of unlearning, this has no gradient and the random start is the result;
    - target 'teacher' on 'teacher': criterion(teacher_net(x), teacher_net(lq)).

    Networks are in eval mode meanwhile, each submodule's mode is restored, and no parameter receives a gradient. A
    wrapper of DataParallel or DistributedDataParallel is passed by, since the latter cannot follow such gradients.
    It costs `steps` forward passes and as many backward passes that skip the weights.

    Args:
        net, teacher_net: (b, c, h, w) -> (b, c, h', w').
        lq: (b, c, h, w), degraded input, pixel values in [0, 1].
        gt: (b, c, h', w'), ground truth, for target 'gt'.
        criterion: see `sample_loss`.
        target, generator: see `adversarial_retain_loss`.
        attack: see `attack_settings`; type 'none' returns lq, 'carried' is for `adversarial_retain_loss`.

    Returns:
        (b, c, h, w) in [0, 1], detached.

    Raises:
        ValueError: options invalid, or gt or teacher_net missing where needed.

    Source: samples made with the original network in eval mode, L2UL (arXiv 2301.11578). L2UL moves towards a random
    other label, which restoration does not have: the largest error instead is our choice.

    >>> lq = torch.full((1, 3, 8, 8), 0.5)
    >>> moved = adversarial_input(nn.Identity(), lq, gt=lq, attack={'eps': 0.1, 'steps': 2})
    >>> bool((moved - lq).abs().max() <= 0.1001)
    True
    """
    settings = attack_settings(attack)
    _check(settings, target)
    moves = settings['type'] != 'none'
    on_teacher = moves and settings['network'] == 'teacher'
    _require(target, gt, teacher_net, on_teacher)
    if settings['type'] == 'carried':
        raise ValueError('attack type carried goes on from step to step: give a CarriedPerturbation as `carried`.')
    if not moves:
        return lq.detach()
    attacked = teacher_net if on_teacher else net
    attacked = bare(attacked)

    with eval_mode(*(module for module in (attacked, teacher_net) if module is not None)):
        if target == 'gt':
            def goal(_: Tensor) -> Tensor:
                return gt
        elif on_teacher:
            with torch.no_grad():
                clean = teacher_net(lq)

            def goal(_: Tensor) -> Tensor:
                return clean
        else:
            goal = teacher_net
        return pgd(lambda x: sample_loss(attacked(x), goal(x), criterion), lq, settings['eps'], settings['step_size'],
                   settings['steps'], settings['norm'], settings['random_start'], generator)


def adversarial_retain_loss(net: nn.Module, lq: Tensor, gt: Tensor | None = None, teacher_net: nn.Module | None = None,
                            criterion: Criterion = 'l1', target: str = 'gt', attack: Mapping[str, Any] | None = None,
                            generator: torch.Generator | None = None, carried: CarriedPerturbation | None = None
                            ) -> Tensor:
    """Mean of criterion(net(x_adv), goal), with x_adv from `adversarial_input`.

    Args:
        net: the network that is unlearning, (b, c, h, w) -> (b, c, h', w'); used in the mode it is in.
        lq: (b, c, h, w), degraded input, pixel values in [0, 1].
        gt: (b, c, h', w'), ground truth, the goal for target 'gt'.
        teacher_net: frozen original network; for target 'teacher' the goal is teacher_net(x_adv).
        criterion: see `sample_loss`.
        target: 'gt' or 'teacher'.
        attack: see `attack_settings`; None is the default attack, type 'none' holds lq itself.
        generator: source of the attack's random start.
        carried: moves lq instead of an attack, and is moved on by this loss's backward pass. It costs no pass, except
            for target 'teacher' a backward pass through the teacher that skips the weights.

    Returns:
        Scalar.

    Raises:
        ValueError: options invalid, or gt or teacher_net missing where needed.

    Source: gradient ascent forgets, 'the adversarial sample maintains the performance' (arXiv 2409.00685, abstract);
    L2UL (arXiv 2301.11578) for the idea. Goal and loss for restoration: our choice.

    >>> net, lq = nn.Conv2d(3, 3, 1), torch.rand(1, 3, 8, 8)
    >>> bool(adversarial_retain_loss(net, lq, gt=lq) > 0)
    True
    """
    if carried is None:
        x_adv = adversarial_input(net, lq, gt, teacher_net, criterion, target, attack, generator)
    else:
        _require(target, gt, teacher_net)
        x_adv = carried(lq, net, generator)
    goal = gt
    if target == 'teacher':
        with eval_mode(teacher_net), torch.set_grad_enabled(carried is not None and torch.is_grad_enabled()):
            # the perturbation has to know that the goal moves with the input; the teacher's weights need no gradient
            weights = {name: p.detach() for name, p in teacher_net.named_parameters()}
            goal = torch.func.functional_call(teacher_net, weights, x_adv)
    return sample_loss(net(x_adv), goal, criterion).mean()


@registered_in(LOSSES)
class AdversarialRetainLoss(nn.Module):
    """Module form of `adversarial_retain_loss`, scaled by `loss_weight` (0 or above).

    `source` ('retain' or 'forget') says which stream the caller feeds; L2UL has only forget samples.
    With attack type 'carried' the perturbation is a part of the state.
    """

    terms = ('adversarial',)  # the options `<term>_opt` that take it

    def __init__(self, criterion: Criterion = 'l1', target: Literal['gt', 'teacher'] = 'gt',
                 attack: AttackOptions | None = None, source: Literal['retain', 'forget'] = 'retain',
                 loss_weight: NotNegative = 1.0) -> None:
        super().__init__()
        check_criterion(criterion)
        check_choice('source', source, ('retain', 'forget'))
        check_number('loss_weight', loss_weight)
        self.criterion = criterion
        self.target = target
        self.attack = attack_settings(attack)
        _check(self.attack, target)
        if self.attack['type'] == 'carried':
            self.carried = CarriedPerturbation(*(self.attack[key] for key in ('eps', 'step_size', 'random_start')))
        else:
            self.carried = None
        self.source = source
        self.loss_weight = loss_weight
        attacks_teacher = self.attack['type'] != 'none' and self.attack['network'] == 'teacher'
        self.needs_teacher = target == 'teacher' or attacks_teacher

    def forward(self, sample: Sample) -> Tensor:
        return self.loss_weight * adversarial_retain_loss(
            sample.net, sample.lq, sample.gt if self.target == 'gt' else None,
            sample.teacher if self.needs_teacher else None, self.criterion, self.target, self.attack, sample.generator,
            self.carried)
