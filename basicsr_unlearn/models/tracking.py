"""Validation that shows forgetting at a glance: every data set by its role, beside its reference lines."""
from os import path as osp

import torch
from basicsr.archs import build_network
from basicsr.metrics import calculate_metric
from basicsr.utils import get_root_logger, imwrite, tensor2img

from basicsr_unlearn.errors import OptionError, TrainingError
from basicsr_unlearn.unlearning.images import degraded_as_output

DEFAULT_STRIPS = 2
DEFAULT_OVER_FORGET_MARGIN = 1.0  # dB below the reference; our choice, see DESIGN: retrained networks differ by about 2


class ValidationTracking:
    """Mixin before SRModel: per data set and role, scores in the log and in TensorBoard with reference lines.

    Reference lines are the original, the identity baseline (the untouched degraded input) and, where
    `path.pretrain_network_retrained` is given, the retrained network; each is measured once per data set. In test mode
    the original is measured where `path.pretrain_network_original` is given.

    TensorBoard: `<role>/<set>/<metric>` with `..._original`, `..._identity`, `..._retrained` beside it (one chart each
    in the Custom Scalars tab) and strips: input, original, network, retrained, ground truth.
    """

    def __init__(self, opt: dict):
        self.references: dict[str, dict[str, dict[str, float]]] = {}  # data set -> reference -> metric -> value
        self.resumed_at = 0
        self._reference_images: dict[tuple[str, str], dict[str, torch.Tensor]] = {}
        self._round: dict[str, tuple[str, dict[str, float]]] = {}  # data set -> role, results of the current round
        self._charted = False
        self._reference_nets: dict[str, torch.nn.Module] = {}
        super().__init__(opt)

    @property
    def retrained(self) -> torch.nn.Module | None:
        return self._reference_net('retrained')

    def _reference_net(self, which: str) -> torch.nn.Module | None:
        if which == 'original' and self.is_train:
            return self.teacher
        path = self.opt['path'].get(f'pretrain_network_{which}')
        if path is None:
            return None
        if which not in self._reference_nets:
            net = build_network(self.opt['network_g']).to(self.device)
            self.load_network(net, path, param_key=None)
            self._reference_nets[which] = net.eval().requires_grad_(False)
        return self._reference_nets[which]

    def nondist_validation(self, dataloader, current_iter, tb_logger, save_img) -> None:
        opt, val_opt = dataloader.dataset.opt, self.opt['val']
        name, role, metrics = opt['name'], opt.get('role') or 'retain', val_opt.get('metrics') or {}
        strips = (val_opt.get('strips', DEFAULT_STRIPS) or 0) if tb_logger else 0
        measure_references = bool(metrics) and name not in self.references
        totals: dict[str, dict[str, float]] = {}
        for index, data in enumerate(dataloader):
            image_name = osp.splitext(osp.basename(data['lq_path'][0]))[0]
            self.feed_data(data)
            self.test()
            outputs = {'unlearned': self.output}
            if not torch.isfinite(self.output).all():
                raise TrainingError(f'The network returns values that are not finite on {data["lq_path"][0]}: it has '
                                    'diverged and its scores would be meaningless.')
            if measure_references:
                outputs.update(self._reference_outputs())
            if hasattr(self, 'gt'):
                gt = to_image(self.gt)
                for which, output in outputs.items():
                    image = to_image(output)
                    for metric, metric_opt in metrics.items():
                        sums = totals.setdefault(which, dict.fromkeys(metrics, 0.0))
                        sums[metric] += calculate_metric({'img': image, 'img2': gt}, metric_opt)
            if save_img:
                imwrite(to_image(self.output), self._image_path(name, image_name, current_iter))
            if index < strips:
                tb_logger.add_image(f'{role}/{name}/{image_name}', self._strip(name, image_name, outputs), current_iter)
            del self.lq, self.output
        means = {which: {metric: value / len(dataloader) for metric, value in sums.items()}
                 for which, sums in totals.items()}
        self.metric_results = means.pop('unlearned', {})
        if measure_references and means:
            self.references[name] = means
        if self.metric_results:
            self._report(name, role, current_iter, tb_logger)
            self._end_of_round(name, role, current_iter)

    @torch.no_grad()
    def _reference_outputs(self) -> dict[str, torch.Tensor]:
        shape = self.gt if hasattr(self, 'gt') else self.output
        outputs = {'identity': degraded_as_output(self.lq, shape)}
        for which in ('original', 'retrained'):
            net = self._reference_net(which)
            if net is not None:
                outputs[which] = net(self.lq)
        return outputs

    def _strip(self, name: str, image_name: str, outputs: dict) -> torch.Tensor:
        """(3, h, n w) in [0, 1]: input, original, network, retrained, ground truth."""
        if (name, image_name) not in self._reference_images:
            references = outputs if 'identity' in outputs else self._reference_outputs()
            self._reference_images[name, image_name] = {key: value.cpu() for key, value in references.items()
                                                        if key != 'unlearned'}
        images = dict(self._reference_images[name, image_name], unlearned=self.output)
        if hasattr(self, 'gt'):
            images['gt'] = self.gt
        order = ('identity', 'original', 'unlearned', 'retrained', 'gt')
        return torch.cat([images[key][0].detach().float().cpu().clamp(0, 1) for key in order if key in images], dim=2)

    def _image_path(self, name: str, image_name: str, current_iter) -> str:
        label = current_iter if self.is_train else (self.opt['val'].get('suffix') or self.opt['name'])
        return osp.join(self.opt['path']['visualization'], name, f'{image_name}_{label}.png')

    def _report(self, name: str, role: str, current_iter, tb_logger) -> None:
        lines = [f'Validation {name} ({role})']
        for metric, value in self.metric_results.items():
            references = {which: values[metric] for which, values in self.references.get(name, {}).items()}
            beside = '  '.join(f'{which} {reference:.4f}' for which, reference in references.items())
            lines.append(f'\t # {metric}: {value:.4f}\t[{beside}]')
            if tb_logger:
                tag = f'{role}/{name}/{metric}'
                points = {tag: value, **{f'{tag}_{which}': reference for which, reference in references.items()}}
                if not self._charted and not self.resumed_at and 'original' in references:
                    for key, point in {**points, tag: references['original']}.items():
                        tb_logger.add_scalar(key, point, 0)
                for key, point in points.items():
                    tb_logger.add_scalar(key, point, current_iter)
        get_root_logger().info('\n'.join(lines))
        self._warn_over_forgotten(name, role)

    def _warn_over_forgotten(self, name: str, role: str) -> None:
        metric, margin = self._psnr_metric(), (self.opt.get('train') or {}).get('over_forget_margin')
        references = self.references.get(name, {})
        which = 'retrained' if 'retrained' in references else 'identity'
        if role != 'forget' or metric is None or which not in references:
            return
        below = references[which][metric] - self.metric_results[metric]
        if below > (DEFAULT_OVER_FORGET_MARGIN if margin is None else margin):
            label = 'retrained network' if which == 'retrained' else 'identity baseline'
            get_root_logger().warning(f'{name} is over-forgotten: {below:.2f} dB below the {label}, which tells an '
                                      'observer that something was removed and usually costs the retain sets.')

    def _psnr_metric(self) -> str | None:
        """The name under which the option file measures PSNR."""
        for metric, opt in (self.opt.get('val', {}).get('metrics') or {}).items():
            if opt.get('type') == 'calculate_psnr':
                return metric
        return None

    def _end_of_round(self, name: str, role: str, current_iter) -> None:
        """After the last data set of a validation, show the stop rule its scores."""
        self._round[name] = (role, self.metric_results)
        names = {block['name']: block.get('role') or 'retain' for phase, block in self.opt['datasets'].items()
                 if phase.startswith('val')}
        if not self.is_train or set(self._round) < set(names):
            return
        done, self._round, self._charted = self._round, {}, True
        if self.stop_rule is None or self.stop_check != 'val':
            return
        metric = self._psnr_metric()
        if metric is None or 'forget' not in names.values():
            raise OptionError('train.stop_opt with check: val needs a val_ data set with role: forget and '
                              'calculate_psnr among val.metrics.')
        gaps, drops = [], [0.0]
        for key, (set_role, results) in done.items():
            references = self.references[key]
            if set_role == 'forget':
                is_name = isinstance(self.stop_reference, str)
                reference = references[self.stop_reference][metric] if is_name else self.stop_reference
                gaps.append(results[metric] - reference)
            else:
                drops.append(references['original'][metric] - results[metric])
        self.stop_rule.observe(sum(gaps) / len(gaps), max(drops))


def to_image(tensor: torch.Tensor):
    """(1, 3, h, w) RGB in [0, 1] -> (h, w, 3) uint8 BGR, leaving the tensor as it is."""
    return tensor2img([tensor.detach().clone()])
