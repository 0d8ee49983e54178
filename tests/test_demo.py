import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from basicsr_unlearn import demo
from basicsr_unlearn.archs.nafnet_arch import NAFNet
from basicsr_unlearn.options import load_option_file

NETWORK = {'width': 4, 'enc_blk_nums': [1], 'middle_blk_num': 1, 'dec_blk_nums': [1]}
OPTIONS = """
plugin: !!python/name:basicsr_unlearn.__version__ ''
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
    forget: [{name: haze, type: DegradedImageDataset, dataroot_gt: photos, degradations: [{type: haze}]}]
    retain_from: forget_gt
    retain_degradations: [{degradations: [{type: gaussian_noise, sigma: 25}]}]
  val_haze: {name: haze, role: forget, type: DegradedImageDataset, dataroot_gt: photos, degradations: [{type: haze}]}
  val_noise: {name: noise, type: DegradedImageDataset, dataroot_gt: photos, degradations: [{type: gaussian_noise}]}
network_g: {type: NAFNet, width: 4, enc_blk_nums: [1], middle_blk_num: 1, dec_blk_nums: [1]}
path: {pretrain_network_g: original.pth, pretrain_network_retrained: retrained.pth, resume_state: ~}
train:
  optim_g: {type: Adam, lr: !!float 1e-3}
  scheduler: {type: MultiStepLR, milestones: [1000], gamma: 0.5}
  total_iter: 4
  skill_opt: {required: false}
  warmup_iter: -1
  forget_opt: {type: GradientAscentLoss, criterion: l1}
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
def job(in_tmp_path, photos) -> Path:
    """A folder with photographs, an original, a retrained network and tiny.yml."""
    photos(in_tmp_path / 'photos', ['a', 'b'], size=(32, 32))
    for seed, name in enumerate(('original', 'retrained')):
        torch.manual_seed(seed)
        torch.save({'params': NAFNet(**NETWORK).state_dict()}, f'{name}.pth')
    Path('tiny.yml').write_text(OPTIONS, encoding='utf-8')
    return in_tmp_path


REFERENCES = {'identity': 'identity baseline', 'original': 'original original', 'retrained': 'retrained retrained'}


def scalars(run: str, tag: str) -> list[float]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    return [event.value for event in EventAccumulator(f'tb_logger/{run}').Reload().Scalars(tag)]


def test_the_demo_runs_the_option_file_and_measures_what_came_of_it(job, capsys):
    assert demo.main(['-opt', 'tiny.yml', '--out', 'out/here']) == 0
    summary = json.loads(Path('out/here/summary.json').read_text(encoding='utf-8'))
    assert {name: entry['role'] for name, entry in summary['datasets'].items()} == {'haze': 'forget', 'noise': 'retain'}
    assert summary['iterations'] == 4
    assert summary['method'] == 'GradientAscentLoss + L1Loss'
    assert summary['seconds'] >= summary['seconds_training'] > 0
    for name, entry in summary['datasets'].items():
        assert list(entry['psnr']) == list(entry['ssim']) == ['identity', 'original', 'unlearned', 'retrained']
        tag = f'{entry["role"]}/{name}/db'
        for column in ('identity', 'original', 'retrained'):  # the run's own validation measured the same
            assert entry['psnr'][column] == pytest.approx(
                scalars(f'references/{REFERENCES[column]}', tag)[-1], abs=1e-3)
        assert entry['psnr']['unlearned'] == pytest.approx(scalars('demo_tiny', tag)[-1], abs=1e-3)
        assert entry['psnr']['unlearned'] != entry['psnr']['original']
    report = Path('out/here/report.html').read_text(encoding='utf-8')
    assert report.count('<polyline') == 2 and report.count('<figure class="strip"') == 2
    shown = capsys.readouterr().out
    assert summary['headline'] in shown and f'{summary["datasets"]["haze"]["psnr"]["unlearned"]:.2f}' in shown
    assert 'step 4 of 4' in shown
    assert not Path('experiments/tiny').exists()  # a person's own experiment of that name stays as it is


@pytest.mark.parametrize('before, after, words', [
    ('original.pth', 'missing.pth', 'missing.pth does not exist'),
    ('pretrain_network_retrained: retrained.pth', 'pretrain_network_retrained: tiny.yml', 'tiny.yml is no PyTorch'),
    ('db: {type: calculate_psnr, crop_border: 0}', 'mae: {type: calculate_ssim, crop_border: 0}', 'no calculate_psnr'),
    ('total_iter: 4', 'total_itr: 4', 'total_iter'),
])
def test_bad_input_is_one_sentence_and_writes_nothing(job, capsys, before, after, words):
    Path('tiny.yml').write_text(OPTIONS.replace(before, after), encoding='utf-8')
    there = sorted(job.rglob('*'))
    assert demo.main(['-opt', 'tiny.yml']) == 2
    error = capsys.readouterr().err
    assert words in error and error.count('\n') == 1
    assert sorted(job.rglob('*')) == there


def test_bad_data_found_by_the_training_is_reported_as_its_own(job, capfd):
    Path('tiny.yml').write_text(OPTIONS.replace('dataroot_gt: photos', 'dataroot_gt: nowhere', 1), encoding='utf-8')
    assert demo.main(['-opt', 'tiny.yml']) == 2
    error = capfd.readouterr().err
    assert 'nowhere' in error and error.count('\n') == 1
    assert not Path('experiments').exists() and not Path('results').exists()


def test_out_must_not_be_a_file(job, capsys):
    assert demo.main(['-opt', 'tiny.yml', '--out', 'tiny.yml']) == 2
    assert '--out tiny.yml is a file' in capsys.readouterr().err


def test_progress_shows_steps_and_warnings_and_nothing_else():
    shown = []
    progress = demo.Progress(200, shown.append, moving=False)
    for line in ('  total_iter: 200', 'Disable distributed.',
                 '2026-11-20 11:37:58,123 INFO: [demo_..][epoch:  0, iter:      10, lr:(1.000e-04,)] [eta: 0:01:02, '
                 'time (data): 0.31 (0.01)] l_forget: -8.1e-02 psnr_forget: 1.4500e+01 psnr_forget_input: 1.1e+01 '
                 'psnr_retain: 2.8040e+01 psnr_retain_original: 2.8e+01 ',
                 '2026-11-20 11:37:59,123 WARNING: Multiple validation datasets are *only* supported by SRModel.',
                 '2026-11-20 11:37:59,120 WARNING: haze is over-forgotten: 1.20 dB below the retrained network.',
                 '2026-11-20 11:37:59,123 WARNING: haze is over-forgotten: 1.20 dB below the retrained network.',
                 '2026-11-20 11:38:00,000 INFO: Stop rule met at iteration 17: forget PSNR +0.00 dB.'):
        progress(line)
    step, warning, stop = shown
    assert step.startswith('  step  10 of 200 ') and step.endswith('forget 14.50 dB   retain 28.04 dB\n')
    assert warning == '  haze is over-forgotten: 1.20 dB below the retrained network.\n'
    assert stop == '  Stop rule met at iteration 17: forget PSNR +0.00 dB.\n'


def test_a_moving_line_is_closed_before_anything_else_is_shown():
    shown = []
    progress = demo.Progress(20, shown.append, moving=True)
    for step in (1, 2):
        progress(f'INFO: [demo_..][epoch:  0, iter:       {step}, lr:(1,)] ')
    progress(' WARNING: watch out')
    progress.end()
    text = ''.join(shown)
    assert text.count('\r') == 2 and text.endswith('\n  watch out\n') and text.count('\n') == 2


def test_curves_end_with_the_last_step(in_tmp_path):
    with SummaryWriter('logs') as writer:
        for step, value in ((0, 21.0), (25, 15.0), (31, 12.0)):  # stopped at 30, validated at 31
            writer.add_scalar('forget/haze/db', value, step)
            writer.add_scalar('forget/haze/db_original', 21.0, step)
    opt = {'datasets': {'train': {'name': 'haze'}, 'val_haze': {'name': 'haze', 'role': 'forget'},
                        'val_rain': {'name': 'rain'}},
           'val': {'metrics': {'db': {'type': 'calculate_psnr'}}}}
    assert demo.read_curves(Path('logs'), opt, 30) == {'haze': [(0, 21.0), (25, 15.0), (30, 12.0)]}
    assert demo.read_curves(Path('no_logs'), opt, 30) == {}


def test_the_table_is_aligned():
    datasets = {'haze': {'role': 'forget', 'psnr': {'identity': 9.5, 'original': 21.0, 'unlearned': 11.25},
                         'ssim': {'identity': .5, 'original': .9, 'unlearned': .6}},
                'a long name': {'role': 'retain', 'psnr': {'identity': 20.0, 'original': 28.0, 'unlearned': 27.5},
                                'ssim': {'identity': .5, 'original': .9, 'unlearned': .6}}}
    lines = demo.table(datasets).splitlines()
    ends = [line.index(word) + len(word) for line, word in zip(lines[:3], ('unlearned', '11.25', '27.50'))]
    assert ends == [ends[0]] * 3
    assert lines[1].endswith('+1.75 dB from identity') and lines[2].endswith('-0.50 dB from original')
    assert 'retrained' not in lines[0] and lines[4].startswith('SSIM')


def test_blocks_are_described_on_one_line():
    block = {'type': 'L1Loss', 'attack': {'type': 'pgd', 'steps': 2}, 'bound': None}
    assert demo.describe(block) == 'L1Loss, attack (pgd, steps 2), bound ~'


def test_shipped_sample_scores_are_finite(in_tmp_path):
    """The demo's own data: every validation set of the shipped option file gives pairs that can be scored."""
    opt = load_option_file(demo.DEFAULT_OPTION_FILE)
    for name, dataset in demo.validation_sets(opt).items():
        error = np.mean((dataset[0]['lq'].numpy() - dataset[0]['gt'].numpy())**2)
        assert 8 < -10 * math.log10(error) < 35, name
