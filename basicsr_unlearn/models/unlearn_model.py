"""The model that unlearns: forget, retain and adversarial terms, a frozen teacher, a stop rule."""
import hashlib
import inspect
from collections import OrderedDict
from copy import deepcopy

import torch
from basicsr.losses import build_loss
from basicsr.models.sr_model import SRModel
from basicsr.utils.registry import MODEL_REGISTRY
from torch.nn.modules.batchnorm import _BatchNorm

from basicsr_unlearn.core.dual import DualWeight
from basicsr_unlearn.core.gradients import gradient_cosine, reconcile
from basicsr_unlearn.core.images import batch_psnr, degraded_as_output
from basicsr_unlearn.core.modes import eval_mode
from basicsr_unlearn.core.parts import live_parameters
from basicsr_unlearn.core.phases import check_phases, phase_terms
from basicsr_unlearn.engine.compat import wrap_ddp
from basicsr_unlearn.errors import OptionError, TrainingError
from basicsr_unlearn.methods.presets import expand_method
from basicsr_unlearn.models.checkpointing import Checkpointing, weights_digest
from basicsr_unlearn.models.preparing import AUTO, UNFITTED, Preparing, fresh_seed
from basicsr_unlearn.models.stopping import Stopping
from basicsr_unlearn.models.tracking import ValidationTracking

OPTIMIZERS = {'Adam': torch.optim.Adam, 'AdamW': torch.optim.AdamW, 'SGD': torch.optim.SGD}
STREAMS = ('forget', 'retain')


@MODEL_REGISTRY.register()
class UnlearnModel(ValidationTracking, Stopping, Checkpointing, Preparing, SRModel):
    """Unlearns a forget set with any registered network and any registered losses.

    One step minimises `forget_opt(net(forget_lq)) + retain_opt(net(retain_lq)) + adversarial_opt(net, ...) +
    anchor_opt(weights)`; each term may be left out, or take turns with others (`phases`). Options of `train:` are
    described in options/unlearn_haze.yml and docs/options.md.

    The teacher is a frozen copy of the original network. On a resume it is read again from the original's file, never
    from the half-unlearned weights. Each step draws its random numbers from a stream of its own, set by `manual_seed`,
    rank and iteration, so that a resumed run repeats the uninterrupted one bit for bit on the CPU.

    New here: settings and the step. In mixins: validation (ValidationTracking), the stop rule (Stopping), files and
    resume (Checkpointing), edits, masks and anchors (Preparing). Inherited from SRModel: construction, schedulers.
    """

    # ---------------------------------------------------------------- settings

    def __init__(self, opt: dict):
        super().__init__(expand_method(opt))  # for BasicSR's own entry point; ours has done it

    def model_to_device(self, net: torch.nn.Module) -> torch.nn.Module:
        if not self.opt['dist']:
            return super().model_to_device(net)
        unused = self.opt.get('find_unused_parameters', False) or bool(getattr(net, 'dead_parameters', ()))
        return wrap_ddp(net.to(self.device), self.device, unused)

    def init_training_settings(self) -> None:
        train_opt = self.opt['train']
        self.original_path = self.opt['path'].get('pretrain_network_g')
        self.original_key = self.opt['path'].get('param_key_g')
        if self.original_path is None:
            raise OptionError('path.pretrain_network_g is empty: give the checkpoint that has something to forget.')
        self.memory_format = torch.channels_last if train_opt.get('channels_last') else torch.contiguous_format
        self.net_g.to(memory_format=self.memory_format)
        self.teacher = self._frozen_copy()
        self.original_digest = weights_digest(self.teacher)
        self.ema_decay = train_opt.get('ema_decay') or 0
        if self.ema_decay > 0:
            self.net_g_ema = self._frozen_copy()

        self.losses = {term: self._build_loss(term, train_opt[f'{term}_opt'])
                       for term in (*STREAMS, 'adversarial') if train_opt.get(f'{term}_opt')}
        self.set_up_parts(train_opt)
        if not self.terms:
            raise OptionError('train has none of forget_opt, retain_opt, adversarial_opt and anchor_opt: there is '
                              'nothing to do.')
        self.phases = train_opt.get('phases') or [{'terms': self.terms}]
        check_phases(self.phases, self.terms)
        try:
            self.dual = DualWeight(**train_opt['dual_opt']) if train_opt.get('dual_opt') else None
        except ValueError as error:
            raise OptionError(f'train.dual_opt: {str(error).rstrip(".")}.') from error
        self.conflict = train_opt.get('conflict_opt')
        self.retain_target = (train_opt.get('retain_opt') or {}).get('target') or 'gt'
        self.amp = train_opt.get('amp') == 'bf16'
        self.grad_clip = train_opt.get('grad_clip') or float('inf')
        self.conflict_freq = train_opt.get('conflict_freq') or 0
        # networks with batch normalisation must not see forget and retain samples in one batch
        self.joint_forward = (not any(isinstance(module, _BatchNorm) for module in self.net_g.modules())
                              and not train_opt.get('conflict_opt'))  # two gradients: each through its own half
        self.set_up_stop_rule(train_opt.get('stop_opt'))
        self.log_dict = OrderedDict()
        self.grad_cosine = torch.zeros((), device=self.device)

        self.net_g.train()
        self.setup_optimizers()
        self.setup_schedulers()

    @property
    def terms(self) -> list[str]:
        """The terms of the objective by name."""
        return [*self.losses, *(['anchor'] if self.anchors is not None else [])]

    @property
    def streams_trained(self) -> set[str]:
        """The streams of the training data that the objective looks at."""
        streams = {stream for stream in STREAMS if stream in self.losses}
        return streams | ({getattr(self.losses['adversarial'], 'source', 'retain')} & set(STREAMS)
                          if 'adversarial' in self.losses else set())

    def _frozen_copy(self) -> torch.nn.Module:
        """A copy of the network that never trains."""
        return deepcopy(self.get_bare_model(self.net_g)).eval().requires_grad_(False)

    def _build_loss(self, term: str, opt: dict) -> torch.nn.Module:
        opt = {key: value for key, value in opt.items() if not (term == 'retain' and key == 'target')}
        try:
            loss = build_loss(opt).to(self.device)
        except (TypeError, ValueError) as error:
            raise OptionError(f'train.{term}_opt: {str(error).rstrip(".")}.') from error
        if getattr(loss, 'seed', 0) is None:
            loss.seed = fresh_seed(self.opt['manual_seed'])
        return loss

    def get_optimizer(self, optim_type: str, params: list, lr: float | str, **kwargs) -> torch.optim.Optimizer:
        lr = UNFITTED if lr == AUTO else lr
        if optim_type in OPTIMIZERS:
            return OPTIMIZERS[optim_type](params, lr=lr, **kwargs)
        return super().get_optimizer(optim_type, params, lr, **kwargs)

    def model_ema(self, decay: float = 0.999) -> None:
        super().model_ema(decay)
        # statistics of batch normalisation, which BasicSR leaves as they were at the start
        for average, now in zip(self.net_g_ema.buffers(), self.get_bare_model(self.net_g).buffers()):
            average.copy_(now)

    # ---------------------------------------------------------------- one step

    def feed_data(self, data: dict) -> None:
        self.batch = {key: self._on_device(value) for key, value in data.items()
                      if key.startswith(tuple(f'{stream}_' for stream in STREAMS)) and torch.is_tensor(value)}
        for stale in ('lq', 'gt'):
            if hasattr(self, stale):
                delattr(self, stale)
        if 'lq' in data:
            super().feed_data(data)

    def _on_device(self, value: torch.Tensor) -> torch.Tensor:
        return value.to(self.device, memory_format=self.memory_format if value.dim() == 4 else torch.preserve_format)

    def optimize_parameters(self, current_iter: int) -> None:
        if self.stop_now(current_iter):
            return
        self._check_streams()
        self.prepare()
        torch.manual_seed(step_seed(self.opt['manual_seed'], self.opt['rank'], current_iter))
        self.optimizer_g.zero_grad(set_to_none=True)
        active = self._active_terms(current_iter)
        with_cosine = (self.conflict_freq and (current_iter - 1) % self.conflict_freq == 0
                       and 'forget' in self.losses and active != ['forget'])
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.amp):
            outputs = self._outputs({*active, 'forget'} if with_cosine else set(active))
            losses, scores = self._losses(outputs, active)
        if with_cosine:
            rest = sum(loss for term, loss in losses.items() if term != 'forget')
            self.grad_cosine = gradient_cosine(losses['forget'], rest, self._trainable())
        total = self._backward(losses, active)
        self.mask_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self._trainable(), self.grad_clip)
        self._require_finite(total, norm, current_iter)
        with self.eased():
            self.optimizer_g.step()
        self.iteration = current_iter
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)
        self.restore_masked_weights()
        self._observe_dual(scores)

        log = OrderedDict((f'l_{term}', loss.detach().float()) for term, loss in losses.items())
        log.update(scores, grad_norm=norm.detach().float())
        if self.conflict_freq:
            log['grad_cosine'] = self.grad_cosine
        if self.dual:
            log['dual_weight'] = torch.tensor(self.dual.value, device=self.device)
        self.log_dict = self.reduce_loss_dict(log)
        self.observe_batch(scores)

    def _active_terms(self, current_iter: int) -> list[str]:
        """The terms of this iteration; while forgetting rests, others, also in a phase that has none of them."""
        active = phase_terms(self.phases, current_iter)
        if not self.holding:
            return active
        return [term for term in active if term != 'forget'] or [term for term in self.terms if term != 'forget']

    def _backward(self, losses: dict[str, torch.Tensor], active: list[str]) -> torch.Tensor:
        """Fill the gradients of the weights; the sum of the active terms."""
        weight = self.dual.value if self.dual else 1.0
        terms = {term: losses[term] * weight if term in ('retain', 'adversarial') else losses[term] for term in active}
        total = sum(terms.values())
        rest = sum(loss for term, loss in terms.items() if term != 'forget')
        if self.conflict is None or 'forget' not in terms or len(terms) == 1:
            total.backward()
        else:
            weights = [p for _, p in live_parameters(self.get_bare_model(self.net_g))]  # weight decay moves the dead
            pair = [torch.autograd.grad(goal, weights, retain_graph=True, materialize_grads=True, allow_unused=True)
                    for goal in (terms['forget'], rest)]
            for p, gradient in zip(weights, reconcile(*pair, **self.conflict)):
                p.grad = gradient
        if self.opt['dist'] and self.conflict is not None:  # DistributedDataParallel was passed by
            for p in (p for p in self._trainable() if p.grad is not None):
                torch.distributed.all_reduce(p.grad)
                p.grad /= self.opt['world_size']
        return total

    def _observe_dual(self, scores: dict[str, torch.Tensor]) -> None:
        if self.dual is None or 'psnr_retain_original' not in scores:
            return
        drop = (scores['psnr_retain_original'] - scores['psnr_retain']).double()
        if self.opt['dist']:
            torch.distributed.all_reduce(drop)
            drop /= self.opt['world_size']
        self.dual.observe(float(drop))

    def _check_streams(self) -> None:
        """Raise OptionError if the data lack a stream that a term or the stop rule needs."""
        given = [stream for stream in STREAMS if f'{stream}_lq' in self.batch]
        if not given:
            raise OptionError('datasets.train gives neither forget_lq nor retain_lq: its type must be '
                              'ForgetRetainDataset or another that does.')
        needs = {f'{stream}_opt': stream for stream in STREAMS if stream in self.losses}
        needs.update({f'stop_opt needs PSNR of the {stream} stream, which': stream for stream in STREAMS
                      if self.observes(stream)})
        if 'adversarial' in self.losses:
            needs['adversarial_opt'] = getattr(self.losses['adversarial'], 'source', 'retain')
        for name, stream in needs.items():
            if stream not in given:
                raise OptionError(f'train.{name} has no data: datasets.train gives no {stream} stream.')

    def _step_net(self) -> torch.nn.Module:
        """The network for the passes of a step; DistributedDataParallel could not follow two separate gradients."""
        return self.net_g if self.conflict is None else self.get_bare_model(self.net_g)

    def _trainable(self) -> list[torch.nn.Parameter]:
        return [p for p in self.net_g.parameters() if p.requires_grad]

    def _outputs(self, trained: set[str]) -> dict[str, torch.Tensor]:
        """Outputs of the streams that a term or the stop rule needs, in one pass where the network allows it.

        Args:
            trained: terms that need a gradient; other outputs are without.
        """
        wanted = {stream: self.batch[f'{stream}_lq'] for stream in STREAMS
                  if stream in trained or self.observes(stream)}
        inputs = {stream: lq for stream, lq in wanted.items() if stream in trained}
        trained_net = self._step_net()
        if self.joint_forward and len({lq.shape[1:] for lq in inputs.values()}) == 1:
            joint = trained_net(torch.cat(list(inputs.values())))
            outputs = dict(zip(inputs, joint.split([len(lq) for lq in inputs.values()])))
        else:
            outputs = {stream: trained_net(lq) for stream, lq in inputs.items()}
        net = self.get_bare_model(self.net_g)
        for stream in wanted.keys() - inputs.keys():
            with eval_mode(net), torch.no_grad():
                outputs[stream] = net(wanted[stream])
        return {stream: output.float() for stream, output in outputs.items()}

    def _losses(self, outputs: dict[str, torch.Tensor], active: list[str]
                ) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """The terms of the objective, and scores in dB for the log and the stop rule."""
        batch, losses, scores = self.batch, {}, {}
        if 'forget' in outputs:
            lq, gt = batch['forget_lq'], batch['forget_gt']
            scores['psnr_forget'] = batch_psnr(outputs['forget'], gt)
            scores['psnr_forget_input'] = batch_psnr(degraded_as_output(lq, gt), gt)
            if self.observes('forget') and self.stop_rule.start is None:
                scores['psnr_forget_original'] = batch_psnr(self._teach(lq), gt)
            if 'forget' in self.losses:
                loss = self.losses['forget']
                extra = {'lq': lambda: lq, 'teacher': lambda: self._teach(lq), 'proxy': lambda: self._ask_proxy(lq),
                         'net': self._step_net, 'teacher_net': lambda: self.teacher}
                try:
                    losses['forget'] = in_one(loss(outputs['forget'], gt, **{name: extra[name]() for name in extra
                                                                             if takes(loss, name)}))
                except ValueError as error:
                    raise OptionError(f'train.forget_opt: {str(error).rstrip(".")}.') from error
        if 'retain' in outputs:
            lq, gt = batch['retain_lq'], batch['retain_gt']
            with_teacher = self.retain_target == 'teacher' or self.observes('retain') or self.dual
            taught = self._teach(lq) if with_teacher else None
            scores['psnr_retain'] = batch_psnr(outputs['retain'], gt)
            if taught is not None:
                scores['psnr_retain_original'] = batch_psnr(taught, gt)
            if 'retain' in self.losses:
                losses['retain'] = in_one(self.losses['retain'](outputs['retain'],
                                                                taught if self.retain_target == 'teacher' else gt))
        if 'adversarial' in active:
            loss = self.losses['adversarial']
            stream = getattr(loss, 'source', 'retain')
            losses['adversarial'] = loss(self._step_net(), batch[f'{stream}_lq'], batch[f'{stream}_gt'], self.teacher)
        if 'anchor' in active:
            net = self.get_bare_model(self.net_g)
            losses['anchor'] = sum(anchor(net) for anchor in self.anchors)
        return losses, scores

    def _ask_proxy(self, lq: torch.Tensor) -> torch.Tensor:
        if self.proxy is None:
            raise OptionError('train.forget_opt asks for the proxy network: add train.proxy_opt.')
        with torch.no_grad():
            return self.proxy(lq).float()

    @torch.no_grad()
    def _teach(self, lq: torch.Tensor) -> torch.Tensor:
        return self.teacher(lq).float()

    def _require_finite(self, total: torch.Tensor, norm: torch.Tensor, current_iter: int) -> None:
        # the gradient is the same on all ranks, so all of them leave together
        if torch.isfinite(norm) and (self.opt['dist'] or torch.isfinite(total)):
            return
        raise TrainingError(f'Loss or gradient is not finite at iteration {current_iter}, so nothing was changed by it '
                            f'and the checkpoints in {self.opt["path"]["models"]} stay as they are: lower '
                            'train.optim_g.lr, set train.grad_clip, or bound the ascent.')


def step_seed(manual_seed: int, rank: int, iteration: int) -> int:
    """Seed of one step's random numbers, different for each seed, rank and iteration."""
    digest = hashlib.sha256(f'{manual_seed}/{rank}/{iteration}'.encode()).digest()
    return int.from_bytes(digest[:7], 'little')


def takes(loss: torch.nn.Module, name: str) -> bool:
    """Whether the loss's forward has an input of this name, and uses it; so BasicSR's own losses serve too."""
    return getattr(loss, f'needs_{name}', True) and name in inspect.signature(loss.forward).parameters


def in_one(loss: torch.Tensor | tuple) -> torch.Tensor:
    """A loss as one number: BasicSR's PerceptualLoss returns two, one of which may be None."""
    return sum(part for part in loss if part is not None) if isinstance(loss, tuple) else loss
