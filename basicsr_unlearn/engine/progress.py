"""What a training run shows while it goes: a header, a bar or a plain line now and then, a line a validation."""
import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from numbers import Real
from typing import Any

from basicsr.utils.dist_util import get_dist_info
from tqdm import tqdm

from basicsr_unlearn.core.judgement import references
from basicsr_unlearn.core.yardstick import yardstick_of
from basicsr_unlearn.engine.compat import rebound
from basicsr_unlearn.engine.run_header import header
from basicsr_unlearn.engine.terminal import basicsr_shown, joined, python_warnings_logged, say, show_log
from basicsr_unlearn.models.tracking import judged_by, references_of

PLAIN_LINES = 10  # so many plain lines a run, evenly spread
PLAIN_SECONDS = 1, 300  # at least and at most so long after the one before


@contextmanager
def training_shown() -> Iterator[None]:
    """Let `basicsr.train` show a person what they need while it runs; all of its own lines go to the log file.

    On a terminal there is a bar. The first process alone shows something. Two things are put right as well, here and in
    the log: the time left, which BasicSR gives as `-1 day` at the end, and a last validation that was done already.
    """
    pipeline = importlib.import_module('basicsr.train')
    with ExitStack() as stack:
        run = WatchedTraining(stack)
        for name in ('create_train_val_dataloader', 'build_model', 'MessageLogger'):
            stack.enter_context(rebound(pipeline, name, getattr(run, name)(getattr(pipeline, name))))
        stack.enter_context(rebound(pipeline, 'get_root_logger', show_log(pipeline.get_root_logger)))
        stack.enter_context(python_warnings_logged())
        stack.enter_context(basicsr_shown())
        yield


class WatchedTraining:
    """The hooks in BasicSR's training loop, and what they know of the run."""

    def __init__(self, stack: ExitStack):
        self.stack = stack  # closed with the run, however that ends
        self.total = 0
        self.sets = 0
        self.bar: tqdm | None = None
        self.validated: dict[int, int] = {}  # data loader by its id -> the iteration that it last ran after
        self.round: list[tuple[str, str]] = []  # data sets with their scores, of the current validation
        self.has_start = False
        self.plain = Plain()
        self.latest = ''  # scores of the training batch

    @property
    def shows(self) -> bool:
        return get_dist_info()[0] == 0

    def create_train_val_dataloader(self, create: Callable) -> Callable:
        def create_and_show(opt: dict, logger) -> tuple:
            loaders = create(opt, logger)
            self.total, self.sets = int(opt['train']['total_iter']), len(loaders[2])
            if self.shows:
                say(header(opt, loaders[0].dataset, [loader.dataset for loader in loaders[2]]))
            return loaders
        return create_and_show

    def build_model(self, build: Callable) -> Callable:
        def build_and_watch(opt: dict) -> Any:
            model = build(opt)
            validate, step = model.validation, model.optimize_parameters

            def validation(dataloader, current_iter: int, tb_logger, save_img: bool = False) -> None:
                # after the end BasicSR's counter is one ahead, and validates what the last iteration validated
                name = dataloader.dataset.opt['name']
                iteration = getattr(model, 'iteration', min(current_iter, self.total))
                if self.validated.get(id(dataloader)) == iteration:
                    return
                self.validated[id(dataloader)] = iteration
                if self.bar is not None:
                    self.bar.set_postfix_str(f'validating {name}')
                validate(dataloader, current_iter, tb_logger, save_img)
                if self.bar is not None:
                    self.bar.set_postfix_str(self.latest)
                if self.shows:
                    self.add_scores(model, name, iteration)

            def optimize_parameters(current_iter: int) -> None:
                step(current_iter)
                if self.bar is not None:
                    self.bar.update(getattr(model, 'iteration', current_iter) - self.bar.n)

            model.validation, model.optimize_parameters = validation, optimize_parameters
            return model
        return build_and_watch

    def MessageLogger(self, base: type) -> type:  # noqa: N802  the name of BasicSR's class
        run = self

        class ShowingMessageLogger(base):
            def __init__(self, opt: dict, start_iter: int = 1, tb_logger=None):
                super().__init__(opt, start_iter, tb_logger)
                self.max_iters = int(self.max_iters) + 1  # BasicSR takes one off, and ends a run with `eta: -1 day`
                if run.shows:
                    run.start(start_iter)

            def reset_start_time(self) -> None:
                super().reset_start_time()
                if run.bar is not None:
                    run.bar.unpause()

            def __call__(self, log_vars: dict) -> None:
                iteration = log_vars['iter']
                super().__call__(log_vars)
                if run.shows:
                    run.show_step(iteration, log_vars)

        return ShowingMessageLogger

    def start(self, iteration: int) -> None:
        """The training starts after `iteration`, which is not 0 if it goes on from a saved state."""
        if iteration:
            say(f'Going on after step {iteration}.')
        self.plain = Plain(iteration, self.total)
        if sys.stderr.isatty():
            # a terminal whose size nobody set says 0, and tqdm would show nothing on it
            known = os.get_terminal_size(sys.stderr.fileno()).columns > 0
            size = {'dynamic_ncols': True} if known else {'ncols': 80, 'nrows': 24}
            # the mean over the run (smoothing 0), as validations come in bursts
            self.bar = tqdm(total=self.total, initial=iteration, smoothing=0, file=sys.stderr, **size,
                            bar_format='{percentage:3.0f} %|{bar}| {n_fmt}/{total_fmt}  {elapsed}<{remaining}{postfix}')
            self.stack.callback(self.bar.close)

    def show_step(self, iteration: int, log_vars: Mapping) -> None:
        self.latest = step_scores(log_vars)
        if self.bar is not None:
            self.bar.set_postfix_str(self.latest)
        else:
            self.plain.show(iteration, self.latest)

    def add_scores(self, model: Any, name: str, iteration: int) -> None:
        """Add a data set to the line of this validation, and show that when it is complete."""
        self.round.append((name, set_scores(model, name)))
        if len(self.round) < self.sets:
            return
        found, self.round = self.round, []
        digits = max(len(str(self.total)), 3)
        rounds = {0: [set_scores(model, name, 'original') for name, _ in found], iteration: [part for _, part in found]}
        if self.has_start:
            del rounds[0]
        self.has_start = True
        for at, parts in rounds.items():
            if any(parts):
                say(joined(f'{at:>{digits}}  ', [part for part in parts if part]))


class Plain:
    """A line now and then, for where there is no terminal."""

    def __init__(self, iteration: int = 0, total: int = 0):
        self.first = self.shown = iteration
        self.total = total
        self.began = self.last = time.monotonic()

    def show(self, iteration: int, scores: str) -> None:
        now = time.monotonic()
        soonest, latest = PLAIN_SECONDS
        is_due = (iteration - self.shown) * PLAIN_LINES >= self.total and now - self.last >= soonest
        if not is_due and now - self.last < latest:
            return
        self.shown, self.last, gone = iteration, now, now - self.began
        left = gone / (iteration - self.first) * (self.total - iteration)
        say(f'step {iteration} of {self.total}, {tqdm.format_interval(gone)} gone, {tqdm.format_interval(left)} left'
            f'{", " * bool(scores)}{scores}')


def step_scores(log_vars: Mapping) -> str:
    """What the log of a step says of the training batch: PSNR of the streams, or else the parts of the loss."""
    psnr = [f'{stream} {float(log_vars[f"psnr_{stream}"]):.1f} dB' for stream in ('forget', 'retain')
            if f'psnr_{stream}' in log_vars]
    if psnr:
        return f'batch: {", ".join(psnr)}'
    return ', '.join(f'{key[2:]} {value:.3g}' for key, value in log_vars.items()
                     if key.startswith('l_') and isinstance(value, Real))


def set_scores(model: Any, name: str, of: str = 'now') -> str:
    """The score of one data set in the last validation beside what it is held against; '' if it has none.

    Args:
        model: any of BasicSR's; UnlearnModel has references as well.
        name: of the data set.
        of: `now`, or `original` for where the run started.
    """
    metrics = (model.opt.get('val') or {}).get('metrics') or {}
    metric, yardstick = judged_by(model.opt)
    if metric is None:  # no PSNR
        metric = next(iter(metrics), None)
        yardstick = yardstick_of(metric, metrics[metric]) if metric else yardstick
    held = {which: values[metric] for which, values in references_of(model, name).items()
            if metric in values}
    value = held.get(of) if of != 'now' else (getattr(model, 'metric_results', None) or {}).get(metric)
    if value is None:
        return ''
    digits = 2 if yardstick.unit else 4
    if hasattr(model, 'tracking') and model.tracking.roles().get(name) != 'forget':
        change = f' ({value - held["original"]:+.{digits}f})' if of == 'now' and 'original' in held else ''
        return f'{name} {value:.{digits}f}{change}'
    goal = references(held, yardstick)[0] if {'identity', 'original'} <= set(held) else None
    return f'{name} {value:.{digits}f}{" dB" * bool(yardstick.unit)}' + (
        f' ({goal} {held[goal]:.{digits}f})' if goal else '')
