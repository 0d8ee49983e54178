"""The validation sets of an option file and the metrics they are scored by."""
from collections.abc import Mapping
from copy import deepcopy

import torch
from basicsr.utils.registry import DATASET_REGISTRY

from basicsr_unlearn.errors import OptionError


def validation_blocks(opt: Mapping) -> dict[str, dict]:
    """The option file's val_ blocks by the name of their data set, `role` filled in. Raises OptionError without any."""
    blocks = {block['name']: {**deepcopy(dict(block)), 'role': block.get('role') or 'retain'}
              for key, block in opt['datasets'].items() if key.startswith('val')}
    if not blocks:
        raise OptionError('datasets has no val_ block: there is nothing to measure on.')
    return blocks


def validation_sets(opt: Mapping) -> dict[str, torch.utils.data.Dataset]:
    """The validation data sets by name, built as BasicSR does. Raises OptionError, DataError."""
    return {name: DATASET_REGISTRY.get(block['type'])({**block, 'phase': 'val', 'scale': opt.get('scale', 1)})
            for name, block in validation_blocks(opt).items()}


def measures(opt: Mapping) -> dict[str, dict]:
    """The metrics of `val:` by name, the one that measures PSNR as `psnr`. Raises OptionError if there is none."""
    metrics = dict((opt.get('val') or {}).get('metrics') or {})
    name = psnr_name(metrics)
    return {'psnr': metrics.pop(name), **metrics}


def psnr_name(metrics: Mapping[str, Mapping]) -> str:
    """The name under which PSNR is measured. Raises OptionError if it is not."""
    for name, metric in metrics.items():
        if metric.get('type') == 'calculate_psnr':
            return name
    raise OptionError('val.metrics has no calculate_psnr, in which forgetting is measured: add '
                      'psnr: {type: calculate_psnr, crop_border: 0}.')
