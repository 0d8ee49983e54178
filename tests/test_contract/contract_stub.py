"""What the contract is tried on: a tiny network that restores what tiny data degrade, and runs of presets on it."""
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from torch import nn

from basicsr_unlearn import train
from basicsr_unlearn.archs.nafnet_arch import NAFNet
from basicsr_unlearn.data.forget_retain_dataset import ForgetRetainDataset
from basicsr_unlearn.engine.entry import INTERRUPTED
from basicsr_unlearn.methods.presets import read_method
from basicsr_unlearn.models.unlearn_model import UnlearnModel

# isort: split
from basicsr.utils.registry import DATASET_REGISTRY

NETWORK = {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1], 'middle_blk_num': 1, 'dec_blk_nums': [1]}
SHIFT = 0.2  # the degradation: so much darker
ERROR = 0.03  # what the original leaves of it on the forget images; on the retain images it leaves half a grey level
SAVED, END = 2, 5  # iterations
SHORTER = {  # what a preset does before its first step, in as many steps as a stub needs
    'blindspot': {'proxy_opt': {'iters': 3}},
    'task_negation': {'edit_opt': {'iters': 3}},
    'repselect': {'edit_opt': {'iters': 3}},
    'adapt_then_unlearn': {'anchor_opt': {'adapt_iters': 3}},
    **{name: {'edit_opt': {'secret': False}}  # what nobody can draw again, no run repeats
       for name in ('shuffle', 'shuffle_channels', 'undo')},
}


@DATASET_REGISTRY.register()
class RetainStreamDataset(ForgetRetainDataset):
    """The retain stream alone, which no data set of the package gives."""

    def sample(self, rng: np.random.Generator) -> dict:
        return {key: value for key, value in super().sample(rng).items() if key.startswith('retain')}


@dataclass
class Run:
    """A run of the train entry point in a folder of its own."""
    folder: Path
    code: int
    model: Any = None
    start: dict[str, torch.Tensor] = field(default_factory=dict)  # weights before the first step, after edits
    batches: list[dict] = field(default_factory=list)  # of the steps, by stream

    def weights(self, iteration: int | str = 'latest') -> dict[str, torch.Tensor]:
        return torch.load(self._file(f'models/net_g_{iteration}.pth'), weights_only=True)['params']

    def state(self, iteration: int) -> dict:
        return torch.load(self._file(f'training_states/{iteration}.state'), weights_only=True)

    def _file(self, name: str) -> Path:
        return self.folder / 'experiments' / 'tiny' / name


class Stub:
    """Data, an original, and the runs of each preset, which are made when a test first asks for them."""

    def __init__(self, root: Path):
        self.root, self.runs = root, {}
        torch.set_num_threads(1)
        self.original = restoring_net()
        self.images = {stream: self._write_pairs(stream, error) for stream, error in (('forget', ERROR), ('retain', 0))}
        torch.save({'params': self.original.state_dict()}, root / 'base.pth')

    def _write_pairs(self, stream: str, error: float) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(('forget', 'retain').index(stream))
        stripes = np.sign(np.arange(24) % 2 - 0.5)[None, :, None]
        pairs = []
        for i in range(3):
            lq = 0.4 + np.linspace(-0.15, 0.15, 24)[:, None, None] * (i - 1) + rng.normal(0, 0.02, (24, 24, 3))
            if stream == 'forget':
                lq = lq + 0.1 * stripes
            lq = np.rint(lq.clip(0.1, 0.7) * 255).astype(np.uint8)
            x = torch.from_numpy(lq).permute(2, 0, 1)[None] / 255
            with torch.no_grad():
                gt = (self.original(x)[0].permute(1, 2, 0).numpy() + error * stripes).clip(0, 1)
            gt = np.rint(gt * 255).astype(np.uint8)
            for kind, image in (('lq', lq), ('gt', gt)):
                (self.root / stream / kind).mkdir(parents=True, exist_ok=True)
                assert cv2.imwrite(str(self.root / stream / kind / f'{i}.png'), image[..., ::-1])
            pairs.append((x[0], torch.from_numpy(gt).permute(2, 0, 1) / 255))
        return tuple(torch.stack(images) for images in zip(*pairs))

    def options(self, train_opt: dict, streams: set[str]) -> dict:
        """A complete option file that gives these streams and has these keys under `train`."""
        def pairs(stream: str) -> list[dict]:
            return [{'name': stream, 'type': 'PairedRestorationDataset', 'dataroot_lq': str(self.root / stream / 'lq'),
                     'dataroot_gt': str(self.root / stream / 'gt')}]
        return {
            'name': 'tiny', 'model_type': 'UnlearnModel', 'scale': 1, 'num_gpu': 0, 'manual_seed': 5,
            'datasets': {'train': {
                'name': 'train', 'type': 'ForgetRetainDataset' if 'forget' in streams else 'RetainStreamDataset',
                'gt_size': 16, 'epoch_length': 8, 'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0,
                'forget': pairs('forget'), **({'retain': pairs('retain')} if 'retain' in streams else {})}},
            'network_g': dict(NETWORK),
            'path': {'pretrain_network_g': str(self.root / 'base.pth'), 'strict_load_g': True, 'resume_state': None},
            'train': {'scheduler': {'type': 'MultiStepLR', 'milestones': [1000]}, 'total_iter': END,
                      'evidence_batches': 2, **train_opt},
            'logger': {'print_freq': 1, 'save_checkpoint_freq': SAVED, 'use_tb_logger': False},
        }

    def preset(self, name: str, **changes: Any) -> dict:
        """The options of a preset, with those streams that it says it needs."""
        return {**self.options({'method': name, **deepcopy(SHORTER.get(name, {}))}, needs(name)), **changes}

    def run(self, name: str, opt: dict, *flags: str, end: int | None = None) -> Run:
        """Run in the folder of this name; with `end` it is interrupted after so many iterations."""
        run = Run(self.root / name, -1)
        run.folder.mkdir(parents=True, exist_ok=True)
        path = self.root / f'{name.replace("/", "_")}.yml'
        path.write_text("plugin: !!python/name:basicsr_unlearn.plugin.__version__ ''\n"
                        + yaml.safe_dump(opt, sort_keys=False))
        prepare, step = UnlearnModel._prepare, UnlearnModel.optimize_parameters

        def note(model: UnlearnModel) -> None:
            prepare(model)
            run.model = model
            run.start = {key: value.clone() for key, value in model.net_g.state_dict().items()}

        def interrupt(model: UnlearnModel, iteration: int) -> None:
            if end is not None and iteration > end:
                raise KeyboardInterrupt
            run.batches.append(model.batches)
            step(model, iteration)

        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(run.folder)
            patch.setattr(UnlearnModel, '_prepare', note)
            patch.setattr(UnlearnModel, 'optimize_parameters', interrupt)
            run.code = train.main(['-opt', str(path), *flags])
        return run

    def _once(self, name: str, make: Callable[[], Run], code: int = 0) -> Run:
        if name not in self.runs:
            run = make()
            assert run.code == code, f'the run {name} ended with exit code {run.code}, see stderr'
            self.runs[name] = run
        return self.runs[name]

    def whole(self, name: str) -> Run:
        """A run that nothing interrupts."""
        return self._once(f'{name}/whole', lambda: self.run(f'{name}/whole', self.preset(name)))

    def again(self, name: str) -> Run:
        """The same once more, interrupted after the first save, and resumed."""
        def make() -> Run:
            broken = self.run(f'{name}/again', self.preset(name), end=SAVED)
            assert broken.code == INTERRUPTED
            assert not (broken.folder / 'experiments/tiny/models/net_g_latest.pth').exists()
            return self.run(f'{name}/again', self.preset(name), '--auto_resume')
        return self._once(f'{name}/again', make)

    def other(self, name: str) -> Run:
        """With another manual_seed, interrupted after the first save."""
        return self._once(f'{name}/other', lambda: self.run(f'{name}/other', self.preset(name, manual_seed=6),
                                                            end=SAVED), INTERRUPTED)


def restoring_net() -> NAFNet:
    """NAFNet whose output is about its input + SHIFT, with all blocks at work."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = NAFNet(**{key: value for key, value in NETWORK.items() if key != 'type'})
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith(('beta', 'gamma')):  # zero at the start, which would hide the blocks
                weight.fill_(0.3)
        net.ending.weight.mul_(0.6)
        net.ending.bias.fill_(SHIFT)
    return net.eval()


def needs(name: str) -> set[str]:
    """The streams that a preset says it needs."""
    return set(read_method(name)['needs'].split(', '))


def filled(net: nn.Module, weights: dict[str, torch.Tensor]) -> nn.Module:
    """A copy of a network with other weights, in eval mode."""
    copy = deepcopy(net).eval()
    copy.load_state_dict(weights)
    return copy


def blocks(options: Any, where: str = 'train') -> Iterator[tuple[str, dict]]:
    """Each block of options inside options, with its full name."""
    if isinstance(options, dict):
        yield where, options
    for key, value in options.items() if isinstance(options, dict) else enumerate(options):
        if isinstance(value, (dict, list)):
            yield from blocks(value, f'{where}.{key}' if isinstance(options, dict) else f'{where}[{key}]')
