"""BasicSR's own training, faster: for networks from scratch, such as a retrained reference."""
from collections import OrderedDict

import torch
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import MODEL_REGISTRY

from basicsr_unlearn.models.patch_schedule import PatchSchedule


@MODEL_REGISTRY.register()
class RestorationModel(SRModel):
    """Trains as `SRModel` does with a pixel loss alone, with three more options below `train`.

    amp: 'bf16' runs the forward passes of training in bfloat16; weights, loss and steps stay in float32.
    compile: true lets torch.compile fuse what lies between the convolutions. It takes a minute before the first step,
        and a C++ compiler where there is no GPU.
    patch_schedule: smaller patches, or fewer, in the first iterations; see `PatchSchedule`.

    Without them it takes SRModel's very steps. Validation, checkpoints and the average of weights are those of the
    network itself, in float32.
    """

    def init_training_settings(self) -> None:
        super().init_training_settings()
        train_opt = self.opt['train']
        self.run_g = torch.compile(self.net_g) if train_opt.get('compile') else self.net_g
        self.bf16 = train_opt.get('amp') == 'bf16'
        self.patches = PatchSchedule(train_opt.get('patch_schedule'), self.opt['manual_seed'], self.opt['rank'])

    def optimize_parameters(self, current_iter: int) -> None:
        batch = self.patches({'train': {'lq': self.lq, 'gt': self.gt}}, current_iter)[0]['train']
        self.optimizer_g.zero_grad()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16):
            output = self.run_g(batch['lq'])
        self.output = output.float()
        losses = OrderedDict(l_pix=self.cri_pix(self.output, batch['gt']))
        losses['l_pix'].backward()
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict(losses)
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)
