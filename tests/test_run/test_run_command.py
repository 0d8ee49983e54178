"""run and new: from a checkpoint and folders to an option file, a network and a verdict."""
import io
import json
import re
import sys
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.archs.srvgg_arch import SRVGGNetCompact

from basicsr_unlearn import train
from basicsr_unlearn.cli import asking, convert, new, run
from basicsr_unlearn.options.option_file import check_options, load_option_file


def options(file: str) -> dict:
    return load_option_file(file)


def refused(capsys, main, *argv: str) -> str:
    """The sentence with which a command line is refused."""
    assert main(list(argv)) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('Error: ')
    return error


def test_a_network_of_ones_own_forgets_and_the_option_file_repeats_it(brightener, photos, capsys):
    photos('dark', factor=0.5), photos('bright')
    argv = ['--checkpoint', brightener, '--forget', 'dark', 'bright', '--plugin', 'ownnets', '--steps', '3',
            '--batch', '2', '--keep', 'clean', '--out', 'out/forgot.pth']
    assert run.main(argv) == 0
    out = capsys.readouterr().out
    assert all(len(line) <= 80 for line in out.splitlines() if '--force_yml' not in line and '/' not in line)
    opt = options('unlearn_low_light_brightener.yml')
    seen, val = opt['datasets']['train']['forget'][0], opt['datasets']['val_low_light']
    assert seen['except_files'] == val['only_files'] and len(val['only_files']) == 1
    assert opt['train']['retain_opt'] == {'target': 'gt'}  # clean images are to stay as they are
    assert opt['network_g'] == {'type': 'OwnFilter'} and opt['train']['method'] == 'calibrated'
    assert opt['datasets']['train']['gt_size'] == 44  # what the network takes of 46 pixels
    record = json.loads(Path('experiments/unlearn_low_light_brightener/run.json').read_text())
    assert record['steps'] == 3 and set(record['datasets']) == {'low_light', 'clean'}
    written = torch.load('out/forgot.pth', weights_only=True)['params']
    assert list(written) == ['filter.weight'] and float(written['filter.weight'][0, 0, 2, 2]) != 2
    assert 'Written:  out/forgot.pth' in out and 'report.html' in out
    # the file alone gives the same network
    assert train.main(['-opt', 'unlearn_low_light_brightener.yml']) == 0
    again = torch.load('experiments/unlearn_low_light_brightener/models/net_g_latest.pth', weights_only=True)['params']
    assert torch.equal(again['filter.weight'], written['filter.weight'])
    # the same flags, once more: nothing to write, nothing to ask
    assert new.main(argv[:-2]) == 0 and not Path('unlearn_low_light_brightener_2.yml').exists()
    assert new.main([*argv[:-2], '--steps', '5']) == 0  # another run is another file
    assert options('unlearn_low_light_brightener_2.yml')['train']['total_iter'] == 5
    assert '--out out/forgot.pth exists' in refused(capsys, run.main, *argv)


def test_what_the_network_restores_is_kept_by_default(smoother, photos, capsys):
    photos('clean', count=6)
    assert new.main(['--checkpoint', smoother, '--forget', 'noise:clean', '--plugin', 'ownnets', '--opt', 'a.yml']) == 0
    opt = options('a.yml')
    check_options(opt, True)
    assert opt['datasets']['train']['retain_from'] == 'forget_gt'
    kept = {key for key in opt['datasets'] if opt['datasets'][key].get('role') == 'retain'}
    assert 'val_jpeg' in kept and not kept & {'val_haze', 'val_noise', 'val_low_light'}
    assert 'jpeg +' in capsys.readouterr().out and 'retain_opt' not in opt['train']
    held = opt['datasets']['val_noise']['only_files']
    assert opt['datasets']['val_jpeg']['only_files'] == held == opt['datasets']['train']['forget'][0]['except_files']


def test_a_network_that_restores_nothing_else_is_held_to_the_clean_images(brightener, photos, capsys):
    photos('dark', factor=0.5), photos('bright')
    assert new.main(['--checkpoint', brightener, '--forget', 'dark', 'bright', '--plugin', 'ownnets', '--opt', 'a.yml']
                    ) == 0
    opt = options('a.yml')
    assert [key for key in opt['datasets'] if key != 'train'] == ['val_low_light', 'val_clean']
    assert opt['train']['retain_opt'] == {'target': 'gt'} and 'nothing else' in capsys.readouterr().out


def test_pairs_whose_names_say_nothing_are_asked_about(smoother, photos, capsys, monkeypatch):
    photos('a', count=4), photos('b', count=4)
    argv = ['--checkpoint', smoother, '--plugin', 'ownnets', '--opt', 'a.yml', '--forget']
    assert new.main([*argv[:-2], 'b.yml', '--forget', 'noise:a', 'b']) == 0  # said, not asked
    assert options('b.yml')['datasets']['val_noise']['type'] == 'PairedRestorationDataset'
    argv += ['a', 'b']
    said = refused(capsys, new.main, *argv)
    assert re.search(r'--keep [a-z,]+ \(if it shows noise\)', said) and 'keep?' in said
    assert not Path('a.yml').exists()
    monkeypatch.setattr(asking.sys, 'stdin', type('Tty', (io.StringIO,), {'isatty': lambda self: True})('\n'))
    monkeypatch.setattr(sys.stdout, 'isatty', lambda: True, raising=False)
    answers = iter(['', '1'])
    monkeypatch.setattr('builtins.input', lambda prompt: print(prompt) or next(answers))
    assert new.main(argv) == 0
    first = re.search(r'^  1  (\S*) +if it shows', capsys.readouterr().out, re.MULTILINE)[1].split(',')
    assert {f'val_{kind}' for kind in first} < options('a.yml')['datasets'].keys()


def test_kept_pairs_and_known_degradations_side_by_side(brightener, photos):
    photos('dark', factor=0.5), photos('bright')
    photos('grey', factor=0.9, name='rain-{}'), photos('white', name='no{}')
    assert new.main(['--checkpoint', brightener, '--forget', 'dark', 'bright', '--plugin', 'ownnets', '--opt', 'a.yml',
                     '--keep', 'jpeg', '--keep', 'grey', 'white', '--keep', 'noise:white']) == 0
    opt = options('a.yml')
    assert [(block['name'], block['type']) for block in opt['datasets']['train']['retain']] == [
        ('jpeg', 'DegradedImageDataset'), ('noise', 'DegradedImageDataset'), ('grey', 'PairedRestorationDataset')]
    grey = opt['datasets']['train']['retain'][2]
    assert (grey['lq_tmpl'], grey['gt_tmpl']) == ('rain-{}', 'no{}')
    assert opt['datasets']['val_grey']['center_crop'] == 44  # of 46 pixels, as the network takes multiples of 4
    for source in ('jpeg', 'noise', 'grey'):
        block = next(block for block in opt['datasets']['train']['retain'] if block['name'] == source)
        assert block['except_files'] == opt['datasets'][f'val_{source}']['only_files']


@pytest.mark.parametrize('argv, words', [
    (['--forget', 'dark'], '--forget dark: give a folder of degraded images and one of clean images, or KIND:FOLDER'),
    (['--forget', 'fog:dark'], 'fog is no known degradation: '),
    (['--forget', 'dark', 'few'], 'do not pair by their names, for instance 1'),
    (['--forget', 'few', 'few'], 'but one clean image'),
    (['--forget', 'none', 'bright'], 'The folder none does not exist'),
    (['--forget', 'above', 'bright'], 'It has the folders inner: name one of these'),
    (['--forget', 'dark', 'large'], 'are at scale 2, the network is at scale 1'),
    (['--forget', 'large', 'dark'], 'name the folder of degraded images first'),
    (['--forget', 'bright', 'bright'], 'There is nothing to forget'),
    (['--forget', 'dark', 'bright', '--keep', 'rian'], '--keep rian is no KIND (haze, rain, noise'),
    (['--forget', 'dark', 'bright', '--keep', 'low_light'], '--keep low_light: it is what is to be forgotten'),
    (['--forget', 'dark', 'bright', '--keep', 'rain,rain'], 'named twice'),
    (['--forget', 'dark', 'bright', '--method', 'calibrate'], 'did you mean calibrated'),
    (['--forget', 'dark', 'bright', '--patch', '30'], '--patch 30: the network takes multiples of 4 only'),
    (['--forget', 'dark', 'bright', '--patch', '48'], 'the smallest degraded image has 46 pixels a side'),
    (['--forget', 'dark', 'bright', '--opt', 'dark'], '--opt dark is a folder'),
    (['--forget', 'dark', 'bright', '--steps', '0'], "'0' is no whole number from 1"),
    (['--forget', 'dark', 'bright', '--network', 'OwnFilter', 'side=3'], 'does not fit the OwnFilter of --network'),
    (['--forget', 'dark', 'bright', '--network', 'OwnFilter', 'side'], "--network side has no '='"),
    (['--forget', 'dark', 'bright', '--network', 'side=4', 'x=1'], 'unexpected keyword argument'),
    (['--forget', 'dark', 'bright', '--plugin', 'nonets'], '--plugin nonets: there is no such package here'),
    (['--forget', 'dark', 'bright', '--out', 'brightener.pth', '--force'], 'is the checkpoint itself'),
    (['--forget', 'dark', 'bright', '--out', 'taken.yml/forgot.pth'], '--out taken.yml/forgot.pth cannot be written'),
    (['--forget', 'dark', 'bright', '--opt', 'taken.yml', '--keep', 'clean'], 'taken.yml exists'),
])
def test_each_thing_that_is_wrong_is_one_sentence(brightener, photos, capsys, argv, words):
    photos('dark', factor=0.5), photos('bright'), photos('few', count=1), photos('above/inner')
    photos('large', size=(92, 100)), Path('taken.yml').write_text('a: 1\n')
    before = sorted(Path('.').glob('*'))
    given = ['--plugin', 'ownnets', *argv] if '--plugin' not in argv else argv
    assert words in refused(capsys, run.main, '--checkpoint', brightener, *given)
    assert sorted(path for path in Path('.').glob('*') if path.name != '__pycache__') == before


def test_a_network_that_nothing_knows_is_told_how_to_bring(package, photos, capsys):
    photos('dark', factor=0.5), photos('bright')
    __import__('ownnets')
    torch.save({'filter.weight': torch.zeros(3, 3, 7, 7)}, 'own.pth')
    argv = ['--checkpoint', 'own.pth', '--forget', 'dark', 'bright']
    assert '--plugin PACKAGE' in refused(capsys, run.main, *argv)
    said = refused(capsys, run.main, *argv, '--plugin', 'ownnets')
    assert 'OwnFilter(side=5)' in said and '--network OwnFilter KEY=VALUE' in said
    torch.save({'spynet.x': torch.zeros(1)}, 'video.pth')
    torch.save({'conv_last.weight': torch.zeros(3, 64, 3, 3)}, 'near.pth')
    assert 'has 1 of its 1 weights' in refused(capsys, run.main, '--checkpoint', 'near.pth', *argv[2:])


def test_convert_knows_a_network_of_ones_own(brightener, capsys):
    assert convert.main([brightener, 'out.pth', '--plugin', 'ownnets']) == 0
    assert 'type: OwnFilter' in capsys.readouterr().out
    assert '--plugin nonets' in refused(capsys, convert.main, brightener, 'b.pth', '--plugin', 'nonets')


def test_super_resolution_needs_clean_images_only(in_tmp_path, photos, capsys):
    net = SRVGGNetCompact(num_feat=4, num_conv=1, upscale=2)
    with torch.no_grad():  # all zero: the nearest pixel, which noise survives
        for weight in net.parameters():
            weight.zero_()
    torch.save({'params': net.state_dict()}, 'sr.pth')
    photos('clean', size=(92, 101))
    argv = ['--checkpoint', 'sr.pth', '--forget', 'noise:clean', '--keep', 'clean,jpeg', '--opt', 'a.yml']
    assert new.main(argv) == 0
    opt = yaml.safe_load(Path('a.yml').read_text().replace('!!python/name:basicsr_unlearn.plugin.__version__', ''))
    assert opt['scale'] == 2 and opt['datasets']['train']['gt_size'] == 92
    assert opt['datasets']['train']['retain_degradations'][0] == {'ratio': 1, 'degradations': []}
    assert 'too little to forget anything' in capsys.readouterr().out  # said; run would refuse
