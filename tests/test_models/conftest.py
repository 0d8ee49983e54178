"""A tiny network that restores what a tiny data set degrades, and runs of UnlearnModel through the real pipeline."""
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from basicsr_unlearn import train
from basicsr_unlearn.archs.nafnet_arch import NAFNet

# isort: split
from basicsr.utils.registry import ARCH_REGISTRY, LOSS_REGISTRY

NETWORK = {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1], 'middle_blk_num': 1, 'dec_blk_nums': [1]}
SHIFT = 0.2  # the degradation: so much darker
MODELS, STATES = Path('experiments/tiny/models'), Path('experiments/tiny/training_states')
PLUGIN = "plugin: !!python/name:basicsr_unlearn.plugin.__version__ ''\n"


@ARCH_REGISTRY.register()
class NormalisedNet(nn.Module):
    """Two convolutions around a batch normalisation, added to the input."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))

    def forward(self, x):
        return x + self.body(x)


@LOSS_REGISTRY.register()
class FailsAtLoss(nn.Module):
    """L1 until a call, counted from 1, that returns `value` or raises, to break a run off at any step."""

    def __init__(self, call: int, value: float = float('nan'), raises: bool = False):
        super().__init__()
        self.call, self.value, self.raises, self.calls = call, value, raises, 0

    def forward(self, pred, target):
        self.calls += 1
        if self.calls == self.call and self.raises:
            raise KeyboardInterrupt
        loss = (pred - target).abs().mean()
        return loss * self.value if self.calls == self.call else loss


def options(folder: Path) -> dict:
    """A short run: bounded ascent on the forget stream, L1 on the retain stream, one validation set for each."""
    def pairs(name: str, **more) -> dict:
        return {'name': name, 'type': 'PairedRestorationDataset', 'dataroot_lq': str(folder / name / 'lq'),
                'dataroot_gt': str(folder / name / 'gt'), **more}
    return {
        'name': 'tiny', 'model_type': 'UnlearnModel', 'scale': 1, 'num_gpu': 0, 'manual_seed': 5,
        'datasets': {
            'train': {'name': 'train', 'type': 'ForgetRetainDataset', 'gt_size': 16, 'use_hflip': True,
                      'epoch_length': 10, 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0,
                      'forget': [pairs('haze')], 'retain': [pairs('rain')]},
            'val_haze': pairs('haze', role='forget'),
            'val_rain': pairs('rain', role='retain')},
        'network_g': dict(NETWORK),
        'path': {'pretrain_network_g': str(folder / 'base.pth'), 'strict_load_g': True, 'resume_state': None},
        'train': {
            'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'scheduler': {'type': 'MultiStepLR', 'milestones': [1000]},
            'total_iter': 6,
            'forget_opt': {'type': 'GradientAscentLoss', 'bound': 'identity'},
            'retain_opt': {'type': 'L1Loss', 'target': 'gt'}},
        'val': {'val_freq': 1000, 'save_img': False, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 1000, 'use_tb_logger': False},
    }


@pytest.fixture(scope='session')
def restoring_net() -> NAFNet:
    """NAFNet whose output is about its input + SHIFT, with all blocks at work."""
    torch.manual_seed(0)
    net = NAFNet(**{key: value for key, value in NETWORK.items() if key != 'type'})
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith(('beta', 'gamma')):  # zero at the start, which would hide the blocks
                weight.fill_(0.3)
        net.ending.weight.mul_(0.1)
        net.ending.bias.fill_(SHIFT)
    return net.eval()


@pytest.fixture
def folder(tmp_path, monkeypatch, pixels, restoring_net) -> Path:
    """haze/ and rain/, each with lq/ and gt/, and base.pth; the current directory is the empty `work` in it."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    for name in ('haze', 'rain'):
        for i in range(2):
            gt = np.clip(rng.normal(0.6, 0.1, (24, 24, 3)), 0.3, 1)
            gt = (gt + np.linspace(-0.1, 0.1, 24)[:, None, None]).clip(SHIFT, 1)
            grain = rng.normal(0, 0.02, gt.shape)
            for kind, image in (('gt', gt), ('lq', gt - SHIFT + grain)):
                pixels(tmp_path / name / kind / f'{i}.png', np.rint(image.clip(0, 1) * 255).astype(np.uint8))
    torch.save({'params': restoring_net.state_dict()}, tmp_path / 'base.pth')
    (tmp_path / 'work').mkdir()
    monkeypatch.chdir(tmp_path / 'work')
    return tmp_path


def changed(opt: dict, changes: dict) -> dict:
    """A copy with `changes`, keys 'a.b' reaching into blocks; None removes the key from a block of `train`."""
    opt = deepcopy(opt)
    for key, value in changes.items():
        *path, last = key.split('.')
        block = opt
        for part in path:
            block = block[part]
        if value is None and path[:1] == ['train']:
            block.pop(last, None)
        else:
            block[last] = value
    return opt


@pytest.fixture
def option_file(folder) -> Callable[..., str]:
    """option_file({'train.total_iter': 3}, name) writes the options with these changes and returns the path."""
    def write(changes: dict | None = None, name: str = 'run') -> str:
        path = folder / f'{name}.yml'
        path.write_text(PLUGIN + yaml.safe_dump(changed(options(folder), changes or {}), sort_keys=False))
        return str(path)
    return write


@pytest.fixture
def unlearn(option_file) -> Callable[..., int]:
    """unlearn(changes, *flags) runs our train entry point in this process, anew unless it resumes; the exit code."""
    def run(changes: dict | None = None, *flags: str) -> int:
        if '--auto_resume' not in flags:  # BasicSR renames an experiment that is there, at most one a second
            for name in ('experiments', 'tb_logger'):
                shutil.rmtree(name, ignore_errors=True)
        return train.main(['-opt', option_file(changes), *flags])
    return run


@pytest.fixture
def enter(folder, monkeypatch) -> Callable[[str], Path]:
    """enter(name) makes a new folder beside `work` and moves there."""
    def move(name: str) -> Path:
        (folder / name).mkdir(exist_ok=True)
        monkeypatch.chdir(folder / name)
        return folder / name
    return move


@pytest.fixture
def killed(option_file) -> Callable[..., None]:
    """killed(changes, flags, file, when) runs the entry point in a process that is killed (SIGKILL) as it writes.

    `file` is the name of the checkpoint or state; `when` is 'before' it takes its place, or 'after'.
    """
    def run(changes: dict, flags: list[str], file: str, when: str) -> None:
        def child() -> None:
            replace = os.replace

            def replace_and_die(source, target):
                if when == 'after':
                    replace(source, target)
                if os.path.basename(target) == file:
                    os.kill(os.getpid(), signal.SIGKILL)
                if when == 'before':
                    replace(source, target)

            os.replace = replace_and_die
            train.main(['-opt', path, *flags])

        path = option_file(changes)
        process = multiprocessing.get_context('fork').Process(target=child)
        process.start()
        process.join()  # a limit would wait for its orphaned workers too, which notice after seconds
        assert process.exitcode == -signal.SIGKILL
    return run


@pytest.fixture
def weights() -> Callable[..., dict]:
    """weights(path, key='params') reads a written checkpoint."""
    return lambda path, key='params': torch.load(path, weights_only=True)[key]


@pytest.fixture
def log() -> Callable[[], str]:
    """log() is the text of the latest log file in the current directory."""
    def read() -> str:
        return max(Path('experiments/tiny').glob('train_tiny_*.log'), key=os.path.getmtime).read_text()
    return read


@pytest.fixture
def events() -> Callable[[], dict[str, list[tuple[int, float]]]]:
    """events() are the scalars of the TensorBoard log in the current directory: tag -> (step, value)."""
    def read() -> dict[str, list[tuple[int, float]]]:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
        accumulator = EventAccumulator('tb_logger/tiny').Reload()
        return {tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
                for tag in accumulator.Tags()['scalars']}
    return read


def assert_equal(first: dict, second: dict, **tolerance) -> None:
    assert first.keys() == second.keys()
    for name in first:
        torch.testing.assert_close(first[name], second[name], **tolerance or {'rtol': 0, 'atol': 0})


@pytest.fixture
def same() -> Callable[..., None]:
    """same(weights, weights, **tolerance) fails unless two networks are equal, by default in every bit."""
    return assert_equal


@pytest.fixture
def built(monkeypatch) -> list:
    """The models that BasicSR's train pipeline builds from now on, in order."""
    import basicsr.train as pipeline
    models, build = [], pipeline.build_model
    monkeypatch.setattr(pipeline, 'build_model', lambda opt: models.append(build(opt)) or models[-1])
    return models


@pytest.fixture
def normalised(folder) -> type[NormalisedNet]:
    """base.pth is a NormalisedNet now, for `network_g: {type: NormalisedNet}`, which adds about SHIFT as well."""
    torch.manual_seed(0)
    net = NormalisedNet()
    with torch.no_grad():
        net.body[3].weight.mul_(0.1)
        net.body[3].bias.fill_(SHIFT)
    torch.save({'params': net.state_dict()}, folder / 'base.pth')
    return NormalisedNet


@pytest.fixture
def written() -> Callable[[str], list[str]]:
    """written('models' or 'training_states') are the files there."""
    return lambda kind: sorted(os.listdir(f'experiments/tiny/{kind}'))
