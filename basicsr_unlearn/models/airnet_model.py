"""The model that trains AirNet: first its encoder by contrast, then the whole network."""
from collections import OrderedDict

import torch
from basicsr.losses import build_loss
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import MODEL_REGISTRY

from basicsr_unlearn.archs.airnet_arch import AirNet
from basicsr_unlearn.core.seeds import step_seed
from basicsr_unlearn.errors import DataError, OptionError


@MODEL_REGISTRY.register()
class AirNetModel(SRModel):
    """Trains AirNet as its authors do (Li et al., CVPR 2022), with BasicSR's own steps, files and validation.

    Up to iteration `train.encoder_iter` the encoder alone learns, from `contrast_opt` unweighted; from then on all
    learn from `pixel_opt` + its `loss_weight` * `contrast_opt`. Two windows of `train.patch_size` pixels are cut from
    each sample, at random: the query, which is restored, and the key. The authors cut the two from the whole image and
    flip each by itself; here they lie in one patch of the data set's `gt_size`, which is larger, and at the same two
    places in all samples of a batch (our choice: so any paired data set serves).

    New here: the two phases and the windows. Inherited from SRModel: all else.
    """

    def init_training_settings(self) -> None:
        net, train_opt = self.get_bare_model(self.net_g), self.opt['train']
        if not isinstance(net, AirNet):
            raise OptionError(f'model_type AirNetModel trains AirNet, not network_g.type {type(net).__name__}: write '
                              'model_type: SRModel.')
        net.E.E.check_batch(self.opt['datasets']['train']['batch_size_per_gpu'])
        contrast_opt = dict(train_opt['contrast_opt'])
        self.contrast_weight = contrast_opt.pop('loss_weight', 1.0)
        self.cri_contrast = build_loss(contrast_opt).to(self.device)
        super().init_training_settings()

    def optimize_parameters(self, current_iter: int) -> None:
        seed = step_seed(self.opt['manual_seed'], self.opt['rank'], current_iter)  # so that a resume repeats it
        query, key = two_windows(*self.lq.shape[2:], self.opt['train']['patch_size'], seed)
        joint = current_iter > self.opt['train']['encoder_iter']
        self.optimizer_g.zero_grad()
        restored, logits, labels = self.net_g(self.lq[query], self.lq[key], restore=joint)
        losses = OrderedDict(l_contrast=self.cri_contrast(logits, labels))
        total = losses['l_contrast']
        if joint:
            losses['l_pix'] = self.cri_pix(restored, self.gt[query])
            total = losses['l_pix'] + self.contrast_weight * total
        total.backward()
        self.optimizer_g.step()
        self.log_dict = self.reduce_loss_dict(losses)
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

    def model_ema(self, decay: float = 0.999) -> None:
        super().model_ema(decay)
        # statistics of batch normalisation and the queue, which BasicSR leaves as they were at the start
        for average, now in zip(self.net_g_ema.buffers(), self.get_bare_model(self.net_g).buffers()):
            average.copy_(now)


def two_windows(height: int, width: int, size: int, seed: int) -> list[tuple]:
    """Two random square windows of a (b, c, height, width) batch, as indices.

    Raises:
        DataError: they do not fit.
    """
    if size > min(height, width):
        raise DataError(f'The training patches are {width}x{height}, smaller than train.patch_size {size}: raise '
                        'gt_size of datasets.train or lower train.patch_size.')
    generator = torch.Generator().manual_seed(seed)
    windows = []
    for _ in range(2):
        top, left = (int(torch.randint(side - size + 1, (), generator=generator)) for side in (height, width))
        windows.append((..., slice(top, top + size), slice(left, left + size)))
    return windows
