"""What attackers may use: how long and how fast they learn, and the images and networks that they have."""
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from torch import nn

from basicsr_unlearn.core.checks import check_number, check_whole
from basicsr_unlearn.core.parts import Invertible
from basicsr_unlearn.errors import DataError, OptionError
from basicsr_unlearn.proof.attackers.image_psnr import Pairs

QUICK_RATES, QUICK_PAIRS, QUICK_STEPS = (1e-3, 2e-3), 8, 100


@dataclass(frozen=True)
class AttackPlan:
    """How attackers learn again. The defaults are the sweep that a claim about weights rests on.

    Args:
        rates: learning rates of Adam.
        sgd_rate: that of stochastic gradient descent with momentum 0.9.
        pairs: how many forget pairs they learn from.
        draws: how often the best rate is repeated, with other pairs and patches.
        steps: when they are scored, rising from 1; the last is how long they learn. Untouched networks are scored too.
        patch: side of a clean patch in pixels.
        batch: patches a step, at most.
        quick: the three strongest families alone, with one draw: plain relearning with 8 pairs and 100 steps, what
            undoes the edits of an unlearner, and the orientations of the image, these for 10 steps. It can show that a
            skill is left, but not that none is.

    Raises:
        OptionError: a field is not what it should be.

    Source: rates, pairs and steps span those at which networks that were called unlearned came back, and up
    to that at which one retrained without noise learned it the soonest, as fully trained weights are slow: our choice.
    That of stochastic gradient descent is the highest at which a network retrained without rain rose at every step: it
    wavers at 0.02 and diverges at 0.5.
    """
    rates: Sequence[float] = (2e-4, 5e-4, 1e-3, 2e-3, 4e-3)
    sgd_rate: float = 0.01
    pairs: Sequence[int] = (2, 8, 32)
    draws: int = 3
    steps: Sequence[int] = (10, 25, 50, 100, 200, 400)
    patch: int = 64
    batch: int = 8
    quick: bool = False

    def __post_init__(self) -> None:
        try:
            for name in ('rates', 'pairs', 'steps'):
                values = getattr(self, name)
                if isinstance(values, str) or not isinstance(values, Sequence) or not values:
                    raise ValueError(f'{name}: expected a list of numbers but got {values!r}.')
                object.__setattr__(self, name, tuple(values))
            for rate in (*self.rates, self.sgd_rate):
                check_number('rates and sgd_rate', rate, exclusive=True)
            for name in ('pairs', 'steps'):
                for value in getattr(self, name):
                    check_whole(name, value, minimum=1)
                if list(getattr(self, name)) != sorted(set(getattr(self, name))):
                    raise ValueError(f'{name}: expected rising numbers but got {list(getattr(self, name))}.')
            for name in ('draws', 'patch', 'batch'):
                check_whole(name, getattr(self, name), minimum=1)
        except ValueError as error:
            raise OptionError(f'attacks {error}') from None

    def shortened(self) -> 'AttackPlan':
        """The plan as it is carried out: of a quick one only what it keeps."""
        if not self.quick:
            return self
        steps = [step for step in self.steps if step <= QUICK_STEPS] or self.steps[:1]
        nearest = min(self.pairs, key=lambda pairs: abs(pairs - QUICK_PAIRS))
        return replace(self, rates=QUICK_RATES, pairs=(nearest,), draws=1, steps=steps)


@dataclass(frozen=True)
class Material:
    """What attackers have.

    Args:
        forget: pairs of the forget set, which were not used to unlearn; images of any sizes, values in [0, 1].
        retain: pairs of what the network still does; empty leaves the attackers out that learn from them.
        untrained: makes a network of the same architecture with fresh weights, see `Evidence`; None leaves out what
            needs it.
        parts: edits, masks and anchors that may have made the network, to be undone; None takes every registered one
            that can be built without arguments. Put those of the run itself first.
        relatives: networks of the same architecture to merge with, by name.
        seed: that of the attacked run, which an attacker may know.

    Raises:
        DataError: there is no forget pair.
    """
    forget: Pairs
    retain: Pairs = ()
    untrained: Callable[[int | None], nn.Module] | None = None
    parts: Sequence[Invertible] | None = None
    relatives: Mapping[str, nn.Module] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.forget:
            raise DataError('An attack needs forget pairs, of which there are none: give attackers a data set that '
                            'holds the degradation to be forgotten.')
