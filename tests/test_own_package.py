"""A package of one's own, named by the plugin tag of an option file, serves every command."""
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from basicsr_unlearn.archs.nafnet_arch import NAFNet
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.options.loader import load_yaml
from basicsr_unlearn.options.option_text import option_text

ROOT = Path(__file__).resolve().parents[1]
NETWORK = {'width': 4, 'enc_blk_nums': [1], 'middle_blk_num': 1, 'dec_blk_nums': [1]}
PACKAGE = """
import basicsr_unlearn.plugin
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr_unlearn.archs.nafnet_arch import NAFNet

@ARCH_REGISTRY.register()
class MyNaf(NAFNet):
    \"\"\"A network that no registry holds.\"\"\"

__version__ = '1'
"""
TAG = "plugin: !!python/name:my_package.__version__ ''\n"
BOTH = "plugin: [!!python/name:my_package.__version__ '', !!python/name:basicsr_unlearn.plugin.__version__ '']\n"


def degraded(kind: str, **options) -> dict:
    return {'type': 'DegradedImageDataset', 'dataroot_gt': 'photos', 'degradations': [{'type': kind}], **options}


METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}
TRAIN = {
    'name': 'own', 'model_type': 'UnlearnModel', 'scale': 1, 'num_gpu': 0, 'manual_seed': 0,
    'datasets': {'train': {'name': 'train', 'type': 'ForgetRetainDataset', 'gt_size': 16, 'batch_size_per_gpu': 2,
                           'num_worker_per_gpu': 0, 'forget': [degraded('haze')]}},
    'network_g': {'type': 'MyNaf', **NETWORK}, 'path': {'pretrain_network_g': 'original.pth'},
    'train': {'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'scheduler': {'type': 'MultiStepLR', 'milestones': [1000]},
              'total_iter': 2, 'forget_opt': {'type': 'GradientAscentLoss'}},
    'val': {'val_freq': 1000, 'save_img': False, 'metrics': METRICS},
    'logger': {'print_freq': 1, 'save_checkpoint_freq': 1000, 'use_tb_logger': False}}
TEST = {**{key: TRAIN[key] for key in ('name', 'model_type', 'scale', 'num_gpu', 'network_g')},
        'datasets': {'test_haze': degraded('haze', name='haze')}, 'val': {'save_img': False, 'metrics': METRICS},
        'path': {'pretrain_network_g': 'original.pth'}}
LIMITS = {'forget_gap': 0.2}
AUDIT = {'name': 'own', 'scale': 1, 'num_gpu': 0, 'network_g': TRAIN['network_g'],
         'networks': {'original': 'original.pth', 'unlearned': 'retrained.pth', 'retrained': 'retrained.pth'},
         'datasets': {'haze': degraded('haze', role='forget')}, 'metrics': METRICS,
         'verdict': {'require': 'outputs', 'over_forgotten': {'below': 1, 'collapsed': 3},
                     'levels': {level: LIMITS for level in ('outputs', 'members', 'weights')}}}
BENCHMARK = {'name': 'own', 'base': 'train.yml', 'methods': ['calibrated'], 'seeds': [0], 'total_iter': 1,
             'targets': {'haze': {'forget': [degraded('haze')], 'attack_data': {'forget': [degraded('haze')]},
                                  'retain_degradations': [{'degradations': [{'type': 'jpeg'}]}],
                                  'retrained': ['retrained.pth']}},
             'test': {'haze': degraded('haze'), 'noise': degraded('gaussian_noise')},
             'attacks': {'pairs': [2], 'steps': [1], 'patch': 16}, 'retraining': {'steps': 4, 'batch': 2}}


@pytest.fixture
def folder(in_tmp_path, photos) -> Path:
    """Photographs, networks, a package and an option file for each command, whose plugin is that package alone."""
    photos(in_tmp_path / 'photos', [f'p{i}' for i in range(3)], size=(20, 20))
    for seed, name in enumerate(('original', 'retrained')):
        torch.manual_seed(seed)
        net = NAFNet(**NETWORK)
        torch.nn.init.constant_(net.ending.bias, -0.25 if name == 'original' else 0.0)
        torch.save({'params': net.state_dict()}, f'{name}.pth')
    Path('my_package.py').write_text(PACKAGE)
    for name, options in (('train', TRAIN), ('test', TEST), ('audit', AUDIT), ('benchmark', BENCHMARK)):
        Path(f'{name}.yml').write_text(TAG + yaml.safe_dump(options, sort_keys=False))
    return in_tmp_path


def command(*arguments: str) -> subprocess.CompletedProcess:
    """A process of its own, so that nothing but the option file can have imported the package."""
    environment = {**os.environ, 'PYTHONPATH': os.pathsep.join((str(ROOT), os.getcwd())), 'OMP_NUM_THREADS': '1'}
    return subprocess.run([sys.executable, '-m', *arguments], capture_output=True, encoding='utf-8', env=environment,
                          check=False)


@pytest.mark.parametrize('arguments, words', [
    (('test', '-opt', 'test.yml'), 'haze'),
    (('audit', '-opt', 'audit.yml', '--quick'), 'own_quick'),
    (('benchmark', '-opt', 'benchmark.yml', '--quick'), 'calibrated')], ids=lambda value: value[0])
def test_every_command_has_its_network(folder, arguments, words):
    run = command('basicsr_unlearn', *arguments)
    assert run.returncode in (0, 1) and words in run.stdout, run.stdout + run.stderr  # 1: an audit that is not passed
    assert 'Importing the package my_package' in run.stderr
    for cell in Path('results/benchmark').glob('*/options/*.yml'):
        assert TAG.strip() in cell.read_text()


def test_show_keeps_a_list_of_tags_and_its_file_trains(folder):
    Path('train.yml').write_text(BOTH + Path('train.yml').read_text().split('\n', 1)[1])
    shown = command('basicsr_unlearn', 'show', '-opt', 'train.yml')
    assert BOTH in shown.stdout, shown.stderr
    Path('shown.yml').write_text(shown.stdout)
    run = command('basicsr_unlearn.train', '-opt', 'shown.yml')
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize('tag', ['basicsr_unlearn.plugin.__version__', 'basicsr_unlearn.__version__'])
def test_basicsr_itself_registers_all_by_the_tag_of_this_or_the_former_version(tag):
    code = ('import sys, types\nfrom torchvision.transforms import functional as f\n'
             'm = types.ModuleType("m"); m.rgb_to_grayscale = f.rgb_to_grayscale\n'
             'sys.modules.setdefault("torchvision.transforms.functional_tensor", m)\n'
             'import yaml\nfrom basicsr.utils.options import ordered_yaml\n'
             'from basicsr.utils.registry import MODEL_REGISTRY\nassert "UnlearnModel" not in MODEL_REGISTRY\n'
             f'yaml.load("plugin: !!python/name:{tag} \'\'", Loader=ordered_yaml()[0])\n'
             'assert "UnlearnModel" in MODEL_REGISTRY')
    run = subprocess.run([sys.executable, '-c', code], capture_output=True, encoding='utf-8', cwd=ROOT, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize('plugin', ["[!!python/name:a.b '', c.d]", '[]', '{}', '{a: 1}', "[[!!python/name:a.b '']]",
                                    '~', '3', "[!!python/name:a.b '', 3]", '[[c.d]]'])
def test_a_plugin_that_names_no_package_is_refused(plugin):
    with pytest.raises(OptionError, match='Line 1 of it has'):
        load_yaml(f'plugin: {plugin}', 'it', plugin=True)


def test_a_list_of_tags_is_read_and_written():
    options = load_yaml(BOTH, 'it', plugin=True)
    assert options == {'plugin': ['my_package.__version__', 'basicsr_unlearn.plugin.__version__']}
    assert option_text(options) == BOTH
