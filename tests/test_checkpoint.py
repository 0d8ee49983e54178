"""Checkpoints: every container reads to the same weights, nothing runs code, no partial file is left."""
import argparse
import os
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from basicsr_unlearn.errors import CheckpointError
from basicsr_unlearn.zoo import checkpoint
from basicsr_unlearn.zoo.checkpoint import check_fit, read_weights, resolve_checkpoint, write_atomically

REPOSITORY = Path(__file__).resolve().parent.parent
REAL = Path(os.environ.get('BASICSR_UNLEARN_DATA', REPOSITORY.parent / 'shared' / 'data')) / 'checkpoints'
Usage = namedtuple('Usage', 'total used free')


def small_net(width: int = 4, depth: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, width, 3), *(nn.Conv2d(width, width, 3) for _ in range(depth)))


@pytest.fixture
def weights():
    torch.manual_seed(0)
    return small_net().state_dict()


def prefixed(weights: dict, prefix: str) -> dict:
    return {prefix + name: weight for name, weight in weights.items()}


def optimizer_state() -> dict:
    net = small_net()
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.rand(1, 3, 16, 16)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


@pytest.mark.parametrize('pack', [
    lambda w: w,
    lambda w: {'params': w},
    lambda w: {'params_ema': w},
    lambda w: {'params': w, 'params_ema': {name: weight + 1 for name, weight in w.items()}},
    lambda w: {'state_dict': prefixed(w, 'net.'), 'epoch': 3, 'optimizer_states': [optimizer_state()]},
    lambda w: {'model_state_dict': w, 'optimizer_state_dict': optimizer_state(), 'epoch': 3},
    lambda w: {'model': prefixed(w, 'module.'), 'optimizer': optimizer_state()},
    lambda w: {'net': prefixed(w, '_orig_mod.')},
    lambda w: {'whatever': w, 'optimizer': optimizer_state()},
    lambda w: prefixed(w, 'module._orig_mod.net.'),
    lambda w: {'params': w, 'psnr': np.float64(30.5), 'args': argparse.Namespace(lr=1e-4)},
], ids=['plain', 'params', 'params_ema', 'both', 'lightning', 'with_optimizer', 'module', 'compiled', 'unknown_key',
        'nested_prefixes', 'with_numbers_and_arguments'])
def test_every_container_gives_the_same_weights(tmp_path, weights, pack):
    path = str(tmp_path / 'net.pth')
    torch.save(pack(weights), path)
    read = read_weights(path)
    assert list(read) == list(weights)
    assert all(torch.equal(read[name], weights[name]) for name in weights)


def test_prefix_stays_if_only_some_carry_it(tmp_path, weights):
    mixed = {**prefixed(weights, 'net.'), 'head.weight': torch.ones(1)}
    torch.save(mixed, tmp_path / 'net.pth')
    assert set(read_weights(str(tmp_path / 'net.pth'))) == set(mixed)


def test_prefix_stays_if_the_network_has_it_itself(tmp_path):
    net = nn.Module()
    net.net = nn.Conv2d(3, 3, 1)
    torch.save({'state_dict': prefixed(net.state_dict(), 'module.')}, tmp_path / 'net.pth')
    assert set(read_weights(str(tmp_path / 'net.pth'))) == {'weight', 'bias'}
    assert set(read_weights(str(tmp_path / 'net.pth'), net=net)) == {'net.weight', 'net.bias'}


def test_param_key(tmp_path, weights):
    path = str(tmp_path / 'net.pth')
    torch.save({'params': weights, 'params_ema': {name: weight + 1 for name, weight in weights.items()}}, path)
    assert torch.equal(read_weights(path, 'params_ema')['0.bias'], weights['0.bias'] + 1)
    with pytest.raises(CheckpointError, match="'params_em'.*holds params, params_ema"):
        read_weights(path, 'params_em')
    torch.save(weights, path)
    with pytest.raises(CheckpointError, match='param_key_g: ~'):
        read_weights(path, 'params')


def test_two_unknown_groups_need_a_key(tmp_path, weights):
    torch.save({'student': weights, 'critic': weights}, tmp_path / 'net.pth')
    with pytest.raises(CheckpointError, match='student, critic'):
        read_weights(str(tmp_path / 'net.pth'))


class Dangerous:
    def __reduce__(self):
        return os.system, ('touch executed',)


@pytest.mark.parametrize('content, words', [
    (b'', 'is empty'),
    (b'accuracy: 0.9\n', 'no PyTorch checkpoint'),
    ('truncated', 'damaged or incomplete'),
    ('truncated_legacy', 'damaged or incomplete'),
    ('module', 'whole pickled module'),
    ('dangerous', 'whole pickled module'),
    ('script', 'TorchScript'),
    ({'epoch': 3}, 'holds no weights'),
    ([1, 2], 'holds a list'),
    ({'params': {'weight': torch.tensor([1.0, float('nan')])}}, 'NaN or Inf in weight'),
], ids=['empty', 'text', 'truncated', 'truncated_legacy', 'module', 'dangerous', 'script', 'no_tensors', 'list', 'nan'])
def test_bad_file_is_one_sentence(tmp_path, monkeypatch, weights, content, words):
    monkeypatch.chdir(tmp_path)
    path = Path('net.pth')
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content in ('truncated', 'truncated_legacy'):
        torch.save({'params': weights}, path, _use_new_zipfile_serialization=content == 'truncated')
        path.write_bytes(path.read_bytes()[:-700])
    elif content == 'script':
        torch.jit.script(nn.Conv2d(3, 3, 1)).save(str(path))
    else:
        torch.save({'module': small_net(), 'dangerous': {'params': Dangerous()}}[content]
                   if isinstance(content, str) else content, path)
    with pytest.raises(CheckpointError, match=words) as caught:
        read_weights('net.pth')
    assert str(caught.value).count('\n') == 0 and 'net.pth' in str(caught.value)
    assert not Path('executed').exists()


def test_resolve(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path('own.pth').touch()
    assert resolve_checkpoint('own.pth') == 'own.pth'
    beside = resolve_checkpoint('basicsr_unlearn/errors.py')  # any file of the package will do
    assert Path(beside).samefile(Path(checkpoint.__file__).parents[1] / 'errors.py')
    with pytest.raises(CheckpointError, match='none.pth does not exist'):
        resolve_checkpoint('none.pth')
    with pytest.raises(CheckpointError, match='is a folder'):
        resolve_checkpoint(str(tmp_path))


def test_fit(weights):
    check_fit(small_net(), weights, 'x.pth')
    with pytest.raises(CheckpointError, match='x.pth does not fit the Sequential.* 6 of another shape .first 0.weight: '
                                              '4x3x3x3 in the file, 6x3x3x3 in the network.*another width'):
        check_fit(small_net(width=6), weights, 'x.pth')
    with pytest.raises(CheckpointError, match='2 missing .first 3.weight.*number of blocks'):
        check_fit(small_net(depth=3), weights, 'x.pth')
    with pytest.raises(CheckpointError, match='6 unexpected .first a.0.weight.*another architecture'):
        check_fit(small_net(), prefixed(weights, 'a.'), 'x.pth')


def test_fit_without_batch_norm_counters():
    net = nn.BatchNorm2d(3)
    check_fit(net, {name: w for name, w in net.state_dict().items() if name != 'num_batches_tracked'}, 'x.pth')


def test_write_replaces(tmp_path):
    path = tmp_path / 'state' / '5.state'
    path.parent.mkdir()
    for value in (1, 2):
        write_atomically({'iter': value}, path)
        assert torch.load(path, weights_only=True) == {'iter': value}
    assert os.listdir(path.parent) == ['5.state']


def failing_replace(*_):
    raise OSError(30, 'Read-only file system')


@pytest.mark.parametrize('break_it, words', [
    (lambda m: m.setattr(checkpoint.shutil, 'disk_usage', lambda _: Usage(9, 8, 1)), 'No space left on .*free 0.0 MB'),
    (lambda m: m.setattr(checkpoint.os, 'replace', failing_replace), 'cannot be written: Read-only file system'),
], ids=['full', 'read_only'])
def test_old_file_survives_a_failed_write(tmp_path, monkeypatch, break_it, words):
    path = tmp_path / 'net.pth'
    write_atomically({'iter': 1}, path)
    break_it(monkeypatch)
    with pytest.raises(CheckpointError, match=words):
        write_atomically({'iter': 2}, path)
    assert torch.load(path, weights_only=True) == {'iter': 1}
    assert os.listdir(tmp_path) == ['net.pth']


def test_write_that_fails_half_way(tmp_path):
    code = """
import resource, torch
from basicsr_unlearn.zoo.checkpoint import write_atomically
from basicsr_unlearn.errors import CheckpointError
write_atomically({'iter': 1}, 'net.pth')
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write_atomically({'weight': torch.zeros(100000)}, 'net.pth')
except CheckpointError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, capture_output=True, text=True,
                         env={**os.environ, 'PYTHONPATH': str(REPOSITORY)})
    assert ran.stdout.strip() == 'net.pth cannot be written: File too large.', ran.stderr
    assert torch.load(tmp_path / 'net.pth', weights_only=True) == {'iter': 1}
    assert os.listdir(tmp_path) == ['net.pth']


@pytest.mark.skipif(not REAL.is_dir(), reason=f'no real checkpoints in {REAL}: set BASICSR_UNLEARN_DATA')
@pytest.mark.parametrize('name, count, first', [
    ('srvgg_params.pth', 53, 'body.0.weight'), ('safmn_params_ema.pth', 62, 'norm.gamma'),
    ('dncnn_module_prefix_cuda.pth', 77, 'dncnn.0.weight'), ('rfdnext_with_optimizer.pth', 96, 'fea_conv.weight')])
def test_real_checkpoints_read(name, count, first):
    read = read_weights(str(REAL / name))
    assert len(read) == count and next(iter(read)) == first
    assert all(weight.device.type == 'cpu' for weight in read.values())


@pytest.mark.skipif(not REAL.is_dir(), reason=f'no real checkpoints in {REAL}: set BASICSR_UNLEARN_DATA')
def test_real_pickled_module_is_refused():
    with pytest.raises(CheckpointError, match=r'whole pickled module.*DnCNN.*torch\.save'):
        read_weights(str(REAL / 'pickled_module_unsafe.pth'))


class Queued(nn.Module):
    """A network whose queue takes the width of the weights it loads, as AirNet's."""

    resizable_buffers = ('queue',)

    def __init__(self, width: int):
        super().__init__()
        self.head = nn.Conv2d(3, 4, 3)
        self.register_buffer('queue', torch.zeros(8, width))


def test_a_resizable_buffer_may_have_another_last_side():
    check_fit(Queued(16), Queued(5).state_dict(), 'net.pth')


@pytest.mark.parametrize('name, shape', [('queue', (7, 16)), ('queue', (8, 16, 1)), ('head.bias', (5,))])
def test_all_else_of_a_network_with_a_resizable_buffer_must_fit(name, shape):
    weights = {**Queued(16).state_dict(), name: torch.zeros(shape)}
    with pytest.raises(CheckpointError, match=f'1 of another shape .first {name}'):
        check_fit(Queued(16), weights, 'net.pth')
