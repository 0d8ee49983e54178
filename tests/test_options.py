"""The option file: what is wrong is found before anything runs, with one sentence that names the option."""
import re
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from basicsr.utils.options import ordered_yaml
from basicsr.utils.registry import DATASET_REGISTRY, LOSS_REGISTRY

from basicsr_unlearn.cli import check, show
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.options.option_file import check_options, find_option_file, load_option_file

OPTION_FILES = [path for path in sorted((Path(__file__).resolve().parent.parent / 'options').glob('*.yml'))
                if 'model_type:' in path.read_text()]  # of train and test; others are of the benchmark

UNLEARN = """
plugin: !!python/name:basicsr_unlearn.plugin.__version__ ''
name: unlearn
model_type: UnlearnModel
scale: 1
num_gpu: auto
manual_seed: 0
datasets:
  train:
    name: train
    type: ForgetRetainDataset
    gt_size: 32
    batch_size_per_gpu: 2
    num_worker_per_gpu: 0
    forget:
      - {name: haze, type: PairedRestorationDataset, dataroot_lq: a, dataroot_gt: b, ratio: 0.5}
    retain_from: forget_gt
    retain_degradations:
      - {ratio: 1, degradations: [{type: gaussian_noise, sigma: 25}]}
  val_haze: {name: haze, role: forget, type: PairedRestorationDataset, dataroot_lq: a, dataroot_gt: b}
  val_rain: {name: rain, type: PairedImageDataset, dataroot_lq: a, dataroot_gt: b, io_backend: {type: disk}}
network_g: {type: NAFNet, width: 4, enc_blk_nums: [1], middle_blk_num: 1, dec_blk_nums: [1]}
path: {pretrain_network_g: x.pth, strict_load_g: true, resume_state: ~}
train:
  optim_g: {type: AdamW, lr: !!float 1e-4, betas: [0.9, 0.9]}
  scheduler: {type: CosineAnnealingRestartLR, periods: [10], restart_weights: [1], eta_min: !!float 1e-6}
  total_iter: 10
  forget_opt: {type: GradientAscentLoss, bound: identity}
  retain_opt: {type: L1Loss, target: teacher, loss_weight: 1}
  adversarial_opt: {type: AdversarialRetainLoss, attack: {type: pgd, steps: 2}}
  stop_opt: {forget_psnr: 12.5, retain_budget: ~, check: val, window: 1}
val:
  val_freq: 5
  save_img: false
  metrics: {psnr: {type: calculate_psnr, crop_border: 0, better: higher}}
logger: {print_freq: 1, save_checkpoint_freq: 5, use_tb_logger: true, wandb: {project: ~, resume_id: ~}}
"""


def read(text: str) -> dict:
    return yaml.load(text, Loader=ordered_yaml()[0])  # noqa: S506


@pytest.fixture
def opt() -> dict:
    return read(UNLEARN)


def change(opt: dict, dotted: str, value: object) -> dict:
    """`opt` with the option at `dotted` set to `value`, or taken away where that is Ellipsis."""
    *parents, last = [int(part) if part.isdigit() else part for part in dotted.split('.')]
    block = opt
    for part in parents:
        block = block[part]
    if value is ...:
        del block[last]
    else:
        block[last] = value
    return opt


@pytest.mark.parametrize('path', OPTION_FILES, ids=lambda path: path.name)
def test_shipped_files_pass(path):
    opt = load_option_file(str(path))
    check_options(opt, 'train' in opt)


def test_the_example_passes_and_is_left_alone(opt):
    before = deepcopy(opt)
    check_options(opt, is_train=True)
    assert opt == before


@pytest.mark.parametrize('dotted, value', [
    ('train.optim_g.lr', 1), ('train.grad_clip', None), ('train.amp', 'bf16'), ('val', None), ('num_gpu', 0),
    ('train.stop_opt', None), ('train.stop_opt.forget_psnr', 'identity'), ('datasets.train.prefetch_mode', 'cpu'),
    ('datasets.train.gt_size', None), ('train.scheduler', {'type': 'MultiStepLR', 'milestones': [5], 'gamma': 0.5}),
    ('dist', False), ('path.models', '/somewhere'), ('datasets.train.phase', 'train'),
    ('network_g', {'type': 'SRVGGNetCompact', 'upscale': 1}),
])
def test_valid_values_pass(opt, dotted, value):
    change(opt, dotted, value)
    if dotted == 'val':
        opt['train']['stop_opt'] = None
    check_options(opt, is_train=True)


@pytest.mark.parametrize('dotted, value, sentence', [
    # unknown, with the nearest valid name
    ('manual_sed', 0, r'manual_sed is no option: did you mean manual_seed\?'),
    ('train.total_iters', 5, r'train.total_iters is no option: did you mean train.total_iter\?'),
    ('train.method', 'x', "train.method is 'x', which is not there"),
    ('train.stop_opt.windw', 1, r'train.stop_opt.windw is no option: did you mean train.stop_opt.window\?'),
    ('train.optim_g.beta', [0.9, 0.9], r'train.optim_g.beta is no option: did you mean train.optim_g.betas\?'),
    ('train.scheduler.eta', 0, r'train.scheduler.eta is no option: did you mean train.scheduler.eta_min\?'),
    ('train.forget_opt.loss_wieght', 1, r'did you mean train.forget_opt.loss_weight\?'),
    ('train.retain_opt.taget', 'gt', r'did you mean train.retain_opt.target\?'),
    ('train.adversarial_opt.attack.step', 1, r'did you mean train.adversarial_opt.attack.steps\?'),
    ('val.metrics.psnr.crop_boarder', 1, r'did you mean val.metrics.psnr.crop_border\?'),
    ('network_g.widht', 4, r'network_g.widht is no option: did you mean network_g.width\?'),
    ('datasets.train.gt_siz', 4, r'did you mean datasets.train.gt_size\?'),
    ('datasets.train.forget.0.pairng', 'prefix',
     r'datasets.train.forget\[0\].pairng is no option: did you mean datasets.train.forget\[0\].pairing\?'),
    ('datasets.train.retain_degradations.0.ratios', 1, r'retain_degradations\[0\].ratios is no option'),
    ('datasets.val_rain.use_flip', True, r'did you mean datasets.val_rain.use_hflip\?'),
    ('datasets.forget', {}, 'datasets.forget is no option: data sets are called train, val or val_<name>'),
    # unregistered, with the nearest registered name
    ('model_type', 'UnlearningModel', r"model_type is 'UnlearningModel', .*: did you mean UnlearnModel\?"),
    ('network_g.type', 'NafNet', r'did you mean NAFNet\?'),
    ('network_g.type', 'SRVGGNetCompct', r'did you mean SRVGGNetCompact\?'),
    ('train.forget_opt.type', 'GradientAscent', r'did you mean GradientAscentLoss\?'),
    ('train.optim_g.type', 'Adamw', r'did you mean AdamW\?'),
    ('datasets.train.type', 'ForgetRetain', r'did you mean ForgetRetainDataset\?'),
    ('val.metrics.psnr.type', 'psnr', 'val.metrics.psnr.type'),
    # missing
    ('name', ..., 'The option name is missing: it must be a name'),
    ('train', ..., 'The option train is missing'),
    ('train.optim_g', ..., 'The option train.optim_g is missing'),
    ('train.optim_g.type', ..., 'train.optim_g.type is missing: it must be one of Adam, AdamW, SGD'),
    ('logger.use_tb_logger', ..., 'The option logger.use_tb_logger is missing: it must be true or false'),
    ('val.metrics.psnr.crop_border', ..., 'val.metrics.psnr.crop_border is missing: calculate_psnr needs it'),
    ('train.scheduler.periods', ..., 'train.scheduler.periods is missing: CosineAnnealingRestartLR needs it'),
    ('datasets.val_haze.name', ..., 'datasets.val_haze.name is missing'),
    ('datasets.train.batch_size_per_gpu', ..., 'datasets.train.batch_size_per_gpu is missing'),
    ('datasets.train.retain_degradations.0.degradations', ..., 'degradations is missing: it must be a list'),
    # of another type; numbers as text
    ('train.optim_g.lr', '1e-4', "train.optim_g.lr is the text '1e-4', not a number .*: write !!float 1e-4"),
    ('train.scheduler.eta_min', '1e-6', 'train.scheduler.eta_min is the text .*write !!float 1e-6'),
    ('train.optim_g.betas', [0.9, '0.9'], r"betas\[1\] is the text '0.9', not a number: write !!float 0.9"),
    ('train.forget_opt.margin', '1e-2', "train.forget_opt.margin is the text '1e-2'"),
    ('train.total_iter', '10', "train.total_iter is the text '10', not a whole number from 1: write 10"),
    ('train.total_iter', 10.5, 'train.total_iter is 10.5, not a whole number from 1'),
    ('train.total_iter', True, 'train.total_iter is true, not a whole number'),
    ('train.retain_opt', 'L1Loss', "train.retain_opt is 'L1Loss', not a block of options"),
    ('datasets.train.use_rot', 1, 'datasets.train.use_rot is 1, not true or false'),
    ('datasets.train.forget', {'type': 'x'}, 'datasets.train.forget is a block of options, not a list'),
    ('datasets.val_haze.dataroot_lq', 3, 'datasets.val_haze.dataroot_lq is 3, not a string'),
    ('path', None, 'The option path is missing'),
    ('num_gpu', 'all', "num_gpu is 'all', not auto or a whole number from 0"),
    # out of range
    ('train.optim_g.lr', -1.0, 'train.optim_g.lr is -1.0, not a number from 0 or auto'),
    ('train.total_iter', 0, 'train.total_iter is 0, not a whole number from 1'),
    ('train.ema_decay', 1, 'train.ema_decay is 1, not a number from 0 below 1'),
    ('train.retain_opt.target', 'techer', "train.retain_opt.target is 'techer', not gt or teacher"),
    ('train.stop_opt.check', 'test', "train.stop_opt.check is 'test', not train or val"),
    ('train.forget_opt.bound', 'idnetity', r"bound is 'idnetity', not none, adaptive.*: did you mean identity\?"),
    ('train.forget_opt.loss_weight', -1, 'train.forget_opt.loss_weight is -1, not a number from 0'),
    ('train.scheduler.restart_weights', [1, 1], 'train.scheduler does not work: periods and restart_weights'),
    ('datasets.train.forget.0.ratio', -1, r'datasets.train.forget\[0\].ratio is -1, not a number from 0'),
    ('datasets.val_haze.role', 'forgot', "datasets.val_haze.role is 'forgot', not forget or retain"),
    ('name', '../x', 'name is .*, not a name for files'),
    ('datasets.val_haze.name', 'a/b', 'datasets.val_haze.name is .*not a name for files'),
    ('scale', 10**30, 'scale is 1e.30, which is none of the numbers'),
    ('train.stop_opt.window', 10**30, 'train.stop_opt.window is 1e.30'),
    ('train.stop_opt.margin', float('nan'), 'train.stop_opt.margin is nan, not a number'),
    ('train.grad_clip', float('inf'), 'train.grad_clip is inf'),
    ('datasets.train.num_worker_per_gpu', 1000, 'not a whole number from 0 to 256'),
    ('datasets.train.batch_size_per_gpu', 10**9, r'datasets.train.batch_size_per_gpu 1000000000 .* GB'),
    ('train.optim_g.betas', [0.9], r'train.optim_g.betas is \[0.9\], not a list of 2 numbers'),
    ('train.optim_g.betas', {'a': 1}, 'train.optim_g.betas is a block of options'),
    ('train.optim_g.betas', 0.9, 'train.optim_g.betas is 0.9'),
    ('train.scheduler.periods', ['a'], r"train.scheduler.periods\[0\] is 'a', not a whole number from 1"),
    # a component of another kind
    ('model_type', ['UnlearnModel'], 'model_type is .*, not a string'),
    ('network_g.type', {'a': 1}, 'network_g.type is a block of options, not the name of a component'),
    ('train.forget_opt.type', ['L1Loss'], r"train.forget_opt.type is \['L1Loss'\], not the name of a component"),
    ('train.optim_g.type', 5, 'train.optim_g.type is 5'),
    ('train.mask_opt', 0.5, 'train.mask_opt is 0.5, not a block of options or a list'),
    ('datasets.train.forget.0.type', [[]], r'datasets.train.forget\[0\].type is'),
    ('val.metrics', 5, 'val.metrics is 5, not a block of options'),
    ('val.metrics', [1], 'val.metrics is .1., not a block of options'),
    ('val.metrics.psnr', None, 'val.metrics.psnr is empty'),
    ('val.metrics.psnr.type', {'a': 1}, 'val.metrics.psnr.type is a block'),
    ('val.metrics', list(range(1000)), r'val.metrics is \[0, 1, 2.*\.\.\., not a block'),
    # at odds with one another
    ('train.scheduler.periods', [9], 'train.scheduler.periods end at iteration 9, before train.total_iter 10'),
    ('train.stop_opt.forget_psnr', 'retrained', 'forget_psnr: retrained needs .*path.pretrain_network_retrained'),
    ('datasets.val_haze.role', 'retain', 'train.stop_opt.check is val but no val_ data set has role: forget'),
    ('datasets.train.retain_from', ..., 'train.retain_opt needs retain samples'),
    ('datasets.val_rain.name', 'haze', "datasets.val_rain.name and datasets.val_haze.name are both 'haze'"),
    ('datasets.val_haze.persistent_workers', True, 'datasets.val_haze.persistent_workers'),
    ('train.forget_opt', {'type': 'TargetLoss', 'target': 'proxy'}, 'is proxy, .*add train.proxy_opt'),
    ('train.retain_opt.reduction', 'none', 'train.retain_opt.reduction is none'),
    ('num_gpu', 64, 'num_gpu is 64 but PyTorch sees'),
])
def test_refused_in_one_sentence(opt, dotted, value, sentence):
    change(opt, dotted, value)
    with pytest.raises(OptionError) as caught:
        check_options(opt, is_train=True)
    assert re.search(sentence, str(caught.value)), str(caught.value)
    assert '\n' not in str(caught.value) and str(caught.value).endswith(('.', '?')) or 'write ' in str(caught.value)


def test_nothing_to_learn(opt):
    for name in ('forget_opt', 'retain_opt', 'adversarial_opt'):
        del opt['train'][name]
    with pytest.raises(OptionError, match='no forget_opt, retain_opt, adversarial_opt or anchor_opt'):
        check_options(opt, is_train=True)


def test_a_misspelt_train_block_is_named(in_tmp_path, capsys):
    Path('a.yml').write_text(re.sub('^train:', 'trian:', UNLEARN, flags=re.MULTILINE), encoding='utf-8')
    for command in (check, show):
        assert command.main(['-opt', 'a.yml']) == 2
        assert 'trian is no option: did you mean train?' in capsys.readouterr().err


def test_list_of_folders_only_inside_a_mix(opt):
    block = {'name': 'x', 'type': 'DegradedImageDataset', 'dataroot_gt': ['a', 'b'], 'degradations': [{'type': 'jpeg'}]}
    opt['datasets']['val_x'] = block
    with pytest.raises(OptionError, match='datasets.val_x.dataroot_gt is a list'):
        check_options(opt, is_train=True)
    opt['datasets']['val_x'] = {'name': 'x', 'type': 'MixedDataset', 'sets': [block]}
    check_options(opt, is_train=True)


def test_cuda_prefetch_without_gpu(opt):
    opt['num_gpu'] = 0
    opt['datasets']['train'].update(prefetch_mode='cuda', pin_memory=True)
    with pytest.raises(OptionError, match='prefetch_mode is cuda but the run uses no GPU'):
        check_options(opt, is_train=True)


def test_other_models_keep_their_options(opt):
    opt['model_type'] = 'SRGANModel'
    opt['network_d'] = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3}
    opt['path']['pretrain_network_d'] = None
    opt['train'] = {name: opt['train'][name] for name in ('optim_g', 'scheduler', 'total_iter')}
    opt['train'].update(gan_opt={'type': 'GANLoss'}, net_d_iters=1)
    check_options(opt, is_train=True)
    opt['network_d']['num_in_chs'] = 3
    with pytest.raises(OptionError, match=r'did you mean network_d.num_in_ch\?'):
        check_options(opt, is_train=True)


def test_sr_model_train_section(opt):
    opt['model_type'] = 'SRModel'
    opt['train'] = {name: opt['train'][name] for name in ('optim_g', 'scheduler', 'total_iter')}
    opt['train']['pixel_opt'] = {'type': 'L1Loss'}
    opt['train']['optim_g']['type'] = 'Adam'  # the only one that BasicSR offers in every version
    check_options(opt, is_train=True)
    opt['train']['pixle_opt'] = {'type': 'L1Loss'}
    with pytest.raises(OptionError, match=r'did you mean train.pixel_opt\?'):
        check_options(opt, is_train=True)


def test_optimizers_of_sr_model_are_those_of_the_installed_basicsr(opt):
    opt['model_type'] = 'SRModel'
    opt['train'] = {name: opt['train'][name] for name in ('optim_g', 'scheduler', 'total_iter')}
    opt['train']['pixel_opt'] = {'type': 'L1Loss'}
    opt['train']['optim_g']['type'] = 'LBFGS'
    with pytest.raises(OptionError, match="train.optim_g.type is 'LBFGS', which is not there: use one of Adam"):
        check_options(opt, is_train=True)


def test_components_of_others_need_only_be_registered(opt, monkeypatch):
    class TheirDataset:
        pass

    class TheirLoss:
        def __init__(self, strength: float, **kwargs):
            pass

        def forward(self, pred, target):
            pass

    monkeypatch.setitem(DATASET_REGISTRY._obj_map, 'TheirDataset', TheirDataset)
    monkeypatch.setitem(LOSS_REGISTRY._obj_map, 'TheirLoss', TheirLoss)
    opt['datasets']['val_x'] = {'name': 'x', 'type': 'TheirDataset', 'their_option': 'y'}
    opt['train']['retain_opt'] = {'type': 'TheirLoss', 'strength': 1, 'their_option': 2}
    check_options(opt, is_train=True)
    del opt['train']['retain_opt']['strength']
    with pytest.raises(OptionError, match='train.retain_opt.strength is missing: TheirLoss needs it'):
        check_options(opt, is_train=True)


def test_test_files(opt):
    del opt['train'], opt['logger']
    opt['datasets'] = {'test_haze': opt['datasets']['val_haze']}
    check_options(opt, is_train=False)
    opt['val']['save_img'] = True
    with pytest.raises(OptionError, match='The option val.suffix is missing'):
        check_options(opt, is_train=False)
    opt['val']['suffix'] = None
    check_options(opt, is_train=False)
    opt['datasets']['train'] = opt['datasets']['test_haze']
    with pytest.raises(OptionError, match='datasets.train is no option'):
        check_options(opt, is_train=False)


@pytest.mark.parametrize('content, sentence', [
    (None, 'none.yml does not exist: correct the path after -opt'),
    ('name: [1, 2\nmodel_type: x\n', r'Line 2 of the option file .*x.yml cannot be read'),
    ('- a\n- b\n', 'holds no options'),
    ('', 'holds no options'),
    ('a: &a {x: 1}\nb:\n  <<: *a\n', 'Line 3 of the option file .*merge key <<'),
    ('train:\n  lr: 1\n  lr: 2\n', 'Line 3 of the option file .* repeats the key lr'),
    ('plugin: !!python/name:no_such_package.x ""\n', 'option file .*x.yml.*no_such_package'),
])
def test_unreadable_files(tmp_path, content, sentence):
    path = tmp_path / ('none.yml' if content is None else 'x.yml')
    if content is not None:
        path.write_text(content)
    with pytest.raises(OptionError) as caught:
        load_option_file(str(path))
    assert re.search(sentence, str(caught.value)), str(caught.value)
    assert '\n' not in str(caught.value)


def test_folder_or_other_encoding_as_option_file(tmp_path):
    with pytest.raises(OptionError, match='is a folder'):
        load_option_file(str(tmp_path))
    (tmp_path / 'x.yml').write_bytes(b'name: \xff\xfe')
    with pytest.raises(OptionError, match='no text in UTF-8'):
        load_option_file(str(tmp_path / 'x.yml'))


def test_option_files_are_found_here_first_and_then_in_the_installation(in_tmp_path):
    shipped = find_option_file('options/unlearn_haze.yml')
    assert shipped.is_absolute() and load_option_file(str(shipped))['name'] == 'unlearn_haze'
    Path('options').mkdir()
    Path('options/unlearn_haze.yml').write_text('name: mine\n', encoding='utf-8')
    assert not find_option_file('options/unlearn_haze.yml').is_absolute()
    with pytest.raises(OptionError, match='other/unlearn_haze.yml does not exist'):
        find_option_file('other/unlearn_haze.yml')


@pytest.mark.parametrize('file, command', [('audit_haze', 'audit'), ('benchmark_nafnet', 'benchmark')])
def test_a_file_of_another_command_is_sent_there(file, command, capsys):
    path = f'options/{file}.yml'
    assert show.main(['-opt', path]) == 2
    assert f'it is for basicsr-unlearn {command} -opt {path}.' in capsys.readouterr().err


@pytest.mark.parametrize('check', ['train', 'val'])
def test_a_budget_of_what_is_lost_needs_a_term_that_keeps_it(opt, check):
    opt['train']['stop_opt'] |= {'retain_budget': 0.1, 'check': check}
    check_options(opt, is_train=True)
    del opt['train']['retain_opt'], opt['train']['adversarial_opt']
    with pytest.raises(OptionError, match='train.stop_opt.retain_budget needs a retain_opt or adversarial_opt'):
        check_options(opt, is_train=True)


def test_a_stop_rule_on_validations_goes_by_psnr(opt):
    opt['val']['metrics'] = {'ssim': {'type': 'calculate_ssim', 'crop_border': 0}}
    with pytest.raises(OptionError, match='train.stop_opt.check is val, which goes by PSNR'):
        check_options(opt, is_train=True)
