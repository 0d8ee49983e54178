"""A progress bar with the time left and the latest losses, on a terminal only."""
import importlib
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from numbers import Real

from basicsr.utils import MessageLogger
from basicsr.utils.dist_util import get_dist_info
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from basicsr_unlearn.compat import rebound


@contextmanager
def progress_bar() -> Iterator[None]:
    """Give `basicsr.train` a bar over its iterations while stderr is a terminal; else leave its plain log lines.

    The bar moves whenever BasicSR logs, every `logger.print_freq` iterations; log lines appear above it.
    """
    if not sys.stderr.isatty():
        yield
        return
    with ExitStack() as stack:
        class BarOfThisRun(BarMessageLogger):
            """Closed with the run, however that ends."""

            def __init__(self, *args, **kwargs):
                super().__init__(*args, **kwargs)
                stack.callback(self.close)

        stack.enter_context(rebound(importlib.import_module('basicsr.train'), 'MessageLogger', BarOfThisRun))
        yield


class BarMessageLogger(MessageLogger):
    """BasicSR's MessageLogger, which moves a bar on stderr as well. Only the first process has one."""

    def __init__(self, opt: dict, start_iter: int = 1, tb_logger=None):
        super().__init__(opt, start_iter, tb_logger)
        self.bar = None
        if get_dist_info()[0] != 0:
            return
        self._redirection = logging_redirect_tqdm(loggers=[logging.getLogger('basicsr')])
        self._redirection.__enter__()
        # a terminal whose size nobody set says 0, and tqdm would show nothing on it
        known = os.get_terminal_size(sys.stderr.fileno()).columns > 0
        size = {'dynamic_ncols': True} if known else {'ncols': 80, 'nrows': 24}
        # counted from where a resumed run goes on; the mean over the run (smoothing 0), as validations come in bursts
        self.bar = tqdm(total=int(opt['train']['total_iter']), initial=start_iter, unit='it', smoothing=0,
                        desc=opt['name'], file=sys.stderr, **size)

    def reset_start_time(self) -> None:
        """Called after the first iteration of a new run, which is slower than the rest."""
        super().reset_start_time()
        if self.bar is not None:
            self.bar.unpause()

    def __call__(self, log_vars: dict) -> None:
        current_iter = log_vars['iter']
        super().__call__(log_vars)
        if self.bar is not None:
            self.bar.set_postfix({key: f'{value:.3g}' for key, value in log_vars.items()
                                  if key.startswith('l_') and isinstance(value, Real)}, refresh=False)
            self.bar.update(current_iter - self.bar.n)

    def close(self) -> None:
        """Leave the bar where it is, and the log lines as they were."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None
            self._redirection.__exit__(None, None, None)
