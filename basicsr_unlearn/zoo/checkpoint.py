"""Checkpoints: reading every container that users have, without running code from it, and writing in one piece."""
import errno
import io
import os
import re
import shutil
import warnings
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basicsr_unlearn.errors import CheckpointError
from basicsr_unlearn.zoo.detection import describe

# Where containers keep the weights, in the order in which they are looked for. `params` first is BasicSR's default.
CONTAINER_KEYS = ('params', 'params_ema', 'state_dict', 'model_state_dict', 'model', 'net', 'net_g', 'network')
# What wrappers put before every name: DataParallel and DDP, torch.compile, a Lightning module around `net`.
WRAPPER_PREFIXES = ('module.', '_orig_mod.', 'net.')
MAGIC = (b'PK\x03\x04', b'\x80')  # torch's zip format; its older format, a plain pickle

try:
    from numpy._core.multiarray import scalar as _numpy_scalar
except ImportError:  # numpy < 2
    from numpy.core.multiarray import scalar as _numpy_scalar
# Harmless objects that trainers store beside the weights: best scores as numpy numbers, the command line.
_HARMLESS = [(_numpy_scalar, 'numpy._core.multiarray.scalar'), (_numpy_scalar, 'numpy.core.multiarray.scalar'),
             np.dtype, *(type(np.dtype(kind)) for kind in ('f4', 'f8', 'i4', 'i8', '?')), Namespace]


def resolve_checkpoint(path: str) -> str:
    """Find a checkpoint file: as given, relative to the current directory; else below the folder of the package.

    So `basicsr_unlearn/zoo/nafnet_allinone.pth` is found in a checkout and in an installed package alike.

    Raises:
        CheckpointError: there is no such file in either place.
    """
    given = os.path.expanduser(str(path))
    beside_package = Path(__file__).resolve().parents[2] / given
    for candidate in (Path(given), beside_package):
        if candidate.is_file():
            return str(candidate)
    if os.path.isdir(given):
        raise CheckpointError(f'The checkpoint {path} is a folder: name the .pth file in it.')
    raise CheckpointError(f'The checkpoint {path} does not exist: correct its path.')


def read_weights(path: str, param_key: str | None = None, net: nn.Module | None = None) -> 'OrderedDict[str, Tensor]':
    """Read the weights of one network from any usual container, on the CPU.

    Args:
        path: checkpoint file, see `resolve_checkpoint`.
        param_key: name of the weights in the container. Default: the first of CONTAINER_KEYS that is there, which is
            BasicSR's own default `params`; else the only other group of weights; else the file itself.
        net: the bare network they are for. A prefix that its own names carry, such as `net.`, is then kept.

    Returns:
        Weights by name, without the prefixes that wrappers put before all of them.

    Raises:
        CheckpointError: the file is missing, damaged, of another kind, or holds code; there is no param_key; there are
            no weights, or some are not finite.
    """
    path = resolve_checkpoint(path)
    weights = _weights_in(load_container(path), path, param_key)
    own_names = [] if net is None else list(net.state_dict())
    stripped = True
    while stripped:
        stripped = False
        for prefix in WRAPPER_PREFIXES:
            if _all_start(weights, prefix) and not _all_start(own_names, prefix):
                weights = {name[len(prefix):]: weight for name, weight in weights.items()}
                stripped = True
    for name, weight in weights.items():
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise CheckpointError(f'{path} holds NaN or Inf in {name}: the training that wrote it had diverged, so use '
                                  'an earlier checkpoint.')
    return OrderedDict(weights)


def check_fit(net: nn.Module, weights: Mapping[str, Tensor], path: str) -> None:
    """Check that `weights` fill the bare network exactly.

    Raises:
        CheckpointError: with the number and the first of the missing, unexpected and differently shaped weights, and a
            guess at the reason.
    """
    own = {name: tuple(weight.shape) for name, weight in net.state_dict().items()}
    given = {name: tuple(weight.shape) for name, weight in weights.items()}
    # BatchNorm counters are newer than many checkpoints; torch fills them in itself.
    missing = [name for name in own if name not in given and not name.endswith('num_batches_tracked')]
    unexpected = [name for name in given if name not in own]
    reshaped = [name for name in own if name in given and not fits(net, name, own[name], given[name])]
    if not (missing or unexpected or reshaped):
        return
    found = []
    if missing:
        found.append(f'{len(missing)} missing (first {missing[0]})')
    if unexpected:
        found.append(f'{len(unexpected)} unexpected (first {unexpected[0]})')
    if reshaped:
        first = reshaped[0]
        found.append(f'{len(reshaped)} of another shape (first {first}: {_size(given[first])} in the file, '
                     f'{_size(own[first])} in the network)')
    shared = len(set(own) & set(given)) / max(len(set(own) | set(given)), 1)
    network, asked = describe(weights), describe(net.state_dict())
    if network is not None:
        same = asked is not None and asked['type'] == network['type']
        settings = ', '.join(f'{name}: {value}' for name, value in network.items()
                             if name != 'type' and not (same and asked[name] == value))
        guess = network['type'] + (f' with {settings}' if settings else '')
    elif not (missing or unexpected):
        guess = 'the same architecture with another width or number of channels'
    elif shared >= 0.5:
        guess = 'the same architecture with other settings, such as the number of blocks'
    else:
        guess = 'another architecture'
    raise CheckpointError(f'{path} does not fit the {type(net).__name__} of network_g: of {len(own)} weights, '
                          f'{", ".join(found)}; it looks like {guess}, so correct network_g or the checkpoint.')


def fits(net: nn.Module, name: str, own: tuple[int, ...], given: tuple[int, ...]) -> bool:
    """Whether the bare network takes a weight of shape `given` for its own: of `resizable_buffers`, any last side."""
    return own == given or (name in getattr(net, 'resizable_buffers', ()) and len(own) == len(given)
                            and own[:-1] == given[:-1])


def write_atomically(obj: Any, path: str | Path) -> None:
    """torch.save `obj` so that the file is complete or absent, and an older file survives a failure or a kill.

    Raises:
        CheckpointError: the file cannot be written, for instance because the disk is full.
    """
    path = Path(path)
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    size = buffer.tell()
    # A fixed name: what a kill leaves behind is overwritten when the resumed run comes to the same file.
    partial = path.with_name(f'.{path.name}.partial')
    try:
        if shutil.disk_usage(path.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with open(partial, 'wb') as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        _remove(partial)
        raise CheckpointError(_write_failure(error, path, size)) from error
    except BaseException:
        _remove(partial)
        raise


def load_container(path: str) -> Any:
    """Everything that a checkpoint file holds, on the CPU, without running code from it; raises CheckpointError."""
    try:
        with open(path, 'rb') as file:
            head = file.read(4)
        if not head:
            raise CheckpointError(f'{path} is empty: copy or download the checkpoint again.')
        if not head.startswith(MAGIC):
            raise CheckpointError(f'{path} is no PyTorch checkpoint: name a file written by torch.save.')
        with torch.serialization.safe_globals(_HARMLESS), warnings.catch_warnings():
            warnings.simplefilter('ignore', UserWarning)  # of a TorchScript archive, which is then refused
            return torch.load(path, map_location='cpu', weights_only=True)
    except CheckpointError:
        raise
    except PermissionError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror}.') from error
    except Exception as error:  # what a damaged file raises depends on the byte where it breaks off
        code = re.search(r'GLOBAL ([\w.]+)|Unsupported class ([\w.]+)|(TorchScript)', str(error))
        if code is None:
            raise CheckpointError(f'{path} is damaged or incomplete: copy or download it again.') from error
        raise CheckpointError(
            f'{path} is a whole pickled module or holds other Python objects ({code[1] or code[2] or code[3]}), and '
            'reading those would run code from the file: in the project that wrote it, load it and save only the '
            "weights with torch.save({'params': model.state_dict()}, 'weights.pth').") from error


def _weights_in(content: Any, path: str, param_key: str | None) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise CheckpointError(f'{path} holds a {type(content).__name__}, not the weights of a network: name a file '
                              'with a state_dict.')
    groups = [key for key, value in content.items() if is_weights(value)]
    loose = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if param_key is not None and (param_key not in groups):
        there = f'it holds {", ".join(map(str, groups))}' if groups else 'its weights are not under any key'
        raise CheckpointError(f"{path} has no weights under the key '{param_key}': {there}; "
                              + ('write one of these.' if groups else
                                 'write param_key_g: ~ in an option file, or leave --param_key out.'))
    if param_key is None:
        known = [key for key in CONTAINER_KEYS if key in groups]
        if not known and loose:
            return loose
        if not groups:
            raise CheckpointError(f'{path} holds no weights: name a file with a state_dict.')
        if not known and len(groups) > 1:
            raise CheckpointError(f'{path} holds several groups of weights, {", ".join(map(str, groups))}: name one '
                                  'as param_key_g in the option file or as --param_key of a command.')
        param_key = (known or groups)[0]
    return {name: value for name, value in content[param_key].items() if isinstance(value, Tensor)}


def is_weights(value: Any) -> bool:
    """Whether a container's entry is a state_dict: tensors by name, perhaps with None or a counter between them."""
    return (isinstance(value, Mapping) and any(isinstance(entry, Tensor) for entry in value.values())
            and not any(isinstance(entry, (Mapping, list)) for entry in value.values()))


def _all_start(names, prefix: str) -> bool:
    return bool(names) and all(name.startswith(prefix) for name in names)


def _size(shape: tuple) -> str:
    return 'x'.join(map(str, shape)) or 'a single number'


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass  # the first error is the one to report


def _write_failure(error: OSError, path: Path, size: int) -> str:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return f'{path} cannot be written: {error.strerror}.'
    free = shutil.disk_usage(path.parent).free
    return (f'No space left on {path.parent.resolve()} for {path.name}, which takes {size / 2**20:.1f} MB: free '
            f'{free / 2**20:.1f} MB, make room and resume.')
