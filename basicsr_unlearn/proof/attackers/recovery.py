"""Whether a forgotten skill comes back although (almost) all weights stay as they are.

Weights that no longer know a skill cannot be talked into it: with full data any network can, retrained ones too, so the
pairs have to be few and retrained networks have to undergo the same.
"""
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn

from basicsr_unlearn.core.checks import check_choice
from basicsr_unlearn.core.masks.layer_mask import LastLayersMask, LayerMask
from basicsr_unlearn.core.parts import Evidence
from basicsr_unlearn.proof.attackers.image_psnr import Pairs, check_pairs, device_of
from basicsr_unlearn.proof.attackers.relearning import Curve, EachImage, relearning_curve

WAYS = ('input', 'prompts', 'last_layer')
TILE = 16  # side of the input prompt in pixels, 768 numbers for colour images: our choice, small against any network


def recover(net: nn.Module, pairs: Pairs, what: str | Sequence[str], measure: EachImage, steps: Sequence[int],
            lr: float, patch: int, seeds: Sequence[int] = (0,)) -> Curve:
    """Train only a small part on a few forget pairs, and measure as `relearning_curve` does.

    Args:
        net: left as it is; what does not move runs in eval mode.
        pairs: the forget pairs to learn from.
        what: may move: 'input', one additive prompt for all images (see `InputPrompt`); 'prompts', the network's own
            (PromptIR, AdaIR); 'last_layer', in the order of computation; or a list of patterns of parameter names as
            `LayerMask` has them.
        measure, steps, lr, patch, seeds: see `relearning_curve`. `measure` gets a module that runs as the network does.

    Returns:
        The values of all images, by step and seed; step 0 is the network itself.

    Raises:
        OptionError: the network has no prompts, or a pattern matches no parameter.
        ValueError, DataError: see `relearning_curve`; `what` is not known.

    Source: prompt recovery after ForgetGate; last layer as the linear probe of the unlearning literature; for
    restoration: our choice.
    """
    check_pairs(pairs)
    frozen = deepcopy(net).requires_grad_(True)
    lq, gt = (image[None].to(device_of(net)) for image in pairs[0])
    if isinstance(what, str):
        check_choice('what', what, WAYS)
    if what == 'input':
        part = InputPrompt(frozen, lq.shape[1])
    else:
        masks = {'prompts': LayerMask(part='prompts'), 'last_layer': LastLayersMask(1)}
        mask = masks[what] if isinstance(what, str) else LayerMask(include=what)
        chosen = mask(Evidence(frozen, forget=[{'lq': lq, 'gt': gt}]))
        part = PartOfNetwork(frozen, [name for name, moves in chosen.items() if moves.any()])
    frozen.requires_grad_(False).eval()
    return relearning_curve(part, pairs, measure, steps, lr, patch, seeds)


class InputPrompt(nn.Module):
    """A network that sees its input plus one prompt, (1, c, 16, 16), repeated over the image; 0 at first.

    The sum is not clipped to [0, 1]: where clipped, the prompt could not learn. Its place is counted from the corner of
    whatever image or patch comes.

    Args:
        net: not a submodule, so that it neither trains nor changes its mode.
        channels: of the input.
    """

    def __init__(self, net: nn.Module, channels: int):
        super().__init__()
        self.prompt = nn.Parameter(torch.zeros(1, channels, TILE, TILE, device=device_of(net)))
        self._frozen = (net,)

    def forward(self, lq: Tensor) -> Tensor:
        height, width = lq.shape[2:]
        tiles = self.prompt.repeat(1, 1, -(-height // TILE), -(-width // TILE))
        return self._frozen[0](lq + tiles[..., :height, :width])


class PartOfNetwork(nn.Module):
    """A network of which only some parameters can be trained.

    Args:
        net: not a submodule, so that it neither trains nor changes its mode.
        names: of the parameters, which are copied.
    """

    def __init__(self, net: nn.Module, names: Sequence[str]):
        super().__init__()
        parameters = dict(net.named_parameters())
        self._names, self._frozen = list(names), (net,)
        self.moving = nn.ParameterList([nn.Parameter(parameters[name].detach().clone()) for name in names])

    def forward(self, lq: Tensor) -> Tensor:
        return torch.func.functional_call(self._frozen[0], dict(zip(self._names, self.moving)), lq)
