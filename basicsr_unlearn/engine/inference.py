"""Scores of several networks on one data set, side by side with the untouched input."""
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from basicsr_unlearn.core.images import degraded_as_output
from basicsr_unlearn.errors import DataError, TrainingError
from basicsr_unlearn.metrics.image_scores import image_scores
from basicsr_unlearn.models.tracking import to_image


@dataclass
class Strip:
    """One image through every network: `images` by column (identity, the networks, gt), (h, w, 3) uint8 RGB."""
    name: str
    images: dict[str, np.ndarray]
    scores: dict[str, dict[str, float]]  # column -> metric -> value


@dataclass
class Evaluation:
    """`per_image[image][column][metric]` and their means `mean[column][metric]`; column 'identity' is the input."""
    per_image: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    strips: list[Strip] = field(default_factory=list)

    @property
    def mean(self) -> dict[str, dict[str, float]]:
        first = next(iter(self.per_image.values()))
        return {column: {metric: float(np.mean([scores[column][metric] for scores in self.per_image.values()]))
                         for metric in metrics} for column, metrics in first.items()}


@torch.no_grad()
def evaluate(nets: Mapping[str, nn.Module], dataset: Dataset | Sequence[Mapping], metrics: Mapping[str, dict],
             strips: int = 0, on_image: Callable[[str], None] | None = None) -> Evaluation:
    """Run every network over a validation set and score it as BasicSR's validation does, on 8-bit images.

    Args:
        nets: networks by column name, (1, c, h, w) -> (1, c, h', w'), values in [0, 1]; put into eval mode.
        dataset: items with `lq`, `gt` (c, h, w) in [0, 1] and `lq_path`.
        metrics: name -> options of a BasicSR metric, as under `val: metrics:` of an option file.
        strips: keep the pictures of so many images, spread evenly over the set.
        on_image: called with the name of each image that is done.

    Raises:
        DataError: the set is empty or an item has no ground truth.
        TrainingError: an output is not finite, so that its score would mean nothing.
    """
    if len(dataset) == 0:
        raise DataError('There is no image to evaluate: correct the dataroot line of the val_ data set.')
    chosen = {int(i) for i in np.linspace(0, len(dataset) - 1, min(strips, len(dataset))).round()} if strips else set()
    result = Evaluation()
    for index in range(len(dataset)):
        item = dataset[index]
        if 'gt' not in item:
            raise DataError(f'{item["lq_path"]} has no ground truth to compare with: evaluate a paired data set.')
        name = free_name(Path(item['lq_path']).stem, result.per_image)
        lq, gt = item['lq'][None], item['gt'][None]
        images = {'identity': to_image(degraded_as_output(lq, gt))}
        for column, net in nets.items():
            output = net.eval()(lq.to(next(net.parameters()).device))
            if not torch.isfinite(output).all():
                raise TrainingError(f'The {column} network returns values that are not finite on {item["lq_path"]}: '
                                    'it has diverged, so use an earlier checkpoint.')
            images[column] = to_image(output)
        images['gt'] = to_image(gt)
        scores = {column: image_scores(image, metrics, images['gt'], images['identity'])
                  for column, image in images.items() if column != 'gt'}
        result.per_image[name] = scores
        if index in chosen:
            rgb = {column: np.ascontiguousarray(image[..., ::-1]) for column, image in images.items()}
            result.strips.append(Strip(name, rgb, scores))
        if on_image:
            on_image(name)
    return result


def free_name(name: str, taken: Collection[str]) -> str:
    """`name`, or the first of `name (2)`, `name (3)` ... that is not taken: two folders may hold a file of one name."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f'{name} ({number})'
    return free
