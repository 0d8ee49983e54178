"""Going on with an interrupted run: where BasicSR would fail, or take other images than the uninterrupted run."""
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.utils import check_resume, get_root_logger
from basicsr.utils.dist_util import master_only

from basicsr_unlearn.engine.resume_options import FILES_OPTION, changed_options, check_changes, files_of
from basicsr_unlearn.errors import CheckpointError, OptionError
from basicsr_unlearn.zoo.checkpoint import load_container


class ResumableSampler(EnlargedSampler):
    """BasicSR's sampler, which in the epoch of a resume leaves out what was seen before the interruption.

    BasicSR goes back to the start of that epoch, so some images come twice and the order is another one from then on.
    """

    resume_epoch = -1
    seen = 0

    def continue_from(self, epoch: int, iteration: int, batch_size: int) -> None:
        """Set where the run goes on.

        Args:
            epoch, iteration: as the training state holds them.
            batch_size: items of one batch in this process; an incomplete last batch is dropped, as BasicSR does.
        """
        per_epoch = self.num_samples // batch_size
        in_epoch = iteration - epoch * per_epoch
        if not 0 <= in_epoch <= per_epoch:
            get_root_logger().warning(
                f'Iteration {iteration} does not lie in epoch {epoch} of {per_epoch} iterations: the data, the batch '
                'size or the number of processes changed since, so this epoch starts from its beginning.')
            return
        self.resume_epoch, self.seen = epoch, in_epoch * batch_size

    def __iter__(self) -> Iterator[int]:
        order = super().__iter__()
        # by epoch and not once: BasicSR's prefetcher asks for an iterator before the epoch begins, too
        return iter(list(order)[self.seen:]) if self.epoch == self.resume_epoch else order


def load_resume_state(opt: dict) -> dict | None:
    """The training state to go on from, or None for a new run; paths in `opt` are set by BasicSR's check_resume.

    With `auto_resume` it is the newest state of the experiment that can be read, else `path.resume_state`.

    Raises:
        CheckpointError: the state, or the weights saved with it, cannot be read.
    """
    if opt['auto_resume']:
        found = _newest_state(opt)
        if found is None:
            return None
        opt['path']['resume_state'], state = found
    elif opt['path'].get('resume_state'):
        state = _whole_state(opt['path']['resume_state'], opt)
    else:
        return None
    check_resume(opt, state['iter'])
    return state


def _newest_state(opt: dict) -> tuple[str, dict] | None:
    folder = opt['path']['training_states']
    names = os.listdir(folder) if os.path.isdir(folder) else []
    iterations = sorted((int(name[:-len('.state')]) for name in names if re.fullmatch(r'\d+\.state', name)),
                        reverse=True)
    for iteration in iterations:
        path = os.path.join(folder, f'{iteration}.state')
        try:
            return path, _whole_state(path, opt)
        except CheckpointError as error:
            failure = error
            _tell(f'{error} Trying the one before.')
    if iterations:
        raise failure
    return None


def _whole_state(path: str, opt: dict) -> dict:
    """A training state whose weights are there. Raises CheckpointError if either cannot be read."""
    state = _read_state(path)
    for network in (key for key in opt if key.startswith('network_')):
        if network in (opt['path'].get('ignore_resume_networks') or ()):
            continue
        weights = os.path.join(opt['path']['models'], f'net_{network.removeprefix("network_")}_{state["iter"]}.pth')
        if not os.path.isfile(weights):
            raise CheckpointError(f'{path} cannot be resumed, as its weights {weights} are missing: put them back, or '
                                  'keep the name of the run that wrote the state.')
        load_container(weights)
    return state


def _read_state(path: str) -> dict:
    if not os.path.isfile(path):
        raise CheckpointError(f'The training state {path} does not exist: correct path.resume_state, or leave it empty '
                              'to start anew.')
    try:
        # on the CPU always: optimizers move their part to the GPU themselves
        state = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:  # what a damaged file raises depends on the byte where it breaks off
        raise CheckpointError(f'The training state {path} is damaged or incomplete: resume from an earlier one, or '
                              'start anew.') from error
    if not isinstance(state, dict) or not {'epoch', 'iter', 'optimizers', 'schedulers'} <= set(state):
        raise CheckpointError(f'{path} is no training state of BasicSR: path.resume_state takes a .state file from a '
                              'training_states folder.')
    return state


@dataclass
class RunRecord:
    """What a training state holds beside what BasicSR resumes from.

    Attributes:
        options: see `noted_options`.
        changes: options that were changed on purpose at the resumes so far: {option, before, now, iteration}.
        validation_due: whether the validation at the iteration of the state was cut short by a signal.
        iteration: where this process began.
        warning: what is to be said at the start of a resume.
        files: of the training set, as the state has them; see `files_of`.
    """

    options: dict[str, Any]
    changes: list[dict] = field(default_factory=list)
    validation_due: bool = False
    iteration: int = 0
    warning: str | None = None
    files: str | None = None

    @property
    def new_changes(self) -> list[dict]:
        """The changes at the last resume."""
        return [change for change in self.changes if change['iteration'] == self.iteration]

    @classmethod
    def of(cls, opt: dict, options: dict[str, Any], state: dict | None) -> 'RunRecord':
        """The record of a run with these options that goes on from a state, or begins.

        Raises:
            OptionError: the options have changed and `path.resume_changed` does not allow it, or cannot; or the state
                lies beyond `train.total_iter`.
        """
        if state is None:
            return cls(options)
        path, iteration = opt['path']['resume_state'], state['iter']
        if iteration > int(opt['train']['total_iter']):
            raise OptionError(f'{path} is of iteration {iteration}, but train.total_iter is '
                              f'{opt["train"]["total_iter"]}: raise it, or start anew.')
        if 'run' not in state:
            return cls(options, iteration=iteration, warning=(
                f'{path} does not say with which options it was trained, so that they have not changed is up to you: '
                'it was written by an earlier version or by BasicSR itself.'))
        before = state['run']
        record = cls(options, list(before['changes']), before['validation_due'], iteration)
        record.compare({key: value for key, value in before['options'].items() if key != FILES_OPTION}, opt)
        record.files = before['options'].get(FILES_OPTION)
        return record

    def compare(self, before: dict[str, Any], opt: dict) -> None:
        """Add what has changed since these options. Raises OptionError where it may not."""
        changes = changed_options(before, self.options)
        check_changes(changes, bool(opt['path'].get('resume_changed')), opt['path']['resume_state'])
        self.changes += [{**change, 'iteration': self.iteration} for change in changes]

    def compare_files(self, dataset: Any, opt: dict) -> None:
        """Note the files of the training set, and compare them with those of the state. Raises OptionError."""
        self.options[FILES_OPTION] = files_of(dataset)
        if self.files is not None:
            self.compare({**self.options, FILES_OPTION: self.files}, opt)


@master_only
def _tell(text: str) -> None:
    print(text, flush=True)  # the logger does not exist yet
