"""Samples for losses, made of given images and outputs."""
import torch
from torch import Tensor, nn

from basicsr_unlearn.core.samples import Sample


def on(net: nn.Module | None, lq: Tensor | None = None, gt: Tensor | None = None, teacher_net: nn.Module | None = None,
       generator: torch.Generator | None = None) -> Sample:
    """What a loss asks the networks themselves for."""
    images = {name: image for name, image in (('lq', lq), ('gt', gt)) if image is not None}
    return Sample(images, net, teacher_net, generator=generator)


def having(output: Tensor, gt: Tensor | None = None, lq: Tensor | None = None, teacher: Tensor | None = None,
           proxy: Tensor | None = None, teacher_net: nn.Module | None = None,
           generator: torch.Generator | None = None) -> Sample:
    """What the networks make of a batch is given."""
    sample = on(None, lq, gt, teacher_net, generator)
    given = {'output': output, 'teacher_output': teacher, 'proxy_output': proxy}
    vars(sample).update({name: image for name, image in given.items() if image is not None})
    return sample
