"""The option reference in Markdown: every option with its type, its default and a line on it, from the Sections."""
from typing import Any, get_args, get_origin

from basicsr_unlearn.options.audit_sections import AuditFile
from basicsr_unlearn.options.benchmark_sections import BenchmarkFile
from basicsr_unlearn.options.components import DataSet, Slot, entries, slot_of, terms_of
from basicsr_unlearn.options.sections import AirNetTrain, Run, SRTrain, UnlearnTrain
from basicsr_unlearn.options.values import Section, alternatives, hint_of, is_section, split, words

INTRO = """# Option reference

Every option of every option file, made from what the checks go by. An option without a default in its row may be left
out, unless it is **needed**. A *block* is a component with its `type`: what it takes beside that stands under its kind.
`~` means none. `basicsr-unlearn show NAME` prints one component with its documentation, formula and source.

Editors complete and check option files by their first line, `# yaml-language-server: $schema=schema.json`: VS Code with
the extension YAML by Red Hat, and PyCharm. `basicsr-unlearn show --schema > schema.json` writes the schema, with
`-opt FILE.yml` for the components of your own package too.
"""
CHAPTERS = (('An option file of train or test', '', Run), ('train of UnlearnModel', 'train', UnlearnTrain),
            ('train of SRModel', 'train', SRTrain), ('train of AirNetModel', 'train', AirNetTrain),
            ('Every data set', 'datasets.NAME', DataSet), ('An option file of the audit', '', AuditFile),
            ('A benchmark file', '', BenchmarkFile))
PLURALS = {'loss': 'Losses', 'edit': 'Edits', 'mask': 'Masks', 'anchor': 'Anchors', 'network': 'Networks',
           'data set': 'Data sets', 'degradation': 'Degradations', 'metric': 'Metrics', 'optimizer': 'Optimizers',
           'scheduler': 'Schedulers'}


def reference() -> str:
    """The page, with all components that are registered."""
    lines = [INTRO]
    for title, where, section in CHAPTERS:
        about = [line for line in _section(section, where, 3) if line != f'{title}.']
        lines += [f'## {title}', '', *about]
    for kind, plural in PLURALS.items():
        lines += [f'## {plural}', '', *_kind(kind)]
    return '\n'.join(lines).rstrip() + '\n'


def _section(section: type[Section], where: str, level: int) -> list[str]:
    """The table of a section, and below it those of the sections in it."""
    lines, inside = _table(section), []
    for name, field in section.model_fields.items():
        place = f'{where}.{name}' if where else name
        hint = hint_of(field)
        for part in alternatives(hint):
            entry = get_args(part)[-1] if get_origin(part) in (list, dict) else part
            inside += [(place + {list: '[]', dict: '.NAME'}.get(get_origin(part), ''), candidate)
                       for candidate in alternatives(entry) if is_section(candidate)]
    for place, part in inside:
        lines += [f'{"#" * level} {place}', '', *_section(part, place, level)]
    return lines


def _table(section: type[Section], without: tuple[str, ...] = ()) -> list[str]:
    rows = ['| ' + ' | '.join((f'`{name}`', *map(_cell, (_type(hint_of(field)), _default(field),
                                                         field.description or '')))) + ' |'
            for name, field in section.model_fields.items() if name not in without]
    about = [f'{section.__doc__}', ''] if section.__doc__ else []
    return [*about, *(['| option | type | default | |', '| --- | --- | --- | --- |', *rows, ''] if rows else [])]


def _kind(kind: str) -> list[str]:
    lines, others = [], []
    for name, target in sorted(entries(kind).items()):
        if kind == 'network' and target.__module__.startswith('basicsr.'):
            others.append(f'`{name}`')
            continue
        terms = [f'`{term}_opt`' for term in terms_of(target)] if kind == 'loss' else []
        if kind == 'loss' and not terms:
            continue  # of BasicSR's own models
        common = tuple(DataSet.model_fields) if kind == 'data set' else ()
        lines += [f'### {name}', '', *([f'For {", ".join(terms)}.', ''] if terms else []),
                  *_table(Slot(kind).section(name), ('type', *common))]
    return [*lines, *([f'Of BasicSR: {", ".join(others)}.', ''] if others else [])]


def _type(hint: Any) -> str:
    kind, may_be_empty = split(hint)
    told = []
    for part in alternatives(kind):
        entry = get_args(part)[-1] if get_origin(part) in (list, dict) else part
        slot = slot_of(entry)
        if slot is None:
            told.append(words(part))
        elif slot_of(part):
            told.append(f'[{_noun(slot)}](#{_anchor(slot)})')
        else:
            of = 'a list of' if get_origin(part) is list else 'by name,'
            told.append(f'{of} [{_noun(slot)}](#{_anchor(slot)}) blocks')
    return ' or '.join(told) + (' or ~' if may_be_empty else '')


def _noun(slot: Slot) -> str:
    return 'optimizer' if slot.kind.startswith('optimizer') else slot.kind


def _anchor(slot: Slot) -> str:
    return PLURALS[_noun(slot)].lower().replace(' ', '-')


def _default(field: Any) -> str:
    if field.is_required():
        return '**needed**'
    default = list(field.default) if isinstance(field.default, tuple) else field.default
    return '' if default is None else f'`{str(default).lower() if isinstance(default, bool) else default}`'


def _cell(string: str) -> str:
    return string.replace('|', r'\|').replace('<', '&lt;').replace('__', r'\_\_').replace('\n', ' ')
