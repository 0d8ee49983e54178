"""The contract of every preset in methods/, found by listing the folder, on real runs of a tiny network."""
from copy import deepcopy

import pytest
import torch
from contract_stub import END, NETWORK, SAVED, SHORTER, blocks, filled, needs
from equality import assert_same
from torch.utils._python_dispatch import TorchDispatchMode

from basicsr_unlearn import Unlearner
from basicsr_unlearn.archs.nafnet_arch import NAFNet
from basicsr_unlearn.core.parts import live_parameters
from basicsr_unlearn.core.phases import phase_terms
from basicsr_unlearn.core.samples import Sample
from basicsr_unlearn.core.seeds import own_random_numbers, step_seed
from basicsr_unlearn.errors import OptionError
from basicsr_unlearn.methods.presets import expand_method, method_names, read_method
from basicsr_unlearn.models.checkpoints import weights_digest
from basicsr_unlearn.models.first_batches import first_batches
from basicsr_unlearn.options.option_file import check_options

# What a loss does as forget_opt, by its class: 'ascent' raises the error on the forget set, 'target' goes somewhere.
KINDS = {'GradientAscentLoss': 'ascent', 'TargetLoss': 'target', 'FeatureTargetLoss': 'target',
         'SharpnessAwareAscentLoss': 'ascent', 'ConnectivityLoss': 'ascent'}

every_preset = pytest.mark.parametrize('name', method_names())


def with_part(part: str, there: bool = True) -> pytest.MarkDecorator:
    """Each preset that has, or has not, a part such as mask_opt."""
    return pytest.mark.parametrize('name', [name for name in method_names()
                                            if (part in read_method(name)['train']) == there])


def same(first: dict, second: dict) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# ---------------------------------------------------------------- the file

@every_preset
def test_a_preset_says_what_it_is_where_it_comes_from_what_it_needs_and_costs(name):
    preset = read_method(name)
    assert list(preset) == ['about', 'source', 'needs', 'cost', 'train']
    for key in ('about', 'source', 'needs', 'cost'):
        assert preset[key] == preset[key].strip() and preset[key] and '\n' not in preset[key]
    assert needs(name) <= {'forget', 'retain'}, f'methods/{name}.yml: needs is forget, retain or both, with a comma'


@every_preset
def test_an_unknown_option_is_refused_in_one_sentence_that_names_it(stub, name):
    opt = expand_method(stub.preset(name))
    check_options(opt, is_train=True)
    places = [where for where, _ in blocks(opt['train'])]
    assert len(places) > 2
    for where in places:
        broken = deepcopy(opt)
        dict(blocks(broken['train']))[where]['nosuch'] = 1
        with pytest.raises(OptionError) as error:
            check_options(broken, is_train=True)
        text = str(error.value)
        assert 'nosuch' in text and text.startswith(where.partition('.attack')[0]), f'{where}: {text}'
        assert '\n' not in text and text.endswith('.')


@pytest.mark.parametrize('name, stream', [(name, stream) for name in method_names() for stream in sorted(needs(name))])
def test_a_stream_that_it_needs_cannot_be_left_out(stub, name, stream, capsys):
    """That those it does not name are not needed is shown by the runs below, which lack them."""
    opt = stub.options({'method': name}, {'forget', 'retain'} - {stream})
    assert stub.run(f'{name}/without_{stream}', opt).code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('Error: ') and f'{stream}' in error


# ---------------------------------------------------------------- seeds and resuming

@every_preset
def test_same_seed_same_bits(stub, name):
    assert same(stub.again(name).weights(SAVED), stub.whole(name).weights(SAVED))


@every_preset
def test_another_seed_other_bits(stub, name):
    """Every preset draws crops at least; what a part draws by itself is in the contracts of losses and parts."""
    assert not same(stub.other(name).weights(SAVED), stub.whole(name).weights(SAVED))


@every_preset
def test_a_resumed_run_equals_the_uninterrupted_one(stub, name):
    whole, resumed = stub.whole(name), stub.again(name)
    assert resumed.model.iteration == END
    assert same(resumed.weights(), whole.weights())
    assert not same(whole.weights(), whole.weights(SAVED))
    last = END // SAVED * SAVED
    assert_same(resumed.state(last), whole.state(last), name)


@pytest.mark.parametrize('name', ['calibrated', 'accurate_forgetting', 'deep', 'resistant', 'scrub',
                                  'calibrated_proxy'])
def test_a_loop_of_ones_own_comes_to_the_same_weights(stub, name):
    whole, beside = stub.whole(name), {'evidence_batches': 2, **SHORTER.get(name, {})}
    unlearner = Unlearner(deepcopy(stub.original).train(), name, seed=whole.model.opt['manual_seed'], total_iter=END,
                          fresh=lambda: NAFNet(**{key: NETWORK[key] for key in NETWORK if key != 'type'}), **beside)
    unlearner.prepare(**first_batches(whole.model.opt, 2))
    logs = [unlearner.step(**batch) for batch in whole.batches]
    assert unlearner.iteration == END
    assert same(unlearner.net.state_dict(), whole.weights())
    assert {key: float(value) for key, value in logs[-1].items()} == dict(whole.model.log_dict)


# ---------------------------------------------------------------- which weights move

@every_preset
def test_the_teacher_is_the_original_and_stays_it(stub, name):
    for run in (stub.whole(name), stub.again(name)):
        teacher = run.model.unlearner.teacher
        assert weights_digest(teacher) == weights_digest(stub.original)
        assert not teacher.training
        assert all(p.grad is None and not p.requires_grad for p in teacher.parameters())
        proxy = run.model.unlearner.preparation.proxy
        assert proxy is None or not any(p.requires_grad for p in proxy.parameters())


@with_part('edit_opt', False)
def test_without_an_edit_a_run_starts_from_the_original(stub, name):
    assert same(stub.whole(name).start, dict(stub.original.state_dict()))


@with_part('edit_opt')
def test_an_edit_is_seen_in_the_outputs_before_the_first_step_and_is_not_done_again(stub, name):
    whole, resumed = stub.whole(name), stub.again(name)
    lq, _ = stub.images['forget']
    with torch.no_grad():
        change = (filled(stub.original, whole.start)(lq) - stub.original(lq)).abs().mean()
    assert change > 1e-6  # pixel values; an edit of few weights does little to a tiny network
    assert same(resumed.start, resumed.weights(SAVED))


@with_part('mask_opt', False)
def test_without_a_mask_every_tensor_moves(stub, name):
    whole = stub.whole(name)
    start, end = whole.start, whole.weights()
    assert [key for key, _ in live_parameters(stub.original) if torch.equal(start[key], end[key])] == []


@with_part('mask_opt')
def test_only_the_weights_that_may_move_have_moved(stub, name):
    whole = stub.whole(name)
    masks, end = whole.model.unlearner.preparation.masking.masks, whole.weights()
    assert set(masks) == {key for key, _ in live_parameters(stub.original)}
    for key, mask in masks.items():
        assert torch.equal(end[key][~mask], whole.start[key][~mask]), key
    share = sum(int(mask.sum()) for mask in masks.values()) / sum(mask.numel() for mask in masks.values())
    if name == 'msg':  # which slows weights down and holds none
        assert share == 1
    else:
        assert 0 < share < 0.9, f'{share:.0%} of the weights may move: nothing to be seen'
    moved = sum(int((end[key] != whole.start[key]).sum()) for key in masks)
    assert moved > 0.9 * sum(int(mask.sum()) for mask in masks.values())


# ---------------------------------------------------------------- cost

class Multiplications(TorchDispatchMode):
    """Counts those of convolutions, forward and backward."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            self.count += result.numel() * args[1][0].numel()
        elif func is torch.ops.aten.convolution_backward.default:
            to_input, to_weight, _ = args[-1]
            self.count += args[0].numel() * args[2][0].numel() * (to_input + to_weight)
        return result


def multiplications_per_step(run, steps: int = 200) -> float:
    """In the mean of so many steps, none of which the stop rule ends."""
    unlearner, counted = run.model.unlearner, {}
    unlearner.total_iter, phases, rule = None, unlearner.objective.phases, unlearner.stop_rule
    for iteration in range(1, steps + 1):
        terms = tuple(phase_terms(phases, iteration))
        if terms not in counted:
            if rule:
                rule.load_state_dict({'gaps': [], 'drops': [], 'start': rule.start})
            unlearner.iteration = iteration - 1
            with Multiplications() as multiplications:
                unlearner.step(**run.model.batches)
            counted[terms] = multiplications.count
    return sum(counted[tuple(phase_terms(phases, i))] for i in range(1, steps + 1)) / steps


@every_preset
def test_a_step_costs_what_the_preset_says(stub, name):
    opt = stub.preset(name)
    opt['train']['total_iter'] = 1
    plain = stub.options({'optim_g': {'type': 'Adam', 'lr': 1e-4}, 'retain_opt': {'type': 'L1Loss'}}, {'retain'})
    plain['train']['total_iter'] = 1
    cost = (multiplications_per_step(stub.run(f'{name}/cost', opt))
            / multiplications_per_step(stub.run(f'{name}/plain', plain)))
    assert float(read_method(name)['cost'].split()[0]) == pytest.approx(cost, rel=0.05)


# ---------------------------------------------------------------- direction

def forget_values(stub, model, weights: dict) -> tuple[float, float]:
    """The preset's own forget term, and the mean absolute error, of a network with these weights: on the batch that
    the model took its step with, and with the random numbers of that step."""
    unlearner = model.unlearner
    sample = Sample(model.batches['forget'], filled(stub.original, weights), unlearner.teacher,
                    unlearner.preparation.proxy)
    with own_random_numbers(step_seed(model.opt['manual_seed'], 0, 1)):
        loss = unlearner.objective.losses['forget'](sample)
    return float(loss.detach()), float((sample.output - sample.gt).abs().mean().detach())


@with_part('forget_opt')
def test_the_forget_term_goes_where_it_should(stub, name):
    """One plain step with and without the push of that term: the difference is a step along its gradient alone.

    Other terms may move the same errors, and stronger; Adam's steps would not add up.
    """
    opt = stub.preset(name)
    opt['train'].update(optim_g={'type': 'SGD', 'lr': 0.01}, grad_clip=None, total_iter=1)
    pushed = stub.run(f'{name}/pushed', opt)
    loss = type(pushed.model.unlearner.objective.losses['forget']).__name__
    assert loss in KINDS, f'add {loss} to KINDS of test_preset_contract.py: is it an ascent or a target?'
    opt['train']['forget_opt'] = {'loss_weight': 0.0}
    unpushed = stub.run(f'{name}/unpushed', opt)  # which ends with an error where nothing else moves
    (loss_with, error_with), (loss_without, error_without) = (
        forget_values(stub, pushed.model, run.model.net_g.state_dict()) for run in (pushed, unpushed))
    assert loss_with < loss_without
    if KINDS[loss] == 'ascent':
        assert error_with > error_without
