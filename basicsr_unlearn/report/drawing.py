"""What the HTML pages have in common: the template with its style sheet, pictures as data URIs, before/after strips."""
import base64
from collections.abc import Iterable
from html import escape
from pathlib import Path
from string import Template

import cv2
import numpy as np

from basicsr_unlearn.metrics.evaluation import Strip

MAX_SIDE = 640  # pixels of an embedded picture; enough for a column on a dense screen
JPEG_QUALITY = 90
STYLE = Path(__file__).parent / 'page.css'
LABELS = {'identity': 'Input', 'gt': 'Ground truth'}


def fill(path: str | Path, template: Path, **parts: str) -> None:
    """Write a page from its template, the common style sheet put in as `$style` and the parts under their names."""
    text = Template(template.read_text(encoding='utf-8'))
    Path(path).write_text(text.substitute(style=STYLE.read_text(encoding='utf-8'), **parts), encoding='utf-8')


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


def duration(seconds: float) -> str:
    """As '2 min 05 s', or '40 s'."""
    minutes, rest = divmod(round(seconds), 60)
    return f'{minutes} min {rest:02d} s' if minutes else f'{rest} s'


def picture(image: np.ndarray, alt: str, css: str = '', max_side: int = MAX_SIDE) -> str:
    """An <img> with the (h, w, 3) uint8 RGB picture inside: lossless with a class, such as a crop, else as JPEG."""
    scale = max_side / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    suffix, mime = ('.png', 'png') if css else ('.jpg', 'jpeg')
    parameters = [] if css else [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
    data = base64.b64encode(cv2.imencode(suffix, np.ascontiguousarray(image[..., ::-1]), parameters)[1]).decode()
    return (f'<img{f" class={css}" if css else ""} src="data:image/{mime};base64,{data}" width="{image.shape[1]}" '
            f'height="{image.shape[0]}" alt="{escape(alt)}">')


def strip_figure(name: str, strip: Strip, caption: str, max_side: int = MAX_SIDE) -> str:
    """All columns of one image side by side, each whole and with the same detail enlarged.

    Args:
        name: of the data set, spoken with each picture.
        strip: with the columns original, unlearned and gt at least.
        caption: HTML below.
        max_side: of an embedded picture, in pixels.
    """
    height, width = strip.images['gt'].shape[:2]
    size = max(min(height, width) // 4, min(48, height, width))
    top, left = where_to_look(strip.images['gt'], strip.images['original'], strip.images['unlearned'], size)
    box = (f'<div class="box" style="left:{100 * left / width:.2f}%;top:{100 * top / height:.2f}%;'
           f'width:{100 * size / width:.2f}%;height:{100 * size / height:.2f}%"></div>')
    cells = []
    for column in in_order(strip.images):
        image = strip.images[column]
        psnr = strip.scores.get(column, {}).get('psnr')
        score = '' if psnr is None else f'<span>{psnr:.2f} dB</span>'
        now = ' now' if column == 'unlearned' else ''
        whole = picture(image, f'{name}, {strip.name}: {label(column)}', max_side=max_side)
        cells.append(f'<div class="cell{now}"><div class="label"><b>{label(column)}</b>{score}</div>'
                     f'<div class="whole">{whole}{box}</div>'
                     f'{picture(image[top:top + size, left:left + size], "", "crop", max_side)}</div>')
    return (f'<figure class="strip"><div class="cells" style="--n:{len(cells)}">{"".join(cells)}</div>'
            f'<figcaption>{caption}</figcaption></figure>')


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
