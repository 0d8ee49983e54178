"""Pictures of one image through several networks, side by side, each with its name above."""
from collections.abc import Mapping

import cv2
import numpy as np

NARROWEST_PANE = 96  # pixels of a pane; smaller ones are enlarged, or no name would fit above
LETTERS = 1 / 40  # height of capitals over the width of a strip: 10 pixels on TensorBoard's cards of 400
FONT = cv2.FONT_HERSHEY_SIMPLEX
PAPER, INK = 255, (30, 30, 30)


def strip_of(panes: Mapping[str, np.ndarray]) -> np.ndarray:
    """One picture, (h, w, 3) uint8 RGB, on white: the panes from left to right, with their names above.

    Args:
        panes: name -> (h, w, 3) uint8 RGB. Panes narrower than NARROWEST_PANE are enlarged, pixel by pixel.
    """
    factor = max(1, -(-NARROWEST_PANE // max(pane.shape[1] for pane in panes.values())))
    images = [pane.repeat(factor, 0).repeat(factor, 1) for pane in panes.values()]
    total = sum(image.shape[1] for image in images)
    gap = max(2, total // 300)
    size = letter_size(panes, [image.shape[1] - gap for image in images], total * LETTERS)
    thick = max(1, round(size * 1.6))
    line = cv2.getTextSize('Ag', FONT, size, thick)
    band = line[0][1] + 2 * line[1]
    height = band + max(image.shape[0] for image in images)
    columns = []
    for name, image in zip(panes, images):
        column = np.full((height, image.shape[1], 3), PAPER, np.uint8)
        column[band:band + image.shape[0]] = image
        left = (image.shape[1] - cv2.getTextSize(name, FONT, size, thick)[0][0]) // 2
        cv2.putText(column, name, (left, band - line[1]), FONT, size, INK, thick, cv2.LINE_AA)
        columns += [column, np.full((height, gap, 3), PAPER, np.uint8)]
    return np.concatenate(columns[:-1], axis=1)


def letter_size(names: Mapping[str, object], widths: list[int], wanted: float) -> float:
    """OpenCV's scale of the letters: capitals `wanted` pixels high, smaller if a name would be wider than its pane."""
    scale = wanted / cv2.getTextSize('A', FONT, 1, 1)[0][1]
    return min([scale, *(width / cv2.getTextSize(name, FONT, 1, 2)[0][0] for name, width in zip(names, widths))])
