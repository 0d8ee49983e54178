"""Doctests at the end of docstrings, which Google's style keeps in a section of their own, become that section."""
import re

import griffe

EXAMPLES = re.compile(r'(?:^|\n\n)(>>> .*?)(?=\n\n(?!>>> )|\Z)', re.DOTALL)


class Examples(griffe.Extension):
    """Puts `Examples:` above what begins with >>>."""

    def on_object(self, *, obj: griffe.Object, **_) -> None:
        if obj.docstring is not None:
            obj.docstring.value = EXAMPLES.sub(
                lambda match: '\n\nExamples:\n    ' + match[1].replace('\n', '\n    '), obj.docstring.value)
