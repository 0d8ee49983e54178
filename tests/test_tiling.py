"""Tiles: they cover the image, blend without seams, and give the whole image's result where a network sees locally."""
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from basicsr_unlearn.core.tiling import GRID, check_tile, restore_in_tiles, tile_spans

CASES = [(80, 97, 64, 16), (130, 64, 32, 16), (33, 200, 32, 0), (111, 113, 64, 48), (65, 81, 48, 32), (160, 96, 64, 32)]


def image(height: int, width: int, batch: int = 1, channels: int = 3) -> Tensor:
    return torch.rand(batch, channels, height, width, generator=torch.Generator().manual_seed(0))


def corners(reach: int) -> nn.Conv2d:
    """Sees exactly `reach` pixels in each direction, zeros beyond the border: the mean of four pixels so far away."""
    net = nn.Conv2d(3, 3, 2 * reach + 1, padding=reach, groups=3, bias=False).requires_grad_(False)
    net.weight.zero_()
    net.weight[:, :, ::2 * reach, ::2 * reach] = 0.25
    return net


def recorded(net: Callable[[Tensor], Tensor], shapes: list) -> Callable[[Tensor], Tensor]:
    return lambda lq: shapes.append(tuple(lq.shape)) or net(lq)


@pytest.mark.parametrize('size, tile, overlap, spans', [
    (64, 64, 32, [(0, 64)]),
    (7, 64, 32, [(0, 7)]),
    (65, 64, 32, [(0, 64), (16, 65)]),                        # moved back to the grid: 15 pixels smaller at most
    (96, 64, 32, [(0, 64), (32, 96)]),
    (97, 64, 32, [(0, 64), (32, 96), (48, 97)]),
    (160, 64, 16, [(0, 64), (48, 112), (96, 160)]),
    (480, 128, 32, [(0, 128), (96, 224), (192, 320), (288, 416), (352, 480)]),
    (128, 32, 0, [(0, 32), (32, 64), (64, 96), (96, 128)]),
])
def test_spans_by_hand(size, tile, overlap, spans):
    assert tile_spans(size, tile, overlap) == spans


@pytest.mark.parametrize('tile, overlap', [(32, 0), (32, 16), (64, 16), (64, 48), (96, 80), (128, 32)])
def test_spans_cover_every_image_in_as_few_tiles_as_it_takes(tile, overlap):
    for size in range(1, 3 * tile):
        spans = tile_spans(size, tile, overlap)
        assert spans[0][0] == 0 and spans[-1][1] == size
        assert len(spans) == 1 + max(0, -(-(size - tile) // (tile - overlap)))
        for (start, stop), (following, _) in zip(spans, spans[1:]):
            assert stop - start == tile and start < following and stop - following >= overlap
        if len(spans) > 1:
            assert tile - GRID < spans[-1][1] - spans[-1][0] <= tile
        assert all(start % GRID == 0 for start, _ in spans)


@pytest.mark.parametrize('height, width, tile, overlap', [*CASES, (20, 30, 64, 32), (64, 64, 64, 0), (1, 100, 32, 16)])
def test_a_network_that_changes_nothing_returns_the_image(height, width, tile, overlap):
    lq = image(height, width, batch=2)
    output = restore_in_tiles(lambda x: x, lq, tile, overlap)
    torch.testing.assert_close(output, lq, rtol=0, atol=1e-6)


@pytest.mark.parametrize('height, width, tile, overlap', CASES)
def test_no_call_sees_more_than_a_tile(height, width, tile, overlap):
    shapes = []
    restore_in_tiles(recorded(lambda x: x, shapes), image(height, width), tile, overlap)
    assert len(shapes) == len(tile_spans(height, tile, overlap)) * len(tile_spans(width, tile, overlap)) > 1
    assert max(shape[2] for shape in shapes) <= tile and max(shape[3] for shape in shapes) <= tile


@pytest.mark.parametrize('height, width, tile, overlap', [case for case in CASES if case[3]])
def test_a_network_that_sees_a_quarter_of_the_overlap_gives_the_whole_image_everywhere(height, width, tile, overlap):
    net, lq = corners(overlap // 4), image(height, width)
    torch.testing.assert_close(restore_in_tiles(net, lq, tile, overlap), net(lq), rtol=0, atol=1e-6)


def test_a_network_that_sees_further_differs_near_seams_only():
    """9 pixels against 16 / 4 = 4: off where a tile's edge is nearer than 9 and not cut away, and nowhere else."""
    net, lq = corners(9), image(40, 112)
    difference = (restore_in_tiles(net, lq, 64, 16) - net(lq)).abs().amax((0, 1, 2))  # tiles 0 to 64 and 48 to 112
    assert difference[52:60].min() > 1e-4  # the fading half of 48 to 64, where both tiles count
    assert difference[:52].max() < 1e-6 and difference[60:].max() < 1e-6


@pytest.mark.parametrize('height, width, tile, overlap', CASES)
def test_blocks_of_the_grid_are_those_of_the_whole_image(height, width, tile, overlap):
    """The mean of each 16x16 block, as of a network with four halvings: equal only if tiles start on the grid."""
    def blocks(lq: Tensor) -> Tensor:
        means = F.avg_pool2d(lq, GRID, ceil_mode=True)
        return F.interpolate(means, scale_factor=GRID)[:, :, :lq.shape[2], :lq.shape[3]]
    lq = image(height, width)
    torch.testing.assert_close(restore_in_tiles(blocks, lq, tile, overlap), blocks(lq), rtol=0, atol=1e-6)


@pytest.mark.parametrize('height, width, tile, overlap', CASES)
def test_super_resolution(height, width, tile, overlap):
    lq = image(height, width)
    output = restore_in_tiles(lambda x: F.interpolate(x, scale_factor=2), lq, tile, overlap, scale=2)
    torch.testing.assert_close(output, F.interpolate(lq, scale_factor=2), rtol=0, atol=1e-6)
    net = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.PixelShuffle(2)).requires_grad_(False)  # to one channel
    if overlap:
        torch.testing.assert_close(restore_in_tiles(net, lq, tile, overlap, scale=2), net(lq), rtol=0, atol=1e-6)


@pytest.mark.parametrize('scale', [1, 2])
def test_one_tile_fades_into_the_next_over_the_middle_half(scale):
    """The first tile is 0, the second 1; they share pixels 32 to 64, so fading runs from 40 to 56."""
    values = iter((0.0, 1.0))
    output = restore_in_tiles(lambda x: torch.full((1, 1, 8 * scale, 64 * scale), next(values)), image(8, 96), 64, 32,
                              scale)
    pixels = (torch.arange(96 * scale) + 0.5) / scale
    expected = ((pixels - 40) / 16).clamp(0, 1).expand(1, 1, 8 * scale, 96 * scale)
    torch.testing.assert_close(output, expected, rtol=0, atol=1e-6)


def test_an_image_that_fits_is_one_call_with_the_whole_images_bits():
    net, lq, shapes = corners(5), image(50, 64), []
    assert torch.equal(restore_in_tiles(recorded(net, shapes), lq, 64, 32), net(lq))
    assert shapes == [(1, 3, 50, 64)]


def test_a_value_that_is_not_finite_is_not_blended_away():
    """In the corner of the second tile that counts nothing it must still show."""
    def net(lq: Tensor) -> Tensor:
        output = lq.clone()
        output[..., 0, 0] = float('nan')
        return output
    assert restore_in_tiles(net, image(40, 96), 64, 32)[0, 0, 0].isnan().nonzero().flatten().tolist() == [0, 32]


def test_the_input_is_left_alone_and_no_gradient_is_kept():
    net, lq = corners(2).requires_grad_(True), image(40, 96)
    before = lq.clone()
    assert not restore_in_tiles(net, lq, 64, 32).requires_grad
    assert torch.equal(lq, before)


@pytest.mark.parametrize('tile, overlap, sentence', [
    (16, 0, 'tile is 16, not a multiple of 16 from 32'), (100, 32, 'tile is 100, not a multiple of 16 from 32'),
    (64, 20, 'tile_overlap is 20, not 0 or a multiple of 16'), (64, -16, 'tile_overlap is -16, not 0'),
    (64, 64, 'tile_overlap 64 is not smaller than tile 64'), (64, 80, 'tile_overlap 80 is not smaller than tile 64'),
])
def test_sizes_out_of_range(tile, overlap, sentence):
    with pytest.raises(ValueError, match=sentence):
        restore_in_tiles(lambda x: x, image(8, 8), tile, overlap)
    check_tile(32, 16)
