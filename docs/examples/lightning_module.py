"""Forget in a Lightning loop, on one device: the unlearner makes the step, Lightning does the rest.

    trainer = Trainer(max_steps=200)
    trainer.fit(Forgetting(net, method='calibrated'), loader)   # {'forget': {'lq': ..., 'gt': ...}, 'retain': ...}
"""
from typing import Any

from lightning import LightningModule
from torch import nn

from basicsr_unlearn import Unlearner


class Forgetting(LightningModule):
    """Makes a network forget, until `trainer.max_steps`, `total_iter` or the method's stop rule.

    Args:
        net: the trained network, changed in place.
        options: of the `Unlearner`: `method`, blocks of it, `fresh`, `total_iter` ...
    """

    def __init__(self, net: nn.Module, **options: Any) -> None:
        super().__init__()
        self.automatic_optimization = False  # the unlearner clips, masks and steps by itself
        self.net, self.options = net, options
        self.unlearner: Unlearner | None = None
        self.waiting: dict | None = None

    def configure_optimizers(self) -> list:
        self.unlearner = Unlearner(self.net, **self.options)  # here: the network is on its device now
        if self.waiting is not None:
            self.unlearner.load_state_dict(self.waiting)
        return list(self.unlearner.optimizers.values())

    def training_step(self, batch: dict, index: int) -> None:
        self.unlearner.optimizers[self.unlearner.main] = self.optimizers()  # Lightning's, which count `max_steps`
        log = self.unlearner.step(**batch)
        self.log_dict({name: value for name, value in log.items() if name != 'collected'})
        self.trainer.should_stop = self.unlearner.done

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint['unlearner'] = self.unlearner.state_dict()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.waiting = checkpoint['unlearner']
