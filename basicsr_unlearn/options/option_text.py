"""Options as text, the way option files are written."""
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import yaml


class _Dumper(yaml.SafeDumper):
    """A line for each option, `~` for none, lists of values in brackets, floats that YAML 1.1 reads as numbers."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _list(dumper: _Dumper, items: list) -> yaml.Node:
    return dumper.represent_sequence('tag:yaml.org,2002:seq', items,
                                     flow_style=not any(isinstance(item, (Mapping, list)) for item in items))


def _float(dumper: _Dumper, value: float) -> yaml.Node:
    text = repr(value)
    if 'e' in text and '.' not in text:  # 1e-4 would be read as text
        text = text.replace('e', '.0e')
    return dumper.represent_scalar('tag:yaml.org,2002:float', text)


_Dumper.add_representer(list, _list)
_Dumper.add_representer(tuple, _list)
_Dumper.add_representer(float, _float)
_Dumper.add_representer(OrderedDict, lambda dumper, items: dumper.represent_mapping('tag:yaml.org,2002:map',
                                                                                    items.items()))
_Dumper.add_representer(type(None), lambda dumper, _: dumper.represent_scalar('tag:yaml.org,2002:null', '~'))


def plugin_line(plugin: str | list[str]) -> str:
    """The line of the plugin tag, or of several."""
    names = [plugin] if isinstance(plugin, str) else plugin
    if len(names) == 1:
        return f"plugin: !!python/name:{names[0]} ''\n"
    return 'plugin: [' + ', '.join(f"!!python/name:{name} ''" for name in names) + ']\n'


def option_text(options: Mapping[str, Any]) -> str:
    """YAML of options, sections apart, ending with a line break; `plugin` is written as the tag."""
    parts = []
    for key, value in options.items():
        block = isinstance(value, Mapping)
        text = (plugin_line(value) if key == 'plugin' else
                yaml.dump({key: value}, Dumper=_Dumper, sort_keys=False, width=120))
        parts.append(('\n' if block and parts else '') + text)
    return ''.join(parts)
