"""An audit in TensorBoard: a run for each network, so that charts hold all of them, and one for what they share."""
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from basicsr_unlearn.metrics.evaluation import Strip
from basicsr_unlearn.models.strips import strip_of
from basicsr_unlearn.report.audit_text import audit_markdown, checks_table

RENAMED = {'identity': 'input', 'gt': 'clean'}  # other columns are shown by their names
RUN = re.compile(r'(identity|original|unlearned|retrained(_\d+)?)')  # sub-folders that belong to an audit


def write_tensorboard(folder: str | Path, audit: Mapping, strips: Mapping[str, Sequence[Strip]]) -> None:
    """Write event files that TensorBoard shows, in place of those of an earlier audit in this folder.

    The folder itself gets the verdict, the checks and audit.md as texts, before/after strips, and CKA by layer; a
    sub-folder for each network gets, under tags that all share, `scores/<set>/<metric>`, histograms
    `images/<set>/<metric>`, its strength under attack `attacks/<n>_pairs` over training steps, `membership/<attack>`
    (AUC), `robustness/<set>/clean` and `.../attacked`, and `representation/gain` over the number of the layer.

    Args:
        folder: of this audit alone; event files in it and in the sub-folders of networks are removed.
        audit: what audit.json holds, see SCHEMA.md; measurements may be skipped or absent.
        strips: before/after pictures by data set; the columns of one are put side by side.
    """
    folder = Path(folder)
    remove_events(folder)
    results = {name: entry['result'] for name, entry in audit['measurements'].items() if entry['state'] == 'measured'}
    with SummaryWriter(folder) as writer:
        verdict = audit['verdict']
        writer.add_text('verdict', f'**{verdict["headline"]}**\n\n{verdict["sentence"]}')
        for level, judged in verdict['levels'].items():
            writer.add_text(f'checks/{level}', f'{judged["state"]}\n\n{checks_table(judged["checks"])}')
        writer.add_text('audit', audit_markdown(audit))
        for name, of_set in strips.items():
            for strip in of_set:
                writer.add_image(f'strips/{name}/{strip.name}', strip_of({
                    RENAMED.get(column, column): image for column, image in strip.images.items()}), dataformats='HWC')
        for pair, by_layer in results.get('representation', {}).get('cka', {}).items():
            _curve(writer, f'cka/{pair.replace(" / ", "_to_").replace(" ", "_")}', dict(enumerate(by_layer.values())))
    for column in ['identity', *audit['networks']]:
        with SummaryWriter(folder / column.replace(' ', '_')) as writer:
            _network(writer, column, results)


def remove_events(folder: Path) -> None:
    """Remove what an earlier audit has written there: two in one folder would show as one."""
    runs = [path for path in folder.iterdir() if path.is_dir() and RUN.fullmatch(path.name)] if folder.is_dir() else []
    for run in [folder, *runs]:
        for events in run.glob('events.out.tfevents.*'):
            events.unlink()
    for run in runs:
        if not any(run.iterdir()):
            run.rmdir()


def _network(writer: SummaryWriter, column: str, results: Mapping[str, Mapping]) -> None:
    """What was measured of one network."""
    scores = results.get('scores', {'mean': {}, 'per_image': {}})
    for name, by_column in scores['mean'].items():
        for metric, found in by_column.get(column, {}).items():
            writer.add_scalar(f'scores/{name}/{metric}', found['value'], 0)
    for name, by_column in scores['per_image'].items():
        for metric, values in by_column.get(column, {}).items():
            writer.add_histogram(f'images/{name}/{metric}', np.asarray(values, dtype=np.float64), 0)
    for pairs, by_step in results.get('attacks', {}).get('strength', {}).get(column, {}).items():
        _curve(writer, f'attacks/{pairs}_pairs', {int(step): found['value'] for step, found in by_step.items()})
    for attack, found in results.get('membership', {}).get('attacks', {}).items():
        if column in found.get('auc', {}):
            writer.add_scalar(f'membership/{attack}', found['auc'][column]['value'], 0)
    for name, found in results.get('robustness', {}).items():
        for key in ('clean', 'attacked') if column in found['columns'] else ():
            writer.add_scalar(f'robustness/{name}/{key}', found['columns'][column][key]['value'], 0)
    gain = results.get('representation', {}).get('gain', {}).get(column, {})
    _curve(writer, 'representation/gain', dict(enumerate(gain.values())))


def _curve(writer: SummaryWriter, tag: str, points: Mapping[int, float | None]) -> None:
    for step, value in sorted(points.items()):
        if value is not None:
            writer.add_scalar(tag, value, step)
