"""Installs basicsr_unlearn. The package metadata lives here; pyproject.toml configures the tools."""
import os
import site
import sys
from importlib.metadata import distributions
from pathlib import Path
from runpy import run_path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
README = ROOT / 'README.md'


def basicsr_is_installed() -> bool:
    """Whether the environment that pip installs into has BasicSR; an isolated build does not see its packages."""
    folders = [*site.getsitepackages(), site.getusersitepackages(), *sys.path]
    links = (Path(folder, 'basicsr.egg-link') for folder in folders)  # made by `setup.py develop` of a checkout
    return any(distributions(name='basicsr', path=folders)) or any(link.is_file() for link in links)


# pip builds this package first and BasicSR later, which then ends in a traceback. For a wheel alone: PIP_NO_DEPS=1.
if (sys.version_info >= (3, 13) and 'PIP_BUILD_TRACKER' in os.environ and 'PIP_NO_DEPS' not in os.environ
        and not basicsr_is_installed()):
    sys.exit(f'BasicSR is not installed, and Python {".".join(map(str, sys.version_info[:2]))} cannot build it: use '
             'Python 3.10, 3.11 or 3.12, or make its wheel with one of these and install that first '
             '(README.md, Install).')

DOCS = ['mkdocs>=1.6,<2', 'mkdocs-material>=9.5', 'mkdocstrings[python]>=0.26']

setup(
    name='basicsr_unlearn',
    version=run_path(str(ROOT / 'basicsr_unlearn' / 'version.py'))['__version__'],
    description='Machine unlearning for image restoration networks, as a BasicSR plugin',
    long_description=README.read_text(encoding='utf-8') if README.is_file() else '',
    long_description_content_type='text/markdown',
    author='basicsr_unlearn contributors',
    license='Apache-2.0',
    license_files=['LICENSE'],
    keywords=['machine unlearning', 'image restoration', 'dehazing', 'deraining', 'denoising', 'super-resolution',
              'BasicSR', 'PyTorch', 'privacy'],
    # BasicSR's own setup.py does not build on 3.13: there its wheel has to be installed first, see the README.
    python_requires='>=3.10,<3.14',
    # The option files stay at the top of the repository, where people look for them; a wheel carries them as
    # basicsr_unlearn/option_files, so that they are found without a checkout.
    packages=[*find_packages(include=['basicsr_unlearn', 'basicsr_unlearn.*']), 'basicsr_unlearn.option_files'],
    package_dir={'basicsr_unlearn.option_files': 'options'},
    package_data={
        'basicsr_unlearn': ['py.typed', '**/*.html', '**/*.css', '**/*.yml', '**/*.md', 'zoo/*.pth'],
        'basicsr_unlearn.option_files': ['*.yml', 'schema.json'],
    },
    install_requires=[
        'basicsr>=1.4.2',  # brings tb-nightly, which is TensorBoard: a second `tensorboard` beside it breaks both
        'torch>=2',
        'torchvision',
        'opencv-python',
        'pillow>=10.1',  # letters of any size without a font file
        'lmdb',
        'jinja2>=3',
        'pydantic>=2.7',
        'pyyaml',
        'numpy',
        'scikit-image',
        'scipy<2',  # BasicSR imports scipy.ndimage.filters, which SciPy 2 drops
        'setuptools>=77.0.3,<82',  # torch needs 77.0.3; the `tensorboard` command needs pkg_resources, gone in 82
        'tqdm',
    ],
    extras_require={'docs': DOCS, 'dev': ['jsonschema', 'lightning', 'pytest', 'pytest-timeout', 'ruff', *DOCS]},
    entry_points={'console_scripts': ['basicsr-unlearn = basicsr_unlearn.cli:main']},
    classifiers=[
        'Development Status :: 4 - Beta',
        'Environment :: Console',
        'Intended Audience :: Developers',
        'Intended Audience :: Science/Research',
        'License :: OSI Approved :: Apache Software License',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3 :: Only',
        *(f'Programming Language :: Python :: 3.{minor}' for minor in (10, 11, 12, 13)),
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
        'Topic :: Scientific/Engineering :: Image Processing',
        'Typing :: Typed',
    ],
)
