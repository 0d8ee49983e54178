"""What is given to an unlearner as objects: checks that raise OptionError."""
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from basicsr_unlearn.core.building import LOSS_TERMS
from basicsr_unlearn.errors import OptionError

DESCRIBED = {  # part -> the options that describe it
    'objective': (*(f'{term}_opt' for term in LOSS_TERMS), 'anchor_opt', 'phases', 'dual_opt', 'conflict_opt'),
    'preparation': ('edit_opt', 'mask_opt', 'proxy_opt', 'forget_step', 'evidence_batches'),
    'stop_rule': ('stop_opt',),
    'optimizer': ('optim_g', 'forget_step'),
}


def check_given(options: Mapping[str, Any], **parts: Any) -> None:
    """Raise OptionError if an option describes what is given as a part already.

    >>> check_given({'grad_clip': 1.0}, objective=None)
    """
    for part, keys in DESCRIBED.items():
        both = [key for key in keys if options.get(key) is not None]
        if parts.get(part) is not None and both:
            raise OptionError(f'{both[0]} is given, and {part} beside it, which stands in its place: give one of them.')


def check_networks(nets: Mapping[str, Any], amp: str | None = None) -> None:
    """Raise OptionError unless these are modules, the first of which has a weight that takes a gradient, and `amp` is
    a precision of steps.

    >>> check_networks({'g': nn.Conv2d(3, 3, 1)})
    """
    for name, net in nets.items():
        if not isinstance(net, nn.Module):
            raise OptionError(f'The network {name} is a {type(net).__name__}: give the torch module with its weights.')
    if not any(p.requires_grad for net in list(nets.values())[:1] for p in net.parameters()):
        raise OptionError(f'{f"The network {next(iter(nets))} has" if nets else "There is no network with"} no weight '
                          'that takes a gradient, so nothing could be unlearned: give one with requires_grad.')
    if amp not in (None, 'bf16'):
        raise OptionError(f"amp is {amp!r}: write 'bf16', or leave it out.")


def check_optimizers(optimizers: Mapping[str, torch.optim.Optimizer], nets: Mapping[str, nn.Module],
                     trained: Iterable[str | None]) -> None:
    """Raise OptionError unless each optimizer has weights of its network, and each network that terms train has one.

    Args:
        optimizers, nets: by name.
        trained: what the terms name in `trains`; None is the first network.

    >>> net = nn.Conv2d(3, 3, 1)
    >>> check_optimizers({'g': torch.optim.SGD(net.parameters(), lr=0.1)}, {'g': net}, [None, 'g'])
    """
    for name, optimizer in optimizers.items():
        if name not in nets:
            raise OptionError(f'There is an optimizer of {name}, but no such network: use one of {", ".join(nets)}.')
        own = {id(p) for p in nets[name].parameters()}
        if not any(id(p) in own for group in optimizer.param_groups for p in group['params']):
            raise OptionError(f'The optimizer of {name} has no weight of that network, which would stay as it is: make '
                              'it from the parameters of the very network that you give.')
    for name in {name or next(iter(nets)) for name in trained} - optimizers.keys():
        raise OptionError(f'A term trains {name}, which has no optimizer: give optimizer={{{name!r}: ...}}; there are '
                          f'the networks {", ".join(nets)}.')


def check_state(state: Mapping[str, Any], terms: Sequence[str]) -> None:
    """Raise OptionError unless `state` is one of an unlearner with these terms.

    >>> check_state({'iteration': 3, 'terms': ['forget'], 'objective': {}}, ['forget'])
    """
    if 'iteration' not in state or 'objective' not in state:
        raise OptionError(f'This is no state of an Unlearner but has {", ".join(map(str, state)) or "nothing"}: give '
                          'what its state_dict() returned.')
    if (theirs := state.get('terms', terms)) != terms:  # states of older versions do not say
        raise OptionError(f'The state is of a method with the terms {", ".join(theirs)}, and this one has '
                          f'{", ".join(terms)}: make the Unlearner with the same method.')
