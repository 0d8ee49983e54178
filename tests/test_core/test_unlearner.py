"""The unlearner in a loop of one's own: the option file's numbers, exact resumes, several networks, what it refuses."""
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

import basicsr_unlearn
from basicsr_unlearn import Unlearner
from basicsr_unlearn.core.building import method_options
from basicsr_unlearn.core.losses import L1Loss, TargetLoss
from basicsr_unlearn.core.objective import Objective, Paired
from basicsr_unlearn.core.stop_rule import StopRule
from basicsr_unlearn.errors import OptionError, TrainingError

CHECKOUT = Path(basicsr_unlearn.__file__).resolve().parents[1]
SHORT = {'evidence_batches': 2}
SHORTER = {'blindspot': {'proxy_opt': {'iters': 2}}, 'calibrated_proxy': {'proxy_opt': {'iters': 2}},
           'task_negation': {'edit_opt': {'iters': 2}}, 'adapt_then_unlearn': {'anchor_opt': {'adapt_iters': 2}},
           'i2i_encoder': {'mask_opt': {'part': None, 'include': 'encoders'}, 'forget_opt': {'layers': 'encoders.0'}},
           'rmu': {'forget_opt': {'layers': 'encoders.0'}}}
# run where nothing but torch and what it needs can be imported
BLOCKED = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('basicsr', 'cv2', 'lmdb', 'torchvision', 'tensorboard', 'skimage', 'matplotlib'):
            raise ImportError(f'{name} must not be needed here')

sys.meta_path.insert(0, Blocked())
"""
ALONE = BLOCKED + """
sys.path.insert(0, sys.argv[1])
import torch
import basicsr_unlearn.core
import test_unlearner as tests
from basicsr_unlearn.methods.presets import method_names
torch.set_num_threads(1)
for name in method_names():
    unlearner, batches = tests.own(name), tests.batches(5)
    logs = [unlearner.step(*batch) for batch in batches]
    assert unlearner.prepared and unlearner.iteration >= 3, name
    assert all(torch.isfinite(value) for value in logs[-1].values()) and 'grad_norm' in logs[-1], name
print('alone')
"""


class OwnNet(nn.Module):
    """A network that no registry holds."""

    def __init__(self):
        super().__init__()
        self.intro = nn.Conv2d(3, 4, 3, padding=1)
        self.encoders = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1)])
        self.ending = nn.Conv2d(4, 3, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.ending(self.encoders[0](self.intro(x)).relu())


def seeded(make, seed: int = 0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def trained() -> OwnNet:
    """One that adds about 0.2, which is what is missing in the batches."""
    net = seeded(OwnNet)
    with torch.no_grad():
        net.ending.weight.mul_(0.1)
        net.ending.bias.fill_(0.18)
    return net


def batches(count: int, seed: int = 0) -> list[tuple[dict, dict]]:
    generator = torch.Generator().manual_seed(seed)

    def batch() -> dict:
        lq = 0.2 + 0.5 * torch.rand(2, 3, 16, 16, generator=generator)
        return {'lq': lq, 'gt': lq + 0.2 + 0.02 * torch.rand(2, 3, 16, 16, generator=generator)}
    return [(batch(), batch()) for _ in range(count)]


def own(name: str, net: nn.Module | None = None, **more) -> Unlearner:
    return Unlearner(net or trained(), name, total_iter=9, fresh=OwnNet, **SHORT, **SHORTER.get(name, {}), **more)


# ---------------------------------------------------------------- without BasicSR

def test_every_method_steps_where_basicsr_cannot_be_imported():
    done = subprocess.run([sys.executable, '-c', ALONE, str(Path(__file__).parent)], cwd=CHECKOUT, text=True,
                          capture_output=True, env={'PYTHONPATH': str(CHECKOUT), 'OMP_NUM_THREADS': '1'})
    assert done.stdout == 'alone\n', done.stderr


# ---------------------------------------------------------------- resuming

@pytest.mark.parametrize('name', ['calibrated', 'deep', 'resistant', 'salun', 'adapt_then_unlearn', 'pdu',
                                  'bad_teacher', 'accurate_forgetting_free', 'msg'])
def test_an_unlearner_that_goes_on_from_its_state_equals_one_that_was_never_stopped(name, tmp_path):
    whole, given = own(name), batches(8)
    for batch in given:
        whole.step(*batch)
    first = own(name)
    for batch in given[:5]:
        first.step(*batch)
    torch.save(first.state_dict(), tmp_path / 'state.pth')
    torch.manual_seed(99)  # what others draw meanwhile does not matter
    again = own(name, seeded(OwnNet, 7), seed=5)
    again.load_state_dict(torch.load(tmp_path / 'state.pth', weights_only=True))
    logs = [again.step(*batch) for batch in given[5:]]
    assert again.iteration == whole.iteration >= 6 and logs[-1]
    for key, weight in whole.net.state_dict().items():
        assert torch.equal(weight, again.net.state_dict()[key]), key
    assert not torch.equal(whole.net.ending.weight, whole.teacher.ending.weight)


def test_random_numbers_outside_are_left_as_they_were():
    unlearner, (batch,) = own('calibrated_blind'), batches(1)
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    unlearner.step(*batch)
    assert torch.equal(torch.rand(1), expected)


# ---------------------------------------------------------------- evidence

def test_batches_are_collected_first_or_given():
    """With the same batches for the parts and for the steps, it is the same run."""
    seen, given = batches(2, seed=4), batches(3)
    collecting, told = own('salun'), own('salun')
    assert [int(collecting.step(*batch)['collected']) for batch in seen] == [1, 2]
    assert collecting.iteration == 0 and torch.equal(collecting.net.ending.weight, trained().ending.weight)
    told.prepare(*zip(*seen))
    for batch in given:
        collecting.step(*batch)
        told.step(*batch)
    assert all(torch.equal(*pair) for pair in zip(collecting.net.parameters(), told.net.parameters()))
    assert told.iteration == 3


def test_a_method_that_looks_at_no_batch_trains_from_the_first():
    unlearner = own('calibrated')
    assert 'l_forget' in unlearner.step(*batches(1)[0]) and unlearner.iteration == 1


# ---------------------------------------------------------------- data

def test_ground_truth_may_be_absent_where_no_term_asks_for_it():
    with_gt, without = own('calibrated'), own('calibrated')
    for forget, retain in batches(2):
        scored = with_gt.step(forget, retain)
        log = without.step({'lq': forget['lq']}, {'lq': retain['lq']})
    assert {'psnr_forget', 'psnr_retain', 'psnr_retain_original'} <= set(scored) and 'psnr_forget' not in log
    assert all(torch.equal(*pair) for pair in zip(with_gt.net.parameters(), without.net.parameters()))


def test_a_stream_may_be_absent_where_no_term_looks_at_it():
    assert set(own('gradient_ascent').step(batches(1)[0][0])) >= {'l_forget'}
    assert set(own('finetune').step(retain=batches(1)[0][1])) >= {'l_retain'}


@pytest.mark.parametrize('name, left_out, named', [
    ('calibrated', {'retain': None}, 'retain_opt has no data'),
    ('gradient_ascent', {'forget': None}, 'forget_opt has no data'),
    ('gradient_ascent', {'gt': 'forget'}, 'forget batches have no gt'),
    ('ct', {'gt': 'retain'}, 'retain batches have no gt'),
])
def test_what_a_term_needs_and_lacks_is_one_sentence(name, left_out, named):
    given = dict(zip(('forget', 'retain'), batches(1)[0]))
    for key, value in left_out.items():
        given = {**given, key: None} if value is None else {**given, value: {'lq': given[value]['lq']}}
    with pytest.raises(OptionError, match=f'{named}[^\n]*\\.$'):
        own(name).step(**given)


@pytest.mark.parametrize('name, blocks, named', [('pdu', {}, 'dual_opt goes by the scores of retain'),
                                                 ('calibrated', {'stop_opt': {'window': 3}}, 'stop_opt goes by the')])
def test_what_goes_by_scores_refuses_batches_without_them(name, blocks, named):
    forget, retain = ({'lq': batch['lq']} for batch in batches(1)[0])
    with pytest.raises(OptionError, match=named):
        own(name, **blocks).step(forget, retain)


def test_a_batch_without_its_input_is_one_sentence():
    forget, retain = batches(1)[0]
    for net in (trained(), nn.Sequential(trained(), nn.BatchNorm2d(3))):  # in one pass, and each by itself
        with pytest.raises(OptionError, match='retain batches have no lq'):
            Unlearner(net, 'calibrated').step(forget, {'input': retain['lq']})


def test_a_step_that_is_not_finite_changes_nothing():
    unlearner, (batch,) = own('finetune'), batches(1)
    batch[1]['gt'] = torch.full_like(batch[1]['gt'], float('nan'))
    with pytest.raises(TrainingError, match='not finite at iteration 1'):
        unlearner.step(*batch)
    assert all(torch.equal(*pair) for pair in zip(unlearner.net.parameters(), trained().parameters()))


# ---------------------------------------------------------------- methods and parts

def test_blocks_beside_a_method_win_and_parts_may_be_objects():
    unlearner = own('calibrated', retain_opt={'target': 'gt', 'loss_weight': 3.0}, grad_clip=None)
    assert unlearner.objective.losses['retain'].target == 'gt' and unlearner.grad_clip == float('inf')
    by_parts = Unlearner(trained(), objective=Objective({'forget': TargetLoss(), 'retain': Paired(L1Loss(3.0))}),
                         optim_g=method_options('calibrated', {})['optim_g'])
    for batch in batches(2):
        unlearner.step(*batch)
        by_parts.step(*batch)
    assert all(torch.equal(*pair) for pair in zip(unlearner.net.parameters(), by_parts.net.parameters()))


def test_it_is_done_when_the_rule_is_met_or_the_run_at_its_end():
    rule = StopRule(margin=99.0, window=2)
    unlearner = Unlearner(trained(), 'calibrated', stop_rule=rule)
    steps = [unlearner.step(*batch) for batch in batches(4) if not unlearner.done]
    assert len(steps) == 2 and unlearner.done and unlearner.step(*batches(1)[0]) == {}
    assert own('calibrated').total_iter == 9 and not own('calibrated').done


def test_a_rate_of_ones_own_is_not_fitted():
    net = trained()
    unlearner = own('accurate_forgetting', net, optimizer=torch.optim.SGD(net.parameters(), lr=1e-3), stop_opt=None)
    unlearner.step(*batches(1)[0])
    assert unlearner.optimizers['g'].param_groups[0]['lr'] == 1e-3 and unlearner.iteration == 1


@pytest.mark.parametrize('options, named', [
    ({'method': 'calibratd'}, 'calibrated'), ({'method': 'calibrated', 'forget': {}}, 'forget is no part'),
    ({'method': 'calibrated', 'forget_opt': {'target': 'degrade'}}, 'forget_opt: target'),
    ({'method': 'calibrated', 'stop_opt': {'check': 'val'}}, 'check: train'), ({}, 'nothing to do'),
    ({'method': 'calibrated', 'optim_g': {'type': 'Lion'}}, 'optim_g.type is Lion'),
    ({'method': 'l1_sparse'}, 'total_iter'),
    ({'method': 'calibrated', 'phases': [{'terms': ['anchor']}]}, 'phases: phase 1'),
    ({'method': 'calibrated', 'stop_rule': StopRule(), 'stop_opt': {'window': 3}}, 'stop_opt is given'),
])
def test_what_cannot_be_is_one_sentence(options, named):
    with pytest.raises(OptionError, match=f'{named}[^\n]*[.?]$'):
        Unlearner(trained(), **options)


def test_a_method_that_needs_fresh_weights_says_so():
    with pytest.raises(OptionError, match='give fresh'):
        Unlearner(trained(), 'retrain').step(retain=batches(1)[0][1])


def test_an_error_in_the_preparation_comes_again_instead_of_a_run_without_it():
    unlearner, (batch,) = Unlearner(trained(), 'retrain'), batches(1)
    for _ in range(2):
        with pytest.raises(OptionError, match='give fresh'):
            unlearner.step(retain=batch[1])


@pytest.mark.parametrize('net, options, named', [
    ('net.pth', {}, 'is a str'), ({}, {}, 'no network'), (nn.Identity(), {}, 'no weight that takes a gradient'),
    (nn.Conv2d(3, 3, 1).requires_grad_(False), {}, 'no weight that takes a gradient'),
    (nn.Conv2d(3, 3, 1), {'optimizer': torch.optim.SGD(nn.Conv2d(3, 3, 1).parameters(), lr=1.0)}, 'no weight of that'),
    (nn.Conv2d(3, 3, 1), {'optimizer': {'judge': None}}, 'optimizer of judge'),
    (nn.Conv2d(3, 3, 1), {'amp': 'fp16'}, 'fp16'), (nn.Conv2d(3, 3, 1), {'score': max}, 'score has no name'),
])
def test_a_network_or_part_that_cannot_serve_is_one_sentence(net, options, named):
    with pytest.raises(OptionError, match=f'{named}[^\n]*\\.$'):
        Unlearner(net, 'calibrated', **options)


@pytest.mark.parametrize('forget, named', [
    (torch.zeros(2, 3, 16, 16), 'batch is a Tensor'), ((torch.zeros(2, 3, 16, 16),) * 2, 'batch is a tuple'),
    ({'lq': torch.zeros(2, 3, 16, 16), 'gt': torch.zeros(2, 1, 16, 16)}, r'gt is \(2, 1, 16, 16\)'),
])
def test_a_batch_of_another_form_is_one_sentence(forget, named):
    with pytest.raises(OptionError, match=f'{named}[^\n]*\\.$'):
        own('calibrated').step(forget, batches(1)[0][1])


@pytest.mark.parametrize('state, named', [({'params': {}}, 'has params'), (None, 'forget, retain, adversarial')])
def test_a_state_of_something_else_is_one_sentence(state, named):
    with pytest.raises(OptionError, match=named):
        own('calibrated').load_state_dict(state or own('resistant').state_dict())


# ---------------------------------------------------------------- other networks and data

class ToReal:
    """What a generator is trained by: the judge takes its pictures for real ones."""

    terms, source, trains = ('forget',), 'latent', 'g'

    def __call__(self, sample):
        return -sample.nets['judge'](sample.output).mean()


class Judging:
    terms, source, trains = ('forget',), 'latent', 'judge'

    def __call__(self, sample):
        made = sample.run(sample.nets['g'], sample.batch).detach()
        return sample.nets['judge'](made).mean() - sample.nets['judge'](sample.streams['real']['image']).mean()


def test_two_networks_and_samples_without_images_need_nothing_new():
    """A generator and its judge: latent vectors, an optimizer each, losses that say whom they train."""
    nets = {'g': seeded(lambda: nn.Linear(4, 6)), 'judge': seeded(lambda: nn.Linear(6, 1), 1)}
    unlearner = Unlearner(nets, objective=Objective({'make': ToReal(), 'judge': Judging()}),
                          optimizer={name: torch.optim.SGD(net.parameters(), lr=0.1) for name, net in nets.items()},
                          run=lambda net, batch: net(batch['z']))
    before = deepcopy(nets)
    log = unlearner.step(latent={'z': torch.randn(5, 4)}, real={'image': torch.randn(5, 6)})
    assert set(log) == {'l_make', 'l_judge', 'grad_norm', 'grad_norm_judge'}
    # the generator's step: its bias goes along the judge's weights; the judge's own is of its two means
    moved = nets['g'].bias - before['g'].bias
    torch.testing.assert_close(moved, 0.1 * before['judge'].weight[0])
    assert not torch.equal(nets['judge'].weight, before['judge'].weight)
    state = unlearner.state_dict()
    assert set(state['nets']) == set(state['optimizers']) == {'g', 'judge'}


def test_a_term_that_trains_a_network_without_optimizer_is_one_sentence():
    """It would silently be left out."""
    nets = {'g': nn.Linear(4, 6), 'judge': nn.Linear(6, 1)}
    with pytest.raises(OptionError, match='trains judge, which has no optimizer'):
        Unlearner(nets, objective=Objective({'make': ToReal(), 'judge': Judging()}),
                  optimizer=torch.optim.SGD(nets['g'].parameters(), lr=0.1))
