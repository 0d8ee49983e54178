"""Each item of the compatibility layer: what BasicSR does without it on this machine, then what it does with it."""
import logging
import sys
import threading
from types import SimpleNamespace

import pytest
import torch

from basicsr_unlearn.engine.compat import (
    forget_logger,
    gloo_init_dist,
    prepare_pipeline,
    rebound,
)
from basicsr_unlearn.engine.resume import ResumableSampler, load_resume_state
from basicsr_unlearn.errors import CheckpointError, OptionError
from basicsr_unlearn.plugin import alias_functional_tensor

# BasicSR can be imported after the alias only
# isort: split
import basicsr.train as pipeline
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.utils import get_root_logger
from basicsr.utils import options as basicsr_options
from basicsr.utils.logger import initialized_logger

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason='BasicSR fails only without a GPU, and there is one')


# ------------------------------------------------------------------ alias

def test_alias_gives_basicsr_the_module_it_imports(monkeypatch):
    name = 'torchvision.transforms.functional_tensor'
    monkeypatch.delitem(sys.modules, name, raising=False)
    try:
        import torchvision.transforms.functional_tensor  # noqa: F401
        pytest.skip('this torchvision still has functional_tensor')
    except ModuleNotFoundError:
        pass
    alias_functional_tensor()
    from torchvision.transforms.functional_tensor import rgb_to_grayscale
    grey = rgb_to_grayscale(torch.tensor([1.0, 0.0, 0.0]).view(3, 1, 1))
    assert grey.item() == pytest.approx(0.2989)


# ------------------------------------------------------------------ resume

def experiment(tmp_path, *iterations: int, **opt) -> dict:
    """Options of a run that wrote states (and weights) at these iterations."""
    paths = {name: tmp_path / 'experiments' / 'run' / name for name in ('training_states', 'models')}
    for path in paths.values():
        path.mkdir(parents=True)
    for i in iterations:
        torch.save({'epoch': 0, 'iter': i, 'optimizers': [], 'schedulers': []}, paths['training_states'] / f'{i}.state')
        torch.save({}, paths['models'] / f'net_g_{i}.pth')
    path = {name: str(value) for name, value in paths.items()}
    return {'name': 'run', 'auto_resume': True, 'network_g': {}, 'path': {'pretrain_network_g': 'base.pth', **path},
            **opt}


@no_gpu
def test_basicsr_cannot_resume_without_a_gpu(tmp_path, monkeypatch):
    opt = experiment(tmp_path, 8)
    monkeypatch.chdir(tmp_path)
    with pytest.raises((RuntimeError, AssertionError)):
        pipeline.load_resume_state(opt)


def test_resume_without_gpu_from_the_experiment_wherever_it_is(tmp_path, monkeypatch):
    opt = experiment(tmp_path, 8, 16, 9)
    (tmp_path / 'elsewhere').mkdir()
    monkeypatch.chdir(tmp_path / 'elsewhere')
    assert load_resume_state(opt)['iter'] == 16
    assert opt['path']['pretrain_network_g'] == str(tmp_path / 'experiments/run/models/net_g_16.pth')


def test_resume_passes_over_states_without_a_number(tmp_path):
    opt = experiment(tmp_path, 8)
    states = tmp_path / 'experiments/run/training_states'
    (states / '8.state').rename(states / 'best.state')
    assert load_resume_state(opt) is None
    assert 'resume_state' not in opt['path']


def test_resume_passes_over_a_truncated_state_and_says_so(tmp_path, capsys):
    opt = experiment(tmp_path, 8, 16)
    newest = tmp_path / 'experiments/run/training_states/16.state'
    newest.write_bytes(newest.read_bytes()[:200])
    assert load_resume_state(opt)['iter'] == 8
    assert '16.state is damaged or incomplete' in capsys.readouterr().out


@pytest.mark.parametrize('damage', [lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:99])])
def test_resume_passes_over_a_state_whose_weights_are_gone_or_damaged(tmp_path, capsys, damage):
    opt = experiment(tmp_path, 8, 16)
    damage(tmp_path / 'experiments/run/models/net_g_16.pth')
    assert load_resume_state(opt)['iter'] == 8
    assert 'net_g_16.pth' in capsys.readouterr().out


def test_resume_fails_if_no_state_can_be_read(tmp_path):
    opt = experiment(tmp_path, 8)
    (tmp_path / 'experiments/run/training_states/8.state').write_bytes(b'')
    with pytest.raises(CheckpointError, match='8.state is damaged or incomplete'):
        load_resume_state(opt)


def test_resume_fails_if_the_weights_of_the_state_are_gone(tmp_path):
    opt = experiment(tmp_path, 8)
    (tmp_path / 'experiments/run/models/net_g_8.pth').unlink()
    with pytest.raises(CheckpointError, match=r'net_g_8\.pth are missing'):
        load_resume_state(opt)


@pytest.mark.parametrize('content, reason', [(None, 'does not exist'), ({'params': {}}, 'no training state')])
def test_resume_state_that_is_none(tmp_path, content, reason):
    opt = experiment(tmp_path, auto_resume=False)
    opt['path']['resume_state'] = str(tmp_path / 'given.state')
    if content is not None:
        torch.save(content, tmp_path / 'given.state')
    with pytest.raises(CheckpointError, match=reason):
        load_resume_state(opt)


# ------------------------------------------------------------------ data order

@pytest.mark.parametrize('replicas', [1, 2])
@pytest.mark.parametrize('batch_size', [1, 3])
def test_resumed_order_is_the_rest_of_the_uninterrupted_order(replicas, batch_size):
    data = range(20)
    for rank in range(replicas):
        whole = EnlargedSampler(data, replicas, rank)
        per_epoch = len(whole) // batch_size
        epoch, in_epoch = 2, 4 if batch_size == 1 else 2
        sampler = ResumableSampler(data, replicas, rank)
        sampler.continue_from(epoch, epoch * per_epoch + in_epoch, batch_size)
        list(sampler)  # BasicSR's prefetcher asks once before the epoch is set
        whole.set_epoch(epoch)
        sampler.set_epoch(epoch)
        assert list(sampler) == list(whole)[in_epoch * batch_size:]
        whole.set_epoch(epoch + 1)
        sampler.set_epoch(epoch + 1)
        assert list(sampler) == list(whole)


def test_resume_at_the_end_of_an_epoch_leaves_no_batch_of_it():
    sampler = ResumableSampler(range(10), 1, 0)
    sampler.continue_from(epoch=0, iteration=3, batch_size=3)  # 3 batches and one item, which is dropped
    assert len(list(sampler)) == 1


@pytest.mark.parametrize('iteration', [9, 14])
def test_resume_with_other_data_starts_the_epoch_anew(iteration, capsys):
    sampler = ResumableSampler(range(4), 1, 0)
    sampler.continue_from(epoch=5, iteration=iteration, batch_size=2)
    sampler.set_epoch(5)
    assert len(list(sampler)) == 4
    forget_logger()


def test_pipeline_continues_the_order_with_the_loader_s_own_batch_size(monkeypatch):
    """num_gpu multiplies the batch without DDP: the loader knows."""
    def create(opt, logger):
        sampler = pipeline.EnlargedSampler(range(20), 1, 0)
        return SimpleNamespace(batch_size=4), sampler, [], 1, 10
    monkeypatch.setattr(pipeline, 'create_train_val_dataloader', create)
    state = {'epoch': 1, 'iter': 7, 'optimizers': [], 'schedulers': []}
    monkeypatch.setattr('basicsr_unlearn.engine.resume.load_resume_state', lambda opt: state)
    with prepare_pipeline():
        pipeline.load_resume_state({})
        sampler = pipeline.create_train_val_dataloader({}, None)[1]
    sampler.set_epoch(1)
    assert len(list(sampler)) == 20 - 2 * 4


# ------------------------------------------------------------------ processes

@no_gpu
def test_basicsr_cannot_start_processes_without_a_gpu(monkeypatch):
    monkeypatch.setenv('RANK', '0')
    monkeypatch.setattr(torch.multiprocessing, 'get_start_method', lambda allow_none=False: 'spawn')
    with pytest.raises(ZeroDivisionError):
        basicsr_options.init_dist('pytorch')


@pytest.fixture
def single_process_group(tmp_path, monkeypatch):
    """A process group of one, made by our init_dist."""
    monkeypatch.setattr(torch.multiprocessing, 'get_start_method', lambda allow_none=False: 'spawn')
    for key, value in {'RANK': '0', 'WORLD_SIZE': '1', 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': '0'}.items():
        monkeypatch.setenv(key, value)
    with prepare_pipeline(use_gpu=False):
        basicsr_options.init_dist('pytorch')
    yield
    torch.distributed.destroy_process_group()


def test_slurm_is_left_to_basicsr():
    calls = []
    gloo_init_dist(lambda *args, **kwargs: calls.append((args, kwargs)))('slurm', backend='nccl', port=5)
    assert calls == [(('slurm',), {'backend': 'nccl', 'port': 5})]


def test_pytorch_launcher_without_torchrun(monkeypatch):
    monkeypatch.delenv('RANK', raising=False)
    with pytest.raises(OptionError, match='torchrun'):
        gloo_init_dist(None)('pytorch')


# ------------------------------------------------------------------ logger, undoing

def test_a_logger_asked_for_too_early_does_not_cost_the_log_file(tmp_path):
    get_root_logger()
    get_root_logger(log_file=str(tmp_path / 'stock.log')).info('lost')
    assert not (tmp_path / 'stock.log').exists()
    with prepare_pipeline():
        get_root_logger(log_file=str(tmp_path / 'ours.log')).info('kept')
    assert 'kept' in (tmp_path / 'ours.log').read_text()
    assert 'basicsr' not in initialized_logger and not logging.getLogger('basicsr').handlers


def test_tensorboard_is_closed_however_the_run_ends(monkeypatch):
    closed = []
    monkeypatch.setattr(pipeline, 'init_tb_loggers', lambda opt: SimpleNamespace(close=lambda: closed.append(True)))
    with pytest.raises(SystemExit), prepare_pipeline():
        pipeline.init_tb_loggers({})
        raise SystemExit(0)
    assert closed == [True]


def test_everything_is_undone_after_an_error():
    names = ('load_resume_state', 'EnlargedSampler', 'create_train_val_dataloader', 'init_tb_loggers')
    before = [getattr(pipeline, name) for name in names] + [basicsr_options.init_dist]
    with pytest.raises(KeyError), prepare_pipeline(use_gpu=False):
        during = [getattr(pipeline, name) for name in names] + [basicsr_options.init_dist]
        raise KeyError
    assert all(a is not b for a, b in zip(before, during, strict=True))
    assert [getattr(pipeline, name) for name in names] + [basicsr_options.init_dist] == before


def test_rebound_restores():
    module = SimpleNamespace(name=1)
    with rebound(module, 'name', 2):
        assert module.name == 2
    assert module.name == 1


def test_the_false_alarm_about_several_validation_sets_is_left_out_meanwhile(fresh_loggers, caplog):
    logger = logging.getLogger('basicsr')
    with prepare_pipeline(), caplog.at_level(logging.WARNING, 'basicsr'):
        logger.warning('Multiple validation datasets are *only* supported by SRModel.')
        logger.warning('haze is over-forgotten')
    assert caplog.messages == ['haze is over-forgotten']
    with caplog.at_level(logging.WARNING, 'basicsr'):
        logger.warning('Multiple validation datasets are *only* supported by SRModel.')
    assert len(caplog.messages) == 2


class FullDisk:
    """A stream on a disk without room."""

    def write(self, string):
        raise OSError(28, 'No space left on device')

    def flush(self):
        pass


def test_a_log_that_cannot_be_written_is_one_sentence(capsys):
    handler, logger = logging.StreamHandler(FullDisk()), logging.getLogger('full_disk')
    logger.addHandler(handler)
    handler.baseFilename = 'run.log'
    with prepare_pipeline(use_gpu=False):
        for _ in range(3):
            logger.warning('x')
    logger.removeHandler(handler)
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and 'run.log' in err and 'No space left' in err


@pytest.mark.parametrize('error, told', [(OSError(28, 'No space left on device'), False), (ValueError('x'), True)])
def test_only_a_full_disk_is_left_to_the_main_thread(error, told, capsys, monkeypatch):
    def fail():
        raise error

    seen = []
    monkeypatch.setattr(threading, 'excepthook', lambda args: seen.append(args.exc_value))
    with prepare_pipeline(use_gpu=False):
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()
    assert seen == ([error] if told else [])
