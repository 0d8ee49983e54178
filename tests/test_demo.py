"""The demo: an option file through the real pipeline, learned again, told and drawn."""
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from basicsr_unlearn.archs.nafnet_arch import NAFNet
from basicsr_unlearn.cli import demo
from basicsr_unlearn.options.option_file import load_option_file
from basicsr_unlearn.options.validation_sets import validation_sets
from basicsr_unlearn.version import __version__

NETWORK = {'width': 4, 'enc_blk_nums': [1], 'middle_blk_num': 1, 'dec_blk_nums': [1]}
SHIFT = 0.2  # the degradation: so much darker
OPTIONS = """
plugin: !!python/name:basicsr_unlearn.plugin.__version__ ''
name: tiny
model_type: UnlearnModel
scale: 1
num_gpu: 0
manual_seed: 0
datasets:
  train:
    name: train
    type: ForgetRetainDataset
    gt_size: 16
    batch_size_per_gpu: 1
    num_worker_per_gpu: 0
    forget: [{name: haze, type: PairedRestorationDataset, dataroot_lq: lq, dataroot_gt: gt}]
    retain_from: forget_gt
    retain_degradations: [{degradations: [{type: gaussian_noise, sigma: 25}]}]
  val_haze: {name: haze, role: forget, type: PairedRestorationDataset, dataroot_lq: lq, dataroot_gt: gt}
  val_noise: {name: noise, type: DegradedImageDataset, dataroot_gt: gt, degradations: [{type: gaussian_noise}]}
network_g: {type: NAFNet, width: 4, enc_blk_nums: [1], middle_blk_num: 1, dec_blk_nums: [1]}
path: {pretrain_network_g: original.pth, pretrain_network_retrained: retrained.pth, resume_state: ~}
train:
  optim_g: {type: Adam, lr: !!float 1e-3}
  scheduler: {type: MultiStepLR, milestones: [1000], gamma: 0.5}
  total_iter: 4
  warmup_iter: -1
  forget_opt: {type: TargetLoss, target: degraded}
  retain_opt: {type: L1Loss, target: teacher}
val:
  val_freq: 2
  save_img: false
  strips: 1
  metrics:
    db: {type: calculate_psnr, crop_border: 0}
    ssim: {type: calculate_ssim, crop_border: 0}
logger: {print_freq: 1, save_checkpoint_freq: 100, use_tb_logger: true, wandb: {project: ~, resume_id: ~}}
dist_params: {backend: gloo, port: 29500}
"""


@pytest.fixture
def job(in_tmp_path, pixels) -> Path:
    """A folder with pairs, an original that adds SHIFT, a retrained network that adds nothing, and tiny.yml."""
    rng = np.random.default_rng(0)
    for name in 'ab':
        gt = rng.integers(60, 240, (8, 8, 3)).repeat(4, 0).repeat(4, 1)
        for folder, image in (('gt', gt), ('lq', gt - round(255 * SHIFT))):
            pixels(in_tmp_path / folder / f'{name}.png', image.astype(np.uint8))
    for name, added in (('original', SHIFT), ('retrained', 0.0)):
        torch.manual_seed(0)
        net = NAFNet(**NETWORK)
        with torch.no_grad():
            net.ending.weight.mul_(0.1)
            net.ending.bias.fill_(added)
        torch.save({'params': net.state_dict()}, f'{name}.pth')
    Path('tiny.yml').write_text(OPTIONS, encoding='utf-8')
    return in_tmp_path


def test_the_demo_runs_the_option_file_and_measures_what_came_of_it(job, capsys):
    assert demo.main(['-opt', 'tiny.yml', '--out', 'out/here', '--picture', 'out/demo.png']) == 0
    assert Path('out/demo.png').stat().st_size > 10_000
    summary = json.loads(Path('out/here/summary.json').read_text(encoding='utf-8'))
    assert {name: entry['role'] for name, entry in summary['datasets'].items()} == {'haze': 'forget', 'noise': 'retain'}
    assert summary['versions']['basicsr_unlearn'] == __version__
    assert summary['steps'] == 4 and summary['method'] == 'TargetLoss + L1Loss' and summary['beside'] == []
    psnr = summary['datasets']['haze']['scores']['db']
    assert psnr['identity'] == pytest.approx(-20 * math.log10(51 / 255), abs=0.01)
    assert psnr['original'] > 30 > psnr['identity'] + 1 and psnr['unlearned'] != psnr['original']
    assert [step for step, _ in summary['curves']['haze']] == [0, 2, 4]
    own = json.loads(Path('experiments/demo_tiny/run.json').read_text(encoding='utf-8'))
    assert own['datasets'] == summary['datasets']  # the demo adds to the run's record and changes nothing
    curves = summary['relearning']['curves']['haze']
    assert list(curves) == ['unlearned', 'retrained'] and list(curves['retrained']) == ['0', '5', '10', '25']
    assert curves['unlearned']['0'] == pytest.approx(psnr['unlearned'], abs=1e-3)
    assert curves['retrained']['0'] == pytest.approx(psnr['retrained'], abs=1e-3)
    lead = curves['unlearned']['25'] - curves['retrained']['25']
    assert any('sleeps' in words for words in summary['headline']) == ('Its outputs' in summary['headline'][0]
                                                                       and lead > 0.5)
    report = Path('out/here/report.html').read_text(encoding='utf-8')
    assert report.count('<figure class="strip"') == 2 and 'learned again' in report
    shown = capsys.readouterr().out
    assert 'one attacker at one rate' in report and 'one attacker at one rate' in ' '.join(shown.split())
    assert 'basicsr-unlearn audit' in shown and 'basicsr-unlearn audit' in report  # where all of them are
    assert summary['headline'][0] in ' '.join(shown.split()) and f'{psnr["unlearned"]:.2f}' in shown
    assert not Path('experiments/tiny').exists()  # a person's own experiment of that name stays as it is


def test_by_default_the_published_way_stands_beside_the_recommended_one(job, monkeypatch, capsys):
    Path('other.yml').write_text(OPTIONS.replace('name: tiny', 'name: other').replace('total_iter: 4', 'total_iter: 2'),
                                 encoding='utf-8')
    monkeypatch.setattr(demo, 'DEFAULT_OPTION_FILE', 'tiny.yml')
    monkeypatch.setattr(demo, 'PUBLISHED', 'other.yml')
    assert demo.main([]) == 0
    summary = json.loads(Path('results/demo/summary.json').read_text(encoding='utf-8'))
    assert summary['steps'] == 4 and [beside['steps'] for beside in summary['beside']] == [2]
    assert 'Beside it' in capsys.readouterr().out and 'Beside it' in Path('results/demo/report.html').read_text()


@pytest.mark.parametrize('before, after, words', [
    ('original.pth', 'missing.pth', 'missing.pth does not exist'),
    ('pretrain_network_retrained: retrained.pth', 'pretrain_network_retrained: tiny.yml', 'tiny.yml is no PyTorch'),
    ('total_iter: 4', 'total_itr: 4', 'total_iter'),
    ('dataroot_lq: lq', 'dataroot_lq: nowhere', 'nowhere'),
])
def test_bad_input_is_one_sentence_and_writes_nothing(job, capsys, before, after, words):
    Path('tiny.yml').write_text(OPTIONS.replace(before, after, 1), encoding='utf-8')
    there = sorted(job.rglob('*'))
    assert demo.main(['-opt', 'tiny.yml']) == 2
    error = capsys.readouterr().err
    assert words in error and error.count('\n') == 1
    assert sorted(job.rglob('*')) == there


def test_a_picture_is_of_a_known_kind_before_anything_runs(job, capsys):
    there = sorted(job.rglob('*'))
    assert demo.main(['-opt', 'tiny.yml', '--picture', 'demo.gif']) == 2
    assert 'demo.gif' in capsys.readouterr().err and sorted(job.rglob('*')) == there


def test_out_must_not_be_a_file(job, capsys):
    assert demo.main(['-opt', 'tiny.yml', '--out', 'tiny.yml']) == 2
    assert '--out tiny.yml is a file' in capsys.readouterr().err


def test_shipped_sample_scores_are_finite(in_tmp_path):
    """The demo's own data: every validation set of the shipped option file gives pairs that can be scored."""
    opt = load_option_file(demo.DEFAULT_OPTION_FILE)
    for name, dataset in validation_sets(opt).items():
        error = np.mean((dataset[0]['lq'].numpy() - dataset[0]['gt'].numpy())**2)
        assert 8 < -10 * math.log10(error) < 35, name
