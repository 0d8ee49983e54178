"""The first page as a picture."""
import numpy as np
import pytest
from PIL import Image
from test_run_page import record, strip

from basicsr_unlearn.core.judgement import PSNR
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.report.run_findings import relearning_cards, run_findings
from basicsr_unlearn.report.still import FORGET, check_still, write_still


def found(strips: dict):
    curves = {'haze': {column: {0: 11.0, 25: end} for column, end in (('unlearned', 19.0), ('retrained', 17.0))}}
    return run_findings(record(), strips, 'a.yml', '', relearning_cards(curves, 8, 5e-4, PSNR, 'cure'))


@pytest.mark.parametrize('suffix', ['png', 'jpg', 'webp'])
def test_the_picture_is_small_and_grows_with_its_sets(tmp_path, suffix):
    path = tmp_path / 'new' / f'still.{suffix}'
    write_still(path, found({}))
    with Image.open(path) as image:
        alone = image.size
    write_still(path, found({'haze': [strip()], 'rain': [strip()]}))
    with Image.open(path) as image:
        assert image.width == alone[0] == 1200 and image.height > alone[1] + 200
        colours = np.asarray(image.convert('RGB'), dtype=int)
    wanted = [int(FORGET[i:i + 2], 16) for i in (1, 3, 5)]
    assert (np.abs(colours - wanted).max(axis=2) <= 12).sum() > 100  # of the unlearned network's marks
    assert path.stat().st_size < 300_000


def test_what_cannot_be_written_is_one_sentence(tmp_path):
    with pytest.raises(OptionError, match='mine.gif .* .png, .jpg, .webp'):
        check_still('mine.gif')
    (tmp_path / 'file').touch()
    (tmp_path / 'a.png').mkdir()
    for path in (tmp_path / 'file' / 'mine.png', tmp_path / 'a.png'):
        with pytest.raises(OptionError, match=f'{path} cannot be written'):
            check_still(path)
    assert check_still(tmp_path / 'new' / 'mine.png')
