"""Every attacker against one network: what each reaches, from which `core.leads` tells how far ahead it is."""
from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from basicsr_unlearn.core.leads import Trail
from basicsr_unlearn.core.yardstick import PSNR, Yardstick
from basicsr_unlearn.proof.attackers.attack_plan import AttackPlan, Material
from basicsr_unlearn.proof.attackers.relearning import relearn

MeanScore = Callable[[nn.Module], float]


class Sweep(NamedTuple):
    """What all attackers reached, and a sentence for each that was left out."""
    trails: list[Trail]
    left_out: list[str]


def sweep(net: nn.Module, material: Material, plan: AttackPlan, measure: MeanScore,
          progress: Callable[[str], None] | None = None, yardstick: Yardstick = PSNR) -> Sweep:
    """Attack a network, and each retrained one in the same way, to compare them by `core.leads.leads_of`.

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
    """
    plan, trails = plan.shortened(), []

    def score(one: nn.Module) -> float:
        value = float(measure(one))
        if progress:
            progress('plain')
        return value

    for pairs in plan.pairs:
        for rate in plan.rates:
            curve = relearn(net, material.forget[:pairs], [0, *plan.steps], rate, plan.patch, score)
            trails.append(Trail(f'plain, Adam {rate:g}', 'plain', pairs, {step: [v] for step, v in curve.items()}))
    return Sweep(trails, [])
