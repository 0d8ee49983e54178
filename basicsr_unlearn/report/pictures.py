"""Photographs through every network, side by side: pictures as data URIs, and where on them to look."""
import base64
from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.metrics.evaluation import Strip

MAX_SIDE = 640  # pixels of an embedded picture; enough for a column on a dense screen
JPEG_QUALITY = 90
LABELS = {'identity': 'Input', 'gt': 'Ground truth'}


def kind(column: str) -> str:
    """The column's class in the style sheet: 'retrained 2' looks like every retrained network."""
    return column.split()[0]


def label(column: str) -> str:
    """The column's name as a heading, such as Input, Unlearned, Retrained 2, Ground truth."""
    return LABELS.get(column, column.capitalize())


def in_order(columns: Iterable[str]) -> list[str]:
    """The columns from the input to the ground truth, one of each, retrained networks in their own order."""
    order = ('identity', 'original', 'unlearned', 'retrained', 'gt')
    return sorted(dict.fromkeys(columns), key=lambda column: order.index(kind(column)))


@dataclass(frozen=True)
class Picture:
    """A picture with its size in pixels; `source` is a data URI."""
    source: str
    width: int
    height: int


@dataclass(frozen=True)
class Cell:
    """What one network made of an image: its score, the whole picture, and the detail of it."""
    column: str
    label: str
    score: str
    whole: Picture
    detail: Picture


@dataclass(frozen=True)
class StripFigure:
    """One image through every network; `box` is where the detail lies, (left, top, width, height) in percent."""
    name: str
    cells: tuple[Cell, ...]
    box: tuple[float, float, float, float]
    place: str = ''  # among the images of its data set, such as best


def picture(image: np.ndarray, max_side: int = MAX_SIDE, lossless: bool = False) -> Picture:
    """An (h, w, 3) uint8 RGB image to be shown, no larger than `max_side`; as JPEG unless it is to be lossless."""
    scale = max_side / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    suffix, parameters = ('.png', []) if lossless else ('.jpg', [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    data = base64.b64encode(cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]), parameters)[1]).decode()
    return Picture(f'data:image/{"png" if lossless else "jpeg"};base64,{data}', image.shape[1], image.shape[0])


def strip_figure(strip: Strip, metric: str, yardstick: Yardstick, max_side: int = MAX_SIDE, place: str = ''
                 ) -> StripFigure:
    """All columns of one image side by side, each whole and with the same detail.

    Args:
        strip: with the columns original, unlearned and gt at least.
        metric, yardstick: whose score stands beside each.
        max_side: of a picture, in pixels.
        place: see `StripFigure`.
    """
    height, width = strip.images['gt'].shape[:2]
    size = max(min(height, width) // 4, min(48, height, width))
    top, left = where_to_look(strip.images['gt'], strip.images['original'], strip.images['unlearned'], size)
    cells = []
    for column in in_order(strip.images):
        image, score = strip.images[column], strip.scores.get(column, {}).get(metric)
        cells.append(Cell(column, label(column), '' if score is None else yardstick.shown(score),
                          picture(image, max_side),
                          picture(image[top:top + size, left:left + size], max_side, lossless=True)))
    box = (100 * left / width, 100 * top / height, 100 * size / width, 100 * size / height)
    return StripFigure(strip.name, tuple(cells), box, place)


def where_to_look(gt: np.ndarray, first: np.ndarray, second: np.ndarray, size: int) -> tuple[int, int]:
    """Top and left of the square of `size` in which two outputs differ most where the clean image has detail.

    Args:
        gt, first, second: (h, w, 3) uint8, of one size.
    """
    difference = np.abs(first.astype(np.float32) - second.astype(np.float32)).sum(axis=2)
    grey = gt.astype(np.float32).sum(axis=2)
    detail = np.hypot(cv2.Sobel(grey, -1, 1, 0), cv2.Sobel(grey, -1, 0, 1))
    sums = cv2.boxFilter(difference * (1 + detail), -1, (size, size), anchor=(0, 0), normalize=False,
                         borderType=cv2.BORDER_CONSTANT)
    inside = sums[:first.shape[0] - size + 1, :first.shape[1] - size + 1]
    top, left = np.unravel_index(int(inside.argmax()), inside.shape)
    return int(top), int(left)
