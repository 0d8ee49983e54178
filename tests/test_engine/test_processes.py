"""The same option file in processes of its own: our scripts, stock BasicSR, and several processes at once.

A process takes ten seconds to import torch, so there are few here; everything else is tested in this one.
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import basicsr_unlearn
from basicsr_unlearn import train

# isort: split
import basicsr

CHECKOUT = Path(basicsr_unlearn.__file__).resolve().parents[1]
LATEST = Path('experiments/tiny/models/net_g_latest.pth')
# PyPI's BasicSR cannot be imported with torchvision 0.17 or later; this is all that its users do about it
ALIAS = """
import sys, types
from torchvision.transforms.functional import rgb_to_grayscale
module = types.ModuleType('torchvision.transforms.functional_tensor')
module.rgb_to_grayscale = rgb_to_grayscale
sys.modules.setdefault(module.__name__, module)
"""


def call(argv: list, cwd: Path, python_path: list = ()) -> subprocess.CompletedProcess:
    """Run Python; no variable of the tests' own environment leads it to this package."""
    environment = {key: value for key, value in os.environ.items() if key not in ('PYTHONPATH', 'RANK', 'WORLD_SIZE')}
    environment.update(OMP_NUM_THREADS='1', PYTHONPATH=os.pathsep.join(map(str, python_path)))
    return subprocess.run([sys.executable, *map(str, argv)], cwd=cwd, env=environment, capture_output=True, text=True,
                          timeout=240)


@pytest.fixture
def stock(folder) -> Path:
    """A BasicSR checkout, as far as it is needed: the two scripts write beside their own folder."""
    scripts = folder / 'basicsr_checkout' / 'basicsr'
    scripts.mkdir(parents=True)
    for name in ('train.py', 'test.py'):
        shutil.copy(Path(basicsr.__file__).parent / name, scripts)
    (folder / 'site').mkdir()
    (folder / 'site' / 'sitecustomize.py').write_text(ALIAS)
    return scripts


@pytest.fixture
def trained_here(folder, option_file, weights) -> tuple[str, dict]:
    """An option file, and the weights that come of it in this process."""
    option = option_file('unlearn')
    assert train.main(['-opt', option]) == 0
    return option, weights(LATEST)


def assert_equal(first: dict, second: dict, **tolerance) -> None:
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], **tolerance or {'rtol': 0, 'atol': 0})


def test_stock_train_loads_the_plugin_and_gives_the_same_weights(trained_here, stock, weights):
    option, expected = trained_here
    done = call([stock / 'train.py', '-opt', option], stock.parents[1], [stock.parents[1] / 'site', CHECKOUT])
    assert done.returncode == 0, done.stderr
    assert_equal(weights(stock.parent / LATEST), expected)


def test_stock_test_loads_the_plugin(option_file, stock):
    done = call([stock / 'test.py', '-opt', option_file('test')], stock.parents[1],
                [stock.parents[1] / 'site', CHECKOUT])
    assert done.returncode == 0, done.stderr
    assert len(list((stock.parent / 'results/tiny/visualization/held_out').iterdir())) == 3


def test_script_of_a_checkout_runs_from_anywhere(trained_here, folder, weights):
    option, expected = trained_here
    (folder / 'anywhere').mkdir()
    done = call([CHECKOUT / 'basicsr_unlearn' / 'train.py', '-opt', option], folder / 'anywhere')
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (folder / 'anywhere').iterdir()) == ['experiments']
    assert_equal(weights(folder / 'anywhere' / LATEST), expected)


TORCHRUN = ['-m', 'torch.distributed.run', '--standalone', '--nproc_per_node', 2,
            CHECKOUT / 'basicsr_unlearn' / 'train.py', '--launcher', 'pytorch', '-opt']


@pytest.mark.skipif(torch.cuda.is_available(), reason='two processes without a GPU are tested where there is none')
def test_two_processes_of_batch_one_are_one_process_of_batch_two(folder, option_file, weights):
    """BasicSR deals the same order out in turn, and DDP averages the gradients. SGD, as Adam's step is scale-free and
    blows up rounding errors."""
    option = Path(option_file('unlearn', batch_size_per_gpu='2'))
    option.write_text(option.read_text().replace('type: Adam, lr: !!float 1e-3', 'type: SGD, lr: 0.05'))
    assert train.main(['-opt', str(option)]) == 0
    assert not torch.allclose(weights(LATEST)['ending.bias'], weights('../base.pth')['ending.bias'], atol=1e-4)
    both = folder / 'both'
    both.mkdir()
    done = call([*TORCHRUN, option, '--force_yml', 'datasets:train:batch_size_per_gpu=1'], both)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('Unlearning ') == done.stdout.count('\n  6  held_out') == 1  # by the first process
    assert_equal(weights(both / LATEST), weights(LATEST), rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason='two processes without a GPU are tested where there is none')
def test_bad_data_end_both_processes_with_one_sentence(folder, option_file):
    done = call([*TORCHRUN, option_file('unlearn', dataroot_lq='gone')], folder / 'work')
    assert done.returncode != 0
    assert done.stderr.count('Error: ') - done.stderr.count('ChildFailedError: ') == 1
    assert 'gone' in done.stderr and 'exitcode  : 2' in done.stderr and 'exitcode  : 1' not in done.stderr
    assert list((folder / 'work').iterdir()) == []


# the second of two processes gets SIGTERM in its third step; what came of it in each is written down: the code, and the
# threads that are left, as those of a process group abort a process that ends under them
STOPPED = """
import os, signal, sys
from pathlib import Path
from basicsr_unlearn import train
from basicsr_unlearn.models.unlearn_model import UnlearnModel
step = UnlearnModel.optimize_parameters

def optimize_parameters(self, iteration):
    if iteration == 3 and os.environ['RANK'] == '1':
        os.kill(os.getpid(), signal.SIGTERM)
    step(self, iteration)

UnlearnModel.optimize_parameters = optimize_parameters
code = train.main(sys.argv[1:])
with open(f'code_{os.environ["RANK"]}', 'w') as file:
    file.write(str(code))
with open(f'threads_{os.environ["RANK"]}', 'w') as file:
    for task in Path('/proc/self/task').glob('*/comm'):
        file.write(task.read_text())
sys.exit(code)
"""


@pytest.mark.skipif(torch.cuda.is_available(), reason='two processes without a GPU are tested where there is none')
def test_a_signal_to_one_process_stops_both_after_one_iteration_and_the_run_goes_on(folder, option_file, weights):
    option, driver = option_file('unlearn', batch_size_per_gpu='1'), folder / 'driver.py'
    driver.write_text(STOPPED)
    torchrun = [*TORCHRUN[:5], driver, '--launcher', 'pytorch', '-opt', option]
    done = call(torchrun, folder / 'work', [CHECKOUT])
    assert done.returncode != 0
    assert [(folder / 'work' / f'code_{rank}').read_text() for rank in (0, 1)] == ['143', '143']
    assert not any('gloo' in (folder / 'work' / f'threads_{rank}').read_text() for rank in (0, 1))
    assert done.stderr.count('Stopped by SIGTERM after iteration 3') == 1
    states = folder / 'work' / 'experiments/tiny/training_states'
    assert [path.name for path in states.iterdir()] == ['3.state']
    done = call([*TORCHRUN, option, '--auto_resume'], folder / 'work')
    assert done.returncode == 0, done.stderr
    whole = folder / 'whole'
    whole.mkdir()
    assert call([*TORCHRUN, option], whole).returncode == 0
    assert_equal(weights(folder / 'work' / LATEST), weights(whole / LATEST))
