"""Validation that shows forgetting at a glance: every data set by its role, beside its reference lines."""
import re
import zlib
from collections.abc import Mapping
from copy import deepcopy
from os import path as osp
from typing import Any

import numpy as np
from basicsr.utils import get_root_logger, imwrite
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from basicsr_unlearn.core.judgement import false_references, forget_gap, has_skill, is_over_forgotten, references
from basicsr_unlearn.core.yardstick import PSNR, Yardstick, yardstick_of
from basicsr_unlearn.metrics.evaluation import Restored, in_tiles, restorations
from basicsr_unlearn.models.reference_lines import draw_lines
from basicsr_unlearn.models.reference_networks import ReferenceNetworks
from basicsr_unlearn.models.strips import strip_of

DEFAULT_STRIPS = 2
LONGEST_FILE_NAME = 255  # bytes that file systems take
DEFAULT_OVER_FORGET_MARGIN = 1.0  # dB below the reference; our choice, see DESIGN: retrained networks differ by about 2
PANES = {'identity': 'input', 'original': 'original', 'unlearned': 'now', 'retrained': 'retrained', 'gt': 'clean'}


class ValidationTracking:
    """Per data set and role, scores in the log and in TensorBoard with reference lines.

    Reference lines are the original, the identity baseline (the untouched degraded input) and, where
    `path.pretrain_network_retrained` is given, the retrained network; each is measured once per data set. In test mode
    the original is measured where `path.pretrain_network_original` is given.

    TensorBoard: `<role>/<set>/<metric>` from step 0, where the original is; the reference lines in the same charts, as
    runs of their own that all experiments share, see reference_lines.py; in the Custom Scalars tab all forget sets in
    one chart and all retain sets in another; and strips of images: input, original, now, retrained, clean.

    Args:
        opt: the options of the run.
        networks: those of the reference lines.

    Attributes:
        references: data set -> reference -> metric -> value.
        history: data set -> (iteration, metric -> value).
        counts: images by data set.
    """

    def __init__(self, opt: dict, networks: ReferenceNetworks):
        self.opt, self.networks = opt, networks
        self.references: dict[str, dict[str, dict[str, float]]] = {}
        self.history: dict[str, list[tuple[int, dict[str, float]]]] = {}
        self.counts: dict[str, int] = {}
        self._reference_images: dict[tuple[str, str], dict[str, np.ndarray]] = {}
        self._round: dict[str, dict[str, float]] = {}  # data set -> results of the current validation
        self._has_references = False  # in TensorBoard, by this process
        self._told: set[tuple[str, str]] = set()

    def roles(self) -> dict[str, str]:
        """The role of each validation data set by name."""
        return {block['name']: block.get('role') or 'retain' for phase, block in self.opt['datasets'].items()
                if phase != 'train'}

    def yardstick(self) -> tuple[str | None, Yardstick]:
        """The metric that forgetting is judged by, of `train.skill_opt.metric` or else PSNR, and how to read it."""
        return judged_by(self.opt)

    def _references_of(self) -> dict:
        """What the references depend on that an option file may change before a resume."""
        return deepcopy({'metrics': (self.opt.get('val') or {}).get('metrics'),
                         'retrained': self.opt['path'].get('pretrain_network_retrained')})

    def state_dict(self) -> dict:
        return {'references': self.references, 'references_of': self._references_of(), 'history': self.history,
                'counts': self.counts}

    def load_state_dict(self, state: Mapping) -> None:
        """Take up a state; references to other networks or by other metrics are measured anew."""
        if state['references_of'] == self._references_of():
            self.references = state['references']
        self.history = {name: [(step, values) for step, values in points] for name, points in state['history'].items()}
        self.counts = state['counts']

    # ---------------------------------------------------------------- validation

    def validate(self, dataloader: DataLoader, net: nn.Module, step: int | str, tb_logger: Any, save_img: bool
                 ) -> dict[str, float]:
        """Score one data set: metric -> value. Raises TrainingError if an output is not finite."""
        val_opt, name = self.opt['val'], dataloader.dataset.opt['name']
        metrics, role = val_opt.get('metrics') or {}, self.roles().get(name, 'retain')
        strips = (val_opt.get('strips', DEFAULT_STRIPS) or 0) if tb_logger else 0
        new_references = bool(metrics) and name not in self.references
        nets = {'unlearned': self._whole(net), **(self._reference_networks() if new_references else {})}
        totals: dict[str, dict[str, float]] = {}
        seen: dict[str, int] = {}
        bar = tqdm(dataloader, desc=name, unit='image', disable=not val_opt.get('pbar'))
        items = ({key: value[0] for key, value in data.items()} for data in bar)
        for index, restored in enumerate(restorations(nets, items, metrics)):
            for which in nets if not new_references else restored.outputs:
                sums = totals.setdefault(which, {})
                for metric, value in restored.scores(which).items():
                    sums[metric] = sums.get(metric, 0.0) + value
            image_name = numbered(osp.splitext(osp.basename(restored.path))[0], seen)
            if save_img:
                imwrite(restored.images['unlearned'], self._image_path(name, image_name, step))
            if index < strips:
                tb_logger.add_image(f'strips/{name}/{image_name}', self._strip(name, image_name, restored), step,
                                    dataformats='HWC')
        means = {which: {metric: value / len(dataloader) for metric, value in sums.items()}
                 for which, sums in totals.items()}
        results = means.pop('unlearned', {})
        if new_references and results:
            self.references[name] = means
        if results:
            self.counts[name] = len(dataloader)
            points = self.history.setdefault(name, [])
            if not points and 'original' in self.references.get(name, {}):
                points.append((0, self.references[name]['original']))
            if points and points[-1][0] == step:
                points.pop()
            points.append((step, dict(results)))
            self._report(name, role, results, step, tb_logger, new_references)
        return results

    def _whole(self, net: nn.Module) -> nn.Module:
        """Any network as it restores whole images, all of them in the same tiles if `val.tile` is set."""
        return in_tiles(net, self.opt.get('val') or {}, self.opt.get('scale', 1))

    def _reference_networks(self) -> dict[str, nn.Module]:
        return {which: self._whole(net) for which, net in self.networks.all().items()}

    def _strip(self, name: str, image_name: str, restored: Restored) -> np.ndarray:
        """(h, w, 3) uint8 RGB: the panes of PANES that there are, side by side."""
        known = self._reference_images
        if (name, image_name) not in known:
            item = {'lq': restored.lq[0], 'lq_path': restored.path, **({} if restored.gt is None else {
                'gt': restored.gt[0]})}
            missing = {key: net for key, net in self._reference_networks().items() if key not in restored.outputs}
            others = next(restorations(missing, [item], {})).images if missing else {}
            known[name, image_name] = {key: image for key, image in {**restored.images, **others}.items()
                                       if key != 'unlearned'}
        images = {**known[name, image_name], 'unlearned': restored.images['unlearned']}
        return strip_of({label: images[key][..., ::-1] for key, label in PANES.items() if key in images})

    def _image_path(self, name: str, image_name: str, step: int | str) -> str:
        label = step if self.opt['is_train'] else (self.opt['val'].get('suffix') or self.opt['name'])
        return osp.join(self.opt['path']['visualization'], name, file_name(image_name, f'_{label}.png'))

    def _report(self, name: str, role: str, results: Mapping[str, float], step: int | str, tb_logger: Any,
                with_start: bool) -> None:
        """Scores beside their references in the log, and in TensorBoard, there with the start of the curves."""
        lines = [f'Validation {name} ({role})']
        for metric, value in results.items():
            references = {which: values[metric] for which, values in self.references.get(name, {}).items()}
            beside = '  '.join(f'{which} {reference:.4f}' for which, reference in references.items())
            lines.append(f'\t # {metric}: {value:.4f}\t[{beside}]')
            if tb_logger:
                tag = f'{role}/{name}/{metric}'
                if with_start and 'original' in references:
                    tb_logger.add_scalar(tag, references['original'], 0)
                tb_logger.add_scalar(tag, value, step)
        get_root_logger().info('\n'.join(lines))
        self._warn_over_forgotten(name, role, results)

    def _warn_over_forgotten(self, name: str, role: str, results: Mapping[str, float]) -> None:
        """Say so once a validation where a forget set fell too far, and once a run where a reference is none."""
        metric, yardstick = self.yardstick()
        margin = (self.opt.get('train') or {}).get('over_forget_margin')
        found = {which: values[metric] for which, values in self.references.get(name, {}).items() if metric in values}
        if role != 'forget' or metric not in results or not {'original', 'identity'} <= set(found):
            return
        if not has_skill(found['original'], found['identity'], yardstick):
            return  # nothing to forget, so nothing to over-forget
        for which in false_references(found, yardstick):
            if (name, which) not in self._told:
                self._told.add((name, which))
                get_root_logger().warning(
                    f'The {which} network is no reference for {name}: it scores {yardstick.shown(found[which])} there, '
                    f'the original {yardstick.shown(found["original"])}, so it was trained with such data. It is left '
                    'out of the verdict: correct path.pretrain_network_retrained, or set it to ~.')
        gap = forget_gap({**found, 'unlearned': results[metric]}, yardstick)
        if is_over_forgotten(gap, DEFAULT_OVER_FORGET_MARGIN if margin is None else margin):
            label = 'identity baseline' if references(found, yardstick) == ['identity'] else 'retrained network'
            get_root_logger().warning(f'{name} is over-forgotten: {yardstick.shown(-gap)} below the {label}, which '
                                      'tells an observer that something was removed and usually costs the retain sets.')

    def end_of_round(self, name: str, results: dict[str, float], tb_logger: Any, original: str | None
                     ) -> dict[str, dict[str, float]] | None:
        """After a data set, the metrics of all of them by name if it was the last of a validation, else None.

        Args:
            name: of the data set.
            results: see `validate`.
            tb_logger: gets the reference lines once.
            original: the file of the original, whose line has its name.
        """
        self._round[name] = results
        if self._round.keys() < self.roles().keys():
            return None
        found, self._round = self._round, {}
        if tb_logger and not self._has_references and any(found.values()):
            tb_logger.add_custom_scalars(chart_layout(self.roles(), found))
            self._draw_references(osp.dirname(tb_logger.log_dir), original)
            self._has_references = True
        return found

    def _draw_references(self, folder: str, original: str | None) -> None:
        names = {'identity': 'identity baseline'}
        for which, path in (('original', original),
                            ('retrained', self.opt['path'].get('pretrain_network_retrained'))):
            if path is not None:
                names[which] = f'{which} {osp.splitext(osp.basename(path))[0]}'
        for which, label in names.items():
            draw_lines(folder, label, {
                f'{self.roles()[name]}/{name}/{metric}': value for name, references in self.references.items()
                for metric, value in references.get(which, {}).items()}, int(self.opt['train']['total_iter']))


def references_of(model: Any, name: str) -> dict[str, dict[str, float]]:
    """What a data set scored by each reference: reference -> metric -> value; nothing in a model of BasicSR's own."""
    return model.tracking.references.get(name, {}) if hasattr(model, 'tracking') else {}


def psnr_metric(opt: Mapping) -> str | None:
    """The name under which the option file measures PSNR."""
    metrics = (opt.get('val') or {}).get('metrics') or {}
    return next((name for name, block in metrics.items() if block.get('type') == 'calculate_psnr'), None)


def judged_by(opt: Mapping) -> tuple[str | None, Yardstick]:
    """The name under `val.metrics` of the metric that forgetting is judged by, None without one, and its yardstick."""
    skill, metrics = (opt.get('train') or {}).get('skill_opt') or {}, (opt.get('val') or {}).get('metrics') or {}
    name = skill.get('metric') or psnr_metric(opt)
    if name not in metrics:
        return None, PSNR
    return name, yardstick_of(name, metrics[name], skill.get('margin'))


def chart_layout(roles: dict[str, str], results: dict[str, dict[str, float]]) -> dict:
    """Layout of TensorBoard's Custom Scalars: metric -> forget sets and retain sets, each in one chart. There a run has
    a colour and a set a mark.
    """
    layout: dict[str, dict] = {}
    for name, metrics in results.items():
        for metric in metrics:
            # a regular expression; not each set by name, as TensorBoard takes the first run's chart for all runs
            tags = f'^{roles[name]}/.+/{re.escape(metric)}$'
            layout.setdefault(metric, {})[f'{roles[name]} sets'] = ['Multiline', [tags]]
    return layout


def file_name(stem: str, end: str) -> str:
    """`stem` and `end` as a file name of at most 255 bytes: a longer stem is cut, and marked with its checksum."""
    if len((stem + end).encode()) <= LONGEST_FILE_NAME:
        return stem + end
    mark = f'~{zlib.crc32(stem.encode()):08x}'
    kept = stem.encode()[:LONGEST_FILE_NAME - len((mark + end).encode())].decode(errors='ignore')
    return kept + mark + end


def numbered(name: str, seen: dict[str, int]) -> str:
    """`name`, from its second occurrence on with a number: two folders of one set may hold a file of one name."""
    seen[name] = seen.get(name, 0) + 1
    return name if seen[name] == 1 else f'{name}_{seen[name]}'
