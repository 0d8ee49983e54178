"""Installs basicsr_unlearn. The package metadata lives here; pyproject.toml configures the tools."""
from pathlib import Path
from runpy import run_path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
README = ROOT / 'README.md'

setup(
    name='basicsr_unlearn',
    version=run_path(str(ROOT / 'basicsr_unlearn' / 'version.py'))['__version__'],
    description='Machine unlearning for image restoration networks, as a BasicSR plugin',
    long_description=README.read_text(encoding='utf-8') if README.is_file() else '',
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    license_files=['LICENSE'],
    # BasicSR's own setup.py does not build on 3.13: there its wheel has to be installed first, see the README.
    python_requires='>=3.10,<3.14',
    # The option files stay at the top of the repository, where people look for them; a wheel carries them as
    # basicsr_unlearn/option_files, so that they are found without a checkout.
    packages=[*find_packages(include=['basicsr_unlearn', 'basicsr_unlearn.*']), 'basicsr_unlearn.option_files'],
    package_dir={'basicsr_unlearn.option_files': 'options'},
    package_data={
        'basicsr_unlearn': ['*.html', '*.css', 'auditing/*.html', 'auditing/*.md', 'zoo/*.pth', 'zoo/*.json',
                            'zoo/*.md', 'methods/*.yml'],
        'basicsr_unlearn.option_files': ['*.yml'],
    },
    install_requires=[
        'basicsr>=1.4.2',  # brings tb-nightly, which is TensorBoard: a second `tensorboard` beside it breaks both
        'torch>=2',
        'torchvision',
        'opencv-python',
        'lmdb',
        'pyyaml',
        'numpy',
        'scikit-image',
        'scipy<2',  # BasicSR imports scipy.ndimage.filters, which SciPy 2 drops
        'setuptools>=77.0.3,<82',  # torch needs 77.0.3; the `tensorboard` command needs pkg_resources, gone in 82
        'tqdm',
    ],
    extras_require={'dev': ['pytest', 'pytest-timeout', 'ruff']},
    entry_points={'console_scripts': ['basicsr-unlearn = basicsr_unlearn.cli:main']},
    classifiers=[
        'Programming Language :: Python :: 3',
        'Topic :: Scientific/Engineering :: Image Processing',
        'Topic :: Scientific/Engineering :: Artificial Intelligence',
    ],
)
