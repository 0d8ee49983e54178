"""The command `basicsr-unlearn convert`: weights from any container into BasicSR's, and the network_g they are for."""
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from basicsr_unlearn.cli.run_flags import imported_plugin
from basicsr_unlearn.engine.entry import Parser, guarded
from basicsr_unlearn.errors import CheckpointError, OptionError
from basicsr_unlearn.options.option_text import option_text
from basicsr_unlearn.zoo.checkpoint import (
    CONTAINER_KEYS,
    is_weights,
    load_container,
    read_weights,
    resolve_checkpoint,
    write_atomically,
)
from basicsr_unlearn.zoo.detection import describe, unlike_all, untold


def main(argv: list[str] | None = None) -> int:
    """Convert with the arguments `argv`, by default those of the process; 0, or 2 for bad input."""
    return guarded(lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    parser = Parser(prog='basicsr-unlearn convert', description='Write the weights of a checkpoint, whatever it wraps '
                    'them in, as BasicSR loads them with default options, and print the network_g block they are for.')
    parser.add_argument('input', metavar='IN', help='a checkpoint of any project: Lightning, DataParallel, a plain '
                        'state_dict, with or without optimizer state; no code in it is run')
    parser.add_argument('output', metavar='OUT', help='the file to write; its folder is created if need be')
    parser.add_argument('--param_key', metavar='KEY', help='the name of the weights in IN. Default: the usual ones '
                        'are looked for, and params_ema is kept beside params')
    parser.add_argument('--half', action='store_true', help='store as fp16, in half the space; a network in float32 '
                        'loads it as float32')
    parser.add_argument('--force', action='store_true', help='overwrite OUT')
    parser.add_argument('--plugin', metavar='PACKAGE', help='a package of your own that registers the network')
    args = parser.parse_args(argv)
    imported_plugin(args.plugin)
    source = resolve_checkpoint(args.input)
    output = _checked_output(args.output, source, args.force)

    weights = read_weights(source, args.param_key)
    content = load_container(source)
    key = key_of_weights(content, args.param_key)
    written, taken = {'params': weights}, {key} if key is not None else set(_tensors(content))
    if args.param_key is None and key == 'params' and is_weights(content.get('params_ema')):
        written['params_ema'] = read_weights(source, 'params_ema')
        taken.add('params_ema')
    written = {name: _stored(group, args.half, source) for name, group in written.items()}
    network = describe(weights)

    output.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(written, output)
    print(f'Read {source}: {summary(content, key, weights)}.')
    print(f'Wrote {output}: {" and ".join(written)}{" in fp16" if args.half else ""}, '
          f'{_readable(output.stat().st_size)}.')
    if dropped := _dropped(content, taken):
        print(f'Dropped: {", ".join(dropped)}.')
    path = {'path': {'pretrain_network_g': args.output}}
    if network is None:
        print(f'{unlike_all(weights)}. Bring the package that registers its architecture, --plugin PACKAGE, or '
              'write network_g by hand.')
        print(f'\n{option_text(path)}', end='')
    else:
        print('Its names and shapes are those of this network; for the option file:')
        for name, values in untold(network).items():
            print(f'Its weights do not tell {name}: one of {", ".join(map(str, values))}.')
        print(f'\n{option_text({"network_g": network})}\n{option_text(path)}', end='')
    return 0


def _checked_output(output: str, source: str, force: bool) -> Path:
    """The file to write. Raises OptionError unless it can become one."""
    path = Path(output).expanduser()
    if path.is_dir() or output.endswith('/'):
        raise OptionError(f'OUT {output} is a folder: name the file to write.')
    folder = next(parent for parent in path.parents if parent.exists())
    if not folder.is_dir():
        raise OptionError(f'OUT {output} lies in {folder}, which is a file: name another folder.')
    if path.exists() and not force:
        if path.samefile(source):
            raise OptionError(f'IN and OUT are the same file, {output}: name another, or add --force to replace it.')
        raise OptionError(f'OUT {output} exists: name another file, or add --force to overwrite it.')
    return path


def key_of_weights(content: Mapping, param_key: str | None) -> str | None:
    """Under which key `read_weights` found the weights; None if they lie loose in the file."""
    groups = [key for key, value in content.items() if is_weights(value)]
    known = [key for key in CONTAINER_KEYS if key in groups]
    return param_key or (known[0] if known else None if _tensors(content) else groups[0])


def _tensors(group: Mapping) -> list[str]:
    return [name for name, value in group.items() if isinstance(value, Tensor)]


def _stored(weights: Mapping[str, Tensor], half: bool, source: str) -> dict[str, Tensor]:
    """Copies that share no memory, as a view would be stored with all that it is a part of; raises CheckpointError."""
    stored = {}
    for name, weight in weights.items():
        weight = stored[name] = weight.detach().to(torch.float16 if half and weight.is_floating_point()
                                                   else weight.dtype, copy=True)
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise CheckpointError(f'{name} in {source} holds values beyond 65504, the largest of fp16: convert '
                                  'without --half.')
    return stored


def summary(content: Mapping, key: str | None, weights: Mapping[str, Tensor]) -> str:
    """What a container is, and what was taken from it.

    Args:
        content: see `load_container`.
        key: see `key_of_weights`.
        weights: see `read_weights`.
    """
    group = content if key is None else content[key]
    prefix = _tensors(group)[0].removesuffix(next(iter(weights)))
    where = 'a plain state_dict' if key is None else f'weights under {key}'
    if key == 'state_dict' and 'pytorch-lightning_version' in content:
        where = f'a Lightning checkpoint, {where}'
    return (f'{where}{f", prefix {prefix} removed" if prefix else ""}; {len(weights)} entries, '
            f'{sum(weight.numel() for weight in weights.values()):,} values')


def _dropped(content: Mapping, taken: set) -> list[str]:
    """What of the container is not written, with its size where it holds tensors."""
    sizes = {name: _size(value) for name, value in content.items() if name not in taken}
    return [f'{name} ({_readable(size)})' if size else str(name) for name, size in sizes.items()]


def _size(value: Any) -> int:
    """Bytes of all tensors in a nested value."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, (list, tuple)) else ()
    return sum(map(_size, parts))


def _readable(size: int) -> str:
    return f'{size / 2**20:.1f} MB' if size >= 2**20 else f'{-(-size // 2**10)} KB'


if __name__ == '__main__':
    sys.exit(main())
