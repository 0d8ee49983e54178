"""Every option block of docs/data.md is valid, and reads the layout that the page shows."""
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from basicsr.utils.registry import DATASET_REGISTRY

from basicsr_unlearn.data.degradation_chain import FILES, PARAMETERS

README = (Path(__file__).resolve().parents[2] / 'docs' / 'data.md').read_text(encoding='utf-8')
BLOCKS = [yaml.safe_load(text) for text in re.findall(r'^```yaml\n(.*?)^```', README, re.M | re.S)]
# of every data set: read by BasicSR, the model, the mix or DrawnDataset
COMMON = {'name', 'type', 'role', 'ratio', 'seed', 'epoch_length', 'batch_size_per_gpu', 'num_worker_per_gpu'}
# folder -> image files in it, with names as the page shows them
LAYOUT = {
    'SOTS-indoor/train/input': ['1400_1.png', '1400_7.png', '1401_1.png'],
    'SOTS-indoor/train/target': ['1400.png', '1401.png'],
    'SOTS-indoor/val/input': ['1435_1.png', '1435_4.png'], 'SOTS-indoor/val/target': ['1435.png'],
    'SOTS-outdoor/hazy': ['0025_0.8_0.1.jpg', '0025_1_0.2.jpg'], 'SOTS-outdoor/clear': ['0025.png'],
    'Rain100H/input': ['1.png', '2.png'], 'Rain100H/target': ['1.png', '2.png'],
    'Rain100L/rainy': ['rain-001.png'], 'Rain100L/clean': ['norain-001.png'],
    'BSD400': ['10.jpg'], 'WED': ['00001.bmp'], 'BSD500/train': ['1.jpg'], 'BSD500/test': ['2.jpg'],
    'PolyU/input': ['chair_11.jpg'], 'PolyU/target': ['chair_11.jpg'], 'CBSD68': ['0001.png'],
    'LOL/eval15/low': ['1.png'], 'LOL/eval15/high': ['1.png'],
    'GoPro/test/blur': ['GOPR0384_11_00-000001.png'], 'GoPro/test/sharp': ['GOPR0384_11_00-000001.png'],
    'mine/degraded': ['shot 0017.png', 'not listed.png'], 'mine/clean': ['0017 final.png'],
}


def data_sets(block):
    """Every data set in a block: (key, options), nested ones too."""
    for key, value in block.items():
        if isinstance(value, dict) and 'type' in value:
            yield key, value
            for nested in ('forget', 'retain', 'sets'):
                yield from ((nested, child) for child in value.get(nested, []))


@pytest.fixture(scope='module')
def laid_out(tmp_path_factory, photos, create_lmdb):
    root = tmp_path_factory.mktemp('readme')
    for folder, names in LAYOUT.items():
        for name in names:
            photos(root / 'datasets' / folder, [name], (70, 66), suffix='')
    (root / 'datasets/mine/pairs.txt').write_text(re.search(r'(shot 0017\.png, .*)\n', README)[1] + '\n')
    for folder, array in (('BSD400-depth/10', np.ones((70, 66))), ('kernels/k1', np.ones((3, 3)))):
        (root / 'datasets' / folder).parent.mkdir()
        np.save(root / 'datasets' / f'{folder}.npy', array)
    for name in ('blur', 'sharp'):
        folder = root / 'datasets/GoPro/test' / name
        create_lmdb.create_lmdb(str(folder), f'{folder}.lmdb')
    return root


def test_there_are_blocks():
    assert len(BLOCKS) >= 11 and sum(1 for block in BLOCKS for _ in data_sets(block)) >= 20


@pytest.mark.parametrize('block', BLOCKS, ids=lambda block: '+'.join(block))
def test_keys_are_known(block):
    for key, opt in data_sets(block):
        assert key in ('train', 'forget', 'retain', 'sets') or key.startswith('val_'), key
        unknown = set(opt) - COMMON - set(DATASET_REGISTRY.get(opt['type']).OPTIONS)
        assert not unknown, (opt['name'], unknown)


@pytest.mark.parametrize('block', BLOCKS, ids=lambda block: '+'.join(block))
def test_blocks_read_the_layout(block, laid_out, monkeypatch):
    monkeypatch.chdir(laid_out)
    for key, opt in block.items():
        data = DATASET_REGISTRY.get(opt['type'])({**opt, 'phase': key.partition('_')[0], 'scale': 1, 'seed': 0})
        item = data[0]
        prefix = 'forget_' if opt['type'] == 'ForgetRetainDataset' else ''
        assert item[f'{prefix}lq'].shape == item[f'{prefix}gt'].shape, opt['name']
        assert ('retain_lq' in item) == bool(prefix)


def test_degradation_table_has_all_parameters_and_their_defaults():
    rows = re.search(r'PARAMETERS by the tests -->\n(.*?)\n\n', README, re.S)[1].splitlines()[2:]
    table, kind = {}, None
    for row in rows:
        first, parameter, default = [cell.strip(' `') for cell in row.split('|')[1:4]]
        kind = first or kind
        table.setdefault(kind, {})[parameter] = default
    expected = {kind: {key: str(value) for key, value in values.items()} for kind, values in PARAMETERS.items()}
    expected['haze'][FILES['haze']], expected['blur'][FILES['blur']] = 'none', 'required'
    assert table == expected
