"""Pages of the site that are made from the package: methods, the option reference, and files that live elsewhere."""
from pathlib import Path

import yaml
from mkdocs.structure.files import File, Files

from basicsr_unlearn.cli.methods import recommended
from basicsr_unlearn.options.reference import reference

ROOT = Path(__file__).resolve().parents[1]
METHODS = ROOT / 'basicsr_unlearn' / 'methods'
# page -> the file of the repository that it shows
SHOWN = {'changelog.md': 'CHANGELOG.md', 'contributing.md': 'CONTRIBUTING.md',
         'model-card.md': 'basicsr_unlearn/zoo/README.md', 'audit-json.md': 'basicsr_unlearn/proof/audit/SCHEMA.md'}


def on_files(files: Files, config) -> Files:
    """Add the generated pages to those that are written by hand."""
    pages = {page: (ROOT / path).read_text(encoding='utf-8').replace('](docs/', '](') for page, path in SHOWN.items()}
    pages['methods.md'] = methods_page()
    pages['option-reference.md'] = reference()
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, **_) -> str:
    """Keep a mean and its deviation on one line."""
    return markdown.replace(' ± ', '\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}')


def methods_page() -> str:
    """Every preset of methods/: a table of all, then each with its source and its parts."""
    presets = {path.stem: path for path in sorted(METHODS.glob('*.yml'))}
    read = {name: yaml.safe_load(path.read_text(encoding='utf-8')) for name, path in presets.items()}
    intro = (ROOT / 'docs' / 'methods_intro.md').read_text(encoding='utf-8')
    take = recommended().partition('\n\n')[2]  # without its heading
    lines = [intro, '', '## What to take', '', '```', take, '```', '', '## All methods', '',
             '| method | what it does | needs | cost of a step |', '| --- | --- | --- | --- |']
    lines += [f'| [`{name}`](#{name}) | {cell(method["about"])} | {cell(method["needs"])} | {cell(method["cost"])} |'
              for name, method in read.items()]
    for name, method in read.items():
        parts = presets[name].read_text(encoding='utf-8').partition('\ntrain:\n')[2]
        lines += ['', f'### `{name}` {{: #{name} }}', '', sentence(method['about']), '',
                  f'*Source:* {sentence(method["source"])} *Needs:* {method["needs"]}. *Cost:* {method["cost"]}.', '',
                  '```yaml', 'train:', parts.rstrip(), '```']
    return '\n'.join(lines) + '\n'


def cell(string: str) -> str:
    """A string within a table."""
    return string.replace('|', r'\|')


def sentence(string: str) -> str:
    """With a capital and a full stop."""
    return f'{string[:1].upper()}{string[1:]}' + ('' if string.endswith('.') else '.')
