"""What an installation lacks, in one sentence with its cure, where another package would end in a traceback.

Imports the standard library alone: it is for when the rest cannot be imported.
"""
import importlib.util
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from basicsr_unlearn.errors import InstallationError

# import name -> name for pip, where they differ
PIP_NAMES = {'yaml': 'pyyaml', 'skimage': 'scikit-image', 'cv2': 'opencv-python', 'PIL': 'pillow',
             'tensorboard': 'tb-nightly', 'pkg_resources': '"setuptools<82"', 'torch': 'torch torchvision'}


def explain(error: ImportError) -> None:
    """Raise what `error` means for the person who installed this package; return if that is not known.

    Raises:
        InstallationError: in a program that imports this package.
        SystemExit: with code 2 in this package's own commands, after the sentence on stderr.
    """
    sentence = import_trouble(error)
    if sentence is None:
        return
    if _is_command():
        print(f'Error: {sentence}', file=sys.stderr, flush=True)
        raise SystemExit(2) from None
    raise InstallationError(sentence) from error


def import_trouble(error: ImportError) -> str | None:
    """Why an import failed and what to do; None if all that can be said is what the error says itself."""
    package, message = (error.name or '').partition('.')[0], str(error)
    stranger = _other_basicsr()
    if stranger is not None:
        return (f'The package basicsr in {stranger} is not BasicSR 1.4.2 or later: the repositories of Restormer and '
                'NAFNet carry one of that name; work outside of that folder, in an environment that has BasicSR alone.')
    if package == 'basicsr' and importlib.util.find_spec('basicsr') is None:
        return ('BasicSR is not installed: pip install --no-build-isolation "basicsr>=1.4.2", after the lines above '
                'that one in README.md, Install.')
    if error.name == 'basicsr.version':
        return (f'The BasicSR in {_folder("basicsr")} is a checkout that was not installed: pip install -e that folder '
                'with --no-build-isolation, or work outside of it.')
    if package == 'basicsr':
        return (f'The BasicSR in {_folder("basicsr")} cannot be used ({message}): pip install --no-build-isolation '
                '"basicsr>=1.4.2".')
    library = re.match(r'(lib\S+): cannot open shared object file', message)
    if package == 'cv2' and library:
        return (f'OpenCV needs {library[1]}, which this machine lacks: pip uninstall -y opencv-python, then '
                'pip install opencv-python-headless.')
    if error.name is not None and error.name.startswith('scipy.ndimage.'):
        return f'BasicSR imports {error.name}, which SciPy {_version("scipy")} no longer has: pip install "scipy<2".'
    if isinstance(error, ModuleNotFoundError) and package == error.name and package not in ('', 'basicsr_unlearn'):
        return f'The package {package} is not installed: pip install {PIP_NAMES.get(package, package)}.'
    return None


def tensorboard_trouble() -> str | None:
    """Why the `tensorboard` command will not start here, and what to do; None if nothing is known to stop it."""
    if _version('tensorboard') and _version('tb-nightly'):
        return ('Two TensorBoards are installed, tensorboard and tb-nightly, with which its server does not start: '
                'pip uninstall -y tensorboard tb-nightly, then pip install tb-nightly.')
    folder = _folder('tensorboard')
    if folder is None or importlib.util.find_spec('pkg_resources') is not None:
        return None
    main = folder / 'default.py'
    if main.is_file() and 'import pkg_resources' in main.read_text(encoding='utf-8'):
        return ('The tensorboard command needs pkg_resources, which is no longer in setuptools '
                f'{_version("setuptools")}: pip install "setuptools<82".')
    return None


def _other_basicsr() -> Path | None:
    """The folder of a package that is called basicsr and is another: they lack the registry."""
    folder = _folder('basicsr')
    return None if folder is None or (folder / 'utils' / 'registry.py').is_file() else folder


def _folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    return Path(places[0]) if places else None


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _is_command() -> bool:
    """Whether the program is one of this package's commands. With `python -m` the name is not known yet."""
    program = sys.argv[0] if sys.argv else ''
    return program == '-m' or Path(program).stem == 'basicsr-unlearn' or (
        Path(program).resolve().parent == Path(__file__).resolve().parent)
