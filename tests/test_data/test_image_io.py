"""Image files: every honest kind is read at full precision, every broken one is named."""
import warnings

import numpy as np
import pytest

from basicsr_unlearn.data import image_io
from basicsr_unlearn.data.image_io import list_images, read_image, to_float, write_image
from basicsr_unlearn.errors import DataError


def test_sixteen_bit_png_keeps_its_precision(tmp_path, pixels):
    stored = np.array([[[0, 1, 257], [65534, 65535, 300]]], np.uint16)
    pixels(tmp_path / 'deep.png', stored)
    image = read_image(tmp_path / 'deep.png')
    assert image.dtype == np.uint16
    np.testing.assert_array_equal(image, stored)
    # 300 of 65535 lies between two 8-bit levels, and the brightest value is 1, not 257
    np.testing.assert_allclose(to_float(image), stored / 65535, rtol=0, atol=1e-7)
    assert to_float(image).dtype == np.float32 and to_float(image).max() == 1


def test_grey_becomes_three_equal_channels(tmp_path, pixels):
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    pixels(tmp_path / 'grey.png', grey)
    image = read_image(tmp_path / 'grey.png')
    assert image.shape == (3, 4, 3)
    for channel in range(3):
        np.testing.assert_array_equal(image[..., channel], grey)


def test_alpha_is_dropped_with_exactly_one_warning(tmp_path, pixels, monkeypatch):
    monkeypatch.setattr(image_io, '_warned_alpha', False)
    colour = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    for name in ('one.png', 'two.png'):
        pixels(tmp_path / name, np.dstack([colour, np.full((3, 4), 7, np.uint8)]))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        images = [read_image(tmp_path / name) for name in ('one.png', 'two.png', 'one.png')]
    assert [str(w.message).split(' has an alpha')[0] for w in caught] == [str(tmp_path / 'one.png')]
    np.testing.assert_array_equal(images[1], colour)


def test_channel_order_is_rgb(tmp_path):
    red = np.zeros((2, 2, 3), np.float32)
    red[..., 0] = 1
    write_image(tmp_path / 'red.png', red)
    np.testing.assert_array_equal(to_float(read_image(tmp_path / 'red.png')), red)


@pytest.mark.parametrize('kind', ['truncated', 'text', 'empty', 'cut jpeg'])
def test_a_broken_file_is_named(tmp_path, photos, kind):
    suffix = '.jpg' if kind == 'cut jpeg' else '.png'
    photos(tmp_path, ['broken'], suffix=suffix)
    path = tmp_path / f'broken{suffix}'
    whole = path.read_bytes()
    path.write_bytes({'truncated': whole[:len(whole) // 2], 'text': b'not an image\n', 'empty': b'',
                      'cut jpeg': whole[:len(whole) // 2]}[kind])
    with pytest.raises(DataError, match='cannot be read as an image') as caught:
        read_image(path)
    assert str(path) in str(caught.value)


def test_a_float_tiff_is_refused(tmp_path, pixels):
    pixels(tmp_path / 'float.tif', np.ones((4, 4, 3), np.float32))
    with pytest.raises(DataError, match='float32.*8 or 16 bits'):
        read_image(tmp_path / 'float.tif')


def test_list_images_takes_images_only(tmp_path, photos):
    photos(tmp_path, ['b', 'a', '.hidden'])
    (tmp_path / 'notes.txt').write_text('x')
    (tmp_path / 'folder.png').mkdir()
    assert [p.name for p in list_images(tmp_path)] == ['a.png', 'b.png']


def test_missing_and_empty_folders_are_named(tmp_path):
    with pytest.raises(DataError, match='nowhere does not exist'):
        list_images(tmp_path / 'nowhere')
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match='empty holds no image'):
        list_images(tmp_path / 'empty')
