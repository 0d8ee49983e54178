"""When it is forgotten enough, and how much the rest may lose."""
from collections import deque
from collections.abc import Mapping
from typing import Any

DEFAULT_TRAIN_WINDOW = 10  # steps, since the score of one batch is noisy; a validation is one observation


class StopRule:
    """Decides from scores in dB when to pause forgetting and when to stop.

    Forgotten: the gap, PSNR on the forget set minus the reference's, is at most `margin`. Kept: the drop, PSNR of the
    original on the retain set minus the network's, is at most `retain_budget`. While forgotten but not kept,
    forgetting rests (`holding`) and only the retain terms train, so that the rest can recover. Both at once: stop.

    L2UL (arXiv 2301.11578) stops the moment the forget accuracy is zero, checked after each step; the identity
    baseline in its place, the budget and the pause are our choice.

    Where the original itself is at the reference or below it (`start`), the rule cannot tell when something is
    forgotten: it is `blind` and never met.

    Args:
        margin: dB above the reference that still counts as forgotten.
        retain_budget: dB that the retain set may lose; None stops as soon as it is forgotten.
        window: how many of the latest observations are averaged; at least 1.
        min_iter: no stop before this iteration.
        reference: 'identity', the score of the untouched input, a number in dB, or for a rule that looks at validations
            'retrained'.
        check: 'train' looks at each step's batch, before its update; 'val' at validations, which a run tells it of.
        ease: how small a share of the rate the steps may come down to, as the way left shrinks; 1 keeps the rate. A
            rule that averages several steps is met late where each goes far.

    >>> rule = StopRule(window=2)
    >>> rule.observe(0.5), rule.observe(-0.7), rule.met(iteration=2)
    (None, None, True)
    """

    def __init__(self, margin: float = 0.0, retain_budget: float | None = None, window: int = DEFAULT_TRAIN_WINDOW,
                 min_iter: int = 1, reference: str | float = 'identity', check: str = 'train', ease: float = 1.0):
        self.reference, self.check, self.ease = reference, check, ease
        self.margin = margin
        self.retain_budget = retain_budget
        self.min_iter = min_iter
        self.gaps: deque[float] = deque(maxlen=window)
        self.drops: deque[float] = deque(maxlen=window)
        self.start: float | None = None  # gap of the original, None until it is known

    @classmethod
    def of_options(cls, block: Mapping[str, Any]) -> 'StopRule':
        """The rule that a block `stop_opt` describes; what it leaves out, or leaves empty, has its default."""
        check = block.get('check') or 'train'
        window = block.get('window') or (DEFAULT_TRAIN_WINDOW if check == 'train' else 1)
        return cls(block.get('margin') or 0.0, block.get('retain_budget'), window, block.get('min_iter') or 0,
                   block.get('forget_psnr') or 'identity', check, block.get('ease') or 1.0)

    def observes(self, stream: str) -> bool:
        """Whether it needs the score of this stream's batches."""
        return self.check == 'train' and (stream == 'forget' or self.retain_budget is not None)

    @property
    def share(self) -> float:
        """How much of the rate a step takes now."""
        return max(self.ease, self.left)

    @property
    def blind(self) -> bool:
        """Whether the original is at the reference or below it already."""
        return self.start is not None and self.start <= 0

    def observe(self, gap: float, drop: float | None = None) -> None:
        """Add one observation in dB; `drop` is needed where a budget is set."""
        self.gaps.append(float(gap))
        if drop is not None:
            self.drops.append(float(drop))

    @property
    def full(self) -> bool:
        """Whether there are enough observations to decide."""
        return len(self.gaps) == self.gaps.maxlen

    @property
    def gap(self) -> float:
        """Mean gap in dB over the window; infinite until the window is full."""
        return _mean(self.gaps)

    @property
    def left(self) -> float:
        """Share of the way to the reference that is left, in [0, 1]; 1 while it is not known."""
        if not self.full or self.start is None or self.start <= self.margin:
            return 1.0
        return min(1.0, max(0.0, (self.gap - self.margin) / (self.start - self.margin)))

    @property
    def drop(self) -> float:
        """Mean retain loss in dB over the window; infinite until the window is full."""
        return _mean(self.drops)

    @property
    def forgotten(self) -> bool:
        return not self.blind and self.gap <= self.margin

    @property
    def kept(self) -> bool:
        return self.retain_budget is None or self.drop <= self.retain_budget

    @property
    def holding(self) -> bool:
        return self.forgotten and not self.kept

    def met(self, iteration: int) -> bool:
        """Whether to stop after this iteration."""
        return iteration >= self.min_iter and self.forgotten and self.kept

    def state_dict(self) -> dict:
        return {'gaps': list(self.gaps), 'drops': list(self.drops), 'start': self.start}

    def load_state_dict(self, state: dict) -> None:
        """Put the window of `state_dict` in the place of this one; of a longer window the latest count."""
        self.start = state.get('start')
        for window, values in ((self.gaps, state['gaps']), (self.drops, state['drops'])):
            window.clear()
            window.extend(values)


def _mean(window: deque[float]) -> float:
    return sum(window) / len(window) if len(window) == window.maxlen else float('inf')
