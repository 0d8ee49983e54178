"""A sentence with a cure for each way in which an installation is known to be broken."""
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from basicsr_unlearn import installation
from basicsr_unlearn.errors import InstallationError, UnlearnError

REPOSITORY = Path(__file__).resolve().parents[1]
NO_TORCH = "raise ModuleNotFoundError('gone', name='torch')"  # torch is imported first, so nothing slow is


def package(folder: Path, name: str, source: str = '') -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / '__init__.py').write_text(source, encoding='utf-8')
    return folder / name


@pytest.fixture
def only(monkeypatch, tmp_path):
    """Packages that were imported are out of sight, and so is all that is installed; the folder for others."""
    for name in ('basicsr', 'tensorboard', 'pkg_resources'):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setattr(sys, 'path', [str(tmp_path)])
    return tmp_path


def missing(name: str) -> ModuleNotFoundError:
    return ModuleNotFoundError(f"No module named '{name}'", name=name)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Python with the packages of a folder before all that is installed."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=folder,
                          env=dict(os.environ, PYTHONPATH=os.pathsep.join([str(folder), str(REPOSITORY)])))


# ------------------------------------------------------------------ in a process of its own

def test_a_command_says_one_sentence_and_ends_with_2(tmp_path):
    package(tmp_path, 'torch', NO_TORCH)
    for command in (['-m', 'basicsr_unlearn', '--version'], ['-m', 'basicsr_unlearn.train', '-opt', 'a.yml'],
                    [str(REPOSITORY / 'basicsr_unlearn' / 'train.py'), '-opt', 'a.yml']):
        ended = run(tmp_path, *command)
        assert ended.returncode == 2 and ended.stdout == ''
        assert len(ended.stderr.splitlines()) == 1
        assert 'pip install torch torchvision' in ended.stderr


def test_a_program_gets_an_import_error_that_it_can_catch(tmp_path):
    package(tmp_path, 'torch', NO_TORCH)
    folder = package(tmp_path, 'basicsr')
    program = 'try:\n import basicsr_unlearn.plugin\nexcept ImportError as e:\n print(type(e).__name__, e)'
    ended = run(tmp_path, '-c', program)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith('InstallationError ') and str(folder) in ended.stdout
    assert 'Restormer' in ended.stdout and 'NAFNet' in ended.stdout


# ------------------------------------------------------------------ sentences

def test_no_basicsr(only):
    sentence = installation.import_trouble(missing('basicsr'))
    assert 'BasicSR is not installed' in sentence and 'pip install --no-build-isolation "basicsr>=1.4.2"' in sentence


def test_a_basicsr_without_init_is_another_one_too(only):
    (only / 'basicsr' / 'models').mkdir(parents=True)
    assert str(only / 'basicsr') in installation.import_trouble(missing('basicsr.utils'))


@pytest.mark.parametrize('name, part', [('basicsr.version', 'checkout'), ('basicsr.archs', "'basicsr.archs'")])
def test_a_basicsr_that_is_not_whole(only, name, part):
    folder = package(only, 'basicsr')
    package(folder, 'utils')
    (folder / 'utils' / 'registry.py').touch()
    sentence = installation.import_trouble(missing(name))
    assert part in sentence and str(folder) in sentence and 'Restormer' not in sentence


@pytest.mark.parametrize('name, pip', [('yaml', 'pyyaml'), ('lmdb', 'lmdb'), ('torch', 'torch torchvision')])
def test_a_package_that_is_missing_is_named_as_pip_names_it(name, pip):
    assert f'pip install {pip}.' in installation.import_trouble(missing(name))


def test_opencv_without_a_window_system():
    error = ImportError('libGL.so.1: cannot open shared object file: No such file or directory', name='cv2')
    sentence = installation.import_trouble(error)
    assert 'libGL.so.1' in sentence and 'pip install opencv-python-headless' in sentence


def test_a_namespace_that_scipy_dropped():
    assert 'pip install "scipy<2"' in installation.import_trouble(missing('scipy.ndimage.filters'))


def test_an_error_of_our_own_or_an_unknown_one_stays_as_it_is():
    for error in (missing('basicsr_unlearn'), missing('basicsr_unlearn.core.losses.new_loss'),
                  missing('torch.nowhere'),
                  ImportError('something else')):
        assert installation.import_trouble(error) is None
        installation.explain(error)


def test_the_error_counts_as_bad_input():
    assert issubclass(InstallationError, UnlearnError) and issubclass(InstallationError, ImportError)


# ------------------------------------------------------------------ TensorBoard

def distribution(folder: Path, name: str, version: str) -> None:
    info = folder / f'{name.replace("-", "_")}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n', encoding='utf-8')


def test_two_tensorboards(only):
    distribution(only, 'tb-nightly', '2.21')
    assert installation.tensorboard_trouble() is None
    distribution(only, 'tensorboard', '2.21')
    sentence = installation.tensorboard_trouble()
    assert 'pip uninstall -y tensorboard tb-nightly' in sentence and 'pip install tb-nightly' in sentence


@pytest.mark.parametrize('source, trouble', [('import pkg_resources\n', True), ('import importlib.metadata\n', False)])
def test_setuptools_without_pkg_resources(only, source, trouble):
    distribution(only, 'setuptools', '82.0')
    (package(only, 'tensorboard') / 'default.py').write_text(source, encoding='utf-8')
    sentence = installation.tensorboard_trouble()
    assert ('82.0' in sentence and 'setuptools<82' in sentence) if trouble else sentence is None
    package(only, 'pkg_resources')
    importlib.invalidate_caches()
    assert installation.tensorboard_trouble() is None


def test_this_environment_is_whole():
    assert installation.tensorboard_trouble() is None
