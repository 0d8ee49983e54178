"""The model that unlearns: forget, retain and adversarial terms, a frozen teacher, a stop rule."""
import hashlib
import inspect
from collections import OrderedDict
from copy import deepcopy
from os import path as osp

import torch
from basicsr.losses import build_loss
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import MODEL_REGISTRY
from torch.nn.modules.batchnorm import _BatchNorm

from basicsr_unlearn.checkpoint import check_fit, read_weights, resolve_checkpoint, write_atomically
from basicsr_unlearn.compat import wrap_ddp
from basicsr_unlearn.data.drawn import end_training_data
from basicsr_unlearn.errors import CheckpointError, OptionError, TrainingError
from basicsr_unlearn.models.tracking import ValidationTracking
from basicsr_unlearn.unlearning.gradients import gradient_cosine
from basicsr_unlearn.unlearning.images import batch_psnr, degraded_as_output
from basicsr_unlearn.unlearning.stop_rule import StopRule

OPTIMIZERS = {'Adam': torch.optim.Adam, 'AdamW': torch.optim.AdamW, 'SGD': torch.optim.SGD}


@MODEL_REGISTRY.register()
class UnlearnModel(ValidationTracking, SRModel):
    """Unlearns a forget set with any registered network and any registered losses.

    One step minimises `forget_opt(net(forget_lq)) + retain_opt(net(retain_lq)) + adversarial_opt(net, ...)`; each
    term may be left out. Options of `train:` are described in options/unlearn_haze.yml.

    The teacher is a frozen copy of the original network. On a resume it is read again from the original's file, never
    from the half-unlearned weights. Each step draws its random numbers from a stream of its own, set by `manual_seed`,
    rank and iteration, so that a resumed run repeats the uninterrupted one bit for bit on the CPU.

    New: optimize_parameters, save and resume, reading and writing of checkpoints, the stop rule; validation is in
    ValidationTracking. Inherited from SRModel: construction, schedulers, EMA.
    """

    # ---------------------------------------------------------------- networks

    def model_to_device(self, net: torch.nn.Module) -> torch.nn.Module:
        if not self.opt['dist']:
            return super().model_to_device(net)
        return wrap_ddp(net.to(self.device), self.device, self.opt.get('find_unused_parameters', False))

    def load_network(self, net: torch.nn.Module, load_path: str, strict: bool = True, param_key: str | None = 'params'
                     ) -> None:
        """Load any container that `read_weights` knows. Raises CheckpointError if it does not fit.

        BasicSR's default key `params` is taken as 'whatever is there'; only a key that the option file names is
        insisted on, and never in checkpoints of this run.
        """
        path = resolve_checkpoint(load_path)
        net = self.get_bare_model(net)
        own = self.is_train and osp.dirname(osp.abspath(path)) == osp.abspath(self.opt['path']['models'])
        named = own or param_key == self.opt['path'].get('param_key_g')
        weights = read_weights(path, param_key if named else None, net)
        if strict:
            check_fit(net, weights, path)
        net.load_state_dict(weights, strict=strict)
        get_root_logger().info(f'Loaded {type(net).__name__} from {path}.')

    def _frozen(self, net: torch.nn.Module) -> torch.nn.Module:
        """A copy that never trains."""
        return deepcopy(self.get_bare_model(net)).eval().requires_grad_(False)

    # ---------------------------------------------------------------- settings

    def init_training_settings(self) -> None:
        train_opt = self.opt['train']
        self.original_path = self.opt['path'].get('pretrain_network_g')
        self.original_key = self.opt['path'].get('param_key_g')
        if self.original_path is None:
            raise OptionError('path.pretrain_network_g is empty: give the checkpoint that has something to forget.')
        self.teacher = self._frozen(self.net_g)
        self.original_digest = weights_digest(self.teacher)
        self.ema_decay = train_opt.get('ema_decay') or 0
        if self.ema_decay > 0:
            self.net_g_ema = self._frozen(self.net_g)

        self.losses = {term: self._build_loss(term, train_opt[f'{term}_opt'])
                       for term in ('forget', 'retain', 'adversarial') if train_opt.get(f'{term}_opt')}
        if not self.losses:
            raise OptionError('train has none of forget_opt, retain_opt and adversarial_opt: there is nothing to do.')
        self.retain_target = (train_opt.get('retain_opt') or {}).get('target', 'gt')
        self.amp = train_opt.get('amp') == 'bf16'
        self.grad_clip = train_opt.get('grad_clip')
        self.conflict_freq = train_opt.get('conflict_freq') or 0
        self.memory_format = torch.channels_last if train_opt.get('channels_last') else torch.contiguous_format
        self.net_g.to(memory_format=self.memory_format)
        # networks with batch normalisation must not see forget and retain samples in one batch
        self.joint_forward = not any(isinstance(m, _BatchNorm) for m in self.net_g.modules())
        self._set_up_stop_rule(train_opt.get('stop_opt'))
        self.steps_done = 0
        self.stopped = False
        self.grad_cosine = torch.zeros((), device=self.device)

        self.net_g.train()
        self.setup_optimizers()
        self.setup_schedulers()

    def _build_loss(self, term: str, opt: dict) -> torch.nn.Module:
        opt = {key: value for key, value in opt.items() if not (term == 'retain' and key == 'target')}
        try:
            return build_loss(opt).to(self.device)
        except (TypeError, ValueError) as error:
            raise OptionError(f'train.{term}_opt: {error}') from error

    def _set_up_stop_rule(self, opt: dict | None) -> None:
        self.stop_rule = None
        if opt is None:
            return
        self.stop_check = opt.get('check', 'train')
        self.stop_reference = opt.get('forget_psnr', 'identity')
        if self.stop_reference == 'retrained' and (self.stop_check != 'val' or self.retrained is None):
            raise OptionError('train.stop_opt.forget_psnr: retrained needs check: val and '
                              'path.pretrain_network_retrained.')
        if opt.get('retain_budget') is not None and self.stop_check == 'train' and not (
                {'retain', 'adversarial'} & set(self.losses)):
            raise OptionError('train.stop_opt.retain_budget needs a retain_opt or adversarial_opt that can keep it.')
        window = opt.get('window') or (10 if self.stop_check == 'train' else 1)
        self.stop_rule = StopRule(opt.get('margin', 0.0), opt.get('retain_budget'), window, opt.get('min_iter', 1))

    def get_optimizer(self, optim_type: str, params: list, lr: float, **kwargs) -> torch.optim.Optimizer:
        if optim_type in OPTIMIZERS:
            return OPTIMIZERS[optim_type](params, lr=lr, **kwargs)
        return super().get_optimizer(optim_type, params, lr, **kwargs)

    # ---------------------------------------------------------------- one step

    def feed_data(self, data: dict) -> None:
        self.batch = {key: value.to(self.device, memory_format=self.memory_format) for key, value in data.items()
                      if key.startswith(('forget_', 'retain_')) and torch.is_tensor(value)} if self.is_train else {}
        for stale in ('lq', 'gt'):
            if hasattr(self, stale):
                delattr(self, stale)
        if 'lq' in data:
            super().feed_data(data)

    def optimize_parameters(self, current_iter: int) -> None:
        if self._stop_now(current_iter):
            return
        batch = self.batch
        if 'forget_lq' not in batch and 'retain_lq' not in batch:
            raise OptionError('datasets.train gives neither forget_lq nor retain_lq: its type must be '
                              'ForgetRetainDataset or another that does.')
        torch.manual_seed(step_seed(self.opt['manual_seed'], self.opt['rank'], current_iter))
        self.optimizer_g.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.amp):
            outputs = self._forward(batch)
            losses, scores = self._losses(batch, outputs)
        kept = {term: loss for term, loss in losses.items()
                if not (term == 'forget' and self.stop_rule and self.stop_rule.holding)}
        if self.conflict_freq and (current_iter - 1) % self.conflict_freq == 0 and len(losses) > 1:
            rest = sum(loss for term, loss in losses.items() if term != 'forget')
            self.grad_cosine = gradient_cosine(losses['forget'], rest, self._trainable())
        total = sum(kept.values())
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._trainable(), self.grad_clip or float('inf'))
        self._require_finite(total, norm, current_iter)
        self.optimizer_g.step()
        self.steps_done += 1
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)

        log = OrderedDict((f'l_{term}', loss.detach().float()) for term, loss in losses.items())
        log.update(scores, grad_norm=norm.detach().float())
        if self.conflict_freq:
            log['grad_cosine'] = self.grad_cosine
        self.log_dict = self.reduce_loss_dict(log)
        self._observe_batch(scores)

    def _trainable(self) -> list[torch.nn.Parameter]:
        return [p for p in self.net_g.parameters() if p.requires_grad]

    def _forward(self, batch: dict) -> dict[str, torch.Tensor]:
        """Outputs of the streams that a term needs, in one pass where the network allows it."""
        streams = [s for s in ('forget', 'retain') if f'{s}_lq' in batch and self._needs(s)]
        inputs = [batch[f'{stream}_lq'] for stream in streams]
        if self.joint_forward and len({x.shape[1:] for x in inputs}) == 1:
            return dict(zip(streams, self.net_g(torch.cat(inputs)).split([len(x) for x in inputs])))
        return {stream: self.net_g(x) for stream, x in zip(streams, inputs)}

    def _needs(self, stream: str) -> bool:
        return stream in self.losses or self.stop_rule is not None

    def _losses(self, batch: dict, outputs: dict) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """The terms of the objective, and scores in dB for the log and the stop rule."""
        losses, scores = {}, {}
        if 'forget' in outputs:
            lq, gt = batch['forget_lq'], batch['forget_gt']
            scores['psnr_forget'] = batch_psnr(outputs['forget'], gt)
            scores['psnr_forget_input'] = batch_psnr(degraded_as_output(lq, gt), gt)
            if 'forget' in self.losses:
                loss = self.losses['forget']
                extra = accepted(loss, lq=lq, teacher=self._teach(lq) if loss_needs(loss, 'teacher') else None)
                losses['forget'] = loss(outputs['forget'], gt, **extra)
        if 'retain' in outputs:
            lq, gt = batch['retain_lq'], batch['retain_gt']
            taught = self._teach(lq) if self.retain_target == 'teacher' or self._has_budget() else None
            scores['psnr_retain'] = batch_psnr(outputs['retain'], gt)
            if taught is not None:
                scores['psnr_retain_original'] = batch_psnr(taught, gt)
            if 'retain' in self.losses:
                losses['retain'] = self.losses['retain'](outputs['retain'],
                                                         taught if self.retain_target == 'teacher' else gt)
        if 'adversarial' in self.losses:
            loss = self.losses['adversarial']
            stream = getattr(loss, 'source', 'retain')
            if f'{stream}_lq' not in batch:
                raise OptionError(f'train.adversarial_opt has source: {stream}, but datasets.train has no such stream.')
            losses['adversarial'] = loss(self.net_g, batch[f'{stream}_lq'], batch[f'{stream}_gt'], self.teacher)
        missing = {'forget', 'retain'} & set(self.losses) - set(losses)
        if missing:
            raise OptionError(f'train.{min(missing)}_opt has no data: datasets.train gives no {min(missing)} stream.')
        return losses, scores

    def _has_budget(self) -> bool:
        return self.stop_rule is not None and self.stop_rule.retain_budget is not None and self.stop_check == 'train'

    @torch.no_grad()
    def _teach(self, lq: torch.Tensor) -> torch.Tensor:
        return self.teacher(lq)

    def _require_finite(self, total: torch.Tensor, norm: torch.Tensor, current_iter: int) -> None:
        # the gradient is the same on all ranks, so all of them leave together
        if torch.isfinite(norm) and (self.opt['dist'] or torch.isfinite(total)):
            return
        raise TrainingError(f'Loss or gradient is not finite at iteration {current_iter}, so nothing was changed by it '
                            f'and the checkpoints in {self.opt["path"]["models"]} stay as they are: lower '
                            'train.optim_g.lr, set train.grad_clip, or bound the ascent.')

    # ---------------------------------------------------------------- stop rule

    def _observe_batch(self, scores: dict[str, torch.Tensor]) -> None:
        if self.stop_rule is None or self.stop_check != 'train':
            return
        reference = scores['psnr_forget_input'] if self.stop_reference == 'identity' else self.stop_reference
        values = torch.stack([scores['psnr_forget'] - reference,
                              scores['psnr_retain_original'] - scores['psnr_retain'] if self._has_budget()
                              else torch.zeros_like(scores['psnr_forget'])]).double()
        if self.opt['dist']:  # every rank must come to the same decision
            torch.distributed.all_reduce(values)
            values /= self.opt['world_size']
        self.stop_rule.observe(float(values[0]), float(values[1]) if self._has_budget() else None)

    def _stop_now(self, current_iter: int) -> bool:
        """Whether the rule was met by the iteration before; then the training data end and BasicSR's loop with them."""
        if self.stopped:
            return True
        if self.stop_rule is None:
            return False
        met = self.stop_rule.met(current_iter - 1)
        if self.opt['dist'] and self.stop_check == 'val':  # only rank 0 validates
            flag = torch.tensor(float(met), device=self.device)
            torch.distributed.broadcast(flag, src=0)
            met = bool(flag)
        if met:
            self._announce_stop(current_iter - 1)
        return met

    def _announce_stop(self, iteration: int) -> None:
        self.stopped = True
        end_training_data()
        rule = self.stop_rule
        budget = '' if rule.retain_budget is None else f'; retain loss {rule.drop:.2f} dB of {rule.retain_budget} dB'
        get_root_logger().info(f'Stop rule met at iteration {iteration}: forget PSNR {rule.gap:+.2f} dB from its '
                               f'reference ({self.stop_reference}, margin {rule.margin} dB){budget}.')

    # ---------------------------------------------------------------- save and resume

    @master_only
    def save_network(self, net, net_label: str, current_iter: int, param_key='params') -> None:
        """Write `<label>_<iter>.pth` atomically. Raises CheckpointError if it cannot be written."""
        nets, keys = (net, param_key) if isinstance(net, list) else ([net], [param_key])
        content = {key: OrderedDict((name.replace('_orig_mod.', ''), value.detach().cpu().contiguous()) for name, value
                                    in self.get_bare_model(part).state_dict().items()) for part, key in zip(nets, keys)}
        label = 'latest' if current_iter == -1 else current_iter
        write_atomically(content, osp.join(self.opt['path']['models'], f'{net_label}_{label}.pth'))

    def save(self, epoch: int, current_iter: int) -> None:
        if current_iter == -1 and self.steps_done == 0 and not self.resumed_at:
            raise TrainingError('The run trained nothing: check train.total_iter, and that datasets.train has at least '
                                'as many items as a batch.')
        super().save(epoch, current_iter)

    @master_only
    def save_training_state(self, epoch: int, current_iter: int) -> None:
        if current_iter == -1:
            return
        state = {'epoch': epoch, 'iter': current_iter,
                 'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
                 'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
                 'unlearning': {'original_path': self.original_path, 'original_key': self.original_key,
                                'original_digest': self.original_digest,
                                'stop_rule': self.stop_rule.state_dict() if self.stop_rule else None,
                                'references': self.references, 'grad_cosine': float(self.grad_cosine)}}
        write_atomically(state, osp.join(self.opt['path']['training_states'], f'{current_iter}.state'))

    def resume_training(self, resume_state: dict) -> None:
        """Optimizer, scheduler, stop rule, and the teacher from the original's file. Raises CheckpointError."""
        super().resume_training(resume_state)
        state = resume_state.get('unlearning')
        if state is None:
            raise CheckpointError('The training state to resume was not written by UnlearnModel: start without '
                                  '--auto_resume and path.resume_state.')
        self.original_path, self.original_key = state['original_path'], state['original_key']
        original = resolve_checkpoint(self.original_path)
        self.teacher.load_state_dict(read_weights(original, self.original_key, self.teacher))
        self.original_digest = weights_digest(self.teacher)
        if self.original_digest != state['original_digest']:
            raise CheckpointError(f'{self.original_path} has changed since the run began, so the teacher would be '
                                  'another network: put the original checkpoint back, or start anew.')
        if self.ema_decay > 0:
            self.load_network(self.net_g_ema, self.opt['path']['pretrain_network_g'], param_key='params_ema')
        if self.stop_rule and state['stop_rule']:
            self.stop_rule.load_state_dict(state['stop_rule'])
        self.references = state['references']
        self.grad_cosine = torch.tensor(state['grad_cosine'], device=self.device)
        self.resumed_at = resume_state['iter']


def weights_digest(net: torch.nn.Module) -> str:
    """SHA-256 over names and values of a network's weights."""
    digest = hashlib.sha256()
    for name, value in net.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def step_seed(manual_seed: int, rank: int, iteration: int) -> int:
    """Seed of one step's random numbers, different for each seed, rank and iteration."""
    digest = hashlib.sha256(f'{manual_seed}/{rank}/{iteration}'.encode()).digest()
    return int.from_bytes(digest[:7], 'little')


def loss_needs(loss: torch.nn.Module, what: str) -> bool:
    return getattr(loss, f'needs_{what}', False)


def accepted(loss: torch.nn.Module, **inputs) -> dict:
    """Those inputs that the loss's forward takes by name, so that BasicSR's own losses serve too."""
    names = inspect.signature(loss.forward).parameters
    return {name: value for name, value in inputs.items() if name in names and value is not None}
