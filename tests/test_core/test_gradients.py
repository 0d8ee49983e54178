"""The cosine between two gradients, by hand."""
import pytest
import torch

from basicsr_unlearn.core.gradients import Reconciliation, gradient_cosine, reconcile


def weights(*values: float) -> list[torch.Tensor]:
    return [torch.tensor(value, requires_grad=True) for value in values]


@pytest.mark.parametrize('first, second, expected', [
    ((1.0, 0.0), (2.0, 0.0), 1.0),
    ((1.0, 0.0), (-3.0, 0.0), -1.0),
    ((1.0, 0.0), (0.0, 5.0), 0.0),
    ((3.0, 4.0), (4.0, 3.0), 24 / 25),   # 12 + 12 over 5 * 5
    ((3.0, 4.0), (0.0, 0.0), 0.0),
])
def test_two_weights(first, second, expected):
    w = weights(0.7, -0.2)
    losses = [a * w[0] + b * w[1] for a, b in (first, second)]
    assert float(gradient_cosine(*losses, w)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('scale', [1e-15, 1e15])
def test_tiny_and_huge_gradients_keep_their_angle(scale):
    """The product of the squared norms is 1e-60 or 1e60, out of the range of float32."""
    w = weights(0.7, -0.2)
    cosine = gradient_cosine(scale * (3 * w[0] + 4 * w[1]), scale * (4 * w[0] + 3 * w[1]), w)
    assert float(cosine) == pytest.approx(24 / 25, abs=1e-5)


def test_a_weight_that_one_loss_does_not_use_counts_as_zero():
    w = weights(1.0, 1.0)
    assert float(gradient_cosine(w[0] + w[1], 2 * w[0], w)) == pytest.approx(2**-0.5)


def test_the_graph_is_kept_and_no_gradient_is_left_behind():
    w = weights(2.0)
    first, second = w[0]**2, w[0]**3
    gradient_cosine(first, second, w)
    assert w[0].grad is None
    (first + second).backward()
    assert float(w[0].grad) == 4 + 12


def test_reconcile_takes_out_what_points_against_the_retain_gradient():
    """Forget (1, -1) against retain (0, 2): the part along retain, (0, -1), goes; (1, 0) + (0, 2) is left."""
    forget, retain = [torch.tensor([1.0]), torch.tensor([-1.0])], [torch.tensor([0.0]), torch.tensor([2.0])]
    assert [float(g) for g in reconcile(forget, retain)] == [1.0, 2.0]
    assert [float(g) for g in reconcile(forget, retain, project=False)] == [1.0, 1.0]


def test_reconcile_leaves_agreeing_gradients_alone():
    forget, retain = [torch.tensor([3.0, 1.0])], [torch.tensor([0.0, 2.0])]
    assert reconcile(forget, retain)[0].tolist() == [3.0, 3.0]


def test_reconcile_limits_the_norm():
    """Forget has norm 10, retain 2, at most 0.5 times that is 1."""
    forget, retain = [torch.tensor([6.0, 8.0])], [torch.tensor([0.0, 2.0])]
    torch.testing.assert_close(reconcile(forget, retain, max_ratio=0.5)[0], torch.tensor([0.6, 2.8]))


def test_reconcile_does_not_stop_a_run_that_begins_at_its_teacher():
    forget, retain = [torch.tensor([6.0])], [torch.tensor([0.0])]
    assert reconcile(forget, retain, max_ratio=1.0)[0].tolist() == [6.0]


# ---------------------------------------------------------------- from step to step

def test_a_mask_leaves_of_forgetting_what_has_the_sign_of_the_running_mean_of_the_rest():
    """The mean is 0.1 (1, -1), then 0.9 of it + 0.1 (-0.5, 2) = (0.04, 0.11): the first sign is the old one."""
    join = Reconciliation(project=False, mask=True, momentum=0.9)
    assert join([torch.tensor([3.0, 3.0])], [torch.tensor([1.0, -1.0])])[0].tolist() == [4.0, -1.0]
    assert join([torch.tensor([3.0, 3.0])], [torch.tensor([-0.5, 2.0])])[0].tolist() == [2.5, 5.0]
    torch.testing.assert_close(join.mean[0], torch.tensor([0.04, 0.11]))


def test_the_forget_gradient_is_brought_to_its_length_before_it_is_masked():
    """(6, 8) has length 10; brought to 5 it is (3, 4), of which the mask leaves (0, 4)."""
    join = Reconciliation(project=False, mask=True, norm=5.0)
    torch.testing.assert_close(join([torch.tensor([6.0, 8.0])], [torch.tensor([-1.0, 1.0])])[0],
                               torch.tensor([-1.0, 5.0]))


def test_a_running_mean_goes_on_from_its_state():
    gradients = [[torch.randn(5)] for _ in range(8)]
    first, second = Reconciliation(mask=True), Reconciliation(mask=True)
    for forget, rest in zip(gradients[:2], gradients[2:4]):
        first(forget, rest)
    second.load_state_dict(first.state_dict())
    for forget, rest in zip(gradients[4:6], gradients[6:]):
        assert torch.equal(first(forget, rest)[0], second(forget, rest)[0])


def test_without_its_options_it_is_reconcile():
    forget, rest = [torch.randn(5)], [torch.randn(5)]
    assert torch.equal(Reconciliation()(forget, rest)[0], reconcile(forget, rest)[0])


@pytest.mark.parametrize('options', [{'momentum': 1}, {'momentum': -0.1}, {'norm': 0}, {'max_ratio': -1}])
def test_what_a_reconciliation_cannot_be_is_named(options):
    with pytest.raises(ValueError, match=f'^{next(iter(options))}: expected'):
        Reconciliation(**options)
