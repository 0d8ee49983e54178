"""The one loop that runs networks over a data set: validation, reports, audit, benchmark and learning again all use it.

A score is of 8-bit images, as they are saved: a PSNR here is BasicSR's, of (h, w, 3) uint8. That holds for whatever a
run, an audit, a benchmark or the demo reports. Only what a training step logs of its own batch is of floating point
values, see `core.images.batch_psnr`.
"""
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from basicsr_unlearn.core.images import degraded_as_output
from basicsr_unlearn.core.memory import enough_memory
from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.core.tiling import DEFAULT_OVERLAP, Tiled
from basicsr_unlearn.errors import DataError, TrainingError
from basicsr_unlearn.metrics.image_scores import image_scores, to_image

IDENTITY = 'identity'  # the column of the untouched degraded input


@dataclass
class Restored:
    """One image through every network.

    Args:
        name: free in its set.
        path: of the degraded image.
        lq: (1, c, h, w), the degraded image.
        gt: (1, c, h', w'), the clean image, if there is one.
        outputs: (1, c, h', w') by column, where the network ran; column 'identity' is the input.
        metrics: of the scores.
    """
    name: str
    path: str
    lq: Tensor
    gt: Tensor | None
    outputs: dict[str, Tensor]
    metrics: Mapping[str, Mapping]

    @cached_property
    def images(self) -> dict[str, np.ndarray]:
        """The 8-bit picture of each column and, where there is one, of the clean image as `gt`: (h, w, 3) uint8 BGR."""
        clean = {} if self.gt is None else {'gt': self.gt}
        return {column: to_image(image) for column, image in {**self.outputs, **clean}.items()}

    def scores(self, column: str) -> dict[str, float]:
        """Metric -> value of one column."""
        return image_scores(self.images[column], self.metrics, self.images.get('gt'), self.images[IDENTITY])


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
def restorations(nets: Mapping[str, nn.Module], items: Iterable[Mapping], metrics: Mapping[str, Mapping]
                 ) -> Iterator[Restored]:
    """Run every network over the items, image by image, for its pictures and scores beside the untouched input's.

    Args:
        nets: networks by column name, (1, c, h, w) -> (1, c, h', w'), values in [0, 1]; run in eval mode on their own
            device, and left as they were.
        items: mappings with `lq` (c, h, w) in [0, 1], `lq_path` and, where there is one, `gt` (c, h', w').
        metrics: name -> options of a BasicSR metric, as under `val: metrics:` of an option file; those that need a
            clean image are left out where there is none.

    Raises:
        DataError: an output is not as large as the clean image.
        TrainingError: an output is not finite, so that its score would mean nothing, or memory runs out.
    """
    taken: set[str] = set()
    for item in items:
        lq, gt, path = item['lq'][None], item['gt'][None] if 'gt' in item else None, item['lq_path']
        outputs = {}
        for column, net in nets.items():
            with eval_mode(net), enough_memory(f'Restoring {path}', 'set val.tile (tile in an audit), which restores '
                                                                    'images in pieces'):
                outputs[column] = net(lq.to(next(net.parameters()).device))
            check_output(outputs[column], gt, column, path)
        like = next(iter(outputs.values()), lq) if gt is None else gt
        name = free_name(Path(path).stem, taken)
        taken.add(name)
        yield Restored(name, path, lq, gt, {IDENTITY: degraded_as_output(lq, like), **outputs}, metrics)


def evaluate(nets: Mapping[str, nn.Module], dataset: Sequence[Mapping], metrics: Mapping[str, Mapping], strips: int = 0
             ) -> Evaluation:
    """Run every network over a paired data set and score it as BasicSR's validation does, see `restorations`.

    Args:
        nets, metrics: see `restorations`.
        dataset: items with `lq`, `gt` and `lq_path`.
        strips: keep the pictures of so many images, spread evenly over the set.

    Raises:
        DataError, TrainingError: see `restorations`; the set is empty or an item has no ground truth.
    """
    if len(dataset) == 0:
        raise DataError('There is no image to evaluate: correct the dataroot line of the val_ data set.')
    chosen, result = set(evenly(len(dataset), strips)) if strips else set(), Evaluation()
    items = (with_clean(dataset[index]) for index in range(len(dataset)))
    for index, restored in enumerate(restorations(nets, items, metrics)):
        scores = {column: restored.scores(column) for column in restored.outputs}
        result.per_image[restored.name] = scores
        if index in chosen:
            result.strips.append(strip_from(restored.name, restored.images, scores))
    return result


def strip_from(name: str, images: Mapping[str, np.ndarray], scores: dict[str, dict[str, float]]) -> Strip:
    """The strip of pictures in BGR, as networks are scored on."""
    return Strip(name, {column: np.ascontiguousarray(image[..., ::-1]) for column, image in images.items()}, scores)


def with_clean(item: Mapping) -> Mapping:
    """The item. Raises DataError if it has no ground truth."""
    if 'gt' not in item:
        raise DataError(f'{item["lq_path"]} has no ground truth to compare with: evaluate a paired data set.')
    return item


def check_output(output: Tensor, gt: Tensor | None, column: str, file: str) -> None:
    """Refuse an output that no score can be computed of.

    Raises:
        DataError: its size is not that of the clean image.
        TrainingError: it is not finite.
    """
    if gt is not None and output.shape != gt.shape:
        raise DataError(f'{file}: the output of the {column} network is {_size(output)} but the clean image is '
                        f'{_size(gt)}: correct the scale, or the data set.')
    if not torch.isfinite(output).all():
        raise TrainingError(f'The {column} network returns values that are not finite on {file}: it has diverged, so '
                            'use an earlier checkpoint.')


def in_tiles(net: nn.Module, options: Mapping, scale: int = 1) -> nn.Module:
    """The network as it restores whole images: in tiles where a block of options says so by `tile`."""
    tile = options.get('tile')
    return Tiled(net, tile, options.get('tile_overlap', DEFAULT_OVERLAP), scale) if tile else net


def evenly(length: int, count: int | None) -> list[int]:
    """So many of `length` positions, evenly spread; all of them for None."""
    count = length if count is None else min(count, length)
    return [int(index) for index in np.linspace(0, length - 1, count).round()]


def free_name(name: str, taken: Collection[str]) -> str:
    """`name`, or the first of `name (2)`, `name (3)` ... that is not taken: two folders may hold a file of one name."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f'{name} ({number})'
    return free


def _size(image: Tensor) -> str:
    return f'{image.shape[-1]}x{image.shape[-2]}'
