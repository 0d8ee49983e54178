"""The command convert: what it writes, stock BasicSR loads; what it prints, fits; bad input writes nothing."""
import os
from pathlib import Path

import pytest
import torch
import yaml
from basicsr.models.base_model import BaseModel
from basicsr.utils.registry import ARCH_REGISTRY
from torch import nn

from basicsr_unlearn.cli import convert
from basicsr_unlearn.zoo.detection import describe

NETWORK = {'type': 'PromptIR', 'dim': 8, 'num_blocks': [1, 1, 1, 1], 'num_refinement_blocks': 1,
           'prompt_dims': [8, 8, 16], 'prompt_sizes': [8, 4, 2]}


def build(network: dict) -> nn.Module:
    settings = dict(network)
    return ARCH_REGISTRY.get(settings.pop('type'))(**settings)


@pytest.fixture(scope='module')
def net() -> nn.Module:
    """A small PromptIR."""
    torch.manual_seed(0)
    return build(NETWORK)


@pytest.fixture
def weights(net) -> dict:
    return net.state_dict()


def prefixed(weights: dict, prefix: str) -> dict:
    return {prefix + name: weight for name, weight in weights.items()}


def lightning(net: nn.Module) -> dict:
    """A checkpoint with the entries of a Lightning one whose module holds `net`, AdamW's moments as large as it."""
    optimizer = torch.optim.AdamW(net.parameters())
    state = optimizer.state_dict()
    state['state'] = {i: {'step': torch.tensor(1.0), 'exp_avg': torch.zeros_like(weight),
                          'exp_avg_sq': torch.zeros_like(weight)} for i, weight in enumerate(net.parameters())}
    return {'epoch': 3, 'global_step': 40, 'pytorch-lightning_version': '2.0.1',
            'state_dict': prefixed(net.state_dict(), 'net.'), 'loops': {'fit_loop': {'state_dict': {}}},
            'callbacks': {"ModelCheckpoint{'monitor': None}": {'best_model_score': None, 'dirpath': 'train_ckpt'}},
            'optimizer_states': [state], 'lr_schedulers': [{'last_epoch': 3, '_last_lr': [0.0]}]}


def run(*argv: str) -> int:
    return convert.main(list(argv))


def load_with_stock_basicsr(network: dict, path: str) -> dict:
    """The weights of the network after BasicSR's own load_network with its default arguments."""
    net = build(network)
    BaseModel({'num_gpu': 0, 'is_train': False}).load_network(net, path)
    return net.state_dict()


def printed_options(text: str) -> dict:
    return yaml.safe_load(text[text.index('\n\n'):])


@pytest.mark.parametrize('pack, read, dropped', [
    (lightning, 'a Lightning checkpoint, weights under state_dict, prefix net. removed',
     ['epoch', 'global_step', 'optimizer_states (']),
    (lambda net: net.state_dict(), 'a plain state_dict', []),
    (lambda net: prefixed(net.state_dict(), 'module.'), 'a plain state_dict, prefix module. removed', []),
    (lambda net: {**net.state_dict(), 'epoch': 7}, 'a plain state_dict', ['epoch']),
    (lambda net: {'params': net.state_dict()}, 'weights under params', []),
    (lambda net: {'params_ema': net.state_dict()}, 'weights under params_ema', []),
    (lambda net: {'generator': net.state_dict(), 'iter': 5}, 'weights under generator', ['iter']),
    (lambda net: {'net_g': prefixed(net.state_dict(), 'module._orig_mod.'), 'optimizer': lightning(net)['callbacks']},
     'weights under net_g, prefix module._orig_mod. removed', ['optimizer']),
], ids=['lightning', 'plain', 'module', 'plain_with_epoch', 'params', 'params_ema', 'own_key', 'compiled'])
def test_every_container_becomes_what_stock_basicsr_loads(in_tmp_path, capsys, net, weights, pack, read, dropped):
    torch.save(pack(net), 'in.ckpt')
    assert run('in.ckpt', 'models/out.pth') == 0  # the folder did not exist
    assert sorted(os.listdir('models')) == ['out.pth']
    written = torch.load('models/out.pth', weights_only=True)
    assert list(written) == ['params'] and list(written['params']) == list(weights)
    out = capsys.readouterr().out
    options = printed_options(out)
    loaded = load_with_stock_basicsr(options['network_g'], options['path']['pretrain_network_g'])
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    first, *others = out.splitlines()
    values = sum(weight.numel() for weight in weights.values())
    assert first == f'Read in.ckpt: {read}; {len(weights)} entries, {values:,} values.'
    told = [line for line in others if line.startswith('Dropped: ')]
    assert len(told) == bool(dropped)
    assert all(name in told[0] for name in dropped)


def test_the_printed_network_is_the_one_in_the_file(in_tmp_path, capsys, weights):
    torch.save(weights, 'in.pth')
    assert run('in.pth', 'out.pth') == 0
    out = capsys.readouterr().out
    assert printed_options(out)['network_g'] == describe(weights)
    assert '\n  num_blocks: [1, 1, 1, 1]\n' in out  # as option files have it
    assert out.index('type:') < out.index('inp_channels:') < out.index('dim:') < out.index('prompt_len:')


def test_size_of_the_dropped_optimizer_state(in_tmp_path, capsys, net):
    torch.save({**lightning(net), 'best': [torch.zeros(300)]}, 'in.ckpt')
    assert run('in.ckpt', 'out.pth') == 0
    out = capsys.readouterr().out
    size = sum(8 * weight.numel() + 4 for weight in net.parameters())  # two float32 moments and the step
    assert f'optimizer_states ({size / 2**20:.1f} MB)' in out and 'best (2 KB)' in out  # 1200 bytes


def test_ema_weights_are_kept_beside(in_tmp_path, capsys, weights):
    ema = {name: weight + 1 for name, weight in weights.items()}
    torch.save({'params': weights, 'params_ema': prefixed(ema, 'module.'), 'iter': 3}, 'in.pth')
    assert run('in.pth', 'out.pth') == 0
    out = capsys.readouterr().out
    assert 'Wrote out.pth: params and params_ema, ' in out and 'Dropped: iter.' in out
    written = torch.load('out.pth', weights_only=True)
    assert list(written) == ['params', 'params_ema']
    assert all(torch.equal(written['params'][name], weights[name]) for name in weights)
    assert all(torch.equal(written['params_ema'][name], ema[name]) for name in weights)


def test_param_key_takes_those_weights_alone(in_tmp_path, capsys, weights):
    ema = {name: weight + 1 for name, weight in weights.items()}
    torch.save({'params': weights, 'params_ema': ema}, 'in.pth')
    assert run('in.pth', 'out.pth', '--param_key', 'params_ema') == 0
    assert 'Dropped: params (' in capsys.readouterr().out
    written = torch.load('out.pth', weights_only=True)
    assert list(written) == ['params']
    assert all(torch.equal(written['params'][name], ema[name]) for name in weights)


def test_half_is_half_the_size_and_loads_as_float32(in_tmp_path, weights):
    torch.save(weights, 'in.pth')
    assert run('in.pth', 'out.pth') == run('in.pth', 'half.pth', '--half') == 0
    values = sum(weight.numel() for weight in weights.values())
    assert os.path.getsize('out.pth') - os.path.getsize('half.pth') == pytest.approx(2 * values, rel=0.02)
    loaded = load_with_stock_basicsr(NETWORK, 'half.pth')
    for name, weight in weights.items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], weight.half().float())


def test_half_leaves_counters_as_they_are(in_tmp_path):
    weights = nn.BatchNorm2d(2).state_dict()
    weights['num_batches_tracked'] += 100003  # above the range of fp16
    torch.save(weights, 'in.pth')
    assert run('in.pth', 'out.pth', '--half') == 0
    written = torch.load('out.pth', weights_only=True)['params']
    assert written['num_batches_tracked'] == 100003 and written['running_var'].dtype == torch.float16


def test_a_view_is_written_without_what_it_is_a_part_of(in_tmp_path):
    torch.save({'weight': torch.zeros(1000000)[:10]}, 'in.pth')
    assert os.path.getsize('in.pth') > 4000000
    assert run('in.pth', 'out.pth') == 0
    assert os.path.getsize('out.pth') < 10000


def test_an_unknown_network_is_converted_and_said_to_be_unknown(in_tmp_path, capsys):
    weights = prefixed(nn.Conv2d(3, 4, 3).state_dict(), 'module.head.')
    torch.save({'model': weights}, 'in.pth')
    assert run('in.pth', 'out.pth') == 0
    out = capsys.readouterr().out
    assert out.count('No known architecture') == 1 and 'network_g by hand' in out
    assert printed_options(out) == {'path': {'pretrain_network_g': 'out.pth'}}
    written = torch.load('out.pth', weights_only=True)['params']
    assert list(written) == ['head.weight', 'head.bias']


@pytest.mark.parametrize('name', ['with space: #1.pth', '1e5', 'öl.pth'])
def test_any_path_is_printed_as_yaml_that_reads_back(in_tmp_path, capsys, name):
    torch.save({'weight': torch.ones(1)}, 'in.pth')
    assert run('in.pth', name) == 0
    assert printed_options(capsys.readouterr().out) == {'path': {'pretrain_network_g': name}}


def test_an_existing_file_is_overwritten_only_by_force(in_tmp_path, capsys):
    torch.save({'state_dict': {'weight': torch.ones(1)}}, 'in.pth')
    Path('out.pth').write_text('precious')
    assert run('in.pth', 'out.pth') == 2
    assert 'out.pth exists' in capsys.readouterr().err and Path('out.pth').read_text() == 'precious'
    assert run('in.pth', './in.pth') == 2
    assert 'the same file' in capsys.readouterr().err
    for name in ('out.pth', 'in.pth'):
        assert run('in.pth', name, '--force') == 0
        assert torch.load(name, weights_only=True) == {'params': {'weight': torch.ones(1)}}


def write_bad_files(folder: Path) -> None:
    torch.save(nn.Conv2d(3, 3, 1), folder / 'module.pth')
    torch.save({'weight': torch.ones(500)}, folder / 'good.pth')
    (folder / 'truncated.pth').write_bytes((folder / 'good.pth').read_bytes()[:-700])
    torch.save({'epoch': 3}, folder / 'none.pth')
    torch.save({'student': {'a': torch.ones(1)}, 'critic': {'a': torch.ones(1)}}, folder / 'two.pth')
    torch.save({'weight': torch.tensor([1e6])}, folder / 'large.pth')
    (folder / 'text.pth').write_text('accuracy: 0.9')
    (folder / 'folder').mkdir()


@pytest.mark.parametrize('argv, words', [
    (['missing.pth', 'out.pth'], 'missing.pth does not exist'),
    (['module.pth', 'out.pth'], 'module.pth is a whole pickled module'),
    (['truncated.pth', 'out.pth'], 'truncated.pth is damaged or incomplete'),
    (['none.pth', 'out.pth'], 'none.pth holds no weights'),
    (['text.pth', 'out.pth'], 'text.pth is no PyTorch checkpoint'),
    (['two.pth', 'out.pth'], 'several groups of weights, student, critic'),
    (['folder', 'out.pth'], 'folder is a folder'),
    (['good.pth', 'folder', '--force'], 'OUT folder is a folder'),
    (['good.pth', 'new/'], 'OUT new/ is a folder'),
    (['good.pth', 'text.pth/out.pth'], 'text.pth, which is a file'),
    (['good.pth', 'new/out.pth', '--param_key', 'params'], "'params': its weights are not under any key"),
    (['two.pth', 'new/out.pth', '--param_key', 'teacher'], "'teacher': it holds student, critic"),
    (['large.pth', 'new/out.pth', '--half'], 'weight in large.pth holds values beyond 65504'),
    (['good.pth'], 'required: OUT'),
])
def test_bad_input_is_one_sentence_and_writes_nothing(in_tmp_path, capsys, argv, words):
    write_bad_files(in_tmp_path)
    there = sorted(in_tmp_path.rglob('*'))
    assert run(*argv) == 2
    out, err = capsys.readouterr()
    assert out == '' and err.startswith('Error: ') and err.count('\n') == 1
    assert words in err
    assert sorted(in_tmp_path.rglob('*')) == there
