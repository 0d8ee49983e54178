"""What happens before the first step of a run: edits once, masks and anchors anew in each process, the proxy."""
import pytest
import torch
from basicsr.archs import build_network
from basicsr.data import build_dataset

from basicsr_unlearn.core.building import build_parts
from basicsr_unlearn.core.parts import ANCHORS, EDITS, MASKS, Edit, Evidence, Mask, live_parameters
from basicsr_unlearn.models import unlearn_model
from basicsr_unlearn.models.checkpoints import weights_digest

NETWORK = {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1], 'middle_blk_num': 1, 'dec_blk_nums': [1]}
LATEST = 'experiments/tiny/models/net_g_latest.pth'
STILL = {'type': 'SGD', 'lr': 1e-60}  # 0 in float32, so that only an edit is seen
SHORT = {'val': None, 'train.evidence_batches': 2, 'train.total_iter': 5, 'logger.save_checkpoint_freq': 2,
         'datasets.train.epoch_length': 8}
NOISE = {'type': 'WeightNoise', 'std': 0.1, 'convs_only': False}
SALIENCY = {'type': 'SaliencyMask', 'share': 0.4}
DECAY = {'type': 'AdamW', 'lr': 2e-3, 'weight_decay': 0.5}


class AddOne(Edit):
    def __call__(self, net, evidence):
        with torch.no_grad():
            for p in net.parameters():
                p.add_(1)


class Double(Edit):
    def __call__(self, net, evidence):
        with torch.no_grad():
            for p in net.parameters():
                p.mul_(2)


class Look(Edit):
    """Changes nothing much, and keeps the evidence that it was shown."""

    needs = ('forget', 'retain')
    seen: list[Evidence] = []

    def __call__(self, net, evidence):
        self.seen.append(evidence)
        with torch.no_grad():
            net.ending.bias.add_(0.01)


class Rates(Mask):
    """The first convolution learns at a tenth of a step, the last not at all."""

    def __call__(self, evidence):
        return {name: torch.full_like(p, {'intro': 0.1, 'ending': 0.0}.get(name.partition('.')[0], 1.0))
                for name, p in live_parameters(evidence.teacher)}


@pytest.fixture
def edits(monkeypatch) -> list[Evidence]:
    """The edits above may be named in option files; the evidence that Look is shown."""
    for cls in (AddOne, Double, Look):
        monkeypatch.setitem(EDITS, cls.__name__, cls)
    monkeypatch.setattr(Look, 'seen', [])
    return Look.seen


@pytest.fixture
def untrained():
    """untrained(seed) is what BasicSR builds under that manual_seed."""
    def build(seed: int) -> torch.nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            return build_network(dict(NETWORK))
    return build


@pytest.fixture
def halves(unlearn):
    """halves(changes) runs until the state of iteration 2 is there and a step breaks off, and then resumes."""
    def run(changes: dict) -> None:
        broken = {'type': 'FailsAtLoss', 'call': 4, 'raises': True}
        assert unlearn({**SHORT, **changes, 'train.retain_opt': broken}) == 130
        assert unlearn({**SHORT, **changes, 'train.retain_opt': {'type': 'FailsAtLoss', 'call': 0},
                        'path.resume_changed': True}, '--auto_resume') == 0
    return run


@pytest.fixture
def whole(unlearn):
    """whole(changes) is the same run in one piece."""
    def run(changes: dict) -> None:
        assert unlearn({**SHORT, **changes, 'train.retain_opt': {'type': 'FailsAtLoss', 'call': 0}}) == 0
    return run


# ---------------------------------------------------------------- edits

@pytest.mark.parametrize('names, expected', [
    (['AddOne'], lambda w: w + 1), (['AddOne', 'Double'], lambda w: 2 * (w + 1)),
    (['Double', 'AddOne'], lambda w: 2 * w + 1),
])
def test_edits_are_done_in_the_order_of_the_list(unlearn, edits, weights, same, log, names, expected):
    blocks = [{'type': name} for name in names]
    assert unlearn({**SHORT, 'train.edit_opt': blocks if len(blocks) > 1 else blocks[0], 'train.optim_g': STILL}) == 0
    same(weights(LATEST), {name: expected(w) for name, w in weights('../base.pth').items()})
    assert '(100.0 %)' in log()


def test_the_average_starts_from_the_edited_weights(unlearn, edits, weights, same):
    assert unlearn({**SHORT, 'train.edit_opt': {'type': 'Double'}, 'train.optim_g': STILL, 'train.ema_decay': 0.9}) == 0
    same(weights(LATEST, 'params_ema'), weights(LATEST), rtol=1e-6, atol=1e-7)


def test_an_edit_is_done_in_a_fresh_run_only(halves, whole, enter, edits, weights, same):
    changes = {'train.edit_opt': [NOISE, {'type': 'Look'}], 'train.ema_decay': 0.8}
    enter('whole')
    whole(changes)
    expected = [weights(LATEST, key) for key in ('params', 'params_ema')]
    assert len(edits) == 1
    enter('halves')
    halves(changes)
    assert len(edits) == 2  # of the first half
    for key, there in zip(('params', 'params_ema'), expected):
        same(weights(LATEST, key), there)


def test_what_an_edit_draws_is_set_by_the_seed(unlearn, weights):
    found = []
    for seed in (5, 5, 6):
        assert unlearn({**SHORT, 'train.edit_opt': NOISE, 'train.optim_g': STILL, 'manual_seed': seed}) == 0
        found.append(weights(LATEST)['intro.weight'])
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


RESET_ALL = {'type': 'ResetAll', 'fresh': 1.0}


def test_fresh_weights_follow_manual_seed_unless_an_edit_has_a_seed_of_its_own(unlearn, weights):
    def fresh(manual_seed: int, **options) -> torch.Tensor:
        assert unlearn({**SHORT, 'train.edit_opt': {**RESET_ALL, **options}, 'train.optim_g': STILL,
                        'train.total_iter': 1, 'manual_seed': manual_seed}) == 0
        return weights(LATEST)['intro.weight']

    assert torch.equal(fresh(5), fresh(5)) and not torch.equal(fresh(5), fresh(6))
    own = fresh(5, seed=3)
    assert torch.equal(own, fresh(6, seed=3)) and not torch.equal(own, fresh(5))
    assert torch.equal(fresh(5, seed=None), fresh(5))


def test_fresh_weights_are_not_those_that_an_original_of_the_same_seed_started_from(unlearn, weights, untrained):
    assert unlearn({**SHORT, 'train.edit_opt': RESET_ALL, 'train.optim_g': STILL, 'manual_seed': 5}) == 0
    assert not torch.equal(weights(LATEST)['intro.weight'], untrained(5).intro.weight)
    assert unlearn({**SHORT, 'train.edit_opt': {**RESET_ALL, 'seed': 5}, 'train.optim_g': STILL}) == 0
    assert torch.equal(weights(LATEST)['intro.weight'], untrained(5).intro.weight)


def test_the_teacher_is_not_edited(unlearn, built, edits, restoring_net):
    assert unlearn({**SHORT, 'train.edit_opt': {'type': 'Double'}}) == 0
    assert weights_digest(built[0].unlearner.teacher) == weights_digest(restoring_net)


# ---------------------------------------------------------------- masks

@pytest.mark.parametrize('optimizer', [DECAY, {'type': 'SGD', 'lr': 0.05, 'momentum': 0.9, 'weight_decay': 0.5}])
@pytest.mark.parametrize('changes', [{}, {'train.edit_opt': NOISE}])
def test_weights_that_may_not_move_keep_every_bit(unlearn, built, weights, log, optimizer, changes):
    """In the network and in its average, under weight decay and momentum; after an edit, those of the edited network.
    """
    start = weights('../base.pth')
    if changes:
        assert unlearn({**SHORT, **changes, 'train.optim_g': STILL}) == 0
        start = weights(LATEST)
    assert unlearn({**SHORT, **changes, 'train.mask_opt': SALIENCY, 'train.optim_g': optimizer, 'train.ema_decay': 0.5,
                    }) == 0
    masks = built[-1].unlearner.preparation.masking.masks
    moving, total = sum(int(mask.sum()) for mask in masks.values()), sum(mask.numel() for mask in masks.values())
    assert moving == round(0.4 * total) and f'mask_opt lets {moving:,d} of {total:,d} weights move (40.0 %)' in log()
    for key in ('params', 'params_ema'):
        end = weights(LATEST, key)
        assert all(torch.equal(end[name][~mask], start[name][~mask]) for name, mask in masks.items())
        assert all((end[name][mask] != start[name][mask]).all() for name, mask in masks.items())  # decay moves them all


def test_the_gradient_is_clipped_by_the_weights_that_may_move(unlearn, weights):
    """One step of SGD is as long as lr times the clipped norm, though the others have most of the gradient."""
    assert unlearn({**SHORT, 'train.total_iter': 1, 'train.optim_g': {'type': 'SGD', 'lr': 0.5},
                    'train.grad_clip': 0.01, 'train.mask_opt': {'type': 'LayerMask', 'include': 'intro'}}) == 0
    original, new = weights('../base.pth'), weights(LATEST)
    moved = torch.cat([(new[name] - original[name]).flatten() for name in new]).norm()
    assert float(moved) == pytest.approx(0.5 * 0.01, rel=1e-3)


@pytest.mark.parametrize('optimizer', [DECAY, {'type': 'SGD', 'lr': 0.05, 'momentum': 0.9, 'weight_decay': 0.5}])
def test_a_rate_shortens_the_step_and_not_the_gradient(unlearn, weights, monkeypatch, optimizer):
    """A tenth of the step, in the network; so in its average, half of which is the original."""
    monkeypatch.setitem(MASKS, 'Rates', Rates)
    one = {**SHORT, 'train.total_iter': 1, 'train.optim_g': optimizer, 'train.ema_decay': 0.5}
    original = weights('../base.pth')
    for blocks, rate in ((None, 1), ({'type': 'Rates'}, 0.1), ([{'type': 'Rates'}, {'type': 'Rates'}], 0.01)):
        assert unlearn({**one, 'train.mask_opt': blocks}) == 0
        if blocks is None:
            full = {name: weight - original[name] for name, weight in weights(LATEST).items()}
            continue
        for key, share in (('params', 1), ('params_ema', 0.5)):
            end = weights(LATEST, key)
            for name, step in full.items():
                part = name.partition('.')[0]
                factor = {'intro': rate, 'ending': 0}.get(part, 1) * share
                torch.testing.assert_close(end[name], original[name] + factor * step, rtol=0, atol=2e-7)
            assert torch.equal(end['ending.weight'], original['ending.weight'])


def test_rates_hold_in_a_resumed_run(halves, whole, enter, weights, same, monkeypatch):
    monkeypatch.setitem(MASKS, 'Rates', Rates)
    changes = {'train.mask_opt': {'type': 'Rates'}, 'train.optim_g': DECAY, 'train.ema_decay': 0.8}
    enter('whole')
    whole(changes)
    expected = [weights(LATEST, key) for key in ('params', 'params_ema')]
    enter('halves')
    halves(changes)
    for key, there in zip(('params', 'params_ema'), expected):
        same(weights(LATEST, key), there)


def test_a_resumed_run_finds_the_same_masks(halves, whole, enter, built, weights, same):
    """They come from the original and the data, not from the weights that have moved since."""
    changes = {'train.mask_opt': [SALIENCY, {'type': 'FisherMask', 'share': 0.7}], 'train.optim_g': DECAY,
               'train.ema_decay': 0.8}
    enter('whole')
    whole(changes)
    expected = [weights(LATEST, key) for key in ('params', 'params_ema')]
    enter('halves')
    halves(changes)
    for model in built[1:]:
        first, again = (found.unlearner.preparation.masking.masks for found in (built[0], model))
        assert all(torch.equal(again[name], mask) for name, mask in first.items())
    for key, there in zip(('params', 'params_ema'), expected):
        same(weights(LATEST, key), there)


def test_of_several_masks_all_must_agree(unlearn, built, weights):
    assert unlearn({**SHORT, 'train.mask_opt': [{'type': 'LayerMask', 'part': 'encoder'},
                                                {'type': 'LayerMask', 'exclude': 'middle_blks'}]}) == 0
    original, end = weights('../base.pth'), weights(LATEST)
    moved = {name.partition('.')[0] for name in end if not torch.equal(end[name], original[name])}
    assert moved == {'intro', 'encoders', 'downs'}


def test_masks_that_agree_nowhere_are_refused(unlearn, capsys, written):
    assert unlearn({**SHORT, 'train.mask_opt': [{'type': 'LayerMask', 'part': part} for part in ('encoder', 'decoder')]
                    }) == 2
    assert 'train.mask_opt lets no weight move' in capsys.readouterr().err.splitlines()[-1]
    assert written('models') == []


# ---------------------------------------------------------------- evidence

def test_the_evidence_is_the_original_and_the_first_items_of_the_data(halves, edits, built, folder, restoring_net):
    halves({'train.edit_opt': {'type': 'Look'}, 'train.evidence_batches': 3})
    evidence, = edits
    dataset = build_dataset({**built[0].opt['datasets']['train'], 'seed': built[0].opt['manual_seed']})
    items = [dataset[index] for index in range(6)]
    for stream in ('forget', 'retain'):
        batches = getattr(evidence, stream)
        assert [tuple(image.shape) for batch in batches for image in batch.values()] == [(2, 3, 16, 16)] * 6
        for kind in ('lq', 'gt'):
            assert torch.equal(torch.cat([batch[kind] for batch in batches]),
                               torch.stack([item[f'{stream}_{kind}'] for item in items]))
    assert weights_digest(evidence.teacher) == weights_digest(restoring_net) and not evidence.teacher.training
    assert evidence.teacher is not built[0].unlearner.teacher
    assert all(p.requires_grad for p in evidence.teacher.parameters())
    state = torch.get_rng_state()
    first, again, other = (evidence.untrained(seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert weights_digest(first) == weights_digest(again) != weights_digest(other)
    assert first.state_dict().keys() == restoring_net.state_dict().keys()


def test_no_batch_is_drawn_for_parts_that_look_at_none(unlearn, monkeypatch):
    monkeypatch.setattr(unlearn_model, 'first_batches', lambda *_: pytest.fail('drawn'))
    assert unlearn({**SHORT, 'train.edit_opt': NOISE, 'train.mask_opt': {'type': 'LayerMask', 'part': 'encoder'},
                    'train.anchor_opt': {'type': 'SparsityAnchor'}}) == 0


def test_looking_at_the_data_changes_nothing(unlearn, weights, same):
    """Neither the random numbers of the steps nor the order of the data: a mask of everything is no mask."""
    assert unlearn(SHORT) == 0
    plain = weights(LATEST)
    assert unlearn({**SHORT, 'train.mask_opt': {'type': 'SaliencyMask', 'share': 1.0}}) == 0
    same(weights(LATEST), plain)


@pytest.mark.parametrize('changes', [
    {'train.mask_opt': {'type': 'SaliencyMask', 'stream': 'retain'}}, {'train.anchor_opt': {'type': 'FisherAnchor'}},
    {'train.edit_opt': {'type': 'ResetSmallestGradient'}},
])
def test_a_part_without_its_stream_is_one_sentence(unlearn, capsys, changes):
    assert unlearn({**SHORT, **changes, 'train.retain_opt': None, 'datasets.train.retain': None}) == 2
    err = capsys.readouterr().err.splitlines()[-1]
    name = next(iter(changes))
    assert err == (f'Error: {name} needs retain samples: give datasets.train.retain, or retain_from: forget_gt with '
                   'retain_degradations.')


# ---------------------------------------------------------------- anchors

def test_an_anchor_is_a_term_of_the_objective(unlearn, built, weights):
    """Held at the original it starts at 0, and the network stays nearer to it than without."""
    def distance() -> float:
        original, end = weights('../base.pth'), weights(LATEST)
        return sum(float((end[name] - original[name]).square().sum()) for name in end)

    assert unlearn({**SHORT, 'train.total_iter': 1, 'train.anchor_opt': {'type': 'FisherAnchor'}}) == 0
    assert float(built[-1].log_dict['l_anchor']) == 0
    sgd = {'train.optim_g': {'type': 'SGD', 'lr': 0.01}}
    assert unlearn({**SHORT, **sgd}) == 0
    free = distance()
    assert unlearn({**SHORT, **sgd, 'train.anchor_opt': {'type': 'SensitivityAnchor', 'loss_weight': 10.0}}) == 0
    assert 0 < distance() < 0.9 * free and float(built[-1].log_dict['l_anchor']) > 0


def test_several_anchors_are_added(unlearn, built, weights):
    """sum |w|, once and twice."""
    one = {'type': 'SparsityAnchor', 'loss_weight': 0.01}
    total = sum(float(w.abs().sum()) for w in weights('../base.pth').values())
    for blocks, factor in ((one, 1), ([one, {**one, 'loss_weight': 0.02}], 3)):
        assert unlearn({**SHORT, 'train.total_iter': 1, 'train.anchor_opt': blocks}) == 0
        assert float(built[-1].log_dict['l_anchor']) == pytest.approx(0.01 * factor * total, rel=1e-5)


def test_an_anchor_knows_how_far_the_run_is(halves, built, weights):
    """The fifth of five steps has a fifth of the pull left, in a resumed run too."""
    halves({'train.anchor_opt': {'type': 'SparsityAnchor', 'loss_weight': 0.01}, 'train.optim_g': STILL,
            'train.edit_opt': {'type': 'WeightNoise'}})
    total = sum(float(p.detach().abs().sum()) for p in built[-1].net_g.parameters())
    assert built[-1].iteration == 5
    assert float(built[-1].log_dict['l_anchor']) == pytest.approx(0.01 * total / 5, rel=1e-5)


def test_an_anchor_alone_trains(unlearn, weights):
    """Each step of Adam takes lr off every weight that is larger, towards zero."""
    assert unlearn({**SHORT, 'train.forget_opt': None, 'train.retain_opt': None, 'train.total_iter': 1,
                    'train.anchor_opt': {'type': 'SparsityAnchor', 'loss_weight': 1.0}}) == 0
    original, end = weights('../base.pth')['ending.bias'], weights(LATEST)['ending.bias']
    torch.testing.assert_close(end, original - 1e-3 * original.sign(), rtol=0, atol=1e-6)


def test_a_resumed_run_is_anchored_at_the_original(halves, whole, enter, built, weights, same, restoring_net):
    changes = {'train.anchor_opt': [{'type': 'FisherAnchor', 'loss_weight': 1.0},
                                    {'type': 'RepulsionAnchor', 'adapt_iters': 3, 'loss_weight': 0.1}]}
    enter('whole')
    whole(changes)
    expected = weights(LATEST)
    enter('halves')
    halves(changes)
    same(weights(LATEST), expected)
    for model in built:
        same(model.unlearner.objective.anchors[0].original, dict(restoring_net.named_parameters()))


# ---------------------------------------------------------------- proxy

PROXY = {'train.forget_opt': {'type': 'TargetLoss', 'target': 'proxy'}, 'train.proxy_opt': {'iters': 3, 'lr': 0.01}}


def test_the_proxy_is_the_target_and_rests(unlearn, built):
    assert unlearn({**SHORT, **PROXY, 'train.total_iter': 1}) == 0
    model, proxy = built[0], built[0].unlearner.preparation.proxy
    with torch.no_grad():
        lq = model.batches['forget']['lq']
        assert float(model.log_dict['l_forget']) == pytest.approx(
            float((model.unlearner.teacher(lq) - proxy(lq)).abs().mean()), rel=1e-4)
    assert not any(p.requires_grad for p in proxy.parameters())
    steered = {id(p) for group in model.optimizer_g.param_groups for p in group['params']}
    assert not steered & {id(p) for p in proxy.parameters()}


def test_a_resumed_run_trains_the_same_proxy(halves, whole, enter, built, weights, same):
    enter('whole')
    whole(PROXY)
    expected = weights(LATEST)
    enter('halves')
    halves(PROXY)
    same(weights(LATEST), expected)
    assert len({weights_digest(model.unlearner.preparation.proxy) for model in built}) == 1 and len(built) == 3


def test_the_proxy_follows_manual_seed_unless_it_has_a_seed_of_its_own(unlearn, built, untrained):
    for manual_seed, options in ((5, {}), (5, {}), (6, {}), (5, {'seed': 3}), (6, {'seed': 3})):
        assert unlearn({**SHORT, 'train.forget_opt': PROXY['train.forget_opt'], 'train.total_iter': 1,
                        'train.proxy_opt': {'iters': 0, **options}, 'manual_seed': manual_seed}) == 0
    five, again, six, own, own_again = (weights_digest(model.unlearner.preparation.proxy) for model in built)
    assert five == again and own == own_again == weights_digest(untrained(3))
    assert len({five, six, own, weights_digest(untrained(5))}) == 4


def test_the_proxy_may_start_from_an_edited_original(unlearn, built, restoring_net, same):
    edits = {'iters': 0, 'edit_opt': [{'type': 'TransposeKernels'}, {'type': 'TransposeKernels'}]}
    assert unlearn({**SHORT, **PROXY, 'train.proxy_opt': edits, 'train.total_iter': 1}) == 0
    same(dict(built[0].unlearner.preparation.proxy.named_parameters()), dict(restoring_net.named_parameters()))


def test_an_untrained_proxy_needs_no_retain_samples_and_a_trained_one_says_so(unlearn, capsys):
    forget_only = {**SHORT, 'train.forget_opt': PROXY['train.forget_opt'], 'train.retain_opt': None,
                   'train.total_iter': 1, 'datasets.train.retain': None}
    assert unlearn({**forget_only, 'train.proxy_opt': {'iters': 0}}) == 0
    assert unlearn({**forget_only, 'train.proxy_opt': {'iters': 1}}) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        'Error: train.proxy_opt needs retain samples: give datasets.train.retain, or retain_from: forget_gt with '
        'retain_degradations.')


def test_a_misspelt_edit_of_the_proxy_is_one_sentence(unlearn, capsys):
    assert unlearn({**SHORT, **PROXY, 'train.proxy_opt': {'edit_opt': {'type': 'TransposeKernel'}}}) == 2
    assert 'train.proxy_opt.edit_opt.type' in capsys.readouterr().err.splitlines()[-1]


def test_a_target_without_its_proxy_is_one_sentence(unlearn, capsys):
    assert unlearn({**SHORT, **PROXY, 'train.proxy_opt': None}) == 2
    assert 'train.proxy_opt' in capsys.readouterr().err.splitlines()[-1]


# ---------------------------------------------------------------- options

def test_parts_are_built_from_one_block_or_a_list():
    assert build_parts(ANCHORS, None, 'x') == build_parts(ANCHORS, [], 'x') == []
    block = {'type': 'SparsityAnchor', 'loss_weight': 0.5}
    assert [part.loss_weight for part in build_parts(ANCHORS, block, 'x')] == [0.5]
    assert [part.loss_weight for part in build_parts(ANCHORS, [block, {'type': 'SparsityAnchor'}], 'x')] == [0.5, 1e-5]


@pytest.mark.parametrize('changes, sentence', [
    ({'train.mask_opt': {'type': 'SaliencyMsk'}}, "train.mask_opt.type is 'SaliencyMsk', which is not there: did you"),
    ({'train.edit_opt': [NOISE, {'type': 'WeightNoise', 'std': 0}]}, 'train.edit_opt[1].std is 0'),
    ({'train.anchor_opt': {'loss_weight': 1.0}}, 'The option train.anchor_opt.type is missing'),
    ({'train.evidence_batches': 0}, 'train.evidence_batches is 0, not a whole number from 1'),
    ({'train.edit_opt': NOISE, 'train.forget_opt': None, 'train.retain_opt': None}, 'train has no forget_opt'),
])
def test_what_cannot_be_is_refused_before_anything_is_written(unlearn, capsys, tmp_path, changes, sentence):
    assert unlearn({**SHORT, **changes}) == 2
    err = capsys.readouterr().err
    assert err.startswith('Error: ') and err.count('\n') == 1 and sentence in err
    assert not list((tmp_path / 'work').iterdir())
