"""The command `basicsr-unlearn`, its flags, and the sentences for wrong ones."""
import runpy
import sys
from pathlib import Path

import pytest
import torch

import basicsr_unlearn
from basicsr_unlearn.cli import commands as cli
from basicsr_unlearn.engine.entry import guarded
from basicsr_unlearn.errors import DataError, OptionError
from basicsr_unlearn.options.overrides import override

PACKAGE = Path(basicsr_unlearn.__file__).resolve().parent


def test_version(capsys):
    assert cli.main(['--version']) == 0
    assert capsys.readouterr().out == f'basicsr_unlearn {basicsr_unlearn.__version__}\n'


def test_help_has_one_line_for_each_command(capsys):
    assert cli.main(['--help']) == 0
    lines = capsys.readouterr().out.splitlines()
    for command in ('train', 'test', 'demo'):
        assert sum(line.startswith(f'  {command} ') for line in lines) == 1


@pytest.mark.parametrize('argv, sentence', [
    ([], 'no command given'),
    (['trian'], "'trian' is no command: did you mean 'train'?"),
    (['x'], 'use one of run, new, train'),
    (['train'], 'required: -opt'),
    (['train', '-opt', 'a.yml', '--launcher', 'ssh'], "invalid choice: 'ssh'"),
    (['test', '-opt', 'a.yml', '--auto-resume'], 'unrecognized arguments: --auto-resume'),
])
def test_wrong_command_lines_are_one_sentence_and_exit_code_2(argv, sentence, capsys):
    assert cli.main(argv) == 2
    out, err = capsys.readouterr()
    assert out == '' and err.startswith('Error: ') and err.count('\n') == 1
    assert sentence in err


def test_subcommand_help_explains_the_flags(capsys):
    assert cli.main(['train', '--help']) == 0
    out = capsys.readouterr().out
    for flag in ('-opt', '--launcher', '--auto_resume', '--debug', '--force_yml', '--local_rank'):
        assert flag in out


@pytest.mark.parametrize('name', ['train', 'test'])
def test_a_script_of_the_checkout_takes_the_checkout_and_hides_no_module(name, monkeypatch, capsys):
    script = PACKAGE / f'{name}.py'
    monkeypatch.setattr(sys, 'path', [str(PACKAGE), *sys.path])  # as Python does for a script
    monkeypatch.setattr(sys, 'argv', [str(script), '--help'])
    with pytest.raises(SystemExit) as stop:
        runpy.run_path(str(script), run_name='__main__')
    assert stop.value.code == 0
    assert sys.path[0] == str(PACKAGE.parent) and str(PACKAGE) not in sys.path


def test_module_main_is_the_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['__main__.py', '--version'])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module('basicsr_unlearn', run_name='__main__')
    assert stop.value.code == 0
    assert basicsr_unlearn.__version__ in capsys.readouterr().out


# ------------------------------------------------------------------ --force_yml

@pytest.mark.parametrize('entry, expected', [
    ('lr=1e-4', 1e-4), ('lr=-1', -1), ('lr=.5', 0.5), ('lr=!!float 1e-3', 1e-3), ('lr=~', None), ('lr=None', None),
    ('lr=true', True), ('lr=[1, 2]', [1, 2]), ('lr=a=b', 'a=b'), ('lr=1e-4x', '1e-4x'),
])
def test_override_values(entry, expected):
    opt = {'train': {'lr': 0}}
    override(opt, [f'train:{entry}'])
    assert opt == {'train': {'lr': expected}} and type(opt['train']['lr']) is type(expected)


def test_override_reaches_into_lists():
    opt = {'forget': [{'name': 'a'}, {'name': 'b'}]}
    override(opt, ['forget:1:name=c'])
    assert opt == {'forget': [{'name': 'a'}, {'name': 'c'}]}


@pytest.mark.parametrize('entry, sentence', [
    ('train:total_iters=5', "did you mean 'total_iter'"),
    ('trian:total_iter=5', "did you mean 'train'"),
    ('train:total_iter:x=5', "has no 'x' there"),
    ('forget:2:name=c', "has no '2' there"),
    ('train:total_iter', "has no '='"),
    ('train:total_iter=[1', 'total_iter=.1 cannot be read'),
    ('train:total_iter=' + '1' * 5000, r'total_iter=1+\.\.\. .*5000 characters'),
    ('train:total_iter=\udce9', r'udce9 is no text in UTF-8'),
    ('train:total_iter=!!python/name:os.system', 'tag !!python/name:os.system'),
])
def test_override_refuses(entry, sentence):
    opt = {'train': {'total_iter': 1}, 'forget': [{'name': 'a'}]}
    with pytest.raises(OptionError, match=sentence):
        override(opt, [entry])
    assert opt == {'train': {'total_iter': 1}, 'forget': [{'name': 'a'}]}


# ------------------------------------------------------------------ exit codes

def raising(error: BaseException):
    def call():
        raise error
    return call


@pytest.mark.parametrize('call, code, err', [
    (lambda: None, 0, ''),
    (raising(SystemExit(0)), 0, ''),
    (raising(SystemExit()), 0, ''),
    (raising(SystemExit(7)), 7, ''),
    (raising(SystemExit('why')), 1, 'why\n'),
    (raising(DataError('Bad.')), 2, 'Error: Bad.\n'),
    (raising(KeyboardInterrupt()), 130, 'Stopped by SIGINT.\n'),
    (raising(PermissionError(13, 'Permission denied', 'x')), 2, 'Error: x cannot be written: Permission denied.\n'),
])
def test_exit_codes(call, code, err, capsys):
    assert guarded(call) == code
    assert capsys.readouterr().err == err


@pytest.mark.parametrize('error, names', [
    (RuntimeError('value cannot be converted to type float without overflow'), 'train.optim_g'),
    (RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried"),
     'batch_size_per_gpu'),
    (torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 GiB. GPU 0 has'), 'out of memory'),
    (MemoryError('Unable to allocate 20 GiB'), '20 GiB'),
])
def test_what_torch_says_in_its_own_words_is_a_sentence(error, names, capsys):
    assert guarded(raising(error)) == 2
    err = capsys.readouterr().err
    assert err.startswith('Error: ') and names in err and err.count('\n') == 1


def test_other_errors_keep_their_traceback():
    with pytest.raises(FileNotFoundError):
        guarded(raising(FileNotFoundError(2, 'No such file')))


class OneBadItem:
    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise DataError('a.png is damaged: copy it again.')


def test_an_error_in_a_worker_is_its_sentence_alone(capsys):
    from torch.utils.data import DataLoader
    assert guarded(lambda: list(DataLoader(OneBadItem(), num_workers=1))) == 2
    assert capsys.readouterr().err == 'Error: a.png is damaged: copy it again.\n'
