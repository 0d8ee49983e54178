"""The layers of a network, as parts in the space of weights speak of them."""
import torch
from torch import Tensor, nn

from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.core.parts import live_parameters


def layers_in_order(net: nn.Module, lq: Tensor) -> list[str]:
    """Names of the layers in the order in which they finish when the network runs on `lq` (b, c, h, w), in eval mode.

    A layer is a module that owns weights itself, not through its submodules; the network as a whole is none (our
    choice). One that runs several times counts where it finishes last, one that never runs does not count.
    """
    finished: dict[str, None] = {}

    def note(name: str):
        def hook(*_) -> None:
            finished.pop(name, None)
            finished[name] = None
        return hook

    hooks = [module.register_forward_hook(note(name)) for name, module in net.named_modules()
             if name and any(True for _ in module.parameters(recurse=False))]
    try:
        with eval_mode(net), torch.no_grad():
            net(lq)
    finally:
        for hook in hooks:
            hook.remove()
    return list(finished)


def convolution_weights(net: nn.Module) -> dict[str, nn.Parameter]:
    """The weights (out, in, kh, kw) of all Conv2d layers that can learn, by parameter name; biases are not in."""
    convolutions = {f'{name}.weight' if name else 'weight' for name, module in net.named_modules()
                    if isinstance(module, nn.Conv2d)}
    return {name: p for name, p in live_parameters(net) if name in convolutions}
