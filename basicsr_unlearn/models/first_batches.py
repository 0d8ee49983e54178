"""The batches that parts look at before the first step."""
from collections.abc import Mapping

import torch
from basicsr.data import build_dataset

STREAMS = ('forget', 'retain')


def by_stream(data: Mapping) -> dict[str, dict[str, torch.Tensor]]:
    """The tensors of a batch or item as BasicSR's loader gives them, `forget_lq` and so on, by stream and name."""
    return {stream: {key.removeprefix(f'{stream}_'): value for key, value in data.items()
                     if key.startswith(f'{stream}_') and torch.is_tensor(value)}
            for stream in STREAMS if f'{stream}_lq' in data}


def first_batches(opt: Mapping, count: int) -> dict[str, list[dict[str, torch.Tensor]]]:
    """The first `count` batches of each stream that the training data give, drawn by a data set of their own; the same
    on all ranks and after a resume.
    """
    options = opt['datasets']['train']
    size = options['batch_size_per_gpu']
    dataset = build_dataset({'seed': opt['manual_seed'], **options})
    batches = [[by_stream(dataset[index * size + i]) for i in range(size)] for index in range(count)]
    return {stream: [{name: torch.stack([item[stream][name] for item in batch]) for name in batch[0][stream]}
                     for batch in batches] for stream in batches[0][0]}
