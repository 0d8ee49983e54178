"""Which network a checkpoint is, found from its weights, from flags and by trying."""
import argparse
import re
from collections.abc import Callable, Mapping
from inspect import Parameter, signature
from typing import Any

from torch import Tensor

from basicsr_unlearn.cli.convert import key_of_weights, summary
from basicsr_unlearn.cli.run_flags import named_network
from basicsr_unlearn.engine.trial import Trial
from basicsr_unlearn.errors import CheckpointError, OptionError
from basicsr_unlearn.options.section_checks import registered
from basicsr_unlearn.zoo.checkpoint import load_container, read_weights, resolve_checkpoint
from basicsr_unlearn.zoo.detection import describe, describe_foreign, foreign, unlike_all, untold
from basicsr_unlearn.zoo.family import FAMILIES

Note = Callable[[str, str], None]


def find_network(args: argparse.Namespace, note: Note) -> tuple[Trial, dict[str, tuple]]:
    """The network of --checkpoint, and those of its settings that only a trial on images can tell.

    Raises:
        CheckpointError: it cannot be read, or is of no known network.
        OptionError: the network restores no single RGB images, or does not work with the settings of --network.
    """
    path = resolve_checkpoint(args.checkpoint)
    weights = read_weights(path, args.param_key)
    content = load_container(path)
    key = key_of_weights(content, args.param_key)
    also = ' (params_ema is there too: --param_key params_ema)' if key == 'params' and 'params_ema' in content else ''
    note('Checkpoint', f'{args.checkpoint}: {summary(content, key, weights)}{also}')
    given = named_network(args.network)
    # what a package of one's own registers may have the names and shapes of another network
    found = describe_foreign(weights) if args.plugin and foreign() else describe(weights)
    if found is not None and given.get('type', found['type']) == found['type']:
        network, source = {**found, **given}, 'from the shapes of its weights'
    elif 'type' in given:
        network, source = given, 'as --network says'
    else:
        raise CheckpointError(f'{path}: {_unknown(args.plugin, weights)}')
    if network['type'] in FAMILIES and FAMILIES[network['type']].frames:
        raise OptionError(f'{path} is of {network["type"]}, which restores video: only networks that take and return '
                          'single images can forget here.')
    try:
        trial = Trial(network, weights, path, args.metric)
    except (OptionError, CheckpointError) as error:  # which speak of the option file
        raise type(error)(re.sub(r'network_g(\.type)?', '--network', str(error))) from error
    size = f', and needs sides that are multiples of {trial.multiple}' if trial.multiple > 1 else ''
    note('Network', f'{_in_words(network)} ({source}); scale {trial.scale}{size}')
    return trial, {name: values for name, values in untold(network).items() if name not in given}


def _unknown(plugin: str | None, weights: Mapping[str, Tensor]) -> str:
    """What to do about a network that no detection knows."""
    if plugin is None or not foreign():
        return f'{unlike_all(weights)}. Name the package that registers its architecture: --plugin PACKAGE.'
    package = plugin.partition('.')[0]
    there = [(name, cls) for name, cls in foreign() if cls.__module__.partition('.')[0] == package] or foreign()
    listed = ', '.join(f'{name}{_arguments(cls)}' for name, cls in there)
    return (f'{plugin} registers {listed}, which with default settings does not fit: name the architecture and its '
            f'settings, such as --network {there[0][0]} KEY=VALUE.')


def _arguments(cls: type) -> str:
    """(width, depth=3) of the constructor."""
    parameters = [parameter.replace(annotation=Parameter.empty) for parameter in signature(cls).parameters.values()]
    return f'({", ".join(map(str, parameters))})'


def settle(trial: Trial, open_settings: Mapping[str, tuple], block: Mapping[str, Any], note: Note) -> None:
    """Take those values of settings without a trace in the weights that restore a validation set best."""
    if not open_settings:
        return
    (best, score), *others = trial.best_of(open_settings, block)
    shown = trial.yardstick.shown
    words = '; '.join(f'{_values(settings)} {shown(value)}' for settings, value in others)
    note('Setting', f'{_values(best)}, which its weights do not tell: on two images it restores best, {shown(score)} '
         f'({words}; --network KEY=VALUE sets another)')


def _values(settings: Mapping[str, Any]) -> str:
    return ', '.join(f'{name} {"~" if value is None else value}' for name, value in settings.items())


def _in_words(network: Mapping[str, Any]) -> str:
    """The type and its settings, but for three channels, and for words and switches that are the defaults."""
    parameters: Mapping[str, Parameter] = signature(registered('network', network['type'], '--network')).parameters
    settings = {name: value for name, value in network.items() if name != 'type' and not (
        value == 3 and 'ch' in name or isinstance(value, (bool, str)) and name in parameters
        and parameters[name].default == value)}
    return f'{network["type"]}' + (f', {_values(settings)}' if settings else '')
