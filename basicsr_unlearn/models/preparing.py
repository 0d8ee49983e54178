"""What happens once, before the first step: edits of the weights, masks, anchors, a proxy network, the rate."""
import hashlib
from collections.abc import Mapping
from copy import deepcopy

import torch
from basicsr.data import build_dataset
from basicsr.utils import get_root_logger
from basicsr.utils.registry import ARCH_REGISTRY

from basicsr_unlearn.core.parts import ANCHORS, EDITS, MASKS, Batches, Evidence, live_parameters
from basicsr_unlearn.core.proxy import train_proxy
from basicsr_unlearn.core.rate import DEFAULT_FORGET_STEP, fitted_rate
from basicsr_unlearn.errors import OptionError

DEFAULT_EVIDENCE_BATCHES = 16  # per stream; our choice: 128 samples at the usual batch of 8
AUTO, UNFITTED = 'auto', 1.0  # as train.optim_g.lr; the rate that optimizer and schedule have until it is fitted


class Preparing:
    """Mixin before SRModel: `train.edit_opt`, `mask_opt` and `anchor_opt`, each one part or a list of parts, and
    `proxy_opt`, a network that knows nothing of the forget set, and `optim_g.lr: auto`, a rate fitted to the network.

    All look at the original network and at the same batches, the first `evidence_batches` draws of the training data.
    So a resumed run finds the same masks and anchors as the uninterrupted one; edits are done, and the rate is fitted,
    in a fresh run only.
    """

    masks: dict[str, torch.Tensor] | None = None
    anchors: torch.nn.ModuleList | None = None
    proxy: torch.nn.Module | None = None
    _prepared = False
    _drawn: list | None = None

    def set_up_parts(self, train_opt: dict) -> None:
        """Build the parts from their options. Raises OptionError naming the option."""
        self.parts = {name: build_parts(table, train_opt.get(f'{name}_opt'), f'train.{name}_opt')
                      for name, table in (('edit', EDITS), ('mask', MASKS), ('anchor', ANCHORS))}
        self.proxy_edits = build_parts(EDITS, (train_opt.get('proxy_opt') or {}).get('edit_opt'),
                                       'train.proxy_opt.edit_opt')
        if self.parts['anchor']:
            self.anchors = torch.nn.ModuleList(self.parts['anchor']).to(self.device)
        self.evidence_batches = train_opt.get('evidence_batches') or DEFAULT_EVIDENCE_BATCHES

    def prepare(self) -> None:
        """Edit, mask, anchor, fit the rate, at the first step of this process; before every step, tell the anchors how
        far it is.
        """
        for anchor in self.parts['anchor']:
            anchor.progress = self.iteration / self.opt['train']['total_iter']
        if self._prepared:
            return
        self._prepared = True
        parts = [part for group in self.parts.values() for part in group]
        proxy_opt = self.opt['train'].get('proxy_opt')
        if not parts and proxy_opt is None and not has_auto_rate(self.opt['train']):
            return
        net = self.get_bare_model(self.net_g)
        evidence = self._evidence(streams_needed(self.opt['train']))
        if proxy_opt is not None:
            options = {'seed': fresh_seed(self.opt['manual_seed']), **proxy_opt, 'edits': self.proxy_edits}
            options.pop('edit_opt', None)
            self.proxy = train_proxy(evidence, **options).requires_grad_(False)
        before = {name: p.detach().clone() for name, p in net.named_parameters()}
        if self.iteration == 0:
            for edit in self.parts['edit']:
                edit(net, evidence)
            if self.parts['edit']:
                changed = sum(int((p != before[name]).sum()) for name, p in net.named_parameters())
                total = sum(p.numel() for p in net.parameters())
                get_root_logger().info(f'edit_opt changed {changed:,d} of {total:,d} weights '
                                       f'({100 * changed / total:.1f} %).')
                if self.ema_decay > 0:
                    self.model_ema(0)
        if self.parts['mask']:
            self._mask_weights(evidence)
        for anchor in self.parts['anchor']:
            anchor.prepare(evidence)
        if has_auto_rate(self.opt['train']) and self.iteration == 0:  # a resumed run has its rate in the optimizer
            self._fit_rate(evidence)
        self._drawn = None

    def _fit_rate(self, evidence: Evidence) -> None:
        """Scale optimizer and schedule by the rate that fits the network."""
        step = self.opt['train'].get('forget_step') or DEFAULT_FORGET_STEP
        try:
            rate = fitted_rate(self.get_bare_model(self.net_g), evidence.forget, step, self.masks)
        except ValueError as error:
            raise OptionError(f'train.optim_g.lr: auto cannot fit a rate: {error}. Write a number.') from error
        if self.opt['dist']:  # rounding may differ between devices, and with it the networks
            shared = torch.tensor(rate, dtype=torch.float64, device=self.device)
            torch.distributed.broadcast(shared, src=0)
            rate = float(shared)
        for group in self.optimizer_g.param_groups:
            group['initial_lr'] *= rate
            group['lr'] *= rate
        for scheduler in self.schedulers:
            scheduler.base_lrs = [base * rate for base in scheduler.base_lrs]
        get_root_logger().info(f'optim_g.lr auto: {rate:.3g}, at which one step goes {100 * step:.3g} % of the way to '
                               'the untouched input, to first order.')

    def _mask_weights(self, evidence: Evidence) -> None:
        """Keep where all masks agree that weights may move, how fast, and what the others shall stay at."""
        masks = [mask(evidence) for mask in self.parts['mask']]
        own = dict(live_parameters(self.get_bare_model(self.net_g)))
        rates = {name: torch.stack([mask[name].to(p) for mask in masks]).prod(0) for name, p in own.items()}
        self.masks = {name: rate > 0 for name, rate in rates.items()}
        slow = {name: rate for name, rate in rates.items() if ((rate > 0) & (rate < 1)).any()}
        self._slow_down({own[name]: rate for name, rate in slow.items()})
        self._resting = {name: p.detach().clone() for name, p in own.items()}
        moving = sum(int(mask.sum()) for mask in self.masks.values())
        total = sum(mask.numel() for mask in self.masks.values())
        get_root_logger().info(f'mask_opt lets {moving:,d} of {total:,d} weights move ({100 * moving / total:.1f} %).')
        if not moving:
            raise OptionError('train.mask_opt lets no weight move, so nothing would be unlearned: widen it.')

    def _slow_down(self, rates: dict[torch.nn.Parameter, torch.Tensor]) -> None:
        """Let each step of the optimizer go only so far, 1 being all the way. A factor on the gradient would not do:
        Adam divides by the gradient's size.
        """
        before: dict[torch.nn.Parameter, torch.Tensor] = {}

        def note(*_) -> None:
            before.update({p: p.detach().clone() for p in rates})

        @torch.no_grad()
        def shorten(*_) -> None:
            for p, rate in rates.items():
                p.copy_(torch.where(rate < 1, before[p].lerp(p, rate), p))

        if rates:
            self.optimizer_g.register_step_pre_hook(note)
            self.optimizer_g.register_step_post_hook(shorten)

    def _probe(self) -> torch.nn.Module:
        """A copy of the original whose weights take gradients, for parts that ask for them."""
        probe = deepcopy(self.teacher)
        own = dict(self.get_bare_model(self.net_g).named_parameters())
        for name, p in probe.named_parameters():
            p.requires_grad_(own[name].requires_grad)
        return probe

    def mask_gradients(self) -> None:
        if self.masks is not None:
            for name, p in live_parameters(self.get_bare_model(self.net_g)):
                if p.grad is not None:
                    p.grad.mul_(self.masks[name])

    @torch.no_grad()
    def restore_masked_weights(self) -> None:
        """Put the weights that may not move back, exactly: weight decay and momentum move them even without gradient.
        """
        if self.masks is None:
            return
        nets = [self.net_g, *([self.net_g_ema] if self.ema_decay > 0 else [])]
        for net in nets:
            for name, p in self.get_bare_model(net).named_parameters():
                if name in self.masks:
                    p.copy_(torch.where(self.masks[name], p, self._resting[name]))

    def _evidence(self, streams: dict[str, str]) -> Evidence:
        evidence = Evidence(self._probe(), untrained=self._untrained,
                            generator=torch.Generator().manual_seed(self.opt['manual_seed']))
        if streams:
            evidence.forget, evidence.retain = self._batches('forget'), self._batches('retain')
        for stream, name in sorted(streams.items()):
            if not getattr(evidence, stream):
                raise OptionError(f'train.{name} looks at {stream} samples, but datasets.train gives no {stream} '
                                  'stream.')
        return evidence

    def _batches(self, stream: str) -> Batches:
        """The first draws of the training data, by a data set of its own; the same on all ranks."""
        if self._drawn is None:
            opt = self.opt['datasets']['train']
            size = opt['batch_size_per_gpu']
            dataset = build_dataset({'seed': self.opt['manual_seed'], **opt})
            self._drawn = [[dataset[index * size + i] for i in range(size)] for index in range(self.evidence_batches)]
        if f'{stream}_lq' not in self._drawn[0][0]:
            return []
        return [tuple(torch.stack([item[f'{stream}_{kind}'] for item in batch]).to(self.device)
                      for kind in ('lq', 'gt')) for batch in self._drawn]

    def _untrained(self, seed: int | None = None) -> torch.nn.Module:
        """A network of the same architecture with fresh weights, which manual_seed sets where no seed is given."""
        arguments = deepcopy(dict(self.opt['network_g']))
        with torch.random.fork_rng():
            torch.manual_seed(fresh_seed(self.opt['manual_seed']) if seed is None else seed)
            return ARCH_REGISTRY.get(arguments.pop('type'))(**arguments).to(self.device)


def has_auto_rate(train_opt: Mapping) -> bool:
    """Whether the rate is fitted to the network."""
    return train_opt['optim_g'].get('lr') == AUTO


def fresh_seed(manual_seed: int) -> int:
    """Seed of fresh weights. Not manual_seed itself: the original was built under it, if it was trained with the same
    one, so that the fresh weights would be those that it started from.
    """
    return int.from_bytes(hashlib.sha256(f'{manual_seed}/fresh weights'.encode()).digest()[:7], 'little')


def streams_needed(train_opt: Mapping) -> dict[str, str]:
    """The streams that parts look at before the first step, each with the name of an option that does."""
    proxy_opt = train_opt.get('proxy_opt') or {}
    needed = {'retain': 'proxy_opt'} if proxy_opt.get('iters') else {}
    if has_auto_rate(train_opt):
        needed['forget'] = 'optim_g.lr'
    for name, table, opt in (('anchor_opt', ANCHORS, train_opt.get('anchor_opt')),
                             ('mask_opt', MASKS, train_opt.get('mask_opt')),
                             ('edit_opt', EDITS, train_opt.get('edit_opt')),
                             ('proxy_opt.edit_opt', EDITS, proxy_opt.get('edit_opt'))):
        for part in build_parts(table, opt, f'train.{name}'):
            needed |= {stream: name for stream in part.needs}
    return needed


def build_parts(table: dict[str, type], opt: dict | list | None, where: str) -> list:
    """The parts of one option: a block, a list of blocks, or none. Raises OptionError naming the block."""
    blocks = opt if isinstance(opt, list) else [opt] if opt else []
    parts = []
    for block in blocks:
        try:
            parts.append(table[block['type']](**{key: value for key, value in block.items() if key != 'type'}))
        except KeyError as error:
            raise OptionError(f'{where}: {error} is not there, use one of {", ".join(sorted(table))}.') from error
        except (TypeError, ValueError) as error:
            raise OptionError(f'{where}: {str(error).rstrip(".")}.') from error
    return parts
