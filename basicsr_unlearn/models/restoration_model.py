"""BasicSR's own training, faster: for networks from scratch, such as a retrained reference."""
from collections import OrderedDict

import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class RestorationModel(SRModel):
    """Trains as `SRModel` does with a pixel loss alone, with two more options below `train`.

    amp: 'bf16' runs the forward passes of training in bfloat16; weights, loss and steps stay in float32.
    compile: true lets torch.compile fuse what lies between the convolutions. It takes a minute before the first step,
        and a C++ compiler where there is no GPU.

    Without them it takes SRModel's very steps. Validation, checkpoints and the average of weights are those of the
    network itself, in float32.
    """

    def init_training_settings(self) -> None:
        super().init_training_settings()
        self.run_g = torch.compile(self.net_g) if self.opt['train'].get('compile') else self.net_g
        self.bf16 = self.opt['train'].get('amp') == 'bf16'

    def optimize_parameters(self, current_iter: int) -> None:
        self.optimizer_g.zero_grad()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            output = self.run_g(self.lq)
        self.output = output.float()
        losses = OrderedDict(l_pix=self.cri_pix(self.output, self.gt))
        losses['l_pix'].backward()
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict(losses)
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)
