"""Hold what the network does to images in general, without knowing what it was made for."""
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from basicsr_unlearn.core.ascent import Criterion, check_criterion, sample_loss
from basicsr_unlearn.core.checks import check_choice, check_number
from basicsr_unlearn.core.hints import NotNegative, Positive
from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.core.parts import LOSSES, registered_in
from basicsr_unlearn.core.samples import Sample

LARGEST_GRAIN = 8  # pixels


def perturbed(gt: Tensor, strength: float = 0.2, generator: torch.Generator | None = None) -> Tensor:
    """Clean images with random texture added: grain of any size and direction, dense or sparse, coloured or grey.

    Per sample: Gaussian noise of a coarser raster (1 to 8 pixels, drawn for height and width apart) is resized to the
    image, cut to its positive tail or not, made grey or not, scaled to a standard deviation drawn from 0 to `strength`.
    That covers sensor noise and streaks without naming either; our choice.

    Args:
        gt: (b, c, h, w), pixel values in [0, 1].
        strength: largest standard deviation, in pixel values.
        generator: source of random numbers, on the CPU.

    Returns:
        (b, c, h, w) in [0, 1].

    >>> perturbed(torch.full((1, 3, 8, 8), 0.5)).shape
    torch.Size([1, 3, 8, 8])
    """
    return torch.stack([_textured(image, strength, generator) for image in gt])


def _textured(image: Tensor, strength: float, generator: torch.Generator | None) -> Tensor:
    channels, height, width = image.shape
    grain_y, grain_x, level, odds_tail, odds_grey = torch.rand(5, generator=generator).tolist()
    raster = [max(1, round(size / LARGEST_GRAIN**grain)) for size, grain in ((height, grain_y), (width, grain_x))]
    grey = odds_grey < 0.5
    texture = torch.randn(1, 1 if grey else channels, *raster, generator=generator)
    texture = F.interpolate(texture, (height, width), mode='bilinear', align_corners=False)[0].to(image)
    if odds_tail < 0.5:
        texture = F.relu(texture - 1)
    texture = texture / texture.std().clamp_min(1e-6)
    return (image + level * strength * texture).clamp(0, 1)


@registered_in(LOSSES)
class PerturbedRetainLoss(nn.Module):
    """Mean of criterion(net(x), teacher(x)) on perturbed clean images x, for use as `adversarial_opt`.

    It needs no retain pairs and no knowledge of the retain tasks: the clean images of the forget pairs will do.

    Args:
        criterion: see `sample_loss`.
        strength: see `perturbed`.
        source: stream whose clean images are perturbed: 'forget' or 'retain'.
        loss_weight: factor, 0 or above.

    Raises:
        ValueError: an option out of range.
    """

    terms = ('adversarial',)  # the options `<term>_opt` that take it

    def __init__(self, criterion: Criterion = 'l1', strength: Positive = 0.2,
                 source: Literal['retain', 'forget'] = 'forget', loss_weight: NotNegative = 1.0) -> None:
        super().__init__()
        check_criterion(criterion)
        check_number('strength', strength, exclusive=True)
        check_choice('source', source, ('retain', 'forget'))
        check_number('loss_weight', loss_weight)
        self.criterion, self.strength, self.source, self.loss_weight = criterion, strength, source, loss_weight

    def forward(self, sample: Sample) -> Tensor:
        x = perturbed(sample.gt, self.strength, sample.generator)
        with eval_mode(sample.teacher), torch.no_grad():
            goal = sample.teacher(x)
        return self.loss_weight * sample_loss(sample.net(x), goal, self.criterion).mean()
