"""What the README and the docs show works: commands parse, files are there, Python runs, the site builds."""
import doctest
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY

from basicsr_unlearn.cli.commands import COMMANDS, main
from basicsr_unlearn.core.parts import ANCHORS, EDITS, MASKS
from basicsr_unlearn.engine.entry import Parser
from basicsr_unlearn.options.loader import import_plugin, load_yaml
from basicsr_unlearn.proof.audit.measuring import MEASUREMENTS
from basicsr_unlearn.zoo.family import FAMILIES

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (
    *ROOT.glob('*.md'), *ROOT.glob('docs/**/*.md'), *(ROOT / folder / 'README.md' for folder in (
        'options', 'datasets', 'basicsr_unlearn/zoo'))))
READ = {page: (ROOT / page).read_text(encoding='utf-8') for page in PAGES}
# <!-- not run: REASON --> above a block of Python leaves it out
BLOCK = re.compile(r'(?:<!-- (not run): [^>]+ -->\n+)?^( *)```(\w*)[^\n]*\n(.*?)^\2```', re.MULTILINE | re.DOTALL)
FOLDERS = ('options/', 'basicsr_unlearn/', 'tests/', 'docs/', 'datasets/create_lmdb')


def blocks(page: str, *languages: str) -> list[tuple[str, str]]:
    """(string, 'not run' or '') of each fenced block in one of these languages."""
    return [(re.sub(rf'^{indent}', '', string, flags=re.MULTILINE), mark)
            for mark, indent, language, string in BLOCK.findall(READ[page]) if language in languages]


def commands(page: str) -> list[str]:
    """Each command line in a block without a language or within backticks, continuation lines joined."""
    lines = [line for string, _ in blocks(page, '', 'sh', 'bash', 'console')
             for line in re.sub(r'\\\n\s*', '', string).splitlines()]
    lines += [' '.join(code.split()) for code in re.findall(r'`(basicsr-unlearn [^`]+)`', READ[page])]
    return [line.strip().removeprefix('$ ') for line in lines
            if re.match(r'\s*(\$ )?(basicsr-unlearn|python|make|torchrun) ', line)]


def arguments(line: str) -> list[str]:
    """Words of a command line without its comment, variables filled in by nothing, and trailing dots."""
    words = shlex.split(re.sub(r'\$\w+', '', line), comments=True)
    return [word for word in words if word != '...']


ALL_COMMANDS = sorted({(page, line) for page in PAGES for line in commands(page)})


class ParsedError(Exception):
    """The command line was understood; the command itself is not run."""


@pytest.mark.parametrize('page, line', ALL_COMMANDS, ids=[f'{page}-{i}' for i, (page, _) in enumerate(ALL_COMMANDS)])
def test_commands_parse_and_name_files_that_are_there(page, line, monkeypatch):
    words = arguments(line)
    for word in re.split(r'[\s=+]', ' '.join(words)):
        if word.startswith(FOLDERS):
            assert (ROOT / word).exists(), f'{page} names {word}, which is not there'
    if words[0] == 'make':
        targets = re.findall(r'^([a-z]+):', (ROOT / 'Makefile').read_text('utf-8'), re.MULTILINE)
        assert words[1] in targets, line
        return
    scripts = [i for i, word in enumerate(words) if word in ('basicsr_unlearn/train.py', 'basicsr_unlearn/test.py')]
    if scripts:
        words = [Path(words[scripts[0]]).stem, *words[scripts[0] + 1:]]
    elif words[0] == 'basicsr-unlearn':
        words = words[1:]
    else:
        return
    assert words[0] in COMMANDS or words[0] == '--version', line
    parse_args = Parser.parse_args

    def parsed(self, *args, **kwargs):
        parse_args(self, *args, **kwargs)
        raise ParsedError

    monkeypatch.setattr(Parser, 'parse_args', parsed)
    if len(words) > 1 and words[-1] != '--help':
        with pytest.raises(ParsedError):
            if main(words):
                pytest.fail(f'{page}: {line} is not understood')


@pytest.mark.parametrize('page', PAGES)
def test_option_files_and_yaml_blocks_are_what_they_seem(page):
    for name in set(re.findall(r'`(?:options/)?((?:un|t)\w+_\w+\.yml)`', READ[page])):
        assert (ROOT / 'options' / name).is_file(), f'{page} names {name}'
    for string, _ in blocks(page, 'yaml'):
        try:
            yaml.compose(string)
        except yaml.YAMLError as error:
            pytest.fail(f'{page}: {error}')


@pytest.fixture
def registries():
    """What the docs register is gone after the test."""
    tables = [MASKS, EDITS, ANCHORS, FAMILIES, MEASUREMENTS] + [registry._obj_map for registry in (
        ARCH_REGISTRY, DATASET_REGISTRY, LOSS_REGISTRY, METRIC_REGISTRY)]
    before = [dict(table) for table in tables]
    yield
    for table, content in zip(tables, before):
        table.clear()
        table.update(content)


@pytest.mark.parametrize('page', [page for page in PAGES if blocks(page, 'python')])
def test_python_blocks_run(page, in_tmp_path, registries):
    """Those of a page one after the other; with >>> they are doctests, with a comment of a path on top a file."""
    names = {'__name__': 'docs'}
    for string, mark in blocks(page, 'python'):
        if mark or re.match(r'# (\S+[.]py)\n', string) or string.startswith('--8<--'):  # a file, with tests of its own
            continue
        if '>>> ' not in string:
            exec(compile(string, page, 'exec'), names)
            continue
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        test = doctest.DocTestParser().get_doctest(string, names, page, page, 0)
        runner.run(test, clear_globs=False)
        names = test.globs
        assert runner.summarize(verbose=False).failed == 0


def test_the_package_of_the_docs_brings_its_network_by_the_plugin_tag(in_tmp_path, registries, monkeypatch, capsys):
    for string, _ in blocks('docs/package.md', 'python'):
        path = in_tmp_path / re.match(r'# (\S+[.]py)\n', string)[1]
        path.parent.mkdir(exist_ok=True)
        path.write_text(string, encoding='utf-8')
    monkeypatch.syspath_prepend(str(in_tmp_path))
    tag = re.search(r'^plugin: .*$', READ['docs/package.md'], re.MULTILINE)[0]
    assert 'mynets' in tag
    import_plugin(load_yaml(tag, 'the page', plugin=True)['plugin'], 'the page')
    assert ARCH_REGISTRY.get('TinyRestorer')(width=4).enter.out_channels == 4


@pytest.mark.parametrize('page', [page for page in PAGES if not page.startswith('docs/')])
def test_links_between_files_lead_somewhere(page):
    """What the site does not check: it holds docs/ alone."""
    for target in re.findall(r'\]\(([^)\s]+)\)', READ[page]):
        if not re.match(r'https?:|#', target):
            assert (ROOT / page).parent.joinpath(target.partition('#')[0]).exists(), f'{page} links to {target}'


@pytest.mark.skipif(importlib.util.find_spec('mkdocs') is None or importlib.util.find_spec('material') is None,
                    reason="MkDocs is not installed: pip install -e '.[docs]'")
def test_the_site_builds_without_a_broken_link(tmp_path):
    run = subprocess.run([sys.executable, '-m', 'mkdocs', 'build', '--strict', '--site-dir', str(tmp_path / 'site')],
                         cwd=ROOT, capture_output=True, text=True, env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert run.returncode == 0, run.stderr
    pages = {path.stem: path.read_text(encoding='utf-8') for path in (tmp_path / 'site').glob('*.html')}
    for path in (ROOT / 'basicsr_unlearn' / 'methods').glob('*.yml'):
        assert f'id="{path.stem}"' in pages['methods']
    for name, page in pages.items():  # it needs no network
        for address in re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:[^"]+)"', page):
            pytest.fail(f'{name}.html loads {address}')
