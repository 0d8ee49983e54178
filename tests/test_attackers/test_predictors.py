import pytest
import torch

from basicsr_unlearn.errors import DataError
from basicsr_unlearn.proof.attackers.predictors import distance_to, loss_barrier


def test_the_distance_is_relative_to_the_original(brighten):
    original, doubled = brighten(1.0), brighten(1.0)
    with torch.no_grad():
        for p in doubled.parameters():
            p *= 2
    assert distance_to(original.state_dict(), original.state_dict()) == 0
    assert distance_to(original.state_dict(), doubled.state_dict()) == pytest.approx(1.0)


def test_a_barrier_lies_between_two_networks_that_do_the_same_in_opposite_ways(brighten, dark_pairs, untouched):
    original, opposite = brighten(2.0), brighten(2.0)
    with torch.no_grad():
        for layer in (opposite.head, opposite.tail):
            layer.weight *= -1
    with untouched(original, opposite):
        found = loss_barrier(opposite, original, dark_pairs())
    # half way all weights are 0, and the error is the mean of the image
    assert found.errors[0.0] == pytest.approx(0) == found.errors[1.0]
    assert found.height == found.errors[0.5] == pytest.approx(0.5, abs=0.02)
    assert found.errors[0.25] == pytest.approx(0.75 * found.height)  # (1 - (1/2)^2) of it


def test_a_straight_way_down_has_none(brighten, dark_pairs):
    assert loss_barrier(brighten(1.0), brighten(2.0), dark_pairs()).height == 0
    with pytest.raises(DataError):
        loss_barrier(brighten(), brighten(), [])
