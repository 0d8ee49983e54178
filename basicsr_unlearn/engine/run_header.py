"""The header of a training run: what is done to which network with which data, in a few lines."""
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from basicsr_unlearn.engine.terminal import short, wrapped
from basicsr_unlearn.methods.presets import method_names, read_method

LABEL = 10  # columns
SHOWN_OPTIONS = ('forget_opt', 'retain_opt', 'adversarial_opt', 'anchor_opt', 'edit_opt', 'mask_opt', 'proxy_opt',
                 'phases')


def header(opt: Mapping, train_set: Dataset, val_sets: Sequence[Dataset]) -> str:
    """The header of a training run.

    Args:
        opt: as BasicSR's parse_options returns it.
        train_set, val_sets: the data sets that were built from it.
    """
    train_opt, path, block = opt['train'], opt['path'], opt['datasets']['train']
    unlearns = opt['model_type'] == 'UnlearnModel'
    forget = [name for name, _ in stream(getattr(train_set, 'forget', []))]
    title = f'Unlearning {", ".join(forget) or block["name"]}' if unlearns else f'Training {opt["network_g"]["type"]}'
    start = path.get('pretrain_network_g')
    samples = f'{block["batch_size_per_gpu"]} {"forget and as many retain " if unlearns else ""}samples'
    if opt['world_size'] > 1:
        samples += f' on each of {opt["world_size"]} processes'
    lines = [('network', f'{opt["network_g"]["type"]}{f" from {short(start)}" if start else ", from scratch"}')]
    if unlearns:
        lines += [('method', method_words(train_opt)), ('forget', counted(stream(getattr(train_set, 'forget', [])))),
                  ('retain', retain_words(train_set))]
    else:
        lines += [('data', f'{block["name"]} ({images_of(train_set)} images)')]
    lines += [
        ('validates', counted([(s.opt['name'], len(s)) for s in val_sets])),
        ('steps', f'{"at most " if train_opt.get("stop_opt") else ""}{int(train_opt["total_iter"]):,} of {samples}, on '
                  f'{device_words(opt)}'),
        ('folder', short(path['experiments_root'])),
        ('watch', 'tensorboard --logdir tb_logger' if opt['logger'].get('use_tb_logger') else '')]
    return '\n'.join([title, *(wrapped(f'  {label:<{LABEL}}{words}', LABEL + 2) for label, words in lines if words)])


def stream(sets: Sequence[Dataset]) -> list[tuple[str, int]]:
    """(name, images) of the data sets of a mix."""
    return [(str(getattr(child, 'opt', {}).get('name')), images_of(child)) for child in sets]


def images_of(dataset: Dataset) -> int:
    """How many different images a training set has, not how many samples BasicSR calls an epoch."""
    return dataset.count() if hasattr(dataset, 'count') else len(dataset)


def counted(sets: Sequence[tuple[str, int]]) -> str:
    """'haze (8 images), rain (20)'."""
    return ', '.join(f'{name} ({count}{" images" * (i == 0)})' for i, (name, count) in enumerate(sets))


def retain_words(train_set: Any) -> str:
    """The retain stream in words; '' without one."""
    if (getattr(train_set, 'opt', None) or {}).get('retain_from'):
        kinds = [' + '.join(step['type'] for step in block['degradations']) or 'downscaled'
                 for block in train_set.opt['retain_degradations']]
        return f'the clean images of the forget set, degraded anew: {", ".join(kinds)}'
    return counted(stream(getattr(train_set, 'retain', [])))


def method_words(train_opt: Mapping) -> str:
    """The parts of the objective by their types, after the name of the preset that they are, if they are one's."""
    parts = []
    for term in SHOWN_OPTIONS:
        blocks = train_opt.get(term) or []
        for block in [blocks] if isinstance(blocks, Mapping) else blocks:
            if block.get('type'):
                parts.append(f'{block["type"]} ({block["target"]})' if block.get('target') else block['type'])
    name = next((name for name in method_names() if _is_method(train_opt, read_method(name)['train'])), None)
    return f'{name}: {" + ".join(parts)}' if name else ' + '.join(parts)


def _is_method(train_opt: Mapping, preset: Mapping) -> bool:
    """Whether the terms are the preset's; its numbers may differ."""
    return all(_agrees(train_opt.get(term), preset.get(term)) for term in SHOWN_OPTIONS)


def _agrees(own: Any, preset: Any) -> bool:
    if isinstance(preset, Mapping) and isinstance(own, Mapping):
        return all(_agrees(own.get(key), value) for key, value in preset.items())
    if isinstance(preset, list) and isinstance(own, list):
        return len(own) == len(preset) and all(map(_agrees, own, preset))
    if isinstance(preset, (int, float)) and not isinstance(preset, bool):
        return True
    return own == preset if preset else not own


def device_words(opt: Mapping) -> str:
    """The device that a run computes on."""
    if opt['num_gpu'] != 0 and torch.cuda.is_available():
        return torch.cuda.get_device_name()
    threads = torch.get_num_threads()
    return f'the CPU ({threads} thread{"s" * (threads != 1)})'
