"""Restoring a large image in overlapping tiles, so that memory depends on the tile and not on the image."""
from collections.abc import Callable

import torch
from torch import Tensor, nn

# Tiles start at multiples of this: what the network halves, shuffles or cuts into windows is then cut at the same
# pixels as in the whole image. Four halvings, or windows of 8 after one; the deepest networks here need 8.
GRID = 16
DEFAULT_OVERLAP = 32  # PromptIR's demo

Span = tuple[int, int]  # start, stop


def check_tile(tile: int, overlap: int) -> None:
    """Raise ValueError unless both are multiples of GRID, 2 GRID <= tile and 0 <= overlap < tile.

    >>> check_tile(128, overlap=32)
    """
    if tile < 2 * GRID or tile % GRID:
        raise ValueError(f'tile is {tile}, not a multiple of {GRID} from {2 * GRID}')
    if overlap < 0 or overlap % GRID:
        raise ValueError(f'tile_overlap is {overlap}, not 0 or a multiple of {GRID}')
    if overlap >= tile:
        raise ValueError(f'tile_overlap {overlap} is not smaller than tile {tile}')


@torch.no_grad()
def restore_in_tiles(net: Callable[[Tensor], Tensor], lq: Tensor, tile: int, overlap: int, scale: int = 1) -> Tensor:
    """The output of `net` for an image, put together from tiles that pass through it one after another.

    Neighbours share `overlap` pixels. The outer quarter of what they share is thrown away on each side, since the edge
    of a tile lies nearest to it, and over the middle half the one fades linearly into the other. So a network that sees
    at most `overlap` / 4 pixels around a pixel gives the same in tiles as on the whole image, to rounding. One that
    pools or attends over its whole input (NAFNet without `pool_size`, PromptIR, AdaIR, Restormer) computes something
    else in tiles: it adapts to each tile rather than to the image, as it did to each patch in training. One that sees
    further without (AirNet through its learned offsets, SwinIR) differs a little where tiles meet.

    The last tile of a row or column is moved back onto the image, up to GRID - 1 pixels smaller where the image ends
    between two points of the grid. Tiling with overlap is PromptIR's demo's (arXiv 2306.13090, released code), which
    averages plainly; grid and fading are our choice.

    Args:
        net: (b, c, h, w) -> (b, c', scale h, scale w), in eval mode; never sees more than tile x tile pixels.
        lq: (b, c, h, w), any h and w; a side that fits into a tile is not divided.
        tile: side of a tile in pixels of `lq`, a multiple of GRID from 2 GRID.
        overlap: pixels of `lq` that neighbours share at least, a multiple of GRID, smaller than `tile`.
        scale: of the network's output against its input.

    Returns:
        (b, c', scale h, scale w), on the device of the network's output.

    Raises:
        ValueError: `tile` or `overlap` is out of range.

    >>> lq = torch.rand(1, 3, 100, 70)
    >>> torch.allclose(restore_in_tiles(nn.Identity(), lq, tile=64, overlap=32), lq)
    True
    """
    check_tile(tile, overlap)
    rows, columns = tile_spans(lq.shape[2], tile, overlap), tile_spans(lq.shape[3], tile, overlap)
    row_weights, column_weights = (_weights(spans, overlap, scale) for spans in (rows, columns))
    output = None
    for (top, bottom), down in zip(rows, row_weights):
        for (left, right), across in zip(columns, column_weights):
            restored = net(lq[:, :, top:bottom, left:right].contiguous())
            if output is None:
                output = restored.new_zeros(*restored.shape[:2], lq.shape[2] * scale, lq.shape[3] * scale)
            window = output[:, :, top * scale:bottom * scale, left * scale:right * scale]
            window += restored * (down[:, None] * across).to(restored)
    return output


def tile_spans(size: int, tile: int, overlap: int) -> list[Span]:
    """Where the tiles of one axis lie: (start, stop) in pixels, covering 0 to `size`, each start a multiple of GRID.

    As many as are needed: 1 if size <= tile, otherwise 1 + ceil((size - tile) / (tile - overlap)).

    >>> tile_spans(100, tile=64, overlap=32)
    [(0, 64), (32, 96), (48, 100)]
    """
    if size <= tile:
        return [(0, size)]
    last = -(-(size - tile) // GRID) * GRID
    starts = [*range(0, last, tile - overlap), last]
    return [(start, min(start + tile, size)) for start in starts]


def _weights(spans: list[Span], overlap: int, scale: int) -> list[Tensor]:
    """Weight of each output pixel of each tile along one axis, float64; at each pixel of the image they sum to 1."""
    ramps = []
    for index, (start, stop) in enumerate(spans):
        ramp = torch.ones((stop - start) * scale, dtype=torch.float64)
        if overlap:
            depth = torch.arange(len(ramp), dtype=torch.float64) + 0.5  # from the edge to the middle of the pixel
            fade = ((depth / scale - overlap / 4) / (overlap / 2)).clamp(0, 1)
            if index > 0:
                ramp = ramp * fade
            if index < len(spans) - 1:
                ramp = ramp * fade.flip(0)
        ramps.append(ramp)
    total = torch.zeros(spans[-1][1] * scale, dtype=torch.float64)
    for (start, stop), ramp in zip(spans, ramps):
        total[start * scale:stop * scale] += ramp
    return [ramp / total[start * scale:stop * scale] for (start, stop), ramp in zip(spans, ramps)]


class Tiled(nn.Module):
    """A network that restores in tiles, see `restore_in_tiles`."""

    def __init__(self, net: nn.Module, tile: int, overlap: int, scale: int):
        super().__init__()
        self.net, self.tile, self.overlap, self.scale = net, tile, overlap, scale

    def forward(self, lq: Tensor) -> Tensor:
        return restore_in_tiles(self.net, lq, self.tile, self.overlap, self.scale)
