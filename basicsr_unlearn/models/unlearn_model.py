"""The model that unlearns, as BasicSR trains and tests it: data in, log out, files."""
from collections import OrderedDict
from os import path as osp

import torch
from basicsr.losses import build_loss
from basicsr.models.sr_model import SRModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from basicsr.utils.registry import ARCH_REGISTRY, MODEL_REGISTRY
from torch.nn.parallel import DistributedDataParallel

from basicsr_unlearn.core.building import AUTO, OPTIMIZERS, UNFITTED, build_objective, build_preparation
from basicsr_unlearn.core.memory import peak_memory
from basicsr_unlearn.core.modes import bare, frozen_copy
from basicsr_unlearn.core.passes import PassCounter
from basicsr_unlearn.core.seeds import step_seed
from basicsr_unlearn.core.stop_rule import StopRule
from basicsr_unlearn.core.unlearner import Unlearner
from basicsr_unlearn.errors import CheckpointError, OptionError, TrainingError
from basicsr_unlearn.methods.presets import expand_method
from basicsr_unlearn.models.checkpoints import load_weights, save_weights, weights_digest
from basicsr_unlearn.models.first_batches import STREAMS, by_stream, first_batches
from basicsr_unlearn.models.patch_schedule import PatchSchedule
from basicsr_unlearn.models.reference_networks import ReferenceNetworks
from basicsr_unlearn.models.stopping import Stopping
from basicsr_unlearn.models.tracking import ValidationTracking
from basicsr_unlearn.models.training_state import training_state
from basicsr_unlearn.zoo.checkpoint import resolve_checkpoint, write_atomically


@MODEL_REGISTRY.register()
class UnlearnModel(SRModel):
    """Unlearns a forget set with any registered network and any registered losses.

    It holds an `Unlearner`, which makes the steps; `tracking`, which validates; and `stopping`, which ends the run.
    Inherited from SRModel: construction, schedulers, file names. Options of `train:` are described in
    options/unlearn_haze.yml and options/README.md.

    The teacher is a frozen copy of the original network. On a resume it is read again from the original's file, never
    from the half-unlearned weights; masks, anchors and proxy are made again from the same batches.
    """

    run_record = None  # given by our entry point
    state_after_validation: tuple[int, int] | None = None  # epoch, iteration: to be written again after it

    # ---------------------------------------------------------------- settings

    def __init__(self, opt: dict):
        opt = expand_method(opt)  # for BasicSR's own entry point; ours has done it
        self.networks = ReferenceNetworks(opt, torch.device('cuda' if opt['num_gpu'] != 0 else 'cpu'))
        self.tracking = ValidationTracking(opt, self.networks)
        super().__init__(opt)

    def model_to_device(self, net: torch.nn.Module) -> torch.nn.Module:
        if not self.opt['dist']:
            return super().model_to_device(net)
        unused = self.opt.get('find_unused_parameters', False) or bool(getattr(net, 'dead_parameters', ()))
        devices = [torch.cuda.current_device()] if self.device.type == 'cuda' else None  # BasicSR names one always
        return DistributedDataParallel(net.to(self.device), device_ids=devices, find_unused_parameters=unused)

    def init_training_settings(self) -> None:
        train_opt, seed = self.opt['train'], self.opt['manual_seed']
        self.original_path, self.original_key = map(self.opt['path'].get, ('pretrain_network_g', 'param_key_g'))
        if self.original_path is None:
            raise OptionError('path.pretrain_network_g is empty: give the checkpoint that has something to forget.')
        self.memory_format = torch.channels_last if train_opt.get('channels_last') else torch.contiguous_format
        self.net_g.to(memory_format=self.memory_format).train()
        self.networks.original = teacher = frozen_copy(self.net_g)
        self.original_digest = weights_digest(teacher)
        self.ema_decay = train_opt.get('ema_decay') or 0
        if self.ema_decay > 0:
            self.net_g_ema = frozen_copy(self.net_g)

        objective = build_objective(train_opt, seed, build_loss, 'train.')
        preparation = build_preparation(train_opt, seed, 'train.')
        rule = StopRule.of_options(train_opt['stop_opt']) if train_opt.get('stop_opt') is not None else None
        self.setup_optimizers()
        self.unlearner = Unlearner(
            self.net_g, objective=objective, preparation=preparation, stop_rule=rule, optimizer=self.optimizer_g,
            teacher=teacher, fresh=self._fresh_network, total_iter=int(train_opt['total_iter']),
            grad_clip=train_opt.get('grad_clip'), amp=train_opt.get('amp'), seed=seed,
            conflict_freq=train_opt.get('conflict_freq') or 0, tell=get_root_logger().warning)
        self.patches = PatchSchedule(train_opt.get('patch_schedule'), seed, self.opt['rank'])
        self.stopping = Stopping(rule, self.opt, self.tracking, self.unlearner.observer)
        self.setup_schedulers()
        self.log_dict = OrderedDict()

    def get_optimizer(self, optim_type: str, params: list, lr: float | str, **kwargs) -> torch.optim.Optimizer:
        lr = UNFITTED if lr == AUTO else lr
        if optim_type in OPTIMIZERS:
            return OPTIMIZERS[optim_type](params, lr=lr, **kwargs)
        return super().get_optimizer(optim_type, params, lr, **kwargs)

    def _fresh_network(self) -> torch.nn.Module:
        arguments = dict(self.opt['network_g'])
        return ARCH_REGISTRY.get(arguments.pop('type'))(**arguments)

    @property
    def iteration(self) -> int:
        """The last one trained; BasicSR's own counter runs ahead at the end."""
        return self.unlearner.iteration if self.is_train else 0

    @property
    def stopped(self) -> bool:
        """Whether the stop rule has ended the run."""
        return self.is_train and self.stopping.stopped

    # ---------------------------------------------------------------- one step

    def feed_data(self, data: dict) -> None:
        self.batches = {stream: {name: value.to(self.device, memory_format=self.memory_format if value.dim() == 4
                                                else torch.preserve_format) for name, value in batch.items()}
                        for stream, batch in by_stream(data).items()}
        if not self.batches:
            raise OptionError(f'datasets.train gives neither {" nor ".join(f"{stream}_lq" for stream in STREAMS)}: its '
                              'type must be ForgetRetainDataset or another that does.')

    def optimize_parameters(self, current_iter: int) -> None:
        if self.stopping.stop_now(current_iter - 1):
            self.log_dict = {}
            return
        self.unlearner.iteration = current_iter - 1
        self.unlearner.check_streams(self.batches)
        if not self.unlearner.prepared:
            self._prepare()
        # what data sets draw between two steps, if they do, is then the same in a resumed run
        torch.manual_seed(step_seed(self.opt['manual_seed'], self.opt['rank'], current_iter))
        batches, self.unlearner.passes.patch = self.patches(self.batches, current_iter)
        log = self.unlearner.step(**batches)
        if self.ema_decay > 0:
            self.model_ema(decay=self.ema_decay)
            if self.unlearner.preparation.masking is not None:
                self.unlearner.preparation.masking.restore(self.net_g_ema)
        self.log_dict = self.reduce_loss_dict(log)

    def _prepare(self) -> None:
        """Edit, mask, anchor, and fit the rate, at the first step of this process."""
        preparation, first, log = self.unlearner.preparation, self.iteration == 0, get_root_logger()
        needed = preparation.needs(self.unlearner.objective.anchors)
        self.unlearner.prepare(**first_batches(self.opt, preparation.batches) if needed else {})
        if first and preparation.edits:
            total = sum(p.numel() for p in self.net_g.parameters())
            log.info(f'edit_opt changed {preparation.changed:,d} of {total:,d} weights '
                     f'({100 * preparation.changed / total:.1f} %).')
            if self.ema_decay > 0:
                self.model_ema(0)
        if preparation.masking is not None:
            moving, total = preparation.masking.moving, preparation.masking.total
            log.info(f'mask_opt lets {moving:,d} of {total:,d} weights move ({100 * moving / total:.1f} %).')
        if preparation.rate is not None:
            for scheduler in self.schedulers:
                scheduler.base_lrs = [base * preparation.rate for base in scheduler.base_lrs]
            log.info(f'optim_g.lr auto: {preparation.rate:.3g}, at which one step goes '
                     f'{100 * preparation.forget_step:.3g} % of the way to the untouched input, to first order.')

    def model_ema(self, decay: float = 0.999) -> None:
        super().model_ema(decay)
        # statistics of batch normalisation, which BasicSR leaves as they were at the start
        for average, now in zip(self.net_g_ema.buffers(), bare(self.net_g).buffers()):
            average.copy_(now)

    # ---------------------------------------------------------------- validation

    @property
    def tested_net(self) -> torch.nn.Module:
        """The averaged network if there is one, else the bare network, since only the first process validates:
        DistributedDataParallel would wait for the others to share the statistics of batch normalisation.
        """
        return getattr(self, 'net_g_ema', None) or bare(self.net_g)

    def dist_validation(self, dataloader, current_iter, tb_logger, save_img) -> None:
        super().dist_validation(dataloader, current_iter, tb_logger, save_img)
        if self.is_train:
            self.stopping.share_observations()

    def nondist_validation(self, dataloader, current_iter, tb_logger, save_img) -> None:
        """Score one data set. Raises TrainingError if an output is not finite."""
        step = self.iteration if self.is_train else current_iter
        self.metric_results = self.tracking.validate(dataloader, self.tested_net, step, tb_logger, save_img)
        if not self.is_train:
            return
        name = dataloader.dataset.opt['name']
        results = self.tracking.end_of_round(name, self.metric_results, tb_logger, self.original_path)
        if results is not None:
            self.stopping.observe_round(results)
            self.write_awaited_state()

    # ---------------------------------------------------------------- files

    def load_network(self, net: torch.nn.Module, load_path: str, strict: bool = True, param_key: str | None = 'params'
                     ) -> None:
        """Load any container that `read_weights` knows; see `load_weights` for the errors.

        BasicSR's default key `params` is taken as 'whatever is there'; only the key that the option file names is
        insisted on. It is that of the original: checkpoints of this run have `params` and `params_ema`.
        """
        path = resolve_checkpoint(load_path)
        if self.is_train and osp.dirname(osp.abspath(path)) == osp.abspath(self.opt['path']['models']):
            key = 'params_ema' if net is getattr(self, 'net_g_ema', None) else 'params'
        else:
            key = param_key if param_key == self.opt['path'].get('param_key_g') else None
        load_weights(net, path, key, strict)

    @master_only
    def save_network(self, net: torch.nn.Module | list[torch.nn.Module], net_label: str, current_iter: int,
                     param_key: str | list[str] = 'params') -> None:
        """Write `<label>_<iter>.pth`; see `save_weights` for the errors."""
        nets = dict(zip(param_key, net)) if isinstance(net, list) else {param_key: net}
        label = 'latest' if current_iter == -1 else current_iter
        save_weights(nets, osp.join(self.opt['path']['models'], f'{net_label}_{label}.pth'), self.iteration)

    def save(self, epoch: int, current_iter: int) -> None:
        """Save as BasicSR does. Raises TrainingError instead of saving a last checkpoint that nothing was done to."""
        if current_iter != -1 and self.stopped:
            return  # batches fetched ahead of the stop are counted but not trained on
        if current_iter == -1:
            self._require_change()
            self.stopping.report_end(self.iteration)
        super().save(epoch, current_iter)
        if current_iter == -1:
            get_root_logger().info(f'Peak memory: {peak_memory():.0f} MB.')

    def _require_change(self) -> None:
        if self.iteration == 0:
            raise TrainingError('The run trained nothing: datasets.train must give at least as many items as a batch.')
        if weights_digest(bare(self.net_g)) == self.original_digest:
            raise TrainingError(f'The run changed nothing in {self.iteration} iterations, so this network would be the '
                                'original: check train.optim_g.lr, and that the losses are not 0 from the start.')

    @master_only
    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Write `<iter>.state` atomically.

        Where a validation is due, which the stop rule and the run's record need, it is written once more after that;
        the first one says so, and a resume from it makes the validation.
        """
        if current_iter == -1:
            return
        due = (self.opt.get('val') is not None and bool(self.tracking.roles())
               and current_iter % self.opt['val']['val_freq'] == 0)
        if due:
            self.state_after_validation = epoch, current_iter
        if self.run_record is not None:
            self.run_record.validation_due = due
        if not due or self.run_record is not None:  # BasicSR's own entry point would not make the validation
            self._write_state(epoch, current_iter)

    def write_awaited_state(self) -> None:
        """Write the state that waited for a validation, if there is one."""
        if self.state_after_validation is not None:
            if self.run_record is not None:
                self.run_record.validation_due = False
            self._write_state(*self.state_after_validation)
            self.state_after_validation = None

    def _write_state(self, epoch: int, current_iter: int) -> None:
        state = training_state(self, epoch, current_iter)
        rule = self.unlearner.stop_rule
        state['unlearning'] = {
            'original_path': self.original_path, 'original_key': self.original_key,
            'original_digest': self.original_digest, 'manual_seed': self.opt['manual_seed'],
            'ema': self.ema_decay > 0, 'grad_cosine': float(self.unlearner.grad_cosine),
            'stop_rule': rule.state_dict() if rule else None, 'passes': self.unlearner.passes.samples,
            **self.tracking.state_dict(), **self.unlearner.objective.state_dict()}
        write_atomically(state, osp.join(self.opt['path']['training_states'], f'{current_iter}.state'))

    def resume_training(self, resume_state: dict) -> None:
        """Optimizer, scheduler, stop rule, EMA, and the teacher from the original's file.

        Raises:
            CheckpointError: the state is another model's, or the original is missing or no longer what it was.
        """
        state = resume_state.get('unlearning')
        if state is None:
            raise CheckpointError('The training state to resume was not written by UnlearnModel: start without '
                                  '--auto_resume and path.resume_state.')
        super().resume_training(resume_state)
        self.original_path, self.original_key = state['original_path'], state['original_key']
        teacher = self.unlearner.teacher
        load_weights(teacher, resolve_checkpoint(self.original_path), self.original_key,
                     self.opt['path'].get('strict_load_g', True))
        self.original_digest = weights_digest(teacher)
        if self.original_digest != state['original_digest']:
            raise CheckpointError(f'{self.original_path} has changed since the run began, so the teacher would be '
                                  'another network: put the original checkpoint back, or start anew.')
        if self.ema_decay > 0:
            if not state['ema']:
                raise CheckpointError('The run to resume had no train.ema_decay: set it to 0, or start anew.')
            self.load_network(self.net_g_ema, self.opt['path']['pretrain_network_g'])
        if self.unlearner.stop_rule and state['stop_rule']:
            self.unlearner.stop_rule.load_state_dict(state['stop_rule'])
        self.unlearner.objective.load_state_dict(state)
        self.unlearner.grad_cosine = torch.tensor(state['grad_cosine'], device=self.device)
        self.unlearner.iteration = resume_state['iter']
        self.unlearner.passes = PassCounter(state.get('passes'))
        self.tracking.load_state_dict(state)
        if self.opt['manual_seed'] != state['manual_seed']:
            get_root_logger().warning(f'The run began with manual_seed {state["manual_seed"]} and goes on with '
                                      f'{self.opt["manual_seed"]}: it will not equal an uninterrupted run.')
