"""UnlearnModel's step: teacher, terms, optimizers, precision, and what it refuses; checked on real runs."""
import pytest
import torch
from samples import having

from basicsr_unlearn.core.objective import Paired
from basicsr_unlearn.core.seeds import step_seed
from basicsr_unlearn.models.unlearn_model import UnlearnModel

# isort: split
from basicsr.utils.registry import DATASET_REGISTRY

LATEST = 'experiments/tiny/models/net_g_latest.pth'
ADVERSARIAL = {'type': 'AdversarialRetainLoss', 'source': 'retain', 'target': 'gt',
               'attack': {'type': 'pgd', 'steps': 2, 'random_start': True}}
ONE_SGD_STEP = {'train.total_iter': 1, 'train.optim_g': {'type': 'SGD', 'lr': 0.5}}


@DATASET_REGISTRY.register()
class ForeignDataset(torch.utils.data.Dataset):
    """A data set of another package that gives the streams of `keys`, `length` items."""

    def __init__(self, opt):
        self.opt = opt

    def __len__(self):
        return self.opt['length']

    def __getitem__(self, index):
        return {f'{stream}_{kind}': torch.full((3, 16, 16), 0.3 + 0.2 * (kind == 'gt')) for stream in self.opt['keys']
                for kind in ('lq', 'gt')} | {'forget_index': index}


def foreign(length: int, *keys: str) -> dict:
    return {'name': 'foreign', 'type': 'ForeignDataset', 'length': length, 'keys': list(keys), 'batch_size_per_gpu': 2,
            'num_worker_per_gpu': 0}


@pytest.fixture
def batches(monkeypatch) -> list[dict]:
    """The batches that models train on from now on."""
    seen, step = [], UnlearnModel.optimize_parameters
    monkeypatch.setattr(UnlearnModel, 'optimize_parameters',
                        lambda self, iteration: seen.append(self.batches) or step(self, iteration))
    return seen


# ---------------------------------------------------------------- teacher and average

def test_teacher_is_the_loaded_checkpoint_and_stays_it(unlearn, built, weights, same):
    assert unlearn({'train.adversarial_opt': {**ADVERSARIAL, 'target': 'teacher'}, 'train.retain_opt.target': 'teacher'
                    }) == 0
    teacher, original = built[0].unlearner.teacher, weights('../base.pth')
    same(teacher.state_dict(), original)
    assert not teacher.training and not any(p.requires_grad for p in teacher.parameters())
    assert all(p.grad is None for p in teacher.parameters())
    assert not torch.equal(built[0].net_g.state_dict()['ending.bias'], original['ending.bias'])


def test_no_average_by_default(unlearn, built):
    assert unlearn() == 0
    assert not hasattr(built[0], 'net_g_ema')
    assert list(torch.load(LATEST, weights_only=True)) == ['params']


def test_average_starts_from_the_loaded_weights(unlearn, weights, same):
    """After one step it is 0.9 original + 0.1 new."""
    assert unlearn({'train.ema_decay': 0.9, 'train.total_iter': 1}) == 0
    original, new = weights('../base.pth'), weights(LATEST)
    same(weights(LATEST, 'params_ema'), {name: 0.9 * original[name] + 0.1 * new[name] for name in new},
         rtol=1e-6, atol=1e-7)


def test_average_takes_the_statistics_of_batch_normalisation(unlearn, normalised, weights):
    assert unlearn({'network_g': {'type': 'NormalisedNet'}, 'train.ema_decay': 0.9, 'train.optim_g.lr': 1e-2}) == 0
    average, new, original = weights(LATEST, 'params_ema'), weights(LATEST), weights('../base.pth')
    assert torch.equal(average['body.1.running_mean'], new['body.1.running_mean'])
    assert not torch.equal(new['body.1.running_mean'], original['body.1.running_mean'])


# ---------------------------------------------------------------- the step

def test_one_step_of_sgd_is_the_gradient_of_the_sum_of_the_terms(unlearn, batches, weights, restoring_net, same):
    """-L1 on the forget samples (no bound) and L1 on the retain samples, by hand."""
    assert unlearn({**ONE_SGD_STEP, 'train.forget_opt': {'type': 'GradientAscentLoss', 'bound': 'none'}}) == 0
    net, batch = restoring_net, batches[0]
    net.zero_grad()
    loss = ((net(batch['retain']['lq']) - batch['retain']['gt']).abs().mean()
            - (net(batch['forget']['lq']) - batch['forget']['gt']).abs().mean())
    gradient = dict(zip(dict(net.named_parameters()), torch.autograd.grad(loss, list(net.parameters()))))
    original = weights('../base.pth')
    same(weights(LATEST), {name: original[name] - 0.5 * gradient[name] for name in original}, rtol=1e-4, atol=1e-6)


def test_gradient_clipping_limits_the_step(unlearn, weights):
    """One step of SGD is as long as lr times the clipped norm."""
    assert unlearn({**ONE_SGD_STEP, 'train.grad_clip': 0.01}) == 0
    original, new = weights('../base.pth'), weights(LATEST)
    moved = torch.cat([(new[name] - original[name]).flatten() for name in new]).norm()
    assert float(moved) == pytest.approx(0.5 * 0.01, rel=1e-3)


@pytest.mark.parametrize('kind', ['Adam', 'AdamW'])
def test_first_step_of_adam_is_the_sign_of_the_gradient_and_adamw_decays(unlearn, weights, kind):
    """Adam's first step is lr for every weight with a gradient; AdamW takes lr * weight_decay of the weight as well."""
    assert unlearn({'train.total_iter': 1, 'train.optim_g': {'type': kind, 'lr': 1e-3, 'weight_decay': 0.0}}) == 0
    plain = weights(LATEST)
    assert unlearn({'train.total_iter': 1, 'train.optim_g': {'type': kind, 'lr': 1e-3, 'weight_decay': 0.5}}) == 0
    decayed, original = weights(LATEST), weights('../base.pth')
    bias = 'ending.bias'
    torch.testing.assert_close((plain[bias] - original[bias]).abs(), torch.full((3,), 1e-3), rtol=1e-2, atol=0)
    if kind == 'AdamW':
        torch.testing.assert_close(decayed[bias], plain[bias] - 1e-3 * 0.5 * original[bias], rtol=0, atol=1e-7)
    else:
        assert not torch.allclose(decayed[bias], plain[bias] - 1e-3 * 0.5 * original[bias], rtol=0, atol=1e-7)


@pytest.mark.parametrize('name', ['L1Loss', 'MSELoss', 'CharbonnierLoss'])
def test_losses_of_basicsr_serve_as_terms(unlearn, built, batches, restoring_net, name):
    assert unlearn({'train.total_iter': 1, 'train.forget_opt': {'type': name},
                    'train.retain_opt': {'type': name, 'target': 'gt'}}) == 0
    formula = {'L1Loss': lambda d: d.abs(), 'MSELoss': lambda d: d**2,
               'CharbonnierLoss': lambda d: (d**2 + 1e-12).sqrt()}
    for stream in ('forget', 'retain'):
        with torch.no_grad():
            error = restoring_net(batches[0][stream]['lq']) - batches[0][stream]['gt']
        assert built[0].log_dict[f'l_{stream}'] == pytest.approx(float(formula[name](error).mean()), rel=1e-4)


def test_retain_target_teacher_holds_the_output_and_not_the_truth(unlearn, built):
    """At the first step the network is the teacher, so there is nothing to correct yet."""
    assert unlearn({'train.total_iter': 1, 'train.retain_opt.target': 'teacher'}) == 0
    assert built[0].log_dict['l_retain'] == pytest.approx(0, abs=1e-6)


def test_each_term_may_stand_alone(unlearn, built):
    for term, opt in (('forget', {'type': 'TargetLoss'}), ('retain', {'type': 'L1Loss'}), ('adversarial', ADVERSARIAL)):
        others = {f'train.{name}_opt': None for name in ('forget', 'retain', 'adversarial') if name != term}
        assert unlearn({**others, f'train.{term}_opt': opt, 'train.total_iter': 2, 'train.conflict_freq': 1}) == 0
        assert [key for key in built[-1].log_dict if key.startswith('l_')] == [f'l_{term}']
    assert unlearn({'train.forget_opt': None, 'train.adversarial_opt': ADVERSARIAL, 'train.conflict_freq': 1}) == 0
    assert built[-1].log_dict['grad_cosine'] == 0  # nothing to forget, so no conflict


def test_gradient_cosine_of_opposed_terms_is_minus_one(unlearn, built):
    """Ascent and descent on the same error; the streams differ in their samples only."""
    assert unlearn({'train.total_iter': 1, 'train.conflict_freq': 1, 'train.forget_opt.bound': 'none'}) == 0
    assert -1 <= built[0].log_dict['grad_cosine'] < -0.9


def test_gradient_cosine_changes_nothing(unlearn, weights, same):
    assert unlearn({'train.adversarial_opt': ADVERSARIAL}) == 0
    without = weights(LATEST)
    assert unlearn({'train.adversarial_opt': ADVERSARIAL, 'train.conflict_freq': 2}) == 0
    same(weights(LATEST), without)


def test_streams_share_a_forward_unless_batch_normalisation_would_mix_them(unlearn, normalised, batches, built,
                                                                            monkeypatch):
    sizes, forward = [], normalised.forward
    monkeypatch.setattr(normalised, 'forward', lambda self, x: sizes.append(len(x)) or forward(self, x))
    assert unlearn({'network_g': {'type': 'NormalisedNet'}, 'train.total_iter': 1, 'val': None}) == 0
    assert sizes == [2, 2] and not built[0].unlearner.joint_forward


def test_retain_stream_is_not_computed_where_only_adversarial_samples_hold(unlearn, built):
    """A pass over the retain samples themselves would cost a third of the step and serve nothing."""
    assert unlearn({'train.retain_opt': None, 'train.adversarial_opt': ADVERSARIAL, 'train.total_iter': 1}) == 0
    assert 'psnr_forget' in built[0].log_dict and 'psnr_retain' not in built[0].log_dict


def test_bfloat16_stays_close_to_float32(unlearn, weights, built):
    changes = {**ONE_SGD_STEP, 'train.adversarial_opt': ADVERSARIAL}
    assert unlearn(changes) == 0
    full, loss = weights(LATEST), built[0].log_dict
    assert unlearn({**changes, 'train.amp': 'bf16'}) == 0
    original = weights('../base.pth')
    step, step_amp = (torch.cat([(new[name] - original[name]).flatten() for name in original])
                      for new in (full, weights(LATEST)))
    assert not torch.equal(step, step_amp)
    assert float((step - step_amp).norm() / step.norm()) < 0.1
    for name in ('l_forget', 'l_retain', 'l_adversarial'):
        assert built[1].log_dict[name] == pytest.approx(loss[name], rel=0.05)


def test_channels_last_is_the_same_computation(unlearn, weights, built, same):
    assert unlearn({**ONE_SGD_STEP, 'train.adversarial_opt': ADVERSARIAL}) == 0
    before = weights(LATEST)
    assert unlearn({**ONE_SGD_STEP, 'train.adversarial_opt': ADVERSARIAL, 'train.channels_last': True}) == 0
    assert built[1].net_g.intro.weight.is_contiguous(memory_format=torch.channels_last)
    assert weights(LATEST)['intro.weight'].is_contiguous()
    same(weights(LATEST), before, rtol=1e-3, atol=1e-4)


def test_random_numbers_of_a_step_depend_on_seed_rank_and_iteration():
    seeds = {step_seed(*key) for key in [(0, 0, 1), (1, 0, 1), (0, 1, 1), (0, 0, 2), (0, 11, 1), (0, 1, 11)]}
    assert len(seeds) == 6 and step_seed(3, 1, 2) == step_seed(3, 1, 2)


def test_losses_in_two_parts_are_added():
    two, three = torch.tensor(2.0), torch.tensor(3.0)
    for parts, expected in (((two, three), 5), ((two, None), 2), (two, 2)):
        assert float(Paired(lambda output, target, parts=parts: parts)(having(two, three))) == expected


# ---------------------------------------------------------------- refusals

@pytest.mark.parametrize('changes, last', [
    ({'train.optim_g.lr': 1e30}, 1),
    ({'train.retain_opt': {'type': 'FailsAtLoss', 'call': 4}}, 3),
    ({'train.retain_opt': {'type': 'FailsAtLoss', 'call': 4, 'value': 1e30}}, 3),
])
def test_a_step_that_is_not_finite_ends_the_run_and_keeps_what_was_saved(unlearn, weights, written, capsys, changes,
                                                                          last):
    assert unlearn({**changes, 'logger.save_checkpoint_freq': 1}) == 2
    assert f'not finite at iteration {last + 1}' in capsys.readouterr().err
    assert written('models') == [f'net_g_{i}.pth' for i in range(1, last + 1)]
    assert written('training_states') == [f'{i}.state' for i in range(1, last + 1)]
    assert all(torch.isfinite(w).all() for w in weights(f'experiments/tiny/models/net_g_{last}.pth').values())


def test_weights_that_are_not_finite_are_never_saved(unlearn, written, capsys):
    """The step, 1e30 times a gradient of some 1e10, is beyond float32."""
    assert unlearn({'train.optim_g': {'type': 'SGD', 'lr': 1e30}, 'train.total_iter': 1,
                    'train.retain_opt.loss_weight': 1e12}) == 2
    assert 'is not finite after iteration 1' in capsys.readouterr().err
    assert written('models') == []


def test_a_network_that_returns_no_numbers_is_not_scored(unlearn, capsys):
    assert unlearn({'train.optim_g.lr': 1e30, 'train.total_iter': 1}) == 2
    err = capsys.readouterr().err
    assert 'not finite on' in err and '0.png' in err


@pytest.mark.parametrize('changes, sentence', [
    ({'datasets.train': foreign(1, 'forget', 'retain')}, 'trained nothing'),     # drop_last leaves no batch
    ({'train.optim_g.lr': 0.0}, 'changed nothing in 6 iterations'),
])
def test_a_run_that_trains_nothing_is_an_error(unlearn, written, capsys, changes, sentence):
    assert unlearn(changes) == 2
    assert sentence in capsys.readouterr().err
    assert written('models') == []


def test_data_that_end_early_are_reported(unlearn, log):
    """5 items in batches of 2: BasicSR counts 3 steps an epoch and does 2, so of 6 steps in 2 + 1 epochs all are
    done, but of 20 in 7 + 1 epochs 16."""
    assert unlearn({'datasets.train': foreign(5, 'forget', 'retain')}) == 0
    assert 'The data ended' not in log()
    assert unlearn({'datasets.train': foreign(5, 'forget', 'retain'), 'train.total_iter': 20}) == 0
    assert 'The data ended after 16 of train.total_iter 20' in log()


@pytest.mark.parametrize('data, changes, sentence', [
    (foreign(4, 'retain'), {}, 'train.forget_opt has no data'),
    (foreign(4, 'forget'), {}, 'train.retain_opt has no data'),
    (foreign(4, 'forget'), {'train.retain_opt': None, 'train.adversarial_opt': ADVERSARIAL}, 'train.adversarial_opt'),
    (foreign(4, 'forget'), {'train.retain_opt': None, 'train.adversarial_opt': {**ADVERSARIAL, 'source': 'forget'},
                            'train.stop_opt': {'retain_budget': 1.0}}, 'train.stop_opt needs PSNR of the retain'),
    (foreign(4, 'retain'), {'train.forget_opt': None, 'train.stop_opt': {}}, 'train.stop_opt needs PSNR of the forget'),
])
def test_a_term_without_data_is_one_sentence(unlearn, capsys, data, changes, sentence):
    assert unlearn({'datasets.train': data, **changes}) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.splitlines()[-1].startswith('Error: ')
