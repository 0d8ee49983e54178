"""What a test shows: a bar over the images on a terminal, then a table, and the same scores as JSON."""
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from basicsr.utils.dist_util import get_dist_info
from tqdm import tqdm

from basicsr_unlearn.engine.compat import rebound
from basicsr_unlearn.engine.terminal import basicsr_shown, python_warnings_logged, say, short, show_log, wrapped
from basicsr_unlearn.files import write_json
from basicsr_unlearn.models.tracking import judged_by, references_of
from basicsr_unlearn.proof.run_record import PACKAGES
from basicsr_unlearn.report.tables import score_lines
from basicsr_unlearn.version import __version__

TESTED = ('identity', 'original', 'network', 'retrained')
FILE = 'scores.json'


@contextmanager
def testing_shown(option_file: str) -> Iterator[None]:
    """Let `basicsr.test` end with a table and `scores.json`; all of its own lines go to the log file."""
    pipeline = importlib.import_module('basicsr.test')
    with ExitStack() as stack:
        run = WatchedTest(option_file, stack)
        for name in ('build_dataloader', 'build_model'):
            stack.enter_context(rebound(pipeline, name, getattr(run, name)(getattr(pipeline, name))))
        stack.enter_context(rebound(pipeline, 'get_root_logger', show_log(pipeline.get_root_logger)))
        stack.enter_context(python_warnings_logged())
        stack.enter_context(basicsr_shown())
        yield
    if run.sets and get_dist_info()[0] == 0:
        run.finish()


class Counted:
    """A data loader that moves a bar on by each image that is taken from it."""

    def __init__(self, loader: Any, bar: tqdm):
        self.loader, self.bar = loader, bar

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[dict]:
        for data in self.loader:
            yield data
            self.bar.update()


class WatchedTest:
    """The hooks in BasicSR's test, and what they collect."""

    def __init__(self, option_file: str, stack: ExitStack):
        self.option_file, self.stack = option_file, stack
        self.images = 0
        self.opt: Mapping = {}
        self.sets: dict[str, dict] = {}  # as in scores.json

    def build_dataloader(self, build: Callable) -> Callable:
        def build_and_count(*args, **kwargs) -> Any:
            loader = build(*args, **kwargs)
            self.images += len(loader)
            return loader
        return build_and_count

    def build_model(self, build: Callable) -> Callable:
        def build_and_watch(opt: dict) -> Any:
            model = build(opt)
            self.opt = opt
            validate = model.validation
            bar = tqdm(total=self.images, file=sys.stderr, disable=not self.bar_wanted(), leave=False,
                       bar_format='{percentage:3.0f} %|{bar}| {n_fmt}/{total_fmt} images  {elapsed}<{remaining}')
            self.stack.callback(bar.close)

            def validation(dataloader, *args, **kwargs) -> None:
                validate(Counted(dataloader, bar), *args, **kwargs)
                name = dataloader.dataset.opt['name']
                self.sets[name] = {'role': dataloader.dataset.opt.get('role') or 'retain', 'images': len(dataloader),
                                   'scores': by_metric(model, name)}

            model.validation = validation
            return model
        return build_and_watch

    def bar_wanted(self) -> bool:
        return (sys.stderr.isatty() and get_dist_info()[0] == 0 and not (self.opt.get('val') or {}).get('pbar'))

    def finish(self) -> None:
        """Write scores.json, and show the table and where everything is."""
        folder = Path(self.opt['path']['results_root'])
        pictures = self.opt['path']['visualization'] if self.opt['val'].get('save_img') else None
        path = self.opt['path']
        write_json(folder / FILE, {
            'name': self.opt['name'], 'option_file': self.option_file, 'network': self.opt['network_g']['type'],
            'checkpoints': {'network': path.get('pretrain_network_g'),
                            'original': path.get('pretrain_network_original'),
                            'retrained': path.get('pretrain_network_retrained')},
            'sets': self.sets, 'pictures': pictures,
            'versions': {'basicsr_unlearn': __version__, **{package: version(package) for package in PACKAGES},
                         'python': python_version()}})
        start = path.get('pretrain_network_g')
        source = f'from {short(start)}' if start else 'without a checkpoint'
        say(wrapped(f'{self.opt["network_g"]["type"]} {source}, on {self.images} images'))
        metric, yardstick = judged_by(self.opt)
        say(f'\n{score_lines(self.sets, {metric: yardstick} if metric else {})}\n')
        for label, where in (('Numbers', folder / FILE), ('Pictures', pictures), ('Log', path['log'])):
            if where:
                say(f'{label + ":":<10}{short(where)}')


def by_metric(model: Any, name: str) -> dict[str, dict[str, float]]:
    """Scores of the last validation: metric -> column -> value, columns of TESTED that there are."""
    columns = {**references_of(model, name),
               'network': getattr(model, 'metric_results', None) or {}}
    return {metric: {column: float(columns[column][metric]) for column in TESTED if metric in columns.get(column, {})}
            for metric in columns['network']}
