"""Testing through our entry point."""
from pathlib import Path

import cv2

from basicsr_unlearn import cli


def test_results_go_to_the_current_directory(folder, option_file, capsys):
    assert cli.main(['test', '-opt', option_file('test')]) == 0
    images = sorted(Path('results/tiny/visualization/held_out').iterdir())
    assert [image.name for image in images] == ['0_tiny.png', '1_tiny.png', '2_tiny.png']
    assert cv2.imread(str(images[0])).shape == (24, 24, 3)
    assert 'psnr' in next(Path('results/tiny').glob('test_tiny_*.log')).read_text()


def test_bad_input_writes_nothing(folder, option_file, capsys):
    assert cli.main(['test', '-opt', option_file('test', dataroot_gt='gone')]) == 2
    err = capsys.readouterr().err
    assert err.startswith('Error: ') and err.count('\n') == 1 and 'gone' in err
    assert list(Path().iterdir()) == []
