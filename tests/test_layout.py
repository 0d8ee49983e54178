"""The structure of the package: arrows between folders go one way, and a name is defined once."""
import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / 'basicsr_unlearn'
# from top to bottom: a folder imports from those below it only
ORDER = ('cli', 'report', 'proof', 'engine', 'options', 'models', 'data', 'metrics', 'archs', 'zoo', 'core', 'methods')
FREE = ('core', 'methods', 'proof/attackers')  # of BasicSR and of what else a trainer may lack
STRANGERS = {'basicsr', 'cv2', 'lmdb', 'torchvision', 'tensorboard', 'matplotlib', 'skimage'}
LONGEST = 300  # lines of a file; one that is longer needs a reason
LONGER = {'archs/restormer_arch.py': 'one architecture, as published'}


def imports(path: Path) -> set[str]:
    """The modules that a file imports, names of `from ... import` included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f'{node.module}.{alias.name}' for alias in node.names}
    return found


def files(folder: str) -> list[Path]:
    return [path for path in sorted((PACKAGE / folder).rglob('*.py')) if path.name != '__init__.py']


@pytest.mark.parametrize('folder', ORDER)
def test_a_folder_imports_from_those_below_it_only(folder):
    above = ORDER[:ORDER.index(folder)]
    wrong = [f'{path.relative_to(PACKAGE)} imports {name}' for path in files(folder) for name in imports(path)
             if name.startswith(tuple(f'basicsr_unlearn.{higher}.' for higher in above))]
    assert not wrong


@pytest.mark.parametrize('folder', FREE)
def test_what_any_trainer_can_use_imports_nothing_of_basicsr(folder):
    wrong = [f'{path.relative_to(PACKAGE)} imports {name}' for path in sorted((PACKAGE / folder).rglob('*.py'))
             for name in imports(path) if name.partition('.')[0] in STRANGERS or name == 'basicsr_unlearn.plugin']
    assert not wrong


def test_every_folder_has_its_place():
    assert {path.parent.name for path in PACKAGE.glob('*/__init__.py')} == set(ORDER)


def test_files_are_short():
    lines = {str(path.relative_to(PACKAGE)): len(path.read_text(encoding='utf-8').splitlines())
             for path in PACKAGE.rglob('*.py')}
    assert {name for name, count in lines.items() if count > LONGEST} <= LONGER.keys()


def public_names(path: Path) -> set[str]:
    """The functions, classes and constants that a file defines for others."""
    found = set()
    for node in ast.parse(path.read_text(encoding='utf-8')).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name)}
    return {name for name in found if not name.startswith('_')}


def test_no_public_name_is_defined_twice():
    where: dict[str, list[str]] = {}
    for path in PACKAGE.rglob('*.py'):
        for name in public_names(path):
            where.setdefault(name, []).append(str(path.relative_to(PACKAGE)))
    twice = {name: sorted(places) for name, places in where.items() if len(places) > 1 and name != 'main'}
    assert not twice


def test_no_two_files_have_one_name():
    names = [path.name for path in PACKAGE.rglob('*.py') if path.name != '__init__.py']
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
