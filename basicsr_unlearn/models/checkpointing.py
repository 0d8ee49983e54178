"""Checkpoints and training states of an unlearning run: read in any container, written in one piece, resumed exactly.
"""
import hashlib
from collections import OrderedDict
from os import path as osp

import torch
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only

from basicsr_unlearn.core.memory import peak_memory
from basicsr_unlearn.engine.resume import RunRecord, training_state
from basicsr_unlearn.errors import CheckpointError, TrainingError
from basicsr_unlearn.zoo.checkpoint import check_fit, fits, read_weights, resolve_checkpoint, write_atomically


class Checkpointing:
    """Mixin before SRModel: BasicSR's file names and keys, so that BasicSR loads what is written here."""

    run_record: RunRecord | None = None  # given by our entry point
    state_after_validation: tuple[int, int] | None = None  # epoch, iteration: to be written again after it

    def load_network(self, net: torch.nn.Module, load_path: str, strict: bool = True, param_key: str | None = 'params'
                     ) -> None:
        """Load any container that `read_weights` knows.

        BasicSR's default key `params` is taken as 'whatever is there'; only the key that the option file names is
        insisted on. It is that of the original: checkpoints of this run have `params` and `params_ema`.

        Args:
            net: the network, wrapped or bare.
            load_path: see `resolve_checkpoint`.
            strict: false lets the file hold more than the network needs; it can never hold less.
            param_key: as BasicSR passes it.

        Raises:
            CheckpointError: the file cannot be read or does not fit.
        """
        path = resolve_checkpoint(load_path)
        is_ema = net is getattr(self, 'net_g_ema', None)
        net = self.get_bare_model(net)
        if self.is_train and osp.dirname(osp.abspath(path)) == osp.abspath(self.opt['path']['models']):
            key = 'params_ema' if is_ema else 'params'
        else:
            key = param_key if param_key == self.opt['path'].get('param_key_g') else None
        self.fill(net, path, key, strict)
        get_root_logger().info(f'Loaded {type(net).__name__} from {path}.')

    @staticmethod
    def fill(net: torch.nn.Module, path: str, key: str | None, strict: bool) -> None:
        """Fill a bare network with the weights of a file. Raises CheckpointError if it does not fit."""
        weights = read_weights(path, key, net)
        if not strict:
            own = net.state_dict()
            weights = OrderedDict((name, weight) for name, weight in weights.items()
                                  if name in own and fits(net, name, own[name].shape, weight.shape))
        check_fit(net, weights, path)
        net.load_state_dict(weights)

    @master_only
    def save_network(self, net: torch.nn.Module | list[torch.nn.Module], net_label: str, current_iter: int,
                     param_key: str | list[str] = 'params') -> None:
        """Write `<label>_<iter>.pth` atomically.

        Raises:
            TrainingError: a weight is not finite; nothing is written.
            CheckpointError: it cannot be written.
        """
        nets, keys = (net, param_key) if isinstance(net, list) else ([net], [param_key])
        content = {key: OrderedDict((name.replace('_orig_mod.', ''), value.detach().cpu().contiguous()) for name, value
                                    in self.get_bare_model(part).state_dict().items()) for part, key in zip(nets, keys)}
        for weights in content.values():
            for name, value in weights.items():
                if not torch.isfinite(value).all():
                    raise TrainingError(f'The weight {name} is not finite after iteration {self.iteration}, so it was '
                                        'not saved: go back to an earlier checkpoint with a lower train.optim_g.lr.')
        label = 'latest' if current_iter == -1 else current_iter
        write_atomically(content, osp.join(self.opt['path']['models'], f'{net_label}_{label}.pth'))

    def save(self, epoch: int, current_iter: int) -> None:
        """Save as BasicSR does. Raises TrainingError instead of saving a last checkpoint that nothing was done to."""
        if current_iter != -1 and self.stopped:
            return  # batches fetched ahead of the stop are counted but not trained on
        if current_iter == -1:
            self._require_change()
            self.report_end()
        super().save(epoch, current_iter)
        if current_iter == -1:
            get_root_logger().info(f'Peak memory: {peak_memory():.0f} MB.')

    def _require_change(self) -> None:
        if self.iteration == 0:
            raise TrainingError('The run trained nothing: datasets.train must give at least as many items as a batch.')
        if weights_digest(self.get_bare_model(self.net_g)) == self.original_digest:
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
        due = self.opt.get('val') is not None and bool(self.roles()) and current_iter % self.opt['val']['val_freq'] == 0
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
        state['unlearning'] = {
            'original_path': self.original_path, 'original_key': self.original_key,
            'original_digest': self.original_digest, 'manual_seed': self.opt['manual_seed'],
            'ema': self.ema_decay > 0, 'references': self.references, 'references_of': self.references_of(),
            'history': self.history, 'counts': self.counts,
            'stop_rule': self.stop_rule.state_dict() if self.stop_rule else None,
            'grad_cosine': float(self.grad_cosine), 'dual_weight': self.dual.value if self.dual else None,
            'losses': {term: loss.state_dict() for term, loss in self.losses.items()}}
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
        original = resolve_checkpoint(self.original_path)
        self.fill(self.teacher, original, self.original_key, self.opt['path'].get('strict_load_g', True))
        self.original_digest = weights_digest(self.teacher)
        if self.original_digest != state['original_digest']:
            raise CheckpointError(f'{self.original_path} has changed since the run began, so the teacher would be '
                                  'another network: put the original checkpoint back, or start anew.')
        if self.ema_decay > 0:
            if not state['ema']:
                raise CheckpointError('The run to resume had no train.ema_decay: set it to 0, or start anew.')
            self.load_network(self.net_g_ema, self.opt['path']['pretrain_network_g'])
        if self.stop_rule and state['stop_rule']:
            self.stop_rule.load_state_dict(state['stop_rule'])
        if self.dual and state['dual_weight'] is not None:
            self.dual.value = state['dual_weight']
        for term, loss in self.losses.items():
            loss.load_state_dict(state['losses'].get(term, {}), strict=False)
        if state.get('references_of', self.references_of()) == self.references_of():  # else measured anew
            self.references = state['references']
        self.history = {name: [(step, values) for step, values in points]
                        for name, points in state.get('history', {}).items()}
        self.counts = state.get('counts', {})
        self.grad_cosine = torch.tensor(state['grad_cosine'], device=self.device)
        self.iteration = resume_state['iter']
        if self.opt['manual_seed'] != state['manual_seed']:
            get_root_logger().warning(f'The run began with manual_seed {state["manual_seed"]} and goes on with '
                                      f'{self.opt["manual_seed"]}: it will not equal an uninterrupted run.')


def weights_digest(net: torch.nn.Module) -> str:
    """SHA-256 over names and values of a network's weights."""
    digest = hashlib.sha256()
    for name, value in net.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
