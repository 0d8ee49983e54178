"""Files that are complete or absent."""
import json
import os
from collections.abc import Mapping
from pathlib import Path

from basicsr_unlearn.errors import OptionError


def write_json(path: str | Path, content: Mapping) -> None:
    """Write a JSON file that is complete or absent, and its folder. Raises OptionError if it cannot be written."""
    write_text(path, json.dumps(content, indent=1) + '\n')


def write_text(path: str | Path, text: str) -> None:
    """Write a text file that is complete or absent, and its folder. Raises OptionError if it cannot be written."""
    path = Path(path)
    partial = path.with_name(f'.{path.name}.partial')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding='utf-8')
        os.replace(partial, path)
    except OSError as error:
        raise OptionError(f'{path} cannot be written: {error.strerror}.') from error
