import os
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from basicsr_unlearn.version import __version__

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """A wheel of this package, built from a copy of its sources and without network."""
    source = tmp_path_factory.mktemp('source')
    for name in ('basicsr_unlearn', 'options'):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'pyproject.toml', 'LICENSE'):
        shutil.copy(REPOSITORY / name, source)
    target = tmp_path_factory.mktemp('wheel')
    code = f'from setuptools import build_meta; build_meta.build_wheel({str(target)!r})'
    subprocess.run([sys.executable, '-c', code], cwd=source, check=True, capture_output=True)
    return next(target.glob('*.whl'))


def test_the_wheel_carries_all_that_runs_outside_a_checkout(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, pattern, place in (('options', '*.yml', 'basicsr_unlearn/option_files'),
                                   ('basicsr_unlearn', '**/*.py', 'basicsr_unlearn'),
                                   ('basicsr_unlearn', '**/*.html', 'basicsr_unlearn'),
                                   ('basicsr_unlearn', '*.css', 'basicsr_unlearn'),
                                   ('basicsr_unlearn', 'zoo/*.*', 'basicsr_unlearn')):
        for path in (REPOSITORY / folder).glob(pattern):
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


def test_an_installed_package_finds_its_files_from_anywhere(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / 'installed')
    (tmp_path / 'elsewhere').mkdir()
    code = ("from basicsr_unlearn.options import find_option_file; print(find_option_file('options/unlearn_haze.yml'));"
            "from basicsr_unlearn.checkpoint import resolve_checkpoint;"
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
