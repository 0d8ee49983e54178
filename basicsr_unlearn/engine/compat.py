"""What BasicSR 1.4.2 lacks on today's Python, torch and CPU.

Every item is applied only when the need is there, changes no file of BasicSR, and has a test that fails without it.
The alias is made by `plugin`; everything here lasts as long as `prepare_pipeline`.
"""
import importlib
import io
import itertools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, redirect_stdout
from types import ModuleType
from typing import Any

import torch
from torch.utils.data._utils import signal_handling

from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.installation import tensorboard_trouble


@contextmanager
def rebound(module: ModuleType, name: str, value: Any) -> Iterator[None]:
    """Let `module.name` be `value` for a while."""
    before = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, before)


@contextmanager
def prepare_pipeline(use_gpu: bool = True) -> Iterator[None]:
    """Make BasicSR's train_pipeline and test_pipeline work as its own documentation says; undone at the end.

    Resuming needs no GPU, finds the experiment wherever it is, survives a damaged last state, and goes on with the
    very images that an uninterrupted run would see next. Processes talk by gloo where no GPU is used. The log file is
    made even if something asked for the logger before, and TensorBoard's last values are written however a run ends.
    A worker that dies is found where its batch is waited for, not by an error in the middle of whatever runs; an error
    in the thread of `prefetch_mode: cpu` ends the run, which would wait for ever. An existing experiment is renamed
    even where one was renamed in the same second.

    Args:
        use_gpu: false for a run with `num_gpu: 0`, which needs gloo on a machine with a GPU too.
    """
    from basicsr_unlearn.engine import resume  # needs BasicSR, which needs the alias above
    train, options, misc, prefetch, registry = (importlib.import_module(f'basicsr.{name}') for name in (
        'train', 'utils.options', 'utils.misc', 'data.prefetch_dataloader', 'utils.registry'))
    position: dict[str, int] = {}
    create_loaders, open_tensorboard = train.create_train_val_dataloader, train.init_tb_loggers

    def load_resume_state(opt: dict) -> dict | None:
        state = resume.load_resume_state(opt)
        if state is not None:
            position.update(epoch=state['epoch'], iteration=state['iter'])
        return state

    def create_train_val_dataloader(opt: dict, logger: logging.Logger) -> tuple:
        loader, sampler, *rest = create_loaders(opt, logger)
        if position:
            sampler.continue_from(batch_size=loader.batch_size, **position)
        return loader, sampler, *rest

    with ExitStack() as stack:
        def init_tb_loggers(opt: dict):
            writer = open_tensorboard(opt)
            if writer is not None:
                stack.callback(writer.close)
                if tensorboard_trouble():
                    logger.warning(tensorboard_trouble())
            return writer

        forget_logger()
        stack.callback(forget_logger)
        logger = logging.getLogger('basicsr')
        logger.addFilter(_is_no_false_alarm)
        stack.callback(logger.removeFilter, _is_no_false_alarm)
        stack.enter_context(rebound(logging.Handler, 'handleError', _told_once(logging.Handler.handleError)))
        stack.enter_context(rebound(threading, 'excepthook', _quiet_writer(threading.excepthook)))
        for name, value in (('load_resume_state', load_resume_state), ('EnlargedSampler', resume.ResumableSampler),
                            ('create_train_val_dataloader', create_train_val_dataloader),
                            ('init_tb_loggers', init_tb_loggers), ('mkdir_and_rename', archive)):
            stack.enter_context(rebound(train, name, value))
        stack.enter_context(rebound(misc, 'mkdir_and_rename', archive))
        stack.enter_context(rebound(prefetch, 'PrefetchGenerator', failing_generator(prefetch.PrefetchGenerator)))
        if not (use_gpu and torch.cuda.is_available()):
            stack.enter_context(rebound(options, 'init_dist', gloo_init_dist(options.init_dist)))
        if hasattr(signal_handling, '_SIGCHLD_handler_set'):
            stack.enter_context(rebound(signal_handling, '_SIGCHLD_handler_set', True))
        # it prints a line where a name is given without its suffix, as everybody does
        stack.enter_context(rebound(registry.ARCH_REGISTRY, 'get', _silent(registry.ARCH_REGISTRY.get)))
        yield


def _silent(function: Callable) -> Callable:
    def call(*args: Any, **kwargs: Any) -> Any:
        with redirect_stdout(io.StringIO()):
            return function(*args, **kwargs)

    return call


def _told_once(original: Callable) -> Callable:
    """`Handler.handleError` that says in a sentence that a log file cannot be written, once, and lets the run go on."""
    told = []

    def handle_error(handler: logging.Handler, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            original(handler, record)
        elif not told:
            told.append(error)
            place = getattr(handler, 'baseFilename', 'The log')
            print(f'Warning: {place} cannot be written: {error.strerror}. The run goes on without it.', file=sys.stderr,
                  flush=True)

    return handle_error


def _quiet_writer(original: Callable) -> Callable:
    """`threading.excepthook` that leaves failures to write, TensorBoard's, to the main thread, where they come up."""
    def excepthook(args: threading.ExceptHookArgs) -> None:
        if not isinstance(args.exc_value, OSError):
            original(args)

    return excepthook


def _is_no_false_alarm(record: logging.LogRecord) -> bool:
    """Leave out what BasicSR warns of without need: several validation sets, which SRModel and UnlearnModel can; and
    each weight of AirNet's key encoder, which is not trained by design."""
    return not record.getMessage().startswith(('Multiple validation datasets are *only* supported by SRModel',
                                               'Params E.E.encoder_k.'))


def gloo_init_dist(original: Callable) -> Callable:
    """BasicSR's `init_dist` for processes without a GPU; the slurm launcher is left to `original`.

    BasicSR takes the GPU of number rank modulo the number of GPUs, which fails with none, and always names nccl.
    """
    def init_dist(launcher: str, *args, **kwargs) -> None:
        if launcher != 'pytorch':
            return original(launcher, *args, **kwargs)
        if 'RANK' not in os.environ:
            raise OptionError('--launcher pytorch needs processes to be started by torchrun: '
                              'torchrun --nproc_per_node 2 ... --launcher pytorch.')
        if torch.multiprocessing.get_start_method(allow_none=True) is None:
            torch.multiprocessing.set_start_method('spawn')  # as BasicSR does: gloo's threads do not survive a fork
        torch.distributed.init_process_group(backend='gloo')
    return init_dist


def archive(path: str) -> None:
    """Make an empty folder; one that is there gets a new name with the time, as in BasicSR's mkdir_and_rename, and a
    number where that is taken.
    """
    if os.path.exists(path):
        name = new_name = f'{path}_archived_{time.strftime("%Y%m%d_%H%M%S")}'
        for number in itertools.count(2):
            if not os.path.exists(new_name):
                break
            new_name = f'{name}_{number}'
        os.rename(path, new_name)
    os.makedirs(path, exist_ok=True)


def failing_generator(original: type) -> type:
    """BasicSR's PrefetchGenerator, a thread, whose error reaches who waits for its batches."""
    class PrefetchGenerator(original):
        error: BaseException | None = None

        def run(self) -> None:
            try:
                super().run()
            except BaseException as error:
                self.error = error
                self.queue.put(None)

        def __next__(self) -> dict:
            try:
                return super().__next__()
            except StopIteration:
                if self.error is not None:
                    raise self.error from None
                raise

    return PrefetchGenerator


def forget_logger(name: str = 'basicsr') -> None:
    """Take back `get_root_logger()`. Called before BasicSR's pipelines call it, it leaves them without a log file."""
    from basicsr.utils.logger import initialized_logger
    logger = logging.getLogger(name)
    initialized_logger.pop(name, None)
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True
