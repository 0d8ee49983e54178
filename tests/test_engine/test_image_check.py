"""Images before the start: too large ones by their header, damage in the middle with `check --full`, odd names."""
import os
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from basicsr_unlearn import test, train
from basicsr_unlearn.cli import check
from basicsr_unlearn.data.image_io import MAX_PIXELS, decode_image, read_header, read_image
from basicsr_unlearn.data.store import ImageStore, readable
from basicsr_unlearn.engine.image_check import measure
from basicsr_unlearn.errors import DataError
from basicsr_unlearn.models.tracking import file_name


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it is of this size and holds no pixels of it."""
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
    head = struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', head) + chunk(b'IDAT', zlib.compress(bytes(99))) + chunk(b'IEND', b'')


def damage_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2:len(content) // 2 + 8] = b'\x55' * 8
    path.write_bytes(bytes(content))


@pytest.fixture
def stored(tmp_path, photos):
    """stored(suffix) is a store of 20 photographs; the first 16 are decoded in any case."""
    return lambda suffix='.png': ImageStore(photos(tmp_path / 'x', [f'{i:02}' for i in range(20)], suffix=suffix))


# ------------------------------------------------------------------ size

def test_the_limit_is_told_from_the_header_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: pytest.fail('decoded'))
    monkeypatch.setattr(ImageFile.ImageFile, 'load', lambda *_: pytest.fail('decoded'))
    (tmp_path / 'x').mkdir()
    (tmp_path / 'x' / 'large.png').write_bytes(png_of(20_000, 20_000))
    store, limit = ImageStore(str(tmp_path / 'x')), Image.MAX_IMAGE_PIXELS
    for look in (lambda: measure([(store, 'large')], {}), lambda: store.read('large')):
        with pytest.raises(DataError, match='large.png is 20000x20000, 400 million .* 100 million .*max_pixels'):
            look()
    assert Image.MAX_IMAGE_PIXELS == limit


@pytest.mark.parametrize('max_pixels, fits', [(48 * 40, True), (48 * 40 - 1, False), (None, True)])
def test_the_limit_is_an_option_and_holds_exactly(tmp_path, photos, max_pixels, fits):
    path = Path(photos(tmp_path, ['a'])) / 'a.png'
    if fits:
        assert decode_image(path.read_bytes(), 'a', max_pixels).shape == (48, 40, 3)
    else:
        with pytest.raises(DataError, match='a is 40x48'):
            decode_image(path.read_bytes(), 'a', max_pixels)
    assert MAX_PIXELS == 10**8


def test_training_and_check_refuse_by_it_before_anything_is_written(folder, option_file, capsys):
    path = option_file('unlearn')
    text = Path(path).read_text().replace('epoch_length: 8', 'epoch_length: 8\n    max_pixels: 500')
    Path(path).write_text(text)
    for command in (train, check):
        assert command.main(['-opt', path]) == 2
        assert 'is 24x24, 0.000576 million pixels' in capsys.readouterr().err
    assert not os.listdir('.')


def test_headers(tmp_path):
    (tmp_path / 'a.png').write_bytes(png_of(7, 5))
    with (tmp_path / 'a.png').open('rb') as file:
        assert read_header(file) == (5, 7, 'RGB') and file.tell() == 0
    (tmp_path / 'b.png').write_bytes(b'no image')
    with (tmp_path / 'b.png').open('rb') as file:
        assert read_header(file) is None


# ------------------------------------------------------------------ damage

@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.tif'])
def test_damage_in_the_middle_is_found_by_full(stored, suffix, capfd):
    store = stored(suffix)
    for name in ('17', '19'):
        damage_middle(Path(store.root) / f'{name}{suffix}')
    images = [(store, name) for name in store.names]
    if suffix != '.tif':  # of which the end says nothing, so it is decoded anyway
        measure(images, {})
    with pytest.raises(DataError) as caught:
        measure(images, {}, full=True)
    said = str(caught.value)
    assert said.startswith('2 images') and '17' in said and '19' in said and '18' not in said and '\n' not in said


@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.tif', '.bmp', '.webp'])
def test_whole_images_pass_full(stored, suffix):
    store, sizes = stored(suffix), {}
    measure([(store, name) for name in store.names], sizes, full=True)
    assert len(sizes) == 20 and set(sizes.values()) == {(48, 40)}


def test_check_says_what_it_looked_at_and_writes_nothing(folder, option_file, capsys):
    path = option_file('unlearn')
    assert check.main(['-opt', path]) == 0
    out = capsys.readouterr().out
    for word in ('train: 6 image files, 24x24', 'val_1', 'psnr', 'NAFNet', 'base.pth', 'MB free', 'train -opt'):
        assert word in out
    assert out.splitlines()[-1].startswith('All is in order')
    assert check.main(['-opt', option_file('test')]) == 0
    assert 'test -opt' in capsys.readouterr().out
    assert check.main(['-opt', path, '--force_yml', 'network_g:width=8']) == 2
    assert 'base.pth does not fit' in capsys.readouterr().err
    assert not os.listdir('.')


def test_check_full_names_a_damaged_file(folder, option_file, capsys):
    damage_middle(folder / 'gt' / '1.png')
    assert check.main(['-opt', option_file('unlearn'), '--full']) == 2
    out, err = capsys.readouterr()
    assert 'gt/1.png' in err and err.count('\n') == 1 and 'All is in order' not in out


@pytest.mark.parametrize('workers', [0, 1])
def test_training_that_meets_a_damaged_file_ends_in_a_sentence_that_names_it(folder, option_file, workers, capsys,
                                                                            monkeypatch):
    monkeypatch.setattr('basicsr_unlearn.engine.entry.preflight', lambda opt: None)  # as if it were damaged meanwhile
    damage_middle(folder / 'gt' / '1.png')
    code = train.main(['-opt', option_file('unlearn'), '--force_yml', f'datasets:train:num_worker_per_gpu={workers}'])
    err = capsys.readouterr().err
    assert code == 2 and 'gt/1.png' in err.splitlines()[-1] and err.splitlines()[-1].startswith('Error: ')
    assert 'Traceback' not in err


# ------------------------------------------------------------------ names

def test_a_name_that_is_no_utf_8_is_readable():
    assert readable('caf\udce9') == 'caf%E9' and readable('é%E9') == 'é%E9'


@pytest.mark.parametrize('stem, end', [('a', '_1.png'), ('x' * 251, '.png')])
def test_a_name_that_fits_is_kept(stem, end):
    assert file_name(stem, end) == stem + end


def test_a_name_that_is_too_long_is_cut_and_stays_different():
    names = [file_name('é' * 120 + letter, '_haze.png') for letter in 'aéb']
    assert len(set(names)) == 3 and all(len(name.encode()) <= 255 and name.endswith('_haze.png') for name in names)


@pytest.mark.skipif(os.name == 'nt', reason='file names there are Unicode')
def test_odd_names_are_saved_in_training_and_test(folder, option_file):
    names = [b'x' * 251, b'y' * 125 + 'é'.encode() * 63, b'caf\xe9', 'ü'.encode()]
    pixels = cv2.imencode('.png', np.zeros((24, 24, 3), np.uint8))[1].tobytes()
    for root in ('lq', 'gt'):
        for name in names:
            (Path(os.fsdecode(os.path.join(os.fsencode(folder / root), name + b'.png')))).write_bytes(pixels)
    wanted = ['val:save_img=true', 'logger:use_tb_logger=true', 'val:val_freq=3']
    assert train.main(['-opt', option_file('unlearn'), '--force_yml', *wanted]) == 0
    assert test.main(['-opt', option_file('test', model_type='UnlearnModel')]) == 0
    for place in (Path('experiments/tiny/visualization/held_out'), Path('results/tiny/visualization/held_out')):
        found = os.listdir(place)
        assert {name[:3] for name in found} >= {'xxx', 'yyy', 'caf'} and any('%E9' in name for name in found)
        for name in found:
            name.encode()  # is UTF-8
            assert read_image(place / name).shape == (24, 24, 3)
    assert len(os.listdir('results/tiny/visualization/held_out')) == 7


def test_a_model_of_basicsr_that_would_fail_to_save_is_refused(folder, option_file, capsys):
    for root in ('lq', 'gt'):
        os.rename(folder / root / '0.png', folder / root / f'{"x" * 251}.png')
    assert test.main(['-opt', option_file('test')]) == 2
    err = capsys.readouterr().err
    assert err.startswith('Error: SRModel') and 'xxx.png' in err and 'val.save_img' in err
    assert test.main(['-opt', option_file('test'), '--force_yml', 'val:save_img=false']) == 0
