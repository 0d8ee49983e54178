"""Unlearning under a constraint: the weight of the retain terms finds itself."""
from basicsr_unlearn.core.checks import check_number


class DualWeight:
    """Weight of the retain terms in `forget + weight * retain`, raised while the retain set loses more than it may.

    Minimising forgetting subject to 'drop <= budget' by gradient descent on the network and ascent on the multiplier:
    primal-dual unlearning (PDU in open-unlearning, for language models with a bound on the retain loss). The bound in
    dB of PSNR, which is how users think, is our choice.

    Args:
        retain_budget: dB of PSNR that the retain set may lose against the original.
        step_size: change of the weight per iteration and dB beyond the budget; below the budget it falls as fast.
        start: first weight.
        maximum: largest weight.

    >>> dual = DualWeight(retain_budget=0.1, step_size=0.5)
    >>> dual.observe(0.3)
    >>> round(dual.value, 3)
    1.1
    """

    def __init__(self, retain_budget: float = 0.1, step_size: float = 0.5, start: float = 1.0, maximum: float = 100.0):
        check_number('retain_budget', retain_budget)
        check_number('step_size', step_size, exclusive=True)
        check_number('start', start)
        check_number('maximum', maximum, minimum=start)
        self.retain_budget, self.step_size, self.maximum = retain_budget, step_size, maximum
        self.value = float(start)

    def observe(self, drop: float) -> None:
        """Move the weight after an iteration in which the retain batch lost `drop` dB."""
        self.value = min(self.maximum, max(0.0, self.value + self.step_size * (drop - self.retain_budget)))
