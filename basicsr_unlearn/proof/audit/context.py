"""Networks, data and what they compute, each read or run once and shared by all measurements of an audit."""
import hashlib
import os
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from basicsr.utils.registry import DATASET_REGISTRY
from torch import Tensor, nn
from tqdm import tqdm

from basicsr_unlearn.core.ascent import sample_loss
from basicsr_unlearn.engine.networks import load_network
from basicsr_unlearn.errors import DataError, OptionError, UnlearnError
from basicsr_unlearn.metrics.evaluation import IDENTITY, evenly, free_name, in_tiles, restorations, with_clean
from basicsr_unlearn.metrics.image_scores import image_scores
from basicsr_unlearn.proof.attackers.image_psnr import Pairs
from basicsr_unlearn.proof.audit.audit_plan import AUDITS, Audit
from basicsr_unlearn.proof.cache import Kept, cache_key, file_digest

MEMBER_LOSSES = ('l1', 'l2', 'edges')


@dataclass
class Contents:
    """What a data set holds: names of images, of the photograph behind each, and hashes of pixels."""
    images: list[str] = field(default_factory=list)
    photographs: list[str] = field(default_factory=list)
    clean: list[str] = field(default_factory=list)  # hash of each clean image
    paths: list[str] = field(default_factory=list)  # and its file
    sha256: str = ''
    degraded: bool = False  # whether any input differs from its clean image
    problem: str | None = None  # why it cannot be used; the lists are then empty


class Context:
    """One audit's networks and data.

    Args:
        audit: the plan.
        cache: folder for what belongs to a checkpoint and a data set, whatever the audit: the next one finds it there.
    """

    def __init__(self, audit: Audit, cache: Path = AUDITS / 'cache'):
        self.audit, self.cache, self.kept = audit, cache, Kept()
        self._nets: dict[str, nn.Module] = {}
        self._digests: dict[str, str] = {}
        self._contents: dict[str, Contents] = {}
        self._inferences: dict[str, dict] = {}

    # ------------------------------------------------------------ networks

    @property
    def columns(self) -> list[str]:
        return list(self.audit.networks)

    def columns_on(self, name: str) -> list[str]:
        """The networks that are scored on a data set: a quick audit leaves out what no check needs."""
        left_out = self.audit.retrained if self.audit.quick and self.audit.datasets[name]['role'] == 'retain' else []
        return [column for column in self.columns if column not in left_out]

    def net(self, column: str) -> nn.Module:
        """A network in eval mode. Raises CheckpointError."""
        if column not in self._nets:
            self._nets[column] = self.load(self.audit.networks[column])
        return self._nets[column]

    def load(self, path: str) -> nn.Module:
        """The network of `network_g` with these weights. Raises CheckpointError."""
        opt = self.audit.options
        return load_network({'network_g': opt['network_g'], 'num_gpu': opt['num_gpu'],
                             'path': {'param_key_g': opt.get('param_key_g')}}, path)

    def digest(self, path: str) -> str:
        """SHA-256 of a checkpoint file."""
        if path not in self._digests:
            self._digests[path] = file_digest(path)
        return self._digests[path]

    def whole(self, net: nn.Module) -> nn.Module:
        """The network as it restores whole images: in tiles where the option file says so."""
        return in_tiles(net, self.audit.options, self.audit.options.get('scale', 1))

    # ------------------------------------------------------------ data

    @cached_property
    def _datasets(self) -> dict[str, Any]:
        built = {}
        for name, block in self.audit.datasets.items():
            options = {key: value for key, value in block.items() if key != 'role'}
            built[name] = DATASET_REGISTRY.get(block['type'])(options)
        return built

    def contents(self, name: str) -> Contents:
        """Read all of a data set once. A set that cannot be read has its `problem` instead of contents."""
        if name not in self._contents:
            try:
                self._contents[name] = self._read(name)
            except (DataError, OptionError) as error:
                self._contents[name] = Contents(problem=str(error))
        return self._contents[name]

    def usable(self, *roles: str) -> list[str]:
        """The data sets of these roles that can be read."""
        return [name for name in self.audit.of_role(*roles) if self.contents(name).problem is None]

    def items(self, name: str) -> Iterator[dict]:
        """The items of a data set. Raises DataError."""
        for position in range(len(self._datasets[name])):
            yield self.item(name, position)

    def item(self, name: str, position: int) -> dict:
        """One of `items`. Raises DataError."""
        return with_clean(self._datasets[name][position])

    def chosen(self, name: str, count: int | None = None, without: Collection[str] = ()) -> list[int]:
        """Positions in a data set, evenly spread.

        Args:
            name: of the data set.
            count: so many; None for all.
            without: photographs to leave out, see `marks`.

        Raises:
            DataError: the set cannot be used.
        """
        contents = self.checked(name)
        left = [index for index, marks in enumerate(zip(contents.clean, contents.paths))
                if not set(marks).intersection(without)]
        return [left[index] for index in evenly(len(left), count)] if left else []

    def marks(self, name: str, positions: Sequence[int]) -> set[str]:
        """What photographs are known by, in whatever data set: the hash of the clean image, and its file."""
        contents = self.checked(name)
        return {mark for index in positions for mark in (contents.clean[index], contents.paths[index])}

    def pairs(self, name: str, count: int | None = None, without: Collection[str] = ()) -> Pairs:
        """Degraded and clean images of `chosen`, as attackers take them. Raises DataError."""
        items = [self.item(name, position) for position in self.chosen(name, count, without)]
        return [(item['lq'], item['gt']) for item in items]

    def checked(self, name: str) -> Contents:
        """Contents of a data set that can be used. Raises DataError otherwise."""
        contents = self.contents(name)
        if contents.problem is not None:
            raise DataError(f'Data set {name} cannot be used: {contents.problem}')
        return contents

    def _read(self, name: str) -> Contents:
        contents, everything = Contents(), hashlib.sha256()
        photographs: dict[str, str] = {}  # path -> name
        if len(self._datasets[name]) == 0:
            raise DataError('it holds no image: correct its folders or lists.')
        for item in self.items(name):
            lq, gt = (hashlib.sha256(item[key].numpy().tobytes()).hexdigest() for key in ('lq', 'gt'))
            everything.update(f'{lq}{gt}'.encode())
            path = item.get('gt_path', item['lq_path'])
            if path not in photographs:
                photographs[path] = free_name(Path(path).stem, list(photographs.values()))
            contents.images.append(free_name(Path(item['lq_path']).stem, contents.images))
            contents.photographs.append(photographs[path])
            contents.clean.append(gt)
            contents.degraded |= lq != gt
            contents.paths.append(os.path.realpath(path))
        contents.sha256 = everything.hexdigest()
        return contents

    # ------------------------------------------------------------ inference

    def inference(self, column: str, name: str) -> dict:
        """Scores and losses of one network (or 'identity') on one data set, computed once and kept on disk.

        Returns:
            `metrics`: name -> value of each image; `losses`: name of MEMBER_LOSSES -> value of each image.

        Raises:
            DataError: the set cannot be used.
            TrainingError: an output is not finite.
        """
        path = None if column == IDENTITY else self.audit.networks[column]
        return self.inference_of(path, name, column)

    def inference_of(self, path: str | None, name: str, title: str) -> dict:
        """As `inference`, of a checkpoint by its path; None is the untouched input.

        Outputs and losses are kept for themselves and so is each metric: a metric that is added runs no network again.
        """
        key = self.key('outputs', path, name)
        if key not in self._inferences:
            metrics = self.working_metrics[0]
            own = {metric: self.key('metric', path, name, options) for metric, options in metrics.items()}
            found = {metric: self.kept.read(self.cache / f'{kept}.json', kept) for metric, kept in own.items()}
            losses = self.kept.read(self.cache / f'{key}.json', key)
            missing = [metric for metric in metrics if found[metric] is None]
            if missing or losses is None:
                images = None if path is None or losses is None else self.kept.images(self.cache / f'{key}.npz')
                fresh, computed = self._infer(path, name, title, key, missing, images)
                losses = losses if fresh is None else self.kept.write(self.cache / f'{key}.json', key, fresh)
                found |= {metric: self.kept.write(self.cache / f'{own[metric]}.json', own[metric], computed[metric])
                          for metric in missing}
            self._inferences[key] = {'metrics': found, 'losses': losses}
        return self._inferences[key]

    def outputs(self, column: str, name: str, positions: Sequence[int] | None = None) -> list[np.ndarray]:
        """Output images (h, w, 3), uint8 BGR, of one network on one data set: those at `positions`, or all."""
        self.inference(column, name)
        key = self.key('outputs', self.audit.networks[column], name)
        images = self.kept.images(self.cache / f'{key}.npz', positions)
        if images is None:
            self._infer(self.audit.networks[column], name, column, key, [], None)
            images = self.kept.images(self.cache / f'{key}.npz', positions)
        return images

    def _infer(self, path: str | None, name: str, title: str, key: str, metrics: Sequence[str],
               images: Sequence[np.ndarray] | None) -> tuple[dict | None, dict]:
        """Losses (None where `images`, the outputs, are given) and these metrics, of each image; keeps the outputs."""
        run, column = images is None, IDENTITY if path is None else title
        nets = {} if path is None or not run else {title: self.whole(
            self.net(title) if self.audit.networks.get(title) == path else self.load(path))}
        found, losses, kept = {metric: [] for metric in metrics}, {loss: [] for loss in MEMBER_LOSSES}, {}
        asked = {metric: self.working_metrics[0][metric] for metric in metrics}
        bar = self.progress(self.items(name), f'{title} on {name}', len(self.contents(name).images), 'image')
        for index, restored in enumerate(restorations(nets, bar, asked)):
            if run:
                for loss, value in losses_of(restored.outputs[column].cpu().clamp(0, 1), restored.gt).items():
                    losses[loss].append(value)
            else:
                restored.images[column] = images[index]
            for metric, value in restored.scores(column).items():
                found[metric].append(round(value, 5))
            kept[str(index)] = restored.images[column]
        if path is not None and run:
            self.cache.mkdir(parents=True, exist_ok=True)
            partial = self.cache / f'.{key}.partial.npz'
            np.savez(partial, **kept)
            os.replace(partial, self.cache / f'{key}.npz')
        return losses if run else None, found

    @cached_property
    def working_metrics(self) -> tuple[dict[str, dict], dict[str, str]]:
        """The metrics that can be computed on this machine, and why the others cannot."""
        working, broken = {}, {}
        image = np.zeros((32, 32, 3), np.uint8)
        for metric, options in self.audit.metrics.items():
            options = {key: value for key, value in options.items() if key != 'better'}
            try:
                image_scores(image, {metric: options}, image, image)
                working[metric] = options
            except UnlearnError as error:
                if metric == self.audit.metric:
                    raise OptionError(f'verdict.metric {metric} cannot be computed here. {error}') from error
                broken[metric] = str(error)
        return working, broken

    def judged_scores(self, net: nn.Module, items: Sequence[dict]) -> list[float]:
        """The verdict's metric of each image, as a network restores it whole."""
        metric = {self.audit.metric: self.working_metrics[0][self.audit.metric]}
        return [restored.scores('net')[self.audit.metric]
                for restored in restorations({'net': self.whole(net)}, items, metric)]

    # ------------------------------------------------------------ keeping

    def key(self, what: str, path: str | None, names: str | Sequence[str], options: Any = None) -> str:
        """The cache key of what is computed of one checkpoint, None for the untouched input, on data sets."""
        opt, names = self.audit.options, [names] if isinstance(names, str) else names
        network = None if path is None else [opt['network_g'], opt.get('param_key_g'), opt.get('tile'),
                                             opt.get('tile_overlap')]
        return cache_key(what, None if path is None else self.digest(path),
                         [self.checked(name).sha256 for name in names], [network, options])

    def cached(self, key: str, compute: Callable[[], dict]) -> dict:
        """What was computed under this key before, by this or another audit, or is computed now."""
        path = self.cache / f'{key}.json'
        found = self.kept.read(path, key)
        return self.kept.write(path, key, compute()) if found is None else found

    @staticmethod
    def progress(items: Any, title: str, total: int, unit: str) -> Any:
        """A bar with the time left, on a terminal only."""
        return tqdm(items, desc=title, total=total, unit=unit, leave=False, disable=not sys.stderr.isatty())


def losses_of(output: Tensor, gt: Tensor) -> dict[str, float]:
    """L1, mean square and L1 of the differences between neighbours, of one image (1, c, h, w) in [0, 1]."""
    steps = [(output.diff(dim=dim) - gt.diff(dim=dim)).abs().mean() for dim in (-2, -1)]
    return {'l1': float(sample_loss(output, gt)), 'l2': float(sample_loss(output, gt, 'l2')),
            'edges': float(sum(steps) / 2)}
