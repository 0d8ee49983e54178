"""How train.py and test.py run BasicSR's pipelines: flags, checks before anything is written, exit codes."""
import argparse
import errno
import gc
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from copy import deepcopy
from types import SimpleNamespace
from typing import Any, NoReturn

import torch
import yaml

from basicsr_unlearn.core.memory import keep_freed_memory
from basicsr_unlearn.engine.compat import prepare_pipeline, rebound
from basicsr_unlearn.engine.locks import check_folders, locked
from basicsr_unlearn.engine.preflight import preflight
from basicsr_unlearn.engine.progress import training_shown
from basicsr_unlearn.engine.running import BAD_INPUT, watched
from basicsr_unlearn.engine.signals import end_workers, tell, watching
from basicsr_unlearn.engine.terminal import short
from basicsr_unlearn.errors import OptionError, UnlearnError, from_torch
from basicsr_unlearn.models.unlearn_model import UnlearnModel
from basicsr_unlearn.options.option_file import check_options, find_option_file
from basicsr_unlearn.options.overrides import named_method, read_options

INTERRUPTED = 130
RESUME = '--auto_resume goes on from the last saved state.'
FOLDER_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


End = Callable[[UnlearnModel, str, str | None, float], None]


def run(command: str, argv: list[str] | None, shown: Callable[[str], AbstractContextManager] = nullcontext,
        end: End = lambda *_: None) -> int:
    """Run BasicSR's `train` or `test` pipeline.

    Args:
        command: one of the two.
        argv: its flags, by default those of the process.
        shown: what a person sees of a test: a context around it, made with the option file's path.
        end: called with an unlearning run that came to its end, in the first process and with the run's folder still
            locked: the model after its last validation, the option file as it was given, the preset that it names
            (None where it spells the parts out), and how many seconds the run took.

    Returns:
        The exit code, see `guarded`.
    """
    argv = sys.argv[1:] if argv is None else list(argv)
    return guarded(lambda: _run(command, argv, shown, end), RESUME if command == 'train' else '')


def guarded(call: Callable[[], int | None], after_stop: str = '') -> int:
    """Call, and turn what a person can put right into one sentence on stderr and an exit code.

    Args:
        call: the command.
        after_stop: what to do after a stop by a signal.

    Returns:
        0, or what the call returned; 2 for bad input; the code of a SystemExit; 143, 130 or 129 if SIGTERM, SIGINT or
        SIGHUP ended it.
    """
    with watching() as watch:
        try:
            code = call() or 0
        except KeyboardInterrupt:
            tell(f'Stopped by {watch.name}. {after_stop}'.strip())
            code = INTERRUPTED
        except SystemExit as stop:
            code = stop.code or 0
            if not isinstance(code, int):
                tell(code)
                code = 1
        except BrokenPipeError:  # `... | head` has seen enough; Python would complain once more when it closes stdout
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 1
        except Exception as error:
            told = explained(error)
            if told is None:
                raise
            tell(f'Error: {told}')
            code = BAD_INPUT
        return watch.code if code == INTERRUPTED else code


def explained(error: Exception) -> str | None:
    """The sentence for an error that a person can put right, None for any other."""
    if isinstance(error, UnlearnError):
        return sentence(error)
    if isinstance(error, OSError) and error.errno in FOLDER_ERRORS:
        return f'{error.filename or os.getcwd()} cannot be written: {error.strerror}.'
    if isinstance(error, (RuntimeError, MemoryError)):
        return from_torch(error)
    return None


def sentence(error: UnlearnError) -> str:
    """The error's own sentence; torch wraps one from a DataLoader worker in that worker's traceback."""
    text = str(error)
    if 'Original Traceback' not in text:
        return text
    name = type(error).__name__
    return text.rpartition(f'{name}: ')[2].strip()


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are sentences like all others."""

    def error(self, message: str) -> NoReturn:
        raise OptionError(f'{message}; see {self.prog} --help.')


def build_parser(command: str) -> Parser:
    """BasicSR's own flags."""
    what = {'train': 'Train or unlearn as an option file says. Experiments and tb_logger go to the current directory.',
            'test': 'Test a network as an option file says. Results go to the current directory.'}[command]
    parser = Parser(prog=f'basicsr-unlearn {command}', description=what,
                    epilog='For several processes: torchrun --nproc_per_node 2 -m '
                           f'basicsr_unlearn.{command} -opt FILE.yml --launcher pytorch')
    parser.add_argument('-opt', required=True, metavar='FILE.yml', help='the option file')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm'], default='none',
                        help='how processes were started: pytorch for torchrun; default none, a single process')
    parser.add_argument('--auto_resume', action='store_true',
                        help='go on from the last saved state of the experiment, if there is one')
    parser.add_argument('--debug', action='store_true',
                        help='log each iteration, validate and save every 8; the experiment is named debug_...')
    parser.add_argument('--force_yml', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override options of the file, such as train:total_iter=100 datasets:train:gt_size=48')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0, help='set by launchers; not needed')
    return parser


def _run(command: str, argv: list[str], shown: Callable[[str], AbstractContextManager], end: End) -> int:
    with ExitStack() as held:  # the run's folder, which `end` writes to as well
        return _run_holding(held, command, argv, shown, end)


def _run_holding(held: ExitStack, command: str, argv: list[str], shown: Callable[[str], AbstractContextManager],
                 end: End) -> int:
    try:
        args = build_parser(command).parse_args(argv)
        given, args.opt = args.opt, str(find_option_file(args.opt))
        _check_launcher(args.launcher)
        opt = read_options(args.opt, args.force_yml)
        check_options(opt, command == 'train')
    except UnlearnError:
        if int(os.environ.get('RANK', 0)) == 0:
            raise
        return BAD_INPUT  # all processes read the same file, one of them says so
    keep_freed_memory()
    pipeline = importlib.import_module(f'basicsr.{command}')
    training, begin, built = command == 'train', time.perf_counter(), []
    with (watching() as watch, prepare_pipeline(use_gpu=opt.get('num_gpu') != 0), _parsing(pipeline, args, opt, held),
          watched(watch, opt.get('manual_seed') is not None) if training else nullcontext(),
          _building(pipeline, built), training_shown() if training else shown(args.opt),
          _arguments([sys.argv[0], *argv])):
        try:
            getattr(pipeline, f'{command}_pipeline')(os.getcwd())
            code = watch.code if watch.signum is not None else 0
        except SystemExit as stop:  # raised in all processes at once
            code = stop.code
        finally:
            end_workers()
    # not after an error in one process: the others may be waiting for it
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    if several:
        torch.distributed.destroy_process_group()
    if training and not code and built[0].opt['rank'] == 0:
        if isinstance(built[0], UnlearnModel):
            end(built[0], given, named_method(args.opt, args.force_yml), time.perf_counter() - begin)
        else:
            print(f'Network:  {short(os.path.join(built[0].opt["path"]["models"], "net_g_latest.pth"))}')
    built.clear()
    if several:  # DistributedDataParallel holds the destroyed group, whose threads abort a process that ends under them
        gc.collect()
    return code


@contextmanager
def _building(pipeline: Any, built: list) -> Iterator[None]:
    """Collect the model that BasicSR builds, which knows what came of the run."""
    build = pipeline.build_model

    def build_model(opt: dict) -> Any:
        built.append(build(opt))
        return built[-1]

    with rebound(pipeline, 'build_model', build_model):
        yield


def _check_launcher(launcher: str) -> None:
    if launcher == 'pytorch' and 'RANK' not in os.environ:
        raise OptionError('--launcher pytorch needs torchrun to start the processes: torchrun --nproc_per_node 2 '
                          '-m basicsr_unlearn.train -opt FILE.yml --launcher pytorch.')
    if launcher == 'none' and int(os.environ.get('WORLD_SIZE', 1)) > 1 and 'TORCHELASTIC_RUN_ID' in os.environ:
        raise OptionError('torchrun started several processes, which would all write the same files: add --launcher '
                          'pytorch.')


@contextmanager
def _parsing(pipeline: Any, args: argparse.Namespace, opt: dict, held: ExitStack) -> Iterator[None]:
    """Let BasicSR parse the options that were checked; run the preflight and lock the folder before it writes anything.
    """
    options = importlib.import_module('basicsr.utils.options')
    flags = ['-opt', args.opt, '--launcher', args.launcher, '--local_rank', str(args.local_rank)]
    flags += [f'--{flag}' for flag in ('auto_resume', 'debug') if getattr(args, flag)]
    original = pipeline.parse_options

    def parse_options(root_path: str, is_train: bool = True) -> tuple[dict, argparse.Namespace]:
        # BasicSR reads the file once more: it gets the options with --force_yml applied, which it does with exec
        given = SimpleNamespace(load=lambda *_, **__: deepcopy(opt), resolver=yaml.resolver)
        with rebound(options, 'yaml', given), _arguments([sys.argv[0], *flags]):
            parsed, parsed_args = original(root_path, is_train)
        _prepare_everywhere(parsed, held)
        return parsed, parsed_args

    with rebound(pipeline, 'parse_options', parse_options):
        yield


def _prepare_everywhere(opt: dict, held: ExitStack) -> None:
    """Check, and take the run's folder, on the first process, and leave in all of them if it fails."""
    failure = None
    if opt['rank'] == 0:
        try:
            check_folders(opt)
            preflight(opt)
            held.enter_context(locked(opt['path']['experiments_root' if opt['is_train'] else 'results_root']))
        except UnlearnError as error:
            failure = error
    if opt['dist']:
        failed = [failure is not None]
        torch.distributed.broadcast_object_list(failed, src=0)
        if failed[0]:
            torch.distributed.destroy_process_group()  # by all of them, or its threads abort one that ends
            if failure is None:
                raise SystemExit(BAD_INPUT)
    if failure is not None:
        raise failure


@contextmanager
def _arguments(argv: list[str]) -> Iterator[None]:
    """The command line as BasicSR reads it, and as it notes it in the experiment's copy of the option file."""
    with rebound(sys, 'argv', argv):
        yield
