"""The flags that `run` and `new` share."""
import argparse
import difflib
import importlib.util
import re
from collections.abc import Sequence
from typing import Any

from basicsr_unlearn.data.known_degradations import KNOWN
from basicsr_unlearn.engine.entry import Parser
from basicsr_unlearn.engine.trial import METRICS
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.options.loader import import_plugin, load_yaml

Source = tuple[str | None, list[str]]  # a known degradation or None, and its folder or the two of pairs


def parser_of(command: str, description: str) -> Parser:
    """A parser of the shared flags."""
    parser = Parser(prog=f'basicsr-unlearn {command}', description=description,
                    epilog=f'KIND is one of {", ".join(KNOWN)}. clean: as they are, or downscaled at scales above 1.')
    parser.add_argument('--checkpoint', required=True, metavar='NET.pth', help='the network, in any container')
    parser.add_argument('--forget', required=True, nargs='+', metavar='FOLDER', help='what it is to lose: a folder of '
                        'degraded and one of clean images (KIND:FOLDER FOLDER says what they show), or KIND:FOLDER '
                        'with clean images only')
    parser.add_argument('--keep', action='append', nargs='+', metavar='WHAT', help='what it is to keep: KIND,KIND '
                        'made of the clean images of --forget, KIND:FOLDER, or pairs of folders. Default: each KIND '
                        'that the network restores')
    parser.add_argument('--method', default='calibrated', metavar='NAME', help='default calibrated; '
                        '`basicsr-unlearn methods` lists them')
    parser.add_argument('--metric', choices=METRICS, default='psnr', help='what forgetting is judged by; default psnr')
    parser.add_argument('--steps', type=_whole, metavar='N', help='default 200, or 4000 where the method resets '
                        'weights')
    parser.add_argument('--batch', type=_whole, default=8, metavar='N', help='forget samples a step; default 8')
    parser.add_argument('--patch', type=_whole, metavar='N', help='training patch in pixels of the degraded image; '
                        'default 64')
    parser.add_argument('--plugin', metavar='PACKAGE', help='a package of your own that registers the network')
    parser.add_argument('--network', nargs='+', metavar=('TYPE', 'KEY=VALUE'), help='the network and settings that its '
                        'weights do not tell')
    parser.add_argument('--param_key', metavar='KEY', help='the name of the weights in the checkpoint')
    parser.add_argument('--pair_list', metavar='FILE', help='pairs of the forget set, a line each: degraded, clean')
    parser.add_argument('--opt', metavar='FILE.yml', help='the option file to write; by default named after what is '
                        'forgotten and the checkpoint')
    parser.add_argument('--force', action='store_true', help='overwrite files')
    return parser


def _whole(string: str) -> int:
    if not string.isdigit() or int(string) < 1:
        raise argparse.ArgumentTypeError(f"'{string}' is no whole number from 1")
    return int(string)


def forget_source(values: Sequence[str]) -> Source:
    """What --forget names; of pairs the degradation may be said too, as in haze:input target. Raises OptionError."""
    kind, folder = _kind_and_folder(values[0])
    if len(values) != 2 and (len(values) > 2 or kind is None):
        raise OptionError(f'--forget {" ".join(values)}: give a folder of degraded images and one of clean images, or '
                          f'KIND:FOLDER with clean images only, such as haze:{values[0]}.')
    return kind, [folder, *values[1:]]


def keep_sources(values: Sequence[Sequence[str]]) -> list[Source]:
    """What all --keep name: known degradations without a folder are made of the forget set's clean images.

    Raises:
        OptionError: an unknown word, or a folder without its partner.
    """
    found: list[Source] = []
    folders: list[str] = []
    for value in [value for entry in values for value in entry]:
        kind, folder = _kind_and_folder(value)
        words = [word.strip() for word in value.split(',')]
        if kind is not None:
            found.append((kind, [folder]))
        elif all(word in KNOWN for word in words):
            found += [(word, []) for word in words]
        else:
            folders.append(value)
    if len(folders) % 2:
        near = difflib.get_close_matches(folders[-1].split(',')[-1], KNOWN, 1)
        raise OptionError(f'--keep {folders[-1]} is no KIND ({", ".join(KNOWN)})'
                          + (f' (did you mean {near[0]}?)' if near else '') + ', and as a folder it has no partner: '
                          'give a folder of degraded images and one of clean images.')
    return found + [(None, folders[i:i + 2]) for i in range(0, len(folders), 2)]


def _kind_and_folder(value: str) -> tuple[str | None, str]:
    match = re.fullmatch(r'(\w+):(.+)', value)
    if match is None:
        return None, value
    if match[1] not in KNOWN:
        near = difflib.get_close_matches(match[1], KNOWN, 1)
        raise OptionError(f'{value}: {match[1]} is no known degradation: '
                          + (f'did you mean {near[0]}?' if near else f'use one of {", ".join(KNOWN)}.'))
    return match[1], match[2]


def named_network(values: Sequence[str] | None) -> dict[str, Any]:
    """The block that --network gives: `type`, unless it begins with a setting. Raises OptionError."""
    block: dict[str, Any] = {}
    for index, value in enumerate(values or ()):
        key, equals, string = value.partition('=')
        if not equals and index == 0:
            block['type'] = value
        elif not equals or not key.isidentifier():
            raise OptionError(f"--network {value} has no '=': write settings as width=32 or heads=[1,2,4,8].")
        else:
            block[key] = load_yaml(string, f'--network {value}')
    return block


def imported_plugin(package: str | None) -> str | None:
    """Import the package of --plugin; the attribute of it that the tag of an option file names. Raises OptionError."""
    if package is None:
        return None
    try:
        found = importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise OptionError(f'--plugin {package}: there is no such package here. Install it (pip install -e FOLDER), or '
                          'put the folder that it lies in on PYTHONPATH.')
    import_plugin(f'{package}.__name__', 'the command line')
    return f'{package}.__name__'
