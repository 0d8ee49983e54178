"""What the inverses of parts have in common: the attacker's choice by his own forget pairs, and some weights alone."""
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.importance import mean_gradient
from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.core.parts import Evidence, Invertible, Start, live_parameters
from basicsr_unlearn.core.tuning import tuned
from basicsr_unlearn.errors import OptionError

# Both our choice: lengths of a step down the forget gradient, in units of the weights that move; and how far to go
# towards where learning the forget pairs leads, in units of the way that it went.
STEP_LENGTHS = (0.003, 0.01, 0.03, 0.1)
WAY_LENGTHS = (0.5, 1.0, 2.0, 4.0, 8.0)
LONGEST_WAY = 20  # steps that the attacker learns before he goes further along them; our choice


def check_attack(part: Invertible, evidence: Evidence, *needed: str) -> None:
    """Raise OptionError if the attacker lacks what the inverse of a part looks at.

    Args:
        part: whose inverse.
        evidence: what he has.
        needed: 'forget', 'retain' or 'untrained'.

    >>> check_attack(Invertible(), Evidence(nn.Identity(), forget=[{}]), 'forget')
    """
    for name in needed:
        if not getattr(evidence, name):
            what = 'a network with fresh weights' if name == 'untrained' else f'{name} pairs'
            raise OptionError(f'The inverse of {type(part).__name__} needs {what}, and the attacker has none: give him '
                              'some, or leave this part out.')


def drawn_again(evidence: Evidence) -> torch.Generator:
    """The numbers that the attacked run drew first, for whoever knows its seed; the evidence's own stay undrawn.

    >>> evidence = Evidence(nn.Identity(), generator=torch.Generator().manual_seed(3))
    >>> bool(torch.rand(1, generator=drawn_again(evidence)) == torch.rand(1, generator=drawn_again(evidence)))
    True
    """
    generator = torch.Generator()
    generator.set_state(evidence.generator.get_state())
    return generator


@torch.no_grad()
def half_way(net: nn.Module, other: nn.Module) -> nn.Module:
    """A copy whose weights are the mean of those of two networks of one architecture.

    >>> net, other = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
    >>> bool(half_way(net, other).bias == (net.bias + other.bias) / 2)
    True
    """
    middle, others = deepcopy(net), dict(other.named_parameters())
    for name, p in middle.named_parameters():
        p.add_(others[name]).div_(2)
    return middle


def of_lowest_error(candidates: Iterable[Mapping[str, Tensor]], evidence: Evidence) -> nn.Module:
    """A copy of the attacked network with those weights that restore the forget batches best; its own count too.

    Args:
        candidates: weights by parameter name, in place of its own; those that a candidate does not name stay.
        evidence: of the attacker.

    >>> gain = nn.Conv2d(1, 1, 1, bias=False)
    >>> evidence = Evidence(gain, [{'lq': torch.ones(1, 1, 4, 4), 'gt': torch.full((1, 1, 4, 4), 3.0)}])
    >>> of_lowest_error(({'weight': torch.full((1, 1, 1, 1), value)} for value in (2.0, 4.0, 3.0)), evidence).weight
    Parameter containing:
    tensor([[[[3.]]]], requires_grad=True)
    """
    net = deepcopy(evidence.teacher)
    own = {name: p.detach().clone() for name, p in net.named_parameters()}
    best: Mapping[str, Tensor] = {}
    lowest = _forget_error(net, evidence)
    for weights in candidates:
        _fill(net, {**own, **weights})
        if (error := _forget_error(net, evidence)) < lowest:  # never where it is not a number
            best, lowest = weights, error
    _fill(net, {**own, **best})
    return net


def each_alone(chosen: Mapping[str, Tensor], name: str, evidence: Evidence) -> list[Start]:
    """Two starts: the chosen weights alone are trained, or all others alone.

    Before, those that are trained go down their forget gradient in one step, as far as that helps on the forget
    batches.

    Args:
        chosen: true or above 0 by parameter name; a parameter that is not in is not chosen.
        name: of the chosen weights, for people.
        evidence: of the attacker, with forget batches.

    Returns:
        Without a start that would train nothing.

    >>> net, batch = nn.Conv2d(1, 1, 1), {'lq': torch.rand(1, 1, 4, 4), 'gt': torch.rand(1, 1, 4, 4)}
    >>> [start.name for start in each_alone({'bias': torch.tensor([True])}, 'biases', Evidence(net, [batch]))]
    ['biases alone', 'all but biases']
    """
    gradient = mean_gradient(evidence.teacher, evidence.forget, evidence.error)
    inside = {key: chosen[key] > 0 if key in chosen else torch.zeros_like(g, dtype=torch.bool)
              for key, g in gradient.items()}
    parts = {f'{name} alone': inside, f'all but {name}': {key: ~mask for key, mask in inside.items()}}
    return [Start(what, of_lowest_error(_downhill(evidence.teacher, gradient, trains), evidence), trains)
            for what, trains in parts.items() if any(mask.any() for mask in trains.values())]


def towards_relearned(evidence: Evidence, iters: int, lr: float, lengths: Sequence[float] = WAY_LENGTHS) -> nn.Module:
    """A copy of the attacked network, moved towards where some steps on the forget batches lead: the task vector.

    Args:
        evidence: of the attacker, with forget batches.
        iters, lr: of `tuned`, which learns them; beyond 20 steps their direction is enough.
        lengths: how far to go, in units of the way that `iters` steps go; the best on the forget batches is taken.

    >>> net, batch = nn.Conv2d(1, 1, 1), {'lq': torch.ones(1, 1, 4, 4), 'gt': torch.full((1, 1, 4, 4), 9.0)}
    >>> bool(towards_relearned(Evidence(net, [batch]), 5, 0.01).bias > net.bias)
    True
    """
    steps = min(iters, LONGEST_WAY)
    there = tuned(evidence.teacher, evidence.forget, steps, lr, evidence.error)
    own = {name: p.detach() for name, p in live_parameters(evidence.teacher)}
    return of_lowest_error(({name: p.lerp(there[name], length * iters / steps) for name, p in own.items()}
                            for length in lengths), evidence)


def _forget_error(net: nn.Module, evidence: Evidence) -> float:
    with eval_mode(net), torch.no_grad():
        return sum(float(evidence.error(net, batch)) for batch in evidence.forget) / max(1, len(evidence.forget))


@torch.no_grad()
def _fill(net: nn.Module, weights: Mapping[str, Tensor]) -> None:
    for name, p in net.named_parameters():
        p.copy_(weights[name])


def _downhill(net: nn.Module, gradient: Mapping[str, Tensor], trains: Mapping[str, Tensor]
              ) -> Iterable[dict[str, Tensor]]:
    """Weights after steps of several lengths down the gradient of those that are trained."""
    own = {name: p.detach() for name, p in live_parameters(net)}
    slope = {name: g * trains[name] for name, g in gradient.items()}
    steepness = _norm(slope.values())
    if not steepness > 0:
        return
    size = _norm(own[name] * trains[name] for name in own) or 1.0  # weights that all are 0 have no length
    for length in STEP_LENGTHS:
        yield {name: p - length * size / steepness * slope[name] for name, p in own.items()}


def _norm(values: Iterable[Tensor]) -> float:
    return sum(float(value.double().square().sum()) for value in values) ** 0.5
