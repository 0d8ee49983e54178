"""How well a batch is restored, for the log of a step and for the stop rule."""
from torch import Tensor

from basicsr_unlearn.core.images import batch_psnr, degraded_as_output
from basicsr_unlearn.core.samples import Sample
from basicsr_unlearn.errors import OptionError


class Psnr:
    """PSNR in dB of float images, the mean over the batch, not of 8-bit ones as in a validation.

    >>> import torch
    >>> sample = Sample({'lq': torch.zeros(1, 3, 8, 8), 'gt': torch.full((1, 3, 8, 8), 0.1)}, net=None)
    >>> round(float(Psnr().untouched(sample)), 2)
    20.0
    """

    name = 'psnr'

    def __call__(self, output: Tensor, sample: Sample) -> Tensor | None:
        """The score of an output, (b, c, h, w); None where the batch has no `gt`.

        Raises:
            OptionError: `gt` has another shape.
        """
        if (gt := sample.get('gt')) is None:
            return None
        if output.shape != gt.shape:
            raise OptionError(f'The network makes {tuple(output.shape)} of the {sample.stream} batches, whose gt is '
                              f'{tuple(gt.shape)}: give both the same shape, or leave gt out.')
        return batch_psnr(output, gt)

    def untouched(self, sample: Sample) -> Tensor | None:
        """The score of the degraded input itself."""
        gt = sample.get('gt')
        return None if gt is None else batch_psnr(degraded_as_output(sample.lq, gt), gt)
