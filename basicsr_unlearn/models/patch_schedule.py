"""Smaller patches, or fewer of them, for a while: training in less arithmetic."""
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from basicsr_unlearn.core.samples import Batch
from basicsr_unlearn.core.seeds import step_seed


class PatchSchedule:
    """Cuts each batch down to what its iteration is to see; after the last phase batches stay as they are.

    Of a batch the first samples are kept, and of their patches one window, the same of all samples. Where it lies is
    drawn from the seed, the process and the iteration, so that a resumed run repeats the uninterrupted one.

    Args:
        phases: blocks of `iters` and one or both of `size`, the side of a patch of the clean image in pixels, and
            `batch`, samples of a stream; one after another. None for whole batches always.
        seed: of the run.
        rank: of the process.

    Source: progressive learning of Restormer (CVPR 2022), whose patches grow as its batches get smaller.
    """

    def __init__(self, phases: Sequence[Mapping[str, int]] | None, seed: int, rank: int) -> None:
        self.phases, self.seed, self.rank = phases or (), seed, rank

    def __call__(self, batches: Mapping[str, Batch], iteration: int) -> tuple[dict[str, Batch], float]:
        """The batches by stream, cut down, and the share of a patch that is left, by its pixels.

        Args:
            batches: each with `lq` (b, c, h, w), and tensors (b, c, k h, k w) or others beside it.
            iteration: from 1.
        """
        phase = self._phase(iteration)
        if phase is None:
            return dict(batches), 1
        place = torch.rand(2, generator=torch.Generator().manual_seed(step_seed(self.seed, self.rank, iteration)))
        cut = {stream: _cut(batch, phase, place.tolist()) for stream, batch in batches.items()}
        before, now = (next(iter(some.values()))['lq'].shape[-2:].numel() for some in (batches, cut))
        return cut, now / before if now < before else 1

    def _phase(self, iteration: int) -> Mapping[str, int] | None:
        for phase in self.phases:
            if iteration <= phase['iters']:
                return phase
            iteration -= phase['iters']
        return None


def _cut(batch: Batch, phase: Mapping[str, int], place: Sequence[float]) -> Batch:
    lq, scale = batch['lq'], batch['gt'].shape[-1] // batch['lq'].shape[-1] if 'gt' in batch else 1
    size = min(lq.shape[-1], (phase.get('size') or lq.shape[-1] * scale) // scale)
    top, left = (int(share * (whole - size + 1)) for share, whole in zip(place, lq.shape[-2:]))

    def window(tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor[:phase.get('batch')]
        if tensor.dim() != 4:
            return tensor
        k = tensor.shape[-1] // lq.shape[-1]
        return tensor[..., k * top:k * (top + size), k * left:k * (left + size)]

    return {name: window(tensor) for name, tensor in batch.items()}


def check_patch_schedule(phases: Sequence[Mapping[str, Any]], patch: int, batch: int, scale: int) -> None:
    """Raise ValueError unless patches of the side `patch` and batches of so many samples can be cut down like this."""
    for number, phase in enumerate(phases):
        size, samples = phase.get('size'), phase.get('batch')
        if size is None and samples is None:
            raise ValueError(f'[{number}] has neither size nor batch, so nothing would be smaller: give one')
        if size is not None and size > patch:
            raise ValueError(f'[{number}].size {size} is larger than datasets.train.gt_size {patch}, of which it is a '
                             'part: lower it')
        if size is not None and size % scale:
            raise ValueError(f'[{number}].size {size} is no multiple of the scale {scale}: make it one')
        if samples is not None and samples > batch:
            raise ValueError(f'[{number}].batch {samples} is larger than datasets.train.batch_size_per_gpu {batch}, of '
                             'which it is a part: lower it')
