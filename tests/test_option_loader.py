"""Reading option files of unknown origin: nothing that they name is run, by no command; a plugin of one's own still is
imported."""
import re
import sys
from pathlib import Path

import pytest
import yaml
from basicsr.utils.options import ordered_yaml

from basicsr_unlearn.cli import commands as cli
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.options.loader import load_yaml
from basicsr_unlearn.options.option_file import load_option_file
from basicsr_unlearn.options.option_text import option_text

OPTIONS = Path(__file__).resolve().parents[1] / 'options'
COMMANDS = {'train': 'unlearn_haze.yml', 'test': 'test_unlearn.yml', 'show': 'unlearn_haze.yml',
            'audit': 'audit_haze.yml', 'benchmark': 'benchmark_nafnet.yml', 'demo': 'unlearn_haze.yml'}
PLUGIN = re.compile(r'^plugin: .*$', re.MULTILINE)
TOUCH = "!!python/object/apply:os.system ['touch marker']"


def in_place_of_plugin(new: str):
    return lambda text: PLUGIN.sub(lambda _: new, text, count=1)


def appended(new: str):
    return lambda text: f'{text}\n{new}\n'


HOSTILE = {
    'plugin': in_place_of_plugin(f'plugin: {TOUCH}'),
    'plugin, new object': in_place_of_plugin("plugin: !!python/object/new:os.system ['touch marker']"),
    'plugin, module': in_place_of_plugin("plugin: !!python/module:makes_the_marker ''"),
    'plugin, list': in_place_of_plugin(f'plugin: [{TOUCH}]'),
    'top level': appended(f'extra: {TOUCH}'),
    'nested': appended(f'extra: {{a: {{b: {{c: {TOUCH}}}}}}}'),
    'list': appended(f'extra: [1, [{TOUCH}]]'),
    'key': appended(f'? {TOUCH}\n: 1'),
    'name elsewhere': appended("extra: !!python/name:makes_the_marker.x ''"),
    'nested plugin': appended("extra: {plugin: !!python/name:makes_the_marker.x ''}"),
    'full tag': appended(f"extra: !<tag:yaml.org,2002:{TOUCH[2:].split()[0]}> ['touch marker']"),
    'anchor': appended(f'extra: &a {TOUCH}\nmore: *a'),
    'tag handle': lambda text: '%TAG !x! tag:yaml.org,2002:python/object/apply:\n---\n' + appended(
        "extra: !x!os.system ['touch marker']")(text),
}


@pytest.fixture
def hostile_folder(in_tmp_path, monkeypatch) -> Path:
    """The current directory, on the path of modules, with a module that leaves a marker when it is imported."""
    (in_tmp_path / 'makes_the_marker.py').write_text("open('marker', 'w').close()\nx = 1\n", encoding='utf-8')
    monkeypatch.syspath_prepend(str(in_tmp_path))
    yield in_tmp_path
    sys.modules.pop('makes_the_marker', None)


@pytest.mark.parametrize('command', COMMANDS)
@pytest.mark.parametrize('variant', HOSTILE)
def test_no_command_runs_what_an_option_file_names(command, variant, hostile_folder, capsys):
    hostile = HOSTILE[variant]((OPTIONS / COMMANDS[command]).read_text(encoding='utf-8'))
    Path('hostile.yml').write_text(hostile, encoding='utf-8')
    before = sorted(hostile_folder.rglob('*'))
    assert cli.main([command, '-opt', 'hostile.yml']) == 2
    out, err = capsys.readouterr()
    assert sorted(hostile_folder.rglob('*')) == before  # no marker, nothing else
    assert out == '' and err.count('\n') == 1 and err.startswith('Error: Line ')
    line = int(re.match(r'Error: Line (\d+) of the option file hostile.yml', err)[1])
    tag = re.search(r'!!python/\S+?(?=,)', err)[0]
    assert 'marker' in hostile.splitlines()[line - 1] and tag.rpartition('/')[2].split(':')[-1] in hostile


@pytest.mark.parametrize('command', ['train', 'test', 'show', 'audit'])
def test_no_override_runs_anything(command, hostile_folder, capsys):
    code = cli.main([command, '-opt', str(OPTIONS / COMMANDS[command]), '--force_yml', f'name={TOUCH}'])
    assert code == 2 and not Path('marker').exists()
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and '--force_yml' in err and '!!python/object/apply:os.system' in err


def test_the_trap_springs_where_it_is_not_guarded(hostile_folder):
    yaml.load(f'a: {TOUCH}', Loader=ordered_yaml()[0])  # noqa: S506
    assert Path('marker').exists()


def test_a_plugin_of_ones_own_is_imported_and_named(hostile_folder, capsys):
    Path('their_package.py').write_text("""
from basicsr.utils.registry import LOSS_REGISTRY
@LOSS_REGISTRY.register()
class LossOfTheirPackage:
    def __init__(self, strength):
        pass
    def forward(self, pred, target):
        pass
__version__ = '1'
""", encoding='utf-8')
    text = in_place_of_plugin("plugin: !!python/name:their_package.__version__ ''")(
        (OPTIONS / 'unlearn_haze.yml').read_text(encoding='utf-8'))
    start, end = text.index('    type: GradientAscentLoss'), text.index('  adversarial_opt:')
    Path('own.yml').write_text(f'{text[:start]}    type: LossOfTheirPackage\n    strength: 2\n{text[end:]}',
                               encoding='utf-8')
    try:
        assert cli.main(['show', '-opt', 'own.yml']) == 0
    finally:
        sys.modules.pop('their_package', None)
        from basicsr.utils.registry import LOSS_REGISTRY
        LOSS_REGISTRY._obj_map.pop('LossOfTheirPackage', None)
    out, err = capsys.readouterr()
    assert err.count('\n') == 1 and 'their_package' in err and 'own.yml' in err
    assert "plugin: !!python/name:their_package.__version__ ''\n" in out and 'LossOfTheirPackage' in out


def test_our_own_package_is_not_worth_a_word(capsys):
    assert load_option_file(str(OPTIONS / 'unlearn_haze.yml'))['plugin'] == 'basicsr_unlearn.plugin.__version__'
    assert capsys.readouterr() == ('', '')


@pytest.mark.parametrize('name, words', [
    ('no_such_package.x', 'no_such_package'), ('fails.x', 'ZeroDivisionError'), ('fine.y', 'fine has no y'),
    ('fine', 'no package'), ('.fine', 'no package'),
])
def test_a_plugin_that_cannot_be_imported(name, words, hostile_folder):
    Path('fails.py').write_text('1 / 0\n')
    Path('fine.py').write_text('x = 1\n')
    Path('a.yml').write_text(f"plugin: !!python/name:{name} ''\n")
    with pytest.raises(OptionError) as caught:
        load_option_file('a.yml')
    assert words in str(caught.value) and 'a.yml' in str(caught.value) and '\n' not in str(caught.value)


def test_values_are_those_of_the_loader_of_basicsr():
    for path in OPTIONS.glob('*.yml'):
        theirs = yaml.load(path.read_text(encoding='utf-8'), Loader=ordered_yaml()[0])  # noqa: S506
        ours = load_option_file(str(path))
        del theirs['plugin'], ours['plugin']
        assert ours == theirs and list(ours) == list(theirs) and type(ours) is type(theirs)


def test_option_text_is_read_back():
    opt = load_option_file(str(OPTIONS / 'unlearn_haze.yml'))
    assert load_yaml(option_text(opt), 'it', plugin=True) == opt


ALIASES = 'a0: &a0 [1]\n' + ''.join(f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 10)}]\n' for i in range(1, 10))


@pytest.mark.parametrize('string, words', [
    ('a: 2001-99-99', 'Line 1 .*2001-99-99'),
    ('\na: !!int x', 'Line 2 .*x is no int'),
    ('a: !!bool x', 'x is no bool'),
    ('a: !!binary x', '!!binary'),
    ('a: !mine x', 'the tag !mine'),
    ('a: 1' + '0' * 5000, 'Line 1 .*5001 characters'),
    ('a: b/' + 'x' * 300, 'Line 1 .*302 characters'),
    ('a: "x\\0"', r"Line 1 .*'\\x00'"),
    ('? [a]\n: b', 'Line 1 .*key'),
    ('a: 1\n25: b', 'Line 2 .*key .*25'),
    ('a: &x [*x]', 'Line 1 .*&x'),
    ('a: ' + '[' * 60, 'more than 50 blocks'),
    ('[' * 100_000, 'more than 50 blocks'),
    (ALIASES, 'more than 100000 values'),
    ('a: *b', 'Line 1 .*undefined alias'),
    ('a: 1\n---\nb: 1', 'Line 2'),
    ('plugin: basicsr_unlearn', 'Line 1 .*plugin'),
])
def test_what_no_option_file_needs_is_refused_by_its_line(string, words):
    with pytest.raises(OptionError) as caught:
        load_yaml(string, 'the option file x.yml', plugin=True)
    assert re.search(words, str(caught.value)), str(caught.value)
    assert 'option file x.yml' in str(caught.value) and len(str(caught.value)) < 300 and '\n' not in str(caught.value)


def test_unusual_but_honest_values_are_read():
    string = 'a: &x {ü: ~}\nb: [*x, *x]\nc: !!float 1e-4\nd: "名\u3000前.png"\ne: ' + 'x' * 255
    assert load_yaml(string, 'x') == {'a': {'ü': None}, 'b': [{'ü': None}] * 2, 'c': 1e-4, 'd': '名\u3000前.png',
                                      'e': 'x' * 255}
