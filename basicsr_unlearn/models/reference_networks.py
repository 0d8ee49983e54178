"""The networks that a run is held against: the original and, where a file names it, the retrained one."""
from collections.abc import Mapping

import torch
from basicsr.archs import build_network
from torch import nn

from basicsr_unlearn.models.checkpoints import load_weights
from basicsr_unlearn.zoo.checkpoint import resolve_checkpoint


class ReferenceNetworks:
    """Loaded when they are first asked for.

    Args:
        opt: the options of the run: `network_g` and `path.pretrain_network_<which>`.
        device: where they go.

    Attributes:
        original: the teacher, in training; else from its file.
    """

    def __init__(self, opt: Mapping, device: torch.device):
        self.opt, self.device = opt, device
        self.original: nn.Module | None = None
        self._loaded: dict[str, nn.Module] = {}

    def get(self, which: str) -> nn.Module | None:
        """The network `original` or `retrained`; None where there is none."""
        if which == 'original' and self.original is not None:
            return self.original
        path = self.opt['path'].get(f'pretrain_network_{which}')
        if path is not None and which not in self._loaded:
            net = build_network(self.opt['network_g']).to(self.device)
            load_weights(net, resolve_checkpoint(path))
            self._loaded[which] = net.eval().requires_grad_(False)
        return self._loaded.get(which)

    def all(self) -> dict[str, nn.Module]:
        """Those that there are, by name."""
        found = {which: self.get(which) for which in ('original', 'retrained')}
        return {which: net for which, net in found.items() if net is not None}
