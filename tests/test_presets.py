"""Presets: what keys beside `train.method` do, and the commands that show what comes out."""
import re
from copy import deepcopy
from pathlib import Path

import pytest
import yaml
from basicsr.utils.options import ordered_yaml

from basicsr_unlearn.cli import commands as cli
from basicsr_unlearn.cli.methods import ADVICE
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.methods.presets import FOLDER, PARTS, expand_method, method_names, method_of, read_method
from basicsr_unlearn.options.option_file import check_options, load_option_file
from basicsr_unlearn.options.option_text import option_text
from basicsr_unlearn.options.overrides import read_options

REPOSITORY = Path(__file__).resolve().parent.parent
OPTION_FILES = [path for path in sorted((REPOSITORY / 'options').glob('*.yml'))
                if 'model_type:' in path.read_text()]  # of train and test

FILE = """
plugin: !!python/name:basicsr_unlearn.plugin.__version__ ''
name: unlearn
model_type: UnlearnModel
num_gpu: 0
datasets:
  train:
    name: train
    type: ForgetRetainDataset
    batch_size_per_gpu: 2
    num_worker_per_gpu: 0
    forget: [{name: haze, type: PairedRestorationDataset, dataroot_lq: a, dataroot_gt: b}]
    retain: [{name: rain, type: PairedRestorationDataset, dataroot_lq: c, dataroot_gt: d}]
network_g: {type: NAFNet, width: 4, enc_blk_nums: [1], middle_blk_num: 1, dec_blk_nums: [1]}
path: {pretrain_network_g: x.pth}
train:
  method: salun
  scheduler: {type: CosineAnnealingRestartLR, periods: [10], eta_min: !!float 1e-7}
  total_iter: 10
  mask_opt: {share: 0.3}
logger: {print_freq: 1, save_checkpoint_freq: 5, use_tb_logger: false}
"""


def expanded(**train) -> dict:
    """What `train` with these keys comes to."""
    return expand_method({'name': 'x', 'train': train})['train']


def read(text: str) -> dict:
    return yaml.load(text, Loader=ordered_yaml()[0])  # noqa: S506  the loader of BasicSR


def plain(options):
    """With dicts for ordered ones, so that only keys, values and the types of the values count."""
    if isinstance(options, dict):
        return {key: plain(value) for key, value in options.items()}
    return [plain(value) for value in options] if isinstance(options, list) else (type(options).__name__, options)


@pytest.fixture
def option_file(in_tmp_path):
    Path('unlearn.yml').write_text(FILE)
    return 'unlearn.yml'


# ---------------------------------------------------------------- merging

def test_a_method_stands_for_its_parts():
    assert expanded(method='salun') == read_method('salun')['train']
    assert expanded(method='salun', total_iter=7) == {**read_method('salun')['train'], 'total_iter': 7}


def test_keys_beside_it_win_key_by_key_inside_a_block():
    preset = read_method('salun')['train']
    assert preset['mask_opt'] == {'type': 'SaliencyMask', 'share': 0.5}
    train = expanded(method='salun', mask_opt={'share': 0.1}, retain_opt={'type': 'L1Loss', 'target': 'teacher'})
    assert train['mask_opt'] == {'type': 'SaliencyMask', 'share': 0.1}
    assert train['retain_opt'] == {'type': 'L1Loss', 'target': 'teacher', 'loss_weight': 1.0}
    assert train['forget_opt'] == preset['forget_opt']


def test_a_block_inside_a_block_is_merged_likewise():
    attack = read_method('accurate_forgetting')['train']['adversarial_opt']['attack']
    train = expanded(method='accurate_forgetting', adversarial_opt={'attack': {'steps': 9}})
    assert train['adversarial_opt']['attack'] == {**attack, 'steps': 9}
    assert train['adversarial_opt']['loss_weight'] == 8.0


def test_another_type_replaces_the_whole_block():
    assert expanded(method='salun', mask_opt={'type': 'LayerMask', 'part': 'encoder'})['mask_opt'] == {
        'type': 'LayerMask', 'part': 'encoder'}
    attack = expanded(method='accurate_forgetting', adversarial_opt={'attack': {'type': 'one_step'}})
    assert attack['adversarial_opt']['attack'] == {'type': 'one_step'}
    assert attack['adversarial_opt']['target'] == 'teacher'


def test_a_list_replaces_and_is_never_merged():
    several = [{'type': 'SaliencyMask'}, {'type': 'LayerMask', 'part': 'encoder'}]
    assert expanded(method='salun', mask_opt=several)['mask_opt'] == several
    assert expanded(method='scrub', phases=[{'terms': ['retain']}])['phases'] == [{'terms': ['retain']}]


def test_an_empty_value_takes_a_part_out_and_is_kept_where_there_was_none():
    assert 'mask_opt' not in expanded(method='salun', mask_opt=None)
    assert 'share' not in expanded(method='salun', mask_opt={'share': None})['mask_opt']
    assert expanded(method='salun', grad_clip=None)['grad_clip'] is None


@pytest.mark.parametrize('opt', [{}, {'train': None}, {'train': {'total_iter': 3}}, {'train': {'method': None}},
                                 {'train': 'salun'}])
def test_options_without_a_method_stay_as_they_are(opt):
    before = deepcopy(opt)
    assert expand_method(opt) is opt and opt == before


def test_neither_the_options_nor_the_preset_are_changed():
    beside = {'type': 'LayerMask', 'part': 'encoder'}
    opt = {'train': {'method': 'salun', 'mask_opt': beside, 'forget_opt': {'loss_weight': 3.0}}}
    before = deepcopy(opt)
    first = expand_method(opt)
    first['train']['retain_opt']['loss_weight'] = 99
    first['train']['mask_opt']['part'] = 'decoder'
    assert opt == before and expand_method(opt)['train']['retain_opt']['loss_weight'] == 1.0


def test_expanding_twice_is_expanding_once():
    once = expand_method({'train': {'method': 'salun', 'total_iter': 3}})
    assert expand_method(once) == once


@pytest.mark.parametrize('name, end', [('salum', 'did you mean salun?'), ('SalUn', 'did you mean salun?'),
                                       ('zzz', f'use one of {", ".join(method_names())}.'), (3, '.'), ([], '.')])
def test_an_unknown_method_is_refused_with_the_nearest(name, end):
    with pytest.raises(OptionError) as error:
        expand_method({'train': {'method': name}})
    assert str(error.value).startswith(f"train.method is '{name}', which is not there: ")
    assert str(error.value).endswith(end)


# ---------------------------------------------------------------- show

def test_show_prints_a_file_that_loads_again_and_is_complete(option_file, capsys):
    assert cli.main(['show', '-opt', option_file]) == 0
    schema, note, text = capsys.readouterr().out.split('\n', 2)
    assert schema.startswith('# yaml-language-server: $schema=') and Path(schema.partition('=')[2]).is_file()
    assert note == f'# Not of the method but beside it in {option_file}: mask_opt.'
    Path('shown.yml').write_text(text)
    shown = load_option_file('shown.yml')
    check_options(shown, is_train=True)
    assert 'method' not in shown['train']
    assert plain(shown) == plain(expand_method(load_option_file(option_file)))
    assert shown['train']['mask_opt'] == {'type': 'SaliencyMask', 'share': 0.3}
    assert text.splitlines()[0] == "plugin: !!python/name:basicsr_unlearn.plugin.__version__ ''"
    assert '  scheduler:\n    type: CosineAnnealingRestartLR\n    periods: [10]\n    eta_min: 1.0e-07\n' in text
    assert cli.main(['show', '-opt', 'shown.yml']) == 0
    assert capsys.readouterr().out == f'{schema}\n{text}'


@pytest.mark.parametrize('path', OPTION_FILES, ids=lambda path: path.stem)
def test_show_repeats_every_shipped_file(path, capsys, in_tmp_path):
    assert cli.main(['show', '-opt', str(path)]) == 0
    Path('shown.yml').write_text(capsys.readouterr().out)
    assert plain(load_option_file('shown.yml')) == plain(expand_method(load_option_file(str(path))))


UNLEARNING = [path for path in OPTION_FILES if path.stem.startswith('unlearn_')]


def test_every_part_of_every_method_is_known_as_one():
    assert set().union(*(read_method(name)['train'] for name in method_names())) <= set(PARTS)


@pytest.mark.parametrize('path', UNLEARNING, ids=lambda path: path.stem)
@pytest.mark.parametrize('name', ['calibrated', 'accurate_forgetting', 'deep', 'scrub', 'salun', 'retrain', 'pdu'])
def test_a_method_takes_the_place_of_what_a_file_has(path, name):
    """Schedule, steps, data and validation stay; nothing of another method does."""
    file = expand_method(load_option_file(str(path)))
    assert file['model_type'] == 'UnlearnModel'
    opt = read_options(str(path), [f'train:method={name}', 'train:optim_g:lr=3e-5', 'train:total_iter=9'])
    check_options(opt, is_train=True)
    preset = read_method(name)['train']
    own = {key: value for key, value in opt['train'].items() if key in PARTS}
    assert plain(own) == plain({**preset, 'optim_g': {**preset['optim_g'], 'lr': 3e-5}})
    rest = {key: value for key, value in file['train'].items() if key not in PARTS}
    assert plain({key: value for key, value in opt['train'].items() if key not in PARTS}) == plain(
        {**rest, 'total_iter': 9})
    assert plain({**opt, 'train': None}) == plain({**file, 'train': None})


@pytest.mark.parametrize('name', method_names())
def test_a_method_can_be_chosen_on_the_command_line(option_file, name, capsys):
    entries = ['train:optim_g:lr=3e-5', f'train:method={name}', 'train:total_iter=9']
    assert cli.main(['show', '-opt', option_file, '--force_yml', *entries]) == 0
    train = read(capsys.readouterr().out)['train']
    preset = read_method(name)['train']
    assert train.pop('total_iter') == 9 and train.pop('scheduler')
    assert plain(train) == plain({**preset, 'optim_g': {**preset['optim_g'], 'lr': 3e-5}})


@pytest.mark.parametrize('entries, sentence', [
    (['train:method=salum'], "train.method is 'salum', which is not there: did you mean salun?"),
    (['train:method=published'], "train.method is 'published', which is not there: did you mean accurate_forgetting?"),
    (['train:method=gradient_ascent', 'train:mask_opt:share=2'], "the option file has no 'mask_opt' there"),
    (['train:method=salun', 'train:mask_opt:share=2'], 'train.mask_opt.share is 2, not a number above 0 up to 1'),
    (['train:dual_opt:start=1'], "the option file has no 'dual_opt' there"),
])
def test_what_is_wrong_is_one_sentence(option_file, entries, sentence, capsys):
    assert cli.main(['show', '-opt', option_file, '--force_yml', *entries]) == 2
    out, err = capsys.readouterr()
    assert out == '' and err.startswith('Error: ') and err.count('\n') == 1 and sentence in err


@pytest.mark.parametrize('value', [1e-4, 1e-5, 2.5e-7, 1.0, 0.1, 1e16, 1e300, -3e-9, 0.0, float('inf'), 3, True, None,
                                   '1e-4', '12', 'yes', 'a: b', '~', '', 'ä', [], [1e-5, 2], [[1, 2], [3]], {},
                                   {'a': {'b': [{'c': 1e-8}, {'d': None}]}}])
def test_every_value_is_read_as_it_was_written(value):
    options = {'first': {'key': value}, 'second': value}
    text = option_text(options)
    assert plain(read(text)) == plain(options)
    assert text.endswith('\n')


# ---------------------------------------------------------------- methods

def test_methods_lists_each_preset_within_the_terminal(capsys, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    assert cli.main(['methods']) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    entries = {name: ' '.join(out.split(f'\n{name}  ')[-1].split()) for name in method_names()}
    for name, entry in entries.items():
        preset = read_method(name)
        assert entry.startswith(f'{preset["about"]} [{preset["needs"]}; {preset["cost"]}]')


def test_what_methods_recommends_is_what_the_results_say():
    """The table of haze, rain and noise: | target | method | patches | arithmetic | gap | lost | seeds |."""
    page = (REPOSITORY / 'docs' / 'results.md').read_text(encoding='utf-8')
    rows, target = {}, ''
    for line in page.partition('## Haze, rain and noise')[2].partition('\n## ')[0].splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if len(cells) == 7:
            target = cells[0] or target
            rows[target, cells[1].split(' (')[0]] = cells
    for entry in ADVICE:
        _, _, _, cost, gap, lost, _ = rows[entry.target, entry.row]
        assert (entry.cost, entry.gap) == (float(cost), float(gap.split()[0])), entry
        assert entry.lost == max(float(part.split()[1]) for part in lost.split(', ')), entry


def test_methods_names_files_and_methods_that_are_there(capsys):
    assert cli.main(['methods']) == 0
    for file in set(re.findall(r'options/\w+\.yml', capsys.readouterr().out)):
        assert (REPOSITORY / file).is_file(), file
    assert {entry.take.split(',')[0] for entry in ADVICE} <= set(method_names())


@pytest.mark.parametrize('name', ['salun', 'scrub'])
def test_methods_prints_one_file_as_it_is(name, capsys):
    assert cli.main(['methods', name]) == 0
    assert capsys.readouterr().out == (FOLDER / f'{name}.yml').read_text()


def test_methods_refuses_an_unknown_name_with_the_nearest(capsys):
    assert cli.main(['methods', 'salum']) == 2
    out, err = capsys.readouterr()
    assert out == '' and err == "Error: train.method is 'salum', which is not there: did you mean salun?\n"


# ---------------------------------------------------------------- components

@pytest.mark.parametrize('name, options, words', [
    ('SaliencyMask', {'share': 0.5, 'stream': 'forget'}, 'SalUn, ICLR 2024'),
    ('TargetLoss', {'target': 'degraded', 'noise_std': None, 'loss_weight': 1.0}, "'boundary': the original's output"),
    ('NAFNet', {'width': 16, 'enc_blk_nums': [1, 1, 1, 28]}, 'U-shaped'),
    ('calculate_psnr', {'crop_border': None}, 'PSNR'),
])
def test_show_prints_what_a_component_takes_as_a_block_with_its_documentation(name, options, words, capsys):
    assert cli.main(['show', name]) == 0
    text = capsys.readouterr().out
    block = yaml.safe_load(text.split('\n\n')[0])
    assert block['type'] == name and {key: block[key] for key in options} == options
    assert words in text


@pytest.mark.parametrize('name', method_names())
def test_show_prints_a_method_with_its_file_source_needs_and_cost(name, capsys):
    assert cli.main(['show', name]) == 0
    text = capsys.readouterr().out
    assert f'train:method={name}' in text and str(FOLDER / f'{name}.yml') in text
    assert yaml.safe_load(text) == read_method(name)


@pytest.mark.parametrize('arguments, sentence', [
    (['SaliencyMusk'], "There is no method or component 'SaliencyMusk': did you mean SaliencyMask?"),
    (['calibratd'], "There is no method or component 'calibratd': did you mean calibrated?"),
    (['published'], "There is no method or component 'published': did you mean accurate_forgetting?"),
    (['options/x.yml'], 'options/x.yml is no component: write -opt options/x.yml for an option file.'),
    ([], 'Name an option file'), (['NAFNet', '-opt', 'x.yml'], 'Name an option file'),
])
def test_show_of_nothing_is_one_sentence(arguments, sentence, capsys):
    assert cli.main(['show', *arguments]) == 2
    assert f'Error: {sentence}' in capsys.readouterr().err


def test_a_file_that_spells_a_method_out_is_known_by_its_name():
    for name in method_names():
        train = expand_method({'train': {'method': name, 'total_iter': 5, 'optim_g': {'lr': 1.0}}})['train']
        assert method_of(train) == name
    assert method_of({**train, 'forget_opt': {'type': 'GradientAscentLoss'}}) is None
    assert method_of(load_option_file('options/unlearn_haze_calibrated.yml')['train']) == 'calibrated'
