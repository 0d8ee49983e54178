"""The proxy: a network that has seen nothing but the retain batches."""
import pytest
import torch
from torch import nn

from basicsr_unlearn.core.parts import Edit, Evidence
from basicsr_unlearn.core.proxy import train_proxy


class Scale(nn.Module):
    """weight times the input, from a weight of 0.1 and the seed; it notes in which mode it runs."""

    def __init__(self, seed: int = 0):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.1 + seed]))
        self.modes = []

    def forward(self, x):
        self.modes.append(self.training)
        return self.weight * x


def batch(gt: float) -> dict[str, torch.Tensor]:
    return {'lq': torch.full((2, 1, 4, 4), 0.5), 'gt': torch.full((2, 1, 4, 4), gt)}


def evidence(*retain: float) -> Evidence:
    """The forget batches would raise the weight; the teacher must rest."""
    return Evidence(Scale(7), forget=[batch(100.0)] * 3, retain=[batch(gt) for gt in retain], untrained=Scale)


def trained(*retain: float, **options) -> float:
    """The weight of the proxy."""
    return train_proxy(evidence(*retain), **options).weight.item()


def test_without_steps_it_is_the_untrained_network():
    assert trained(-1.0) == pytest.approx(0.1)
    assert trained(-1.0, seed=3) == pytest.approx(3.1)


def test_it_learns_from_the_retain_batches_alone():
    """Adam's first steps are lr long as long as the gradient keeps its sign: here down, towards the retain images."""
    assert trained(-1.0, iters=4, lr=0.01) == pytest.approx(0.06, abs=1e-6)


def test_it_goes_through_the_batches_in_turn():
    """The gradients of L1 are -0.5 and 0.5 by turns. Adam's steps by hand: m and v are corrected by their own sums."""
    weight, m, v = 0.1, 0.0, 0.0
    for step, gradient in enumerate((-0.5, 0.5, -0.5), start=1):
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        weight -= 0.01 * (m / (1 - 0.9**step)) / ((v / (1 - 0.999**step)) ** 0.5 + 1e-8)
    assert trained(9.0, -9.0, iters=3, lr=0.01) == pytest.approx(weight, abs=1e-6)


def test_edits_start_it_from_a_copy_of_the_original():
    class Halve(Edit):
        def __call__(self, net, evidence):
            net.weight.data *= 0.5

    given = evidence(-1.0)
    assert train_proxy(given, edits=[Halve(), Halve()]).weight.item() == pytest.approx(7.1 / 4)
    assert train_proxy(given, iters=4, lr=0.01, edits=[Halve()]).weight.item() == pytest.approx(3.51, abs=1e-6)
    assert given.teacher.weight.item() == pytest.approx(7.1)


def test_it_trains_in_training_mode_and_comes_back_in_eval_mode():
    proxy = train_proxy(evidence(-1.0), iters=2)
    assert proxy.modes == [True, True]
    assert not any(module.training for module in proxy.modules())


def test_same_seed_same_bits_and_the_teacher_rests():
    found = evidence(-1.0, 2.0)
    first, again = (train_proxy(found, iters=5, lr=0.01) for _ in range(2))
    assert torch.equal(first.weight, again.weight) and first is not again
    assert not torch.equal(train_proxy(found, iters=5, lr=0.01, seed=1).weight, first.weight)
    teacher = found.teacher
    assert teacher.weight.item() == pytest.approx(7.1) and teacher.weight.grad is None and not teacher.modes


@pytest.mark.parametrize('options, message', [
    ({'lr': 0.0}, 'proxy_opt lr: expected a number above 0 but got 0.0.'),
    ({'lr': '1e-3'}, "proxy_opt lr: expected a finite number but got the text '1e-3'"),
    ({'iters': -1}, 'proxy_opt iters: expected a whole number of at least 0 but got -1.'),
])
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        train_proxy(evidence(-1.0), **options)
