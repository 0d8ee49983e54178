"""What a network computes on its way to the output: the outputs of chosen modules, caught by hooks."""
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatchcase
from itertools import islice

from torch import Tensor, nn

# encoder stages and the bottleneck of NAFNet, and of the Restormer family
ENCODERS = ('encoders.*', 'middle_blks', 'encoder_level*', 'latent')


def named_stages(net: nn.Module, patterns: Sequence[str] | None = None) -> dict[str, nn.Module]:
    """The modules whose names fit a pattern, in the network's order.

    Args:
        net: the bare network.
        patterns: of names as in `named_modules`, with `*`, `?` and `[...]`, none of which reaches over a dot:
            `encoders.*` is each encoder stage, not what is inside. None is whichever of `ENCODERS` there are.

    Raises:
        ValueError: a pattern fits no module; names some that exist.

    >>> list(named_stages(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU()), '*'))
    ['0', '1']
    """
    # lists of modules are never called themselves
    modules = {name: module for name, module in net.named_modules()
               if name and not isinstance(module, (nn.ModuleList, nn.ModuleDict))}
    patterns = [patterns] if isinstance(patterns, str) else patterns
    found = {pattern: [name for name in modules if _fits(name, pattern)] for pattern in patterns or ENCODERS}
    unused = [pattern for pattern, names in found.items() if not names]
    if unused and (patterns or len(unused) == len(found)):
        what = f"'{unused[0]}' fits" if patterns else 'the stages of known encoders fit'
        some = ', '.join(islice((name for name in modules if name.count('.') < 2), 12))
        raise ValueError(f'layers: {what} no module of {type(net).__name__}, which has {some} ...')
    chosen = {name for names in found.values() for name in names}
    return {name: module for name, module in modules.items() if name in chosen}


@contextmanager
def captured(net: nn.Module, patterns: Sequence[str] | None = None) -> Iterator[dict[str, Tensor]]:
    """Inside the block each pass through the network leaves its features in the dict; the last pass counts.

    Args:
        net: the bare network, not its DistributedDataParallel; left without hooks.
        patterns: see `named_stages`.

    Returns:
        Features by module name, with their graph, in the order of computation.

    Raises:
        ValueError: a pattern fits no module, or a module has another output than one tensor, or was not called.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())
    >>> with captured(net, '0') as features:
    ...     output = net(torch.rand(1, 3, 4, 4))
    >>> features['0'].shape
    torch.Size([1, 8, 4, 4])
    """
    features: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(_: nn.Module, __: tuple, output: Tensor) -> None:
            if not isinstance(output, Tensor):
                raise ValueError(f"layers: '{name}' gives {type(output).__name__} instead of one tensor: choose "
                                 'a module before or after it.')
            features[name] = output
        return hook

    stages = named_stages(net, patterns)
    with ExitStack() as hooks:
        for name, module in stages.items():
            hooks.callback(module.register_forward_hook(keep(name)).remove)
        yield features
    idle = [name for name in stages if name not in features]
    if idle:
        raise ValueError(f"layers: '{idle[0]}' is not called in a pass through {type(net).__name__}: leave it out.")


def _fits(name: str, pattern: str) -> bool:
    parts, patterns = name.split('.'), pattern.split('.')
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))
