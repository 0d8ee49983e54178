"""The layers of a network, as parts in the space of weights speak of them."""
import torch
from torch import nn

from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.core.parts import live_parameters
from basicsr_unlearn.core.samples import Batch, Runner, restore


def layers_in_order(net: nn.Module, batch: Batch, run: Runner = restore) -> list[str]:
    """Names of the layers in the order in which they finish when the network runs on a batch, in eval mode.

    A layer is a module that owns weights itself, not through its submodules; the network as a whole is none (our
    choice). One that runs several times counts where it finishes last, one that never runs does not count.

    >>> net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 3, 1))
    >>> layers_in_order(net, {'lq': torch.zeros(1, 3, 4, 4)})
    ['0', '2']
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
            run(net, batch)
    finally:
        for hook in hooks:
            hook.remove()
    return list(finished)


def convolution_weights(net: nn.Module) -> dict[str, nn.Parameter]:
    """The weights (out, in, kh, kw) of all Conv2d layers that can learn, by parameter name; biases are not in.

    >>> list(convolution_weights(nn.Sequential(nn.Conv2d(3, 3, 1))))
    ['0.weight']
    """
    convolutions = {f'{name}.weight' if name else 'weight' for name, module in net.named_modules()
                    if isinstance(module, nn.Conv2d)}
    return {name: p for name, p in live_parameters(net) if name in convolutions}
