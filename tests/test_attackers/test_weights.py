import math

import pytest
import torch

from basicsr_unlearn.errors import CheckpointError
from basicsr_unlearn.proof.attackers.weights import Movement, weight_movement


def test_movement_by_hand():
    before = {'head.weight': torch.tensor([[3.0, 4.0]]), 'head.bias': torch.zeros(2), 'tail.weight': torch.ones(4),
              'new.bias': torch.zeros(1), 'still.weight': torch.ones(1), 'still.count': torch.tensor(1)}
    after = {**before, 'head.weight': torch.tensor([[3.0, 4.5]]), 'tail.weight': torch.full((4,), 2.0),
             'new.bias': torch.ones(1), 'still.count': torch.tensor(9)}
    total, layers = weight_movement(before, after)
    assert list(layers) == ['tail', 'new', 'head', 'still']  # by distance, 2 to 0
    assert layers['tail'] == Movement(4, 1.0, 2.0, 1.0)
    assert layers['new'] == Movement(1, 1.0, 1.0, None)
    assert layers['head'] == Movement(4, 0.25, 0.5, 0.1)
    assert layers['still'] == Movement(1, 0.0, 0.0, 0.0)
    assert total.weights == 10 and total.changed == pytest.approx(0.6)
    assert total.distance == pytest.approx(math.sqrt(5.25)) and total.relative == pytest.approx(math.sqrt(5.25 / 30))


@pytest.mark.parametrize('before, after, message', [
    ({'a.weight': torch.ones(2)}, {'b.weight': torch.ones(2)}, "'a.weight' is in one checkpoint only"),
    ({}, {'b.weight': torch.ones(2)}, "'b.weight' is in one checkpoint only"),
    ({'a': torch.ones(2)}, {'a': torch.ones(3)}, r"'a' has shape \(2,\) in one checkpoint and \(3,\)"),
    ({'a': torch.ones(2)}, {'a': torch.tensor([1, math.nan])}, "'a' is not finite"),
    ({'a': torch.tensor(3)}, {'a': torch.tensor(3)}, 'no weight'),
])
def test_checkpoints_that_cannot_be_compared(before, after, message):
    with pytest.raises(CheckpointError, match=message):
        weight_movement(before, after)
