"""`--force_yml`: options of a file overridden on the command line."""
import difflib
import re
from typing import Any

from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.methods.presets import expand_method, with_method
from basicsr_unlearn.options.loader import load_yaml
from basicsr_unlearn.options.option_file import load_option_file


def override(opt: dict, entries: list[str]) -> None:
    """Apply `--force_yml` entries `key:key=value` to `opt`, values written as in the option file or as 1e-4.

    Raises:
        OptionError: an entry without `=`, a value that is no YAML, or a key that the option file does not have.
    """
    for entry in entries:
        keys, equals, text = entry.partition('=')
        entry = _echo(entry)
        *path, last = (key.strip() for key in keys.split(':'))
        if not equals:
            raise OptionError(f"--force_yml {entry} has no '=': write it as train:total_iter=100.")
        block: Any = opt
        for key in path:
            block = block[_existing(block, key, entry)]
        block[_existing(block, last, entry)] = _value(text.strip(), entry)


def read_options(path: str, entries: list[str]) -> dict:
    """The options of a file with its method spelt out and `--force_yml` entries applied. Raises OptionError.

    A method named by an entry takes the place of the file's own parts; the other entries override what comes out.
    """
    opt = load_option_file(path)
    for other, key in (('audit', 'networks'), ('benchmark', 'methods')):
        if key in opt and 'model_type' not in opt:
            raise OptionError(f'{path} has no model_type but {key}: it is for basicsr-unlearn {other} -opt {path}.')
    names = method_entries(entries)
    for entry in names:
        opt = with_method(opt, _value(entry.partition('=')[2].strip(), _echo(entry)))
    opt = expand_method(opt)
    override(opt, [entry for entry in entries if entry not in names])
    return opt


def method_entries(entries: list[str]) -> list[str]:
    """Those `--force_yml` entries that name a method."""
    return [entry for entry in entries if entry.partition('=')[0].replace(' ', '') == 'train:method']


def named_method(path: str, entries: list[str]) -> str | None:
    """The preset that an option file or the last of its `--force_yml` entries names, None where there is none."""
    forced = [entry.partition('=')[2].strip() for entry in method_entries(entries)]
    return forced[-1] if forced else (load_option_file(path).get('train') or {}).get('method')


def _existing(block: Any, key: str, entry: str) -> str | int:
    if isinstance(block, list) and key.isdigit() and int(key) < len(block):
        return int(key)
    if isinstance(block, dict) and key in block:
        return key
    near = difflib.get_close_matches(key, block, 1) if isinstance(block, dict) else []
    raise OptionError(f"--force_yml {entry}: the option file has no '{key}' there; "
                      + (f"did you mean '{near[0]}'?" if near else 'only options that it has can be overridden.'))


def _echo(entry: str) -> str:
    """An entry as errors show it."""
    entry = entry if entry.isprintable() else ascii(entry)[1:-1]
    return entry if len(entry) <= 100 else f'{entry[:97]}...'


def _value(text: str, entry: str) -> Any:
    if re.fullmatch(r'[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+', text):  # YAML 1.1 takes 1e-4 for text
        return float(text)
    if text.lower() == 'none':  # as BasicSR does
        return None
    return load_yaml(text, f'--force_yml {entry}')
