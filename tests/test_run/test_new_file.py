"""The option file that run and new write: read back it is what was planned, and every method passes the check."""
from dataclasses import replace
from pathlib import Path

import pytest

from basicsr_unlearn.methods.presets import method_names
from basicsr_unlearn.options.new_file import DataSource, Plan, option_file, options_of
from basicsr_unlearn.options.option_file import check_options, load_option_file
from basicsr_unlearn.options.overrides import read_options

ODD = ["it's", '0025', 'a: b #c', 'é', '[x]', 'x' * 90]  # names that YAML would take for something else
PAIRS = {'type': 'PairedRestorationDataset', 'dataroot_lq': '~/hazy images', 'dataroot_gt': 'clear',
         'pairing': 'prefix'}
PLAN = Plan(
    name='unlearn_haze', checkpoint='a: net.pth', network={'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1, 2],
                                                           'pool_size': None},
    scale=1, forget=DataSource('haze', {**PAIRS, 'except_files': ODD}, {**PAIRS, 'only_files': list(ODD)}),
    keep=[DataSource('rain', {'degradations': [{'type': 'rain_streaks'}]}, {
        'type': 'DegradedImageDataset', 'dataroot_gt': 'clear', 'only_files': ['1', '2'],
        'degradations': [{'type': 'gaussian_noise', 'sigma': [0, 55]}, {'type': 'jpeg', 'quality': 30}]})],
    method='calibrated', steps=40, batch=2, patch=32, param_key='params_ema')


def written(plan: Plan) -> str:
    Path('a.yml').write_text(option_file(plan, ['One.', 'Two.'], Path.cwd()), encoding='utf-8')
    return 'a.yml'


def plain(value):
    """Blocks as plain ones, whatever their class."""
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    return [plain(entry) for entry in value] if isinstance(value, (list, tuple)) else value


@pytest.mark.parametrize('plan', [
    PLAN,
    replace(PLAN, own={'skill_opt': {'metric': 'ssim', 'margin': 0.02}, 'retain_opt': {'target': 'gt'}}, cache=True),
    replace(PLAN, scale=4, patch=128, keep=[replace(PLAN.keep[0], train={'degradations': []})]),
    replace(PLAN, keep=[DataSource('own', {**PAIRS, 'except_files': ['x']}, PAIRS)]),
], ids=['plain', 'with own options', 'scale 4', 'own pairs'])
def test_what_is_read_back_is_what_was_planned(in_tmp_path, plan):
    opt = load_option_file(written(plan))
    assert plain(opt) == plain(options_of(plan))
    check_options(opt, True)
    lines = Path('a.yml').read_text(encoding='utf-8').splitlines()
    assert lines[0].startswith('# yaml-language-server: $schema=') and lines[1:3] == ['# One.', '# Two.']
    assert sum('  # ' in line for line in lines) > 20
    assert all(len(line) <= 120 for line in lines if '  # ' in line)


@pytest.mark.parametrize('method', method_names())
def test_every_method_can_be_planned(in_tmp_path, method):
    opt = read_options(written(replace(PLAN, method=method)), [])
    check_options(opt, True)
    assert opt['train']['total_iter'] == 40
