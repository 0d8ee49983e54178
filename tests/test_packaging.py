import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

import basicsr_unlearn
from basicsr_unlearn.cli.commands import main
from basicsr_unlearn.version import __version__

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='module')
def source(tmp_path_factory) -> Path:
    """A copy of the repository, with a part of its tests."""
    folder = tmp_path_factory.mktemp('source')
    for name in ('basicsr_unlearn', 'options', 'tests/test_engine'):
        shutil.copytree(REPOSITORY / name, folder / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'LICENSE', 'README.md', 'CHANGELOG.md', 'Makefile'):
        shutil.copy(REPOSITORY / name, folder)
    return folder


def built(source: Path, target: Path, what: str) -> Path:
    """What setuptools builds from these sources, without network: 'wheel' or 'sdist'."""
    code = f'from setuptools import build_meta; build_meta.build_{what}({str(target)!r})'
    subprocess.run([sys.executable, '-c', code], cwd=source, check=True, capture_output=True)
    return next(path for path in target.iterdir() if path.suffix in ('.whl', '.gz'))


@pytest.fixture(scope='module')
def wheel(source, tmp_path_factory) -> Path:
    return built(source, tmp_path_factory.mktemp('wheel'), 'wheel')


def test_a_source_archive_carries_what_make_needs_and_what_it_is_built_from(source, tmp_path):
    with tarfile.open(built(source, tmp_path, 'sdist')) as archive:
        names = {name.partition('/')[2] for name in archive.getnames()}
    assert {'Makefile', 'CHANGELOG.md', 'README.md', 'LICENSE', 'setup.py', 'basicsr_unlearn/py.typed',
            'basicsr_unlearn/zoo/nafnet_allinone.pth', 'options/unlearn_haze.yml',
            'tests/test_engine/test_cli.py'} <= names


def test_the_wheel_carries_all_that_runs_outside_a_checkout(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, pattern, place in (('options', '*.yml', 'basicsr_unlearn/option_files'),
                                   ('basicsr_unlearn', '**/*.py', 'basicsr_unlearn'),
                                   ('basicsr_unlearn', '**/*.html', 'basicsr_unlearn'),
                                   ('basicsr_unlearn', '**/*.css', 'basicsr_unlearn'),
                                   ('basicsr_unlearn', '**/*.yml', 'basicsr_unlearn'),
                                   ('basicsr_unlearn', 'py.typed', 'basicsr_unlearn'),
                                   ('basicsr_unlearn', 'zoo/*.*', 'basicsr_unlearn')):
        paths = list((REPOSITORY / folder).glob(pattern))
        assert paths
        for path in paths:
            assert f'{place}/{path.relative_to(REPOSITORY / folder).as_posix()}' in names
    assert not any(name.startswith(('tests', 'options/', 'datasets/')) for name in names)


def test_the_metadata_name_the_requirements_that_work_together(wheel):
    with zipfile.ZipFile(wheel) as archive:
        folder = f'basicsr_unlearn-{__version__}.dist-info'
        metadata = message_from_bytes(archive.read(f'{folder}/METADATA'))
        scripts = archive.read(f'{folder}/entry_points.txt').decode()
    requirements = metadata.get_all('Requires-Dist')
    assert metadata['Version'] == __version__
    assert set(metadata['Requires-Python'].split(',')) == {'>=3.10', '<3.14'}
    assert 'basicsr-unlearn = basicsr_unlearn.cli:main' in scripts
    assert 'setuptools<82,>=77.0.3' in requirements and 'scipy<2' in requirements and 'basicsr>=1.4.2' in requirements
    assert not any(requirement.startswith('tensorboard') for requirement in requirements)  # basicsr brings tb-nightly


def test_the_metadata_say_what_the_package_is_and_for_whom(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = message_from_bytes(archive.read(f'basicsr_unlearn-{__version__}.dist-info/METADATA'))
    classifiers = metadata.get_all('Classifier')
    minors = {int(minor) for minor in re.findall(r'Python :: 3[.](\d+)', ' '.join(classifiers))}
    assert minors == {10, 11, 12, 13}  # as Requires-Python says
    for topic in ('Development Status', 'Intended Audience', 'Operating System', 'Topic', 'Typing :: Typed'):
        assert any(classifier.startswith(topic) for classifier in classifiers)
    assert metadata['License'] == 'Apache-2.0' and metadata.get_all('License-File') == ['LICENSE']
    assert metadata['Summary'] and metadata['Author'] and 'machine unlearning' in metadata['Keywords']


def test_one_version_in_the_package_the_changelog_and_the_command(capsys):
    versions = re.findall(r'^## \[?(\d+[.]\d+[.]\d+)', (REPOSITORY / 'CHANGELOG.md').read_text('utf-8'), re.MULTILINE)
    assert versions[0] == __version__ == basicsr_unlearn.__version__
    assert main(['--version']) == 0
    assert capsys.readouterr().out.split() == ['basicsr_unlearn', __version__]


def test_all_places_ask_for_the_same_versions(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = message_from_bytes(archive.read(f'basicsr_unlearn-{__version__}.dist-info/METADATA'))
    asked = {re.match(r'[\w-]+', each)[0]: set(re.findall(r'[<>=]+[\d.]+', each))
             for each in metadata.get_all('Requires-Dist')}
    for name in ('README.md', 'Makefile', 'pyproject.toml', 'basicsr_unlearn/installation.py'):
        string = (REPOSITORY / name).read_text(encoding='utf-8')
        for package, limits in re.findall(r'\b(setuptools|basicsr|scipy)((?:,?[<>]=?[\d.]+)+)', string):
            assert set(limits.split(',')) <= asked[package], f'{name} asks for {package}{limits}'


def setup_py(folder: Path, python: tuple[int, int], **environment: str) -> subprocess.CompletedProcess:
    """The metadata step of a build of this package by some Python, in an environment without any package."""
    for name in ('setup.py', 'basicsr_unlearn/version.py'):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, folder / name)
    (folder / 'sitecustomize.py').write_text(f"""import site, sys
sys.version_info = {python!r} + (0, 'final', 0)
site.getsitepackages = lambda: [{str(folder / 'site-packages')!r}]
site.getusersitepackages = lambda: ''
""", encoding='utf-8')
    (folder / 'setuptools.py').write_text('setup = lambda **_: print("built")\nfind_packages = lambda **_: []\n',
                                          encoding='utf-8')
    return subprocess.run([sys.executable, '-S', '-c', "import sitecustomize, runpy; runpy.run_path('setup.py')"],
                          cwd=folder, capture_output=True, text=True, env={'PYTHONPATH': str(folder), **environment})


@pytest.mark.parametrize('python, pip, builds', [
    ((3, 12), {'PIP_BUILD_TRACKER': 'x'}, True),
    ((3, 13), {'PIP_BUILD_TRACKER': 'x'}, False),
    ((3, 13), {'PIP_BUILD_TRACKER': 'x', 'PIP_NO_DEPS': '1'}, True),  # the wheel alone
    ((3, 13), {}, True),  # another builder, which installs nothing
])
def test_pip_says_in_one_sentence_where_basicsr_cannot_be_built(tmp_path, python, pip, builds):
    run = setup_py(tmp_path, python, **pip)
    if builds:
        assert run.returncode == 0 and run.stdout == 'built\n', run.stderr
        return
    assert run.returncode == 1 and len(run.stderr.splitlines()) == 1
    assert 'BasicSR' in run.stderr and '3.13' in run.stderr and '3.12' in run.stderr and 'README.md' in run.stderr
    info = tmp_path / 'site-packages' / 'basicsr-1.4.2.dist-info'
    info.mkdir(parents=True)
    (info / 'METADATA').write_text('Metadata-Version: 2.1\nName: basicsr\nVersion: 1.4.2\n', encoding='utf-8')
    assert setup_py(tmp_path, python, **pip).stdout == 'built\n'


def test_an_installed_package_finds_its_files_from_anywhere(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / 'installed')
    (tmp_path / 'elsewhere').mkdir()
    code = ("from basicsr_unlearn.options.option_file import find_option_file;"
            "print(find_option_file('options/unlearn_haze.yml'));"
            "from basicsr_unlearn.zoo.checkpoint import resolve_checkpoint;"
            "print(resolve_checkpoint('basicsr_unlearn/zoo/nafnet_allinone.pth'))")
    run = subprocess.run([sys.executable, '-c', code], cwd=tmp_path / 'elsewhere', capture_output=True, text=True,
                         env=dict(os.environ, PYTHONPATH=str(tmp_path / 'installed')))
    assert run.returncode == 0, run.stderr
    package = tmp_path / 'installed' / 'basicsr_unlearn'
    assert run.stdout.split() == [str(package / 'option_files' / 'unlearn_haze.yml'),
                                  str(package / 'zoo' / 'nafnet_allinone.pth')]


def make(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    for name in ('Makefile', 'setup.py'):
        shutil.copy(REPOSITORY / name, folder)
    if shutil.which('make') is None:
        pytest.skip('make is not installed')
    return subprocess.run(['make', *arguments], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize('number, shown', [('309', 'Python 3.9.18'), ('313', 'Python 3.13.0')])
def test_make_refuses_a_python_that_basicsr_cannot_use(tmp_path, number, shown):
    python = tmp_path / 'some-python'
    python.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo {shown} || echo {number}\n', encoding='utf-8')
    python.chmod(0o755)
    run = make(tmp_path, 'test', f'PYTHON={python}')
    assert run.returncode != 0
    assert shown in run.stderr and 'make test PYTHON=' in run.stderr
    assert not (tmp_path / '.venv').exists()


def test_make_reuses_the_environment_until_setup_py_changes(tmp_path):
    (tmp_path / '.venv').mkdir()
    ready = tmp_path / '.venv' / '.ready'
    make(tmp_path, 'help')  # copies the files
    ready.touch()
    assert make(tmp_path, '-q', 'setup').returncode == 1  # copied anew, so younger than the stamp
    ready.touch()
    run = subprocess.run(['make', '-q', 'setup'], cwd=tmp_path, capture_output=True)
    assert run.returncode == 0
