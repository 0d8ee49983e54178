"""Lines of constant height in TensorBoard, once for all runs: what the scores of a run are held against.

Each reference is a run of its own below `references`, under the tags of the runs that are held against it. So
TensorBoard draws it in their charts, in its own colour and under its own name, and experiments that share it show it
once.
"""
import json
import math
from collections.abc import Mapping
from itertools import count
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from basicsr_unlearn.files import write_json

REFERENCES_FOLDER = 'references'
NOTES = 'lines.json'  # beside the events: tag -> [value, last step], as events are slow to read
SAME = 1e-4  # relative; our choice: another number of threads rounds otherwise


def draw_lines(folder: str | Path, name: str, heights: Mapping[str, float], last: int) -> None:
    """Draw a reference into its charts, from step 0 to `last`; lines that are there already are made to reach as far.

    Where the name stands for other heights, those of another experiment, the reference is called `name 2` and so on.

    Args:
        folder: of all runs, as given to `tensorboard --logdir`.
        name: of the reference.
        heights: chart (a tag) -> value.
        last: the last step of the run that is held against it.

    Raises:
        OptionError: the notes cannot be written.
    """
    for number in count(1):
        run = Path(folder, REFERENCES_FOLDER, name if number == 1 else f'{name} {number}')
        known = _notes(run)
        if all(math.isclose(known[tag][0], value, rel_tol=SAME) for tag, value in heights.items() if tag in known):
            break
    points = [(tag, value, step) for tag, value in heights.items()
              for step in ((0, last) if tag not in known else (last,) if last > known[tag][1] else ())]
    if not points:
        return
    with SummaryWriter(str(run)) as writer:
        for tag, value, step in points:
            writer.add_scalar(tag, known.get(tag, [value])[0], step)
    write_json(run / NOTES, {**known, **{tag: [known.get(tag, [value])[0], last] for tag, value, _ in points}})


def _notes(run: Path) -> dict[str, list]:
    """What was drawn already; nothing if it cannot be read."""
    try:
        notes = json.loads((run / NOTES).read_text(encoding='utf-8'))
        return {str(tag): [float(value), int(step)] for tag, (value, step) in notes.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
