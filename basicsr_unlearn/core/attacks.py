"""Adversarial inputs: where in a small ball around an image a network does worst."""
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypedDict

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_choice, check_number
from basicsr_unlearn.core.hints import Count, Positive

NORMS = ('linf', 'l2')
# linf: our choice. l2: L2UL's (arXiv 2301.11578, released code), for 3x32x32 images.
DEFAULT_EPS = {'linf': 4 / 255, 'l2': 2.0}


class AttackOptions(TypedDict, total=False):
    """What an attack may be told; `attack_settings` says more, and fills in what is left out."""
    type: Literal['pgd', 'one_step', 'carried', 'none'] | None
    norm: Literal['linf', 'l2'] | None
    eps: Positive | None
    step_size: Positive | None
    steps: Count | None
    random_start: bool | None
    network: Literal['student', 'teacher'] | None


ATTACK_KEYS = tuple(AttackOptions.__annotations__)


def _sample_norm(x: Tensor) -> Tensor:
    norm = x.flatten(1).norm(dim=1).clamp_min(torch.finfo(x.dtype).tiny)
    return norm.view(-1, *[1] * (x.dim() - 1))


def _project(delta: Tensor, eps: float, norm: str) -> Tensor:
    if norm == 'linf':
        return delta.clamp(-eps, eps)
    return delta * (eps / _sample_norm(delta)).clamp(max=1)


def _clip(moved: Tensor, x: Tensor, clip: tuple[float, float] = (0, 1)) -> Tensor:
    # widened where x lies outside: clipping then only ever moves towards x, so it cannot leave the ball
    return torch.minimum(torch.maximum(moved, x.clamp(max=clip[0])), x.clamp(min=clip[1]))


def _random_delta(x: Tensor, eps: float, norm: str, generator: torch.Generator | None) -> Tensor:
    # drawn where the generator lives, so that one seed gives the same start on every device
    where = {'device': x.device if generator is None else generator.device, 'dtype': x.dtype, 'generator': generator}
    if norm == 'linf':
        return ((2 * torch.rand(x.shape, **where) - 1) * eps).to(x.device)
    direction = torch.randn(x.shape, **where)
    radius = torch.rand(x.shape[0], **where) ** (1 / max(x[0].numel(), 1))  # uniform in the ball's volume
    return (eps * radius.view(-1, *[1] * (x.dim() - 1)) * direction / _sample_norm(direction)).to(x.device)


def pgd(objective: Callable[[Tensor], Tensor], x: Tensor, eps: float, step_size: float, steps: int,
        norm: str = 'linf', random_start: bool = True, generator: torch.Generator | None = None,
        clip: tuple[float, float] | None = (0, 1)) -> Tensor:
    """Projected gradient ascent on the input: x_adv <- P(x_adv + step_size * direction), `steps` times.

    The direction is sign(g) for 'linf' and g / |g|_2 for 'l2', g being the gradient of a sample's own value; P projects
    each sample onto the ball of radius eps around x, then onto `clip`. One step from x itself is FGSM. Only the
    gradient with respect to the input is taken: `.grad` of the parameters stays as it is.

    Args:
        objective: maps (b, c, h, w) to (b,), the value of each sample to be made large.
        x: (b, c, h, w), pixel values in [0, 1].
        eps: radius; 'linf' per pixel, 'l2' over the whole sample (c, h, w); in pixel values.
        step_size: length of one step in the same norm and unit.
        steps: number of steps; 0 gives the random start, or x.
        norm: 'linf' or 'l2'.
        random_start: start at a point drawn uniformly from the ball instead of at x.
        generator: source of the random start; may live on another device than x.
        clip: valid range of a pixel, or None. A pixel of x that lies outside already may not go further out.

    Returns:
        (b, c, h, w), detached.

    Raises:
        ValueError: an argument is out of range, or the objective's value is not of shape (b,).

    Source: Madry et al., arXiv 1706.06083, section 2.1; FGSM: Goodfellow et al., arXiv 1412.6572.

    >>> x = torch.full((1, 3, 8, 8), 0.5)
    >>> moved = pgd(lambda x: x.flatten(1).sum(1), x, eps=0.1, step_size=0.1, steps=1, random_start=False)
    >>> round(float(moved.mean()), 4)
    0.6
    """
    check_choice('norm', norm, NORMS)
    check_number('eps', eps)
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 0:
        raise ValueError(f'steps: expected a whole number of at least 0 but got {steps!r}.')
    if steps:
        check_number('step_size', step_size, exclusive=True)
    if clip is not None and not clip[0] < clip[1]:
        raise ValueError(f'clip: expected (lowest, highest) but got {clip}.')
    x = x.detach()

    def inside(delta: Tensor) -> Tensor:
        moved = x + _project(delta, eps, norm)
        return moved if clip is None else _clip(moved, x, clip)

    x_adv = inside(_random_delta(x, eps, norm, generator)) if random_start else x.clone()
    for _ in range(steps):
        x_adv.requires_grad_(True)
        with torch.enable_grad():
            values = objective(x_adv)
            if values.shape != x.shape[:1]:
                raise ValueError(f'The objective must return one value per sample, shape ({x.shape[0]},), '
                                 f'but returned {tuple(values.shape)}.')
            gradient, = torch.autograd.grad(values.sum(), x_adv)
        x_adv = x_adv.detach()
        direction = gradient.sign() if norm == 'linf' else gradient / _sample_norm(gradient)
        x_adv = inside(x_adv + step_size * direction - x)
    return x_adv


class _GradientReader(torch.autograd.Function):
    """The identity on x, which hands the gradient of x to `receive` when the backward pass comes by.

    `weight` only ties x to a trainable weight, and gets no gradient: torch.autograd.grad(loss, weights) skips whatever
    does not lead to a weight, so that a hook on x alone would never be called there.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, receive: Callable[[Tensor], None]) -> Tensor:
        ctx.receive = receive
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, None]:
        ctx.receive(gradient)
        return None, None, None


class CarriedPerturbation(nn.Module):
    """An adversary without passes of its own: a perturbation that the training step's backward pass moves on.

    Called with a batch x, it gives clamp(x + delta). Once the loss of that is differentiated, by backward() or by
    torch.autograd.grad with respect to the weights, delta becomes clamp(delta + step_size * sign(gradient), -eps, eps),
    and the next call uses it. Called again before, or differentiated twice, it moves once. Without a gradient it stays.

    The buffer `delta`, (b, c, h, w), one perturbation for each place in the batch, is drawn anew when the size of the
    batch changes. It belongs to the state, which may be loaded before the first call.

    Args:
        eps: radius per pixel, in pixel values ('linf').
        step_size: length of one step, in the same unit.
        random_start: draw delta uniformly from the ball; false starts at 0, as the paper.

    Source: adversarial training for free (Shafahi et al., NeurIPS 2019, algorithm 1), which carries delta from batch to
    batch and replays each batch m times. Here m is 1, since samples are drawn afresh at each step: what delta learns is
    one perturbation that is bad for whatever comes (our choice). Under DistributedDataParallel each process has its
    own; a resumed run gives all of them the first one's.
    """

    delta: Tensor | None

    def __init__(self, eps: float, step_size: float, random_start: bool = True) -> None:
        super().__init__()
        self.eps, self.step_size, self.random_start = eps, step_size, random_start
        self.register_buffer('delta', None)

    def forward(self, x: Tensor, net: nn.Module, generator: torch.Generator | None = None) -> Tensor:
        """Move x, (b, c, h, w) in [0, 1], by delta; `net` is the network in training that gets the result."""
        x = x.detach()
        if self.delta is None or self.delta.shape != x.shape:
            self.delta = _random_delta(x, self.eps, 'linf', generator) if self.random_start else torch.zeros_like(x)
        delta = self.delta.to(x)

        def receive(gradient: Tensor) -> None:  # from this call's delta, so that a second time changes nothing
            self.delta = _project(delta + self.step_size * gradient.sign(), self.eps, 'linf')

        moved = _clip(x + delta, x)
        if not torch.is_grad_enabled():
            return moved
        return _GradientReader.apply(moved, next(p for p in net.parameters() if p.requires_grad), receive)

    def _load_from_state_dict(self, state_dict: dict, prefix: str, *args: Any) -> None:
        if f'{prefix}delta' in state_dict:  # a buffer takes only values of its own shape
            self.delta = torch.empty_like(state_dict[f'{prefix}delta'])
        super()._load_from_state_dict(state_dict, prefix, *args)


def attack_settings(attack: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Check the options of an attack and fill in what they leave out.

    Args:
        attack: mapping with any of these keys; None or {} is the default attack.
            type: 'pgd' (default), 'one_step', 'carried' (see `CarriedPerturbation`) or 'none' (no movement; the other
                keys are checked but rest).
            norm: 'linf' (default) or 'l2'; 'carried' knows linf only.
            eps: radius in pixel values of [0, 1]; default 4/255 for 'linf' (our choice),
                2.0 for 'l2' (L2UL).
            step_size: default eps / 4 for 'pgd' (our choice; L2UL: 0.1), eps for 'one_step' (FGSM) and 'carried'
                (Shafahi et al.).
            steps: default 3 for 'pgd' (our choice; L2UL: 100), always 1 for 'one_step' and 'carried'.
            random_start: default true for 'pgd' (as L2UL) and 'carried' (our choice), false for 'one_step'.
            network: the one attacked, 'student' (default, our choice) or 'teacher' (L2UL attacks the original);
                'carried' has the student's gradient only.

    Returns:
        All the keys above; giving the result in again returns the same.

    Raises:
        ValueError: unknown key or choice (names the nearest valid one), text for a number, value out of range.

    >>> attack_settings({'type': 'one_step', 'eps': 0.01})['step_size']
    0.01
    """
    is_mapping = attack is None or isinstance(attack, Mapping)
    if not is_mapping:
        raise ValueError(f'attack: expected keys such as type and eps but got {attack!r}.')
    given = {key: value for key, value in (attack or {}).items() if value is not None}
    for key in given:
        check_choice('attack', key, ATTACK_KEYS)
    settings = {'type': 'pgd', 'norm': 'linf', 'network': 'student', **given}
    check_choice('attack type', settings['type'], ('pgd', 'one_step', 'carried', 'none'))
    check_choice('attack norm', settings['norm'], NORMS)
    check_choice('attack network', settings['network'], ('student', 'teacher'))
    single = settings['type'] in ('one_step', 'carried')
    for key, only in (('norm', 'linf'), ('network', 'student')):
        if settings['type'] == 'carried' and settings[key] != only:
            raise ValueError(f"attack {key}: type carried works with {only} only, not with '{settings[key]}'.")
    eps = settings.setdefault('eps', DEFAULT_EPS[settings['norm']])
    check_number('attack eps', eps, exclusive=True)
    if settings['norm'] == 'linf' and eps > 1:
        raise ValueError(f'attack eps: {eps} exceeds the range of pixel values [0, 1]; write 4 grey levels as 0.0157.')
    check_number('attack step_size', settings.setdefault('step_size', eps if single else eps / 4), exclusive=True)
    steps = settings.setdefault('steps', 1 if single else 3)
    check_number('attack steps', steps, minimum=1)
    if not isinstance(steps, int) or (single and steps != 1):
        expected = f'1 with type {settings["type"]}' if single else 'a whole number'
        raise ValueError(f'attack steps: expected {expected} but got {steps}.')
    random_start = settings.setdefault('random_start', settings['type'] != 'one_step')
    if random_start not in (True, False):
        raise ValueError(f'attack random_start: expected true or false but got {random_start!r}.')
    return settings
