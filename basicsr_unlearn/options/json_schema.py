"""The JSON schema of option files: editors complete names by it, and mark what is wrong.

`basicsr-unlearn show --schema > options/schema.json` writes it. An option file names it in its first line.
"""
import json
import os
import warnings
from pathlib import Path
from typing import Any

from basicsr_unlearn.methods.presets import method_names
from basicsr_unlearn.options.audit_sections import AuditFile
from basicsr_unlearn.options.benchmark_sections import BenchmarkFile
from basicsr_unlearn.options.components import Slot
from basicsr_unlearn.options.sections import TRAIN, OtherTrain, Run
from basicsr_unlearn.options.values import Section

# beside `method`, a block need not repeat what the preset says
FILLED_BY_METHOD = ('loss', 'edit', 'mask', 'anchor', 'optimizer')


def schema() -> dict[str, Any]:
    """The schema of what train and test, the audit and the benchmark read, with all components that are registered."""
    maker = _Maker()
    run = maker.section(Run)
    open_run = {**run, 'additionalProperties': True, 'properties': {
        **run['properties'], 'train': maker.reference('Train of another model', OtherTrain)}}
    cases = []
    for model, section in TRAIN.items():
        train = maker.reference(f'Train of {model}', section)
        cases.append(_case('model_type', model, {'properties': {'train': {'anyOf': [train, {'type': 'null'}]}}}))
    maker.definitions['Train of UnlearnModel'] |= {'anyOf': [{'required': ['method']}, {'required': ['optim_g']}]}
    maker.definitions['Train of UnlearnModel']['required'].remove('optim_g')
    maker.definitions['Train of UnlearnModel']['properties']['method']['enum'] = method_names()
    known = {'properties': {'model_type': {'enum': list(TRAIN)}}}
    return {
        '$schema': 'http://json-schema.org/draft-07/schema#',
        'title': 'Option file of basicsr_unlearn',
        'type': 'object',
        'if': {'required': ['networks'], 'not': {'required': ['model_type']}},
        'then': maker.reference('Audit', AuditFile),
        'else': {
            'if': {'required': ['methods'], 'not': {'required': ['model_type']}},
            'then': maker.reference('Benchmark', BenchmarkFile),
            'else': {'if': known, 'then': {**run, 'allOf': cases}, 'else': open_run}},
        '$defs': dict(sorted(maker.definitions.items()))}


def schema_text() -> str:
    """The file options/schema.json, a definition a line."""
    content = schema()
    definitions = ',\n'.join(f'{json.dumps(name)}: {json.dumps(body)}' for name, body in content.pop('$defs').items())
    return f'{json.dumps(content, indent=1)[:-2]},\n "$defs": {{\n{definitions}\n}}}}\n'


def schema_file() -> Path:
    """Where the schema lies: in a wheel inside the package, in a checkout beside it."""
    package = Path(__file__).resolve().parents[1]
    installed = package / 'option_files' / 'schema.json'
    return installed if installed.is_file() else package.parent / 'options' / 'schema.json'


def schema_line(folder: str | Path | None = None) -> str:
    """The first line of an option file, by which editors find the schema; from `folder` if that is in the checkout."""
    file = schema_file()
    if folder is not None and Path(folder).resolve().is_relative_to(file.parent.parent):
        return f'# yaml-language-server: $schema={Path(os.path.relpath(file, folder)).as_posix()}'
    return f'# yaml-language-server: $schema={file.as_posix()}'


class _Maker:
    """Collects the definitions that are referred to."""

    def __init__(self):
        self.definitions: dict[str, dict] = {}

    def reference(self, name: str, section: type[Section]) -> dict[str, str]:
        if name not in self.definitions:
            self.definitions[name] = {}  # while it is made: blocks lie within blocks of their kind
            self.definitions[name] = self.section(section)
        return {'$ref': f'#/$defs/{name.replace(" ", "%20")}'}

    def section(self, section: type[Section]) -> dict[str, Any]:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')  # defaults of other packages that are classes
            made = section.model_json_schema()
        for name, inner in made.pop('$defs', {}).items():
            self.definitions[name] = self._plain(inner)
        return self._plain(made)

    def _plain(self, node: Any) -> Any:
        if isinstance(node, dict) and isinstance(node.get('slot'), Slot):
            return {**self._slot(node['slot']), **{key: node[key] for key in ('description',) if key in node}}
        if isinstance(node, dict):
            return {key: self._plain(value) for key, value in node.items()
                    if not (key == 'title' and isinstance(value, str)) and not (key == 'default' and value is None)}
        return [self._plain(entry) for entry in node] if isinstance(node, list) else node

    def _slot(self, slot: Slot) -> dict[str, Any]:
        label = ' '.join(filter(None, (slot.kind, slot.term, slot.extra and slot.extra.__name__)))
        name = f'block of {label}'
        if name not in self.definitions:
            self.definitions[name] = {}
            names = sorted(slot.components())
            cases = []
            for component in names:
                label = ' '.join(filter(None, (component, slot.extra and slot.extra.__name__)))
                cases.append(_case('type', component, self.reference(label, slot.section(component))))
                if slot.kind in FILLED_BY_METHOD:
                    self.definitions[label].pop('required', None)
            self.definitions[name] = {
                'type': 'object', 'properties': {'type': {'enum': names}}, 'allOf': cases,
                **({} if slot.kind in FILLED_BY_METHOD else {'required': ['type']})}
        return {'$ref': f'#/$defs/{name.replace(" ", "%20")}'}


def _case(key: str, value: str, then: dict[str, Any]) -> dict[str, Any]:
    return {'if': {'required': [key], 'properties': {key: {'const': value}}}, 'then': then}
