"""A training as BasicSR's loop runs it: where it is, how it ends on a signal, and how it goes on from there."""
import importlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from os import path as osp
from typing import Any, NoReturn

import torch
from basicsr.utils import set_random_seed
from basicsr.utils.dist_util import master_only

from basicsr_unlearn.engine.compat import rebound
from basicsr_unlearn.engine.resume import RunRecord
from basicsr_unlearn.engine.resume_options import noted_options, resume_with_changes, told
from basicsr_unlearn.engine.signals import Watch
from basicsr_unlearn.engine.terminal import warn
from basicsr_unlearn.errors import TrainingError, UnlearnError
from basicsr_unlearn.models.training_state import training_state
from basicsr_unlearn.zoo.checkpoint import write_atomically

BAD_INPUT = 2


class CutError(Exception):
    """Leaves a validation after the image it is at."""


class WatchedRun:
    """What a stop and a resume need of a training, gathered from the names that `basicsr.train` looks up.

    A signal is noted from the second step of a process on. Before, it ends the process at once: there is nothing to
    save yet. Afterwards, the step, or the image of a validation, is finished, and before the next batch is fetched all
    processes agree that the run ends there; the model saves what it saves at `save_checkpoint_freq`. A validation that
    was cut short is noted in the state, and made again at the resume, so that a stop rule sees it.
    """

    def __init__(self, watch: Watch, seed_given: bool):
        self.watch, self.seed_given = watch, seed_given
        self.record = RunRecord({})
        self.opt: Mapping[str, Any] = {}
        self.model: Any = None
        self.sampler: Any = None
        self.val_loaders: list = []
        self.tb_logger: Any = None
        self.steps = 0  # of this process
        self.cut = self.ended = False  # whether a validation was, and whether the loop was left
        self._agreement: Any = None

    @property
    def iteration(self) -> int:
        return self.record.iteration + self.steps

    # ------------------------------------------------------------ what basicsr.train makes

    def load_state(self, original: Callable, opt: dict) -> dict | None:
        """BasicSR's load_resume_state, which also compares the options. Raises CheckpointError, OptionError."""
        self.opt = opt
        with self._in_one_voice():
            options = noted_options(opt)
            state = original(opt)
            if state is not None and not self.seed_given and 'run' in state:
                seed = state['run']['options']['manual_seed']
                opt['manual_seed'] = options['manual_seed'] = seed
                set_random_seed(seed + opt['rank'])
            self.record = RunRecord.of(opt, options, state)
        return state

    @contextmanager
    def _in_one_voice(self) -> Iterator[None]:
        """All processes read the same files; one of them says what is wrong with them."""
        try:
            yield
        except UnlearnError:
            if self.opt['rank'] == 0:
                raise
            raise SystemExit(BAD_INPUT) from None

    def create_loaders(self, original: Callable, opt: dict, logger: logging.Logger) -> tuple:
        loader, self.sampler, self.val_loaders, *rest = original(opt, logger)
        with self._in_one_voice():
            self.record.compare_files(loader.dataset, opt)
        if self.record.warning:
            logger.warning(self.record.warning)
        if self.record.new_changes:
            logger.warning(f'Resumed with other options: {told(self.record.new_changes)}.')
        return loader, self.sampler, self.val_loaders, *rest

    def open_tensorboard(self, original: Callable, opt: dict) -> Any:
        self.tb_logger = original(opt)
        return self.tb_logger

    def build_model(self, original: Callable, opt: dict) -> Any:
        self.model = model = original(opt)
        model.run_record = self.record
        if not hasattr(model, 'write_awaited_state'):  # BasicSR's own, which would not note how to go on
            model.save_training_state = master_only(partial(write_state, model))
        if hasattr(model, 'nondist_validation'):
            model.nondist_validation = partial(self.validate, model.nondist_validation)
        if opt['dist']:
            self._agreement = torch.distributed.new_group(backend='gloo')
        if self.record.new_changes:
            model.resume_training = partial(resume_with_changes, model, model.resume_training,
                                            changes=self.record.new_changes)
        return model

    def prefetcher(self, original: type) -> type:
        run = self

        class WatchedPrefetcher(original):
            def next(self) -> dict | None:
                return run.next_batch(super().next)

        return WatchedPrefetcher

    # ------------------------------------------------------------ the loop

    def next_batch(self, fetch: Callable[[], dict | None]) -> dict | None:
        """Called when all is done that belongs to the iterations so far."""
        if self.steps:
            self.watch.held = True
            self._end_if_asked()
        elif self.record.validation_due:
            if self.opt['rank'] == 0:  # which validates and writes
                self.model.state_after_validation = self.sampler.epoch, self.iteration
            for loader in self.val_loaders:
                self.model.validation(loader, self.iteration, self.tb_logger, self.opt['val']['save_img'])
            self.record.validation_due = False
        try:
            if self.watch.held and not self.opt['dist']:
                with self.watch.free():
                    batch = fetch()
            else:
                batch = fetch()
        except KeyboardInterrupt:
            if not self.steps:
                raise
            self._end()
        except (RuntimeError, ConnectionError, EOFError) as error:
            if not lost_worker(error):
                raise
            self._end_without_worker(error)
        self.steps += batch is not None
        return batch

    def validate(self, original: Callable, loader: Any, *args, **kwargs) -> None:
        try:
            original(_Cuttable(loader, self._cut_short), *args, **kwargs)
        except CutError:
            self.cut = True
            self.model.metric_results = {}  # those of the validation before are not to be shown as this one's

    def _cut_short(self) -> bool:
        return self.watch.held and self.watch.signum is not None

    # ------------------------------------------------------------ ends

    def _end_if_asked(self) -> None:
        if getattr(self.model, 'stopped', False):
            return  # by the stop rule: it ends anyway, and processes no longer meet
        if self._agreement is not None:
            signum = torch.tensor(self.watch.signum or 0)
            torch.distributed.all_reduce(signum, torch.distributed.ReduceOp.MAX, group=self._agreement)
            if signum:
                self.watch.note(int(signum))
        if self.watch.signum is not None:
            self._end()

    def _end(self) -> NoReturn:
        self.ended = True
        self._save()
        if self._agreement is not None:  # a launcher ends the others as soon as one has ended, and the first one saves
            torch.distributed.barrier(self._agreement)
        if self.opt['rank'] == 0:
            warn(f'Stopped by {self.watch.name} after iteration {self.iteration} of '
                 f'{self.opt["train"]["total_iter"]}, which is saved: --auto_resume goes on from there.')
        raise SystemExit(self.watch.code)

    def tell_end(self) -> None:
        """After the pipeline: say so if a signal came when there was nothing to stop any more."""
        if self.watch.signum is not None and not self.ended and self.opt['rank'] == 0:
            warn(f'Stopped by {self.watch.name} after the last iteration: net_g_latest.pth is saved'
                 + (', its validation was left out.' if self.cut else '.'))

    def _end_without_worker(self, error: Exception) -> NoReturn:
        if self.watch.signum is not None and self.steps:
            self._end()  # the signal reached the workers too
        saved = bool(self.steps) and self.opt['rank'] == 0
        if saved:
            self._save()
        raise TrainingError(
            'A process that loads data was ended from outside, most often because memory ran out: lower '
            'datasets.train.num_worker_per_gpu or take smaller images. ' + (
                f'Iteration {self.iteration} is saved: --auto_resume goes on from there.' if saved else
                '--auto_resume goes on from the last saved state.')) from error

    def _save(self) -> None:
        self.record.validation_due = self.cut
        self.model.save(self.sampler.epoch, self.iteration)
        if hasattr(self.model, 'write_awaited_state') and not self.cut:  # what it would wait for is done
            self.model.write_awaited_state()


def lost_worker(error: Exception) -> bool:
    """Whether this is torch's error for a worker that ended without a word, and not one that a worker raised.

    If it ends while it hands a batch over, the connection breaks instead.
    """
    if isinstance(error, RuntimeError):
        return 'DataLoader worker (pid' in str(error)
    return 'DataLoader worker' not in str(error)


class _Cuttable:
    """A loader of validation images that ends with CutError when asked."""

    def __init__(self, loader: Any, asked: Callable[[], bool]):
        self._loader, self._asked = loader, asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[dict]:
        if self._asked():
            raise CutError
        for item in self._loader:
            if self._asked():
                raise CutError
            yield item


def write_state(model: Any, epoch: int, current_iter: int) -> None:
    """BasicSR's training state of any model, in one piece and with what a resume needs to know of the run."""
    if current_iter != -1:
        write_atomically(training_state(model, epoch, current_iter),
                         osp.join(model.opt['path']['training_states'], f'{current_iter}.state'))


@contextmanager
def watched(watch: Watch, seed_given: bool = True) -> Iterator[WatchedRun]:
    """Let `basicsr.train` run a training that ends well on a signal; inside `prepare_pipeline`.

    Args:
        seed_given: whether the option file sets `manual_seed`; without, a resumed run takes the one it began with.
    """
    pipeline, run = importlib.import_module('basicsr.train'), WatchedRun(watch, seed_given)
    with ExitStack() as stack:
        for name, replacement in (
                ('load_resume_state', partial(run.load_state, pipeline.load_resume_state)),
                ('create_train_val_dataloader', partial(run.create_loaders, pipeline.create_train_val_dataloader)),
                ('init_tb_loggers', partial(run.open_tensorboard, pipeline.init_tb_loggers)),
                ('build_model', partial(run.build_model, pipeline.build_model)),
                ('CPUPrefetcher', run.prefetcher(pipeline.CPUPrefetcher)),
                ('CUDAPrefetcher', run.prefetcher(pipeline.CUDAPrefetcher))):
            stack.enter_context(rebound(pipeline, name, replacement))
        try:
            yield run
            run.tell_end()
        finally:
            watch.held = False
