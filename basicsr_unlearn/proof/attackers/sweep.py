"""Every attacker against one network: what each reaches, from which `core.leads` tells how far ahead it is.

An attacker is a start (the network as it is, turned, undone ...) and a learner (how, on how many pairs). Only the
network as it is goes through all learners; other starts are screened by one of them for a few steps, and the two
strongest, of two families, are followed to the end.
"""
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import chain, takewhile
from typing import NamedTuple

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.leads import Trail
from basicsr_unlearn.core.modes import bare
from basicsr_unlearn.core.parts import Start
from basicsr_unlearn.core.yardstick import PSNR, Yardstick
from basicsr_unlearn.errors import TrainingError
from basicsr_unlearn.proof.attackers.attack_plan import AttackPlan, Material
from basicsr_unlearn.proof.attackers.image_psnr import Pairs
from basicsr_unlearn.proof.attackers.relearning import check_patches, relearn
from basicsr_unlearn.proof.attackers.starts import Candidate, all_starts

MeanScore = Callable[[nn.Module], float]
SCREENING_RATE, SCREENING_PAIRS, SCREENING_STEPS = 1e-3, 8, 25  # of Adam: our choice
QUICK_SCREENING_STEPS = 10
FOLLOWED = 2  # starts
RETAIN_FIRST = 200  # steps on retain pairs, before forget pairs come


class Sweep(NamedTuple):
    """What all attackers reached, and a sentence for each that was left out."""
    trails: list[Trail]
    left_out: list[str]


def sweep(net: nn.Module, material: Material, plan: AttackPlan, measure: MeanScore,
          progress: Callable[[str], None] | None = None, yardstick: Yardstick = PSNR) -> Sweep:
    """Attack a network, and each retrained one in the same way, to compare them by `core.leads.leads_of`.

    Steps are those on forget pairs, where an attacker has any. An attacker whose network diverges is scored up to
    there.

    Args:
        net: left as it is.
        material: what the attackers have; the same for all networks that are compared.
        plan: how they learn.
        measure: the mean score of a network on the forget test images; it gets a module in eval mode that runs as the
            network does.
        progress: called with an attacker's name after each score.
        yardstick: the metric of the score.

    Raises:
        DataError: a pair is smaller than the patch.
        OptionError: a part declares neither its inverse nor why it has none.
        TrainingError: the network itself gives no finite score.
    """
    plan = plan.shortened()
    check_patches([*material.forget, *material.retain], plan.patch)
    attacked = deepcopy(bare(net)).eval().requires_grad_(True)
    attack = _Attack(material, plan, measure, progress or (lambda _: None), yardstick)
    untouched = attack.score(attacked, 'untouched')
    if not math.isfinite(untouched):
        raise TrainingError('The network gives no finite score on the forget images, so it cannot be attacked: it has '
                            'diverged.')
    trails = [Trail('untouched', 'plain', 0, {0: [untouched]})]
    for pairs in attack.counts:
        trails += attack.plainly(attacked, pairs)
    return Sweep(trails + attack.from_starts(attacked, untouched), attack.left_out)


@dataclass
class _Attack:
    """The attackers of one network, with what they have."""
    material: Material
    plan: AttackPlan
    measure: MeanScore
    progress: Callable[[str], None]
    yardstick: Yardstick
    left_out: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.pairs, retain = shuffled(self.material.forget), shuffled(self.material.retain)
        self.counts = [count for count in self.plan.pairs if count <= len(self.pairs)] or [len(self.pairs)]
        missing = [count for count in self.plan.pairs if count not in self.counts]
        if missing:
            self.left_out.append(f'Learning from {" and ".join(map(str, missing))} pairs was left out: there are '
                                 f'{len(self.pairs)} to learn from.')
        self.few = min(self.counts, key=lambda count: abs(count - SCREENING_PAIRS))
        self.shown = replace(self.material, forget=self.drawn(self.few, 0), retain=retain[:self.few])
        self.rate = min(self.plan.rates, key=lambda rate: abs(math.log(rate / SCREENING_RATE)))

    @torch.no_grad()
    def score(self, net: nn.Module, attacker: str) -> float:
        """The score of a network in eval mode; nan where its output is not finite."""
        try:
            found = float(self.measure(net.eval()))
        except TrainingError:
            found = math.nan
        self.progress(attacker)
        return found

    def learn(self, start: Start, pairs: Pairs, rate: float, steps: Sequence[int], draw: int = 0,
              optimizer: str = 'adam') -> dict[int, float]:
        """Score by step, up to where it diverged."""
        return finite(relearn(start.net, pairs, steps, rate, self.plan.patch, lambda net: self.score(net, start.name),
                              draw, optimizer, start.trains, self.plan.batch))

    def drawn(self, count: int, draw: int) -> list[tuple[Tensor, Tensor]]:
        """The pairs of a draw: others than those of the draw before, as far as there are others."""
        return [self.pairs[(draw * count + i) % len(self.pairs)] for i in range(count)]

    def plainly(self, net: nn.Module, count: int) -> list[Trail]:
        """The network as it is, on so many pairs: all learners once, the best of them with all draws."""
        sgd = [] if self.plan.quick else [('sgd', self.plan.sgd_rate)]
        learners, trails = [*(('adam', rate) for rate in self.plan.rates), *sgd], {}
        for optimizer, rate in learners:
            start = Start(f'plain, {"Adam" if optimizer == "adam" else "SGD"} {rate:g}', net)
            curve = self.learn(start, self.drawn(count, 0), rate, self.plan.steps, 0, optimizer)
            if curve:
                trails[optimizer, rate] = Trail(start.name, 'plain', count, {step: [s] for step, s in curve.items()})
        if trails and self.plan.draws > 1:
            optimizer, rate = best = max(trails, key=lambda learner: self._height(trails[learner]))
            trails[best] = self._repeated(trails[best], Start(trails[best].attacker, net), rate, optimizer)
        return list(trails.values())

    def _height(self, trail: Trail) -> tuple[int, float]:
        """How good a trail is over all its steps; one that ended early lies below all that did not."""
        steps = len(trail.curve)
        return steps, sum(self.yardstick.gain(trail.mean(step), 0.0) for step in trail.curve) / steps

    def _repeated(self, trail: Trail, start: Start, rate: float, optimizer: str = 'adam', same_pairs: bool = False
                  ) -> Trail:
        """The trail with the draws after the first added, at all steps of the plan."""
        curve = {step: list(scores) for step, scores in trail.curve.items()}
        for draw in range(1, self.plan.draws):
            pairs = self.drawn(trail.pairs, 0 if same_pairs else draw)
            for step, score in self.learn(start, pairs, rate, self.plan.steps, draw, optimizer).items():
                curve.setdefault(step, []).append(score)
        return replace(trail, curve=curve)

    def from_starts(self, net: nn.Module, untouched: float) -> list[Trail]:
        """Every other start as it is and after a few steps, the strongest to the end."""
        most = QUICK_SCREENING_STEPS if self.plan.quick else SCREENING_STEPS
        steps = [step for step in self.plan.steps if step <= most] or self.plan.steps[:1]
        found: list[Trail] = []
        screened: list[tuple[float, int, Candidate]] = []  # the strongest of its family so far, and where its trail is
        others = all_starts(net, self.shown, self.plan.patch, self.plan.quick, self.left_out)
        for candidate in chain([] if self.plan.quick else self.on_retain(net, found), others):
            start, curve = candidate.start, {0: untouched}
            if candidate.changed:
                curve = finite({0: self.score(start.net, start.name)})
            if not curve:
                continue
            curve |= self.learn(start, self.drawn(self.few, 0), candidate.rate or self.rate, steps)
            if candidate.changed and not candidate.used_pairs:
                found.append(Trail(start.name, candidate.family, 0, {0: [curve[0]]}))
            found.append(Trail(start.name, candidate.family, self.few, {step: [s] for step, s in curve.items()}))
            best = max(self.yardstick.gain(score, 0.0) for score in curve.values())
            screened = self._strongest([*screened, (best, len(found) - 1, candidate)])
        for _, place, candidate in [] if self.plan.quick else screened:
            found[place] = self._followed(found[place], candidate)
        return found

    def _strongest(self, screened: list[tuple[float, int, Candidate]]) -> list[tuple[float, int, Candidate]]:
        """The best start of each family, of as many families as are followed; the networks of others are let go."""
        kept: dict[str, tuple[float, int, Candidate]] = {}
        for entry in sorted(screened, key=lambda entry: -entry[0]):
            kept.setdefault(entry[2].family, entry)
        return list(kept.values())[:FOLLOWED]

    def _followed(self, trail: Trail, candidate: Candidate) -> Trail:
        rate, pairs = candidate.rate or self.rate, self.drawn(self.few, 0)
        curve = {step: [score] for step, score in self.learn(candidate.start, pairs, rate, self.plan.steps).items()}
        return self._repeated(replace(trail, curve={0: trail.curve[0], **curve}), candidate.start, rate,
                              same_pairs=candidate.used_pairs)

    def on_retain(self, net: nn.Module, found: list[Trail]) -> Iterator[Candidate]:
        """Learning from retain pairs alone, which few methods survive (arXiv 2505.22310), and from them first."""
        if not self.material.retain:
            self.left_out.append('Learning from retain pairs was left out: the attackers have none.')
            return
        first = max((step for step in self.plan.steps if step <= RETAIN_FIRST), default=self.plan.steps[0])
        kept: list[nn.Module] = []

        def score(at: int, one: nn.Module) -> float:
            if at == first:
                kept.append(deepcopy(one))
            return self.score(one, 'retain pairs alone')

        steps = iter(self.plan.steps)
        curve = finite(relearn(net, self.material.retain, self.plan.steps, self.rate, self.plan.patch,
                               lambda one: score(next(steps), one), batch=self.plan.batch))
        if curve:
            found.append(Trail('retain pairs alone', 'retain', 0, {step: [score] for step, score in curve.items()}))
        if first in curve:
            start = Start(f'retain pairs for {first} steps, then forget pairs', kept[0])
            yield Candidate('retain', start, used_pairs=True)


def shuffled(pairs: Pairs) -> list[tuple[Tensor, Tensor]]:
    """The pairs in an order that is always the same: those of several data sets come one set after another."""
    return [pairs[i] for i in torch.randperm(len(pairs), generator=torch.Generator().manual_seed(0)).tolist()]


def finite(curve: Mapping[int, float]) -> dict[int, float]:
    """A curve up to where its network diverged."""
    return dict(takewhile(lambda entry: math.isfinite(entry[1]), curve.items()))
