"""Before the first step: the network can be built from its options, takes the images, and fits its checkpoints."""
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from os import path as osp

from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from basicsr_unlearn.core.building import build_parts
from basicsr_unlearn.core.memory import installed_memory
from basicsr_unlearn.core.parts import MASKS, Evidence
from basicsr_unlearn.errors import CheckpointError, DataError, OptionError
from basicsr_unlearn.methods.presets import expand_method
from basicsr_unlearn.options.section_checks import registered
from basicsr_unlearn.zoo.checkpoint import check_fit, read_weights, resolve_checkpoint

TENSORS = 20_000  # of weights in a network; the largest published ones for restoration have some 4,000; our choice


def build_network(opt: Mapping) -> nn.Module:
    """The network of `network_g` with fresh weights. Raises OptionError if its options do not work."""
    arguments = deepcopy(dict(opt['network_g']))
    cls = registered('network', arguments.pop('type'), 'network_g.type')
    try:
        with _limited():
            return cls(**arguments)
    except OptionError:
        raise
    except Exception as error:  # architectures check their options in many ways, or not at all
        message = ' '.join(str(error).split()).rstrip('.') or type(error).__name__
        raise OptionError(f'network_g does not work: {cls.__name__} says {message[:200]}.') from error


@contextmanager
def _limited() -> Iterator[None]:
    """A network too large for this machine is refused while it is built, when its weights are not filled yet."""
    tensors, size, there = 0, 0, installed_memory()

    def count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal tensors, size
        tensors += 1
        size += 0 if parameter is None else parameter.numel() * parameter.element_size()
        if tensors > TENSORS or size > there:
            raise OptionError(f'network_g is too large: it has more than {tensors - 1} weight tensors or '
                              f'{there / 2**30:.0f} GB of weights. Correct its numbers of blocks and its width.')

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


def check_smallest(sizes: Mapping[str, tuple[int, int]], net: nn.Module) -> None:
    """No image, of (height, width) by path, is smaller than the network's `min_size`, if it has one."""
    least = getattr(net, 'min_size', 1)
    for path, (height, width) in sizes.items():
        if min(height, width) < least:
            raise DataError(f'{path} is {width}x{height}, but {type(net).__name__} needs at least {least} pixels a '
                            'side: take it out.')


def check_masks(opt: Mapping, net: nn.Module) -> None:
    """Masks that go by names alone find what they name in the network."""
    if opt['is_train'] and opt['model_type'] == 'UnlearnModel':
        for mask in build_parts(MASKS, expand_method(opt)['train'].get('mask_opt'), 'train.mask_opt'):
            if not mask.needs:
                mask(Evidence(net))


def check_checkpoints(opt: Mapping, net: nn.Module, resumes: bool) -> list[str]:
    """The checkpoints that the option file names can be read and fit; their paths.

    Raises:
        OptionError: the one of the network that is to forget is not named.
        CheckpointError: one does not exist, cannot be read or does not fit.
    """
    path, is_ours, found = opt['path'], opt['model_type'] == 'UnlearnModel', []
    original = path.get('pretrain_network_g')
    if original is None and is_ours and not resumes:
        raise OptionError('path.pretrain_network_g is empty: name the checkpoint of the network ' +
                          ('that is to forget.' if opt['is_train'] else 'to test.'))
    if original is not None:
        if not is_ours and not osp.exists(original):
            raise CheckpointError(f"The checkpoint {original} does not exist in the current directory: BasicSR's "
                                  f'{opt["model_type"]} takes path.pretrain_network_g from there.')
        # BasicSR's own models insist on the key `params`; ours takes what is there unless the file names one
        key = path.get('param_key_g', None if is_ours else 'params')
        weights = read_weights(original, key, net)
        if path.get('strict_load_g', True):
            check_fit(net, weights, resolve_checkpoint(original))
        found.append(original)
    for reference in ('retrained', 'original'):
        if path.get(f'pretrain_network_{reference}'):
            checkpoint = resolve_checkpoint(path[f'pretrain_network_{reference}'])
            check_fit(net, read_weights(checkpoint, None, net), checkpoint)
            found.append(path[f'pretrain_network_{reference}'])
    return found
