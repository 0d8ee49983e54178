"""Whether a forgotten skill comes back although (almost) all weights stay as they are.

Weights that no longer know a skill cannot be talked into it: with full data any network can, retrained ones too, so the
pairs have to be few and retrained networks have to undergo the same.
"""
from collections.abc import Sequence
from copy import deepcopy

from torch import nn

from basicsr_unlearn.core.checks import check_choice
from basicsr_unlearn.core.parts import Evidence
from basicsr_unlearn.proof.attackers.image_psnr import Pairs, check_pairs, device_of
from basicsr_unlearn.proof.attackers.relearning import Curve, EachImage, relearning_curve
from basicsr_unlearn.proof.attackers.starts import few_weights

WAYS = {'input': 'input prompt', 'prompts': 'own prompts', 'last_layer': 'last layer'}


def recover(net: nn.Module, pairs: Pairs, what: str, measure: EachImage, steps: Sequence[int], lr: float, patch: int,
            seeds: Sequence[int] = (0,)) -> Curve:
    """Train only a small part on a few forget pairs, and measure as `relearning_curve` does.

    Args:
        net: left as it is; runs in eval mode.
        pairs: the forget pairs to learn from.
        what: of WAYS, may move; see `starts.few_weights`.
        measure, steps, lr, patch, seeds: see `relearning_curve`. `measure` gets a module that runs as the network does.

    Returns:
        The values of all images, by step and seed; step 0 is the network itself.

    Raises:
        OptionError: the network has no prompts.
        ValueError, DataError: see `relearning_curve`; `what` is not known.
    """
    check_pairs(pairs)
    check_choice('what', what, WAYS)
    attacked = deepcopy(net).eval().requires_grad_(True)
    lq, gt = (image[None].to(device_of(net)) for image in pairs[0])
    start = next(few_weights(attacked, WAYS[what], Evidence(attacked, [{'lq': lq, 'gt': gt}]))).start
    return relearning_curve(start.net, pairs, measure, steps, lr, patch, seeds, start.trains)
