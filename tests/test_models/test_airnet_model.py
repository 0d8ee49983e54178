"""Training AirNet by its two phases, and unlearning with it; checked on real runs."""
import re
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from basicsr_unlearn.archs.airnet_arch import AirNet
from basicsr_unlearn.core.seeds import step_seed
from basicsr_unlearn.models.airnet_model import AirNetModel, two_windows
from basicsr_unlearn.options.components import SCHEDULERS
from basicsr_unlearn.options.option_file import check_options, load_option_file

NETWORK = {'type': 'AirNet', 'batch_size': 2, 'n_groups': 1, 'n_blocks': 1, 'n_feats': 4}
OPTION_FILE = Path(__file__).resolve().parents[2] / 'options' / 'train_allinone_airnet.yml'
LATEST = 'experiments/tiny/models/net_g_latest.pth'
CONTRAST = ('E.E.encoder_k.', 'E.E.queue')


@pytest.fixture
def airnet(folder) -> dict:
    """The weights of base.pth, which are a small AirNet's now."""
    torch.manual_seed(0)
    net = AirNet(**{name: value for name, value in NETWORK.items() if name != 'type'})
    torch.save({'params': net.state_dict()}, folder / 'base.pth')
    return net.state_dict()


@pytest.fixture
def training(folder, airnet) -> dict:
    """Changes to the options that train AirNet on haze and rain, from base.pth: encoder for 2 iterations of 4."""
    sets = [{'name': name, 'type': 'PairedRestorationDataset', 'dataroot_lq': str(folder / name / 'lq'),
             'dataroot_gt': str(folder / name / 'gt')} for name in ('haze', 'rain')]
    return {
        'model_type': 'AirNetModel', 'network_g': NETWORK,
        'datasets.train': {'name': 'train', 'type': 'MixedDataset', 'gt_size': 20, 'epoch_length': 100, 'sets': sets,
                           'batch_size_per_gpu': 2, 'num_worker_per_gpu': 0},
        'train': {'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'total_iter': 4, 'encoder_iter': 2, 'patch_size': 16,
                  'scheduler': {'type': 'MultiStepLR', 'milestones': [1000]}, 'pixel_opt': {'type': 'L1Loss'},
                  'contrast_opt': {'type': 'ContrastLoss', 'loss_weight': 0.1}}}


@pytest.fixture
def steps(monkeypatch) -> list[tuple]:
    """(model, lq, gt) of each step of AirNetModel from now on."""
    seen, step = [], AirNetModel.optimize_parameters

    def optimize_parameters(self, iteration):
        seen.append((self, self.lq.clone(), self.gt.clone()))
        step(self, iteration)

    monkeypatch.setattr(AirNetModel, 'optimize_parameters', optimize_parameters)
    return seen


def moved(before: dict, after: dict) -> set[str]:
    return {name for name in before if not torch.equal(before[name], after[name])}


# ---------------------------------------------------------------- training

def test_the_first_phase_trains_the_encoder_alone(unlearn, training, airnet, weights, built):
    assert unlearn({**training, 'train.total_iter': 2}) == 0
    names = moved(airnet, weights(LATEST))
    assert names and all(name.startswith('E.') for name in names)
    assert 'E.E.encoder_q.mlp.0.weight' in names and 'E.E.encoder_k.mlp.0.weight' in names
    assert weights(LATEST)['E.E.queue_ptr'].tolist() == [4]
    assert list(built[0].log_dict) == ['l_contrast']


def test_the_second_phase_trains_all(unlearn, training, airnet, weights, built):
    assert unlearn(training) == 0
    still = set(airnet) - moved(airnet, weights(LATEST))
    assert still == set()
    assert list(built[0].log_dict) == ['l_contrast', 'l_pix']


@pytest.mark.parametrize('encoder_iter', [0, 1])
def test_the_gradient_is_that_of_the_loss_of_the_phase(unlearn, training, airnet, steps, encoder_iter):
    """Contrast alone with weight 1; then L1 + 0.1 contrast."""
    assert unlearn({**training, 'train.total_iter': 1, 'train.encoder_iter': encoder_iter}) == 0
    model, lq, gt = steps[0]
    query, key = two_windows(20, 20, 16, step_seed(5, 0, 1))  # manual_seed, rank, iteration
    net = AirNet(**{name: value for name, value in NETWORK.items() if name != 'type'})
    net.load_state_dict(airnet)
    restored, logits, labels = net.train()(lq[query], lq[key])
    loss = F.cross_entropy(logits, labels)
    if not encoder_iter:
        loss = (restored - gt[query]).abs().mean() + 0.1 * loss
    loss.backward()
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(model.net_g.get_parameter(name).grad, parameter.grad, rtol=1e-4, atol=1e-6)


def test_query_and_key_are_two_windows_of_the_patch_and_others_each_time():
    batch = torch.zeros(2, 3, 24, 20)
    pairs = [two_windows(24, 20, 16, seed) for seed in range(200)]
    corners = [[(rows.start, columns.start) for _, rows, columns in pair] for pair in pairs]
    assert {batch[window].shape for pair in pairs for window in pair} == {(2, 3, 16, 16)}
    assert {place for pair in corners for place in pair} == {(y, x) for y in range(9) for x in range(5)}
    assert sum(query != key for query, key in corners) > 180
    assert two_windows(24, 20, 16, 7) == pairs[7]


def test_a_resumed_run_equals_the_uninterrupted_one(unlearn, training, weights, same):
    training = {**training, 'path.pretrain_network_g': None, 'logger.save_checkpoint_freq': 3, 'train.total_iter': 5}
    assert unlearn(training) == 0
    uninterrupted = weights(LATEST)
    assert unlearn({**training, 'train.total_iter': 3}) == 0
    assert unlearn(training, '--auto_resume') == 0
    same(weights(LATEST), uninterrupted)


def test_the_average_takes_statistics_and_queue(unlearn, training, weights):
    assert unlearn({**training, 'train.ema_decay': 0.9, 'path.pretrain_network_g': None}) == 0
    average, now = weights(LATEST, 'params_ema'), weights(LATEST)
    for name in ('E.E.queue', 'E.E.queue_ptr', 'E.E.encoder_q.E_pre.backbone.1.running_mean'):
        assert torch.equal(average[name], now[name])
    assert not torch.equal(average['R.tail.0.weight'], now['R.tail.0.weight'])


@pytest.mark.parametrize('changes, words', [
    ({'datasets.train.batch_size_per_gpu': 3}, "A batch of 3 does not divide AirNet's queue of 512"),
    ({'train.patch_size': 21}, 'train.patch_size 21 is larger than datasets.train.gt_size 20'),
    ({'network_g': {'type': 'NAFNet', 'width': 4}, 'path.pretrain_network_g': None}, 'trains AirNet, not .* NAFNet'),
    ({'train.contrast_opt': None}, 'train.contrast_opt is missing'),
    ({'train.encoder_iters': 3}, 'did you mean train.encoder_iter'),
])
def test_what_does_not_fit_is_refused(unlearn, training, capsys, changes, words):
    assert unlearn({**training, **changes}) == 2
    assert re.search(words, capsys.readouterr().err)


def test_the_option_file_has_the_official_schedule_at_a_twentieth():
    """An epoch is 400 iterations: 1e-3, 1e-4 from epoch 60, halved every 125 epochs from epoch 100 + 125."""
    opt = load_option_file(str(OPTION_FILE))
    check_options(opt, is_train=True)
    train = opt['train']
    assert (train['encoder_iter'], train['total_iter']) == (100 * 400 // 20, 1000 * 400 // 20)
    assert opt['network_g']['batch_size'] == opt['datasets']['train']['batch_size_per_gpu']
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=train['optim_g']['lr'])
    settings = {key: value for key, value in train['scheduler'].items() if key != 'type'}
    scheduler = SCHEDULERS[train['scheduler']['type']](optimizer, **settings)
    for iteration in range(train['total_iter']):
        epoch = iteration // 20
        official = 1e-3 * 0.1**(epoch // 60) if epoch < 100 else 1e-4 * 0.5**((epoch - 100) // 125)
        assert optimizer.param_groups[0]['lr'] == pytest.approx(official), iteration
        optimizer.step()
        scheduler.step()


# ---------------------------------------------------------------- unlearning

def test_airnet_unlearns_and_its_contrast_stays_as_it_is(unlearn, airnet, weights, built):
    assert unlearn({'network_g': NETWORK, 'train.total_iter': 2, 'train.conflict_freq': 1, 'train.ema_decay': 0.9,
                    'train.skill_opt': {'required': False}, 'train.retain_opt.target': 'teacher',
                    'train.adversarial_opt': {'type': 'AdversarialRetainLoss', 'attack': {'type': 'pgd', 'steps': 1}}
                    }) == 0
    new = weights(LATEST)
    names = moved(airnet, new)
    assert not [name for name in names if name.startswith(CONTRAST)]
    assert not names & set(built[0].net_g.dead_parameters)
    assert any(name.startswith('R.') for name in names) and 'E.E.encoder_q.E_pre.backbone.0.weight' in names
    assert moved(airnet, built[0].unlearner.teacher.state_dict()) == set()
