"""Units of weights and the choice among them, by hand."""
import pytest
import torch

from basicsr_unlearn.core.granularity import highest_ratio, units

NAMES = {'a.weight': torch.zeros(2, 3, 1, 1), 'a.bias': torch.zeros(2), 'block.beta': torch.zeros(1, 2, 1, 1),
         'b.weight': torch.zeros(1, 2), 'b.bias': torch.zeros(1), 'level': torch.zeros(())}


def flat(values):
    return {name: value.flatten().tolist() for name, value in values.items()}


@pytest.mark.parametrize('granularity, expected', [
    ('channel', {'a.weight': [0, 0, 0, 1, 1, 1], 'a.bias': [0, 1], 'block.beta': [2, 3], 'b.weight': [4, 5],
                 'b.bias': [6], 'level': [7]}),
    ('layer', {'a.weight': [0] * 6, 'a.bias': [0, 0], 'block.beta': [1, 1], 'b.weight': [2, 2], 'b.bias': [2],
               'level': [3]}),
    ('weight', {'a.weight': [0, 1, 2, 3, 4, 5], 'a.bias': [6, 7], 'block.beta': [8, 9], 'b.weight': [10, 11],
                'b.bias': [12], 'level': [13]}),
])
def test_units_by_hand(granularity, expected):
    found = units(NAMES, granularity)
    assert flat(found) == expected
    assert all(found[name].shape == NAMES[name].shape for name in NAMES)


FORGET = {'a.weight': torch.tensor([[1.0, 9.0], [3.0, 3.0]]), 'a.bias': torch.tensor([0.0, 4.0]),
          'b.weight': torch.tensor([[2.0, 2.0], [0.0, 0.0]])}
RETAIN = {'a.weight': torch.tensor([[10.0, 10.0], [1.0, 1.0]]), 'a.bias': torch.tensor([0.0, 0.0]),
          'b.weight': torch.tensor([[0.0, 0.0], [0.0, 1.0]])}  # ratios of channels: 1/2, 5, infinite, 0; 2 + 1 weights


@pytest.mark.parametrize('share, chosen', [(0.01, 'b0'), (0.2, 'b0'), (0.34, 'b0'), (0.4, 'b0 a1'), (0.79, 'b0 a1 a0'),
                                           (0.91, 'b0 a1 a0 b1'), (1.0, 'b0 a1 a0 b1')])
def test_whole_channels_by_the_ratio_of_their_sums(share, chosen):
    """Of 10 weights: 2, then 3, 3 and 2; as many channels as come nearest to the share."""
    found = highest_ratio(FORGET, RETAIN, share, 'channel')
    assert found['a.weight'].tolist() == [['a0' in chosen] * 2, ['a1' in chosen] * 2]
    assert found['a.bias'].tolist() == ['a0' in chosen, 'a1' in chosen]
    assert found['b.weight'].tolist() == [['b0' in chosen] * 2, ['b1' in chosen] * 2]


def test_whole_layers():
    found = highest_ratio(FORGET, RETAIN, 0.3, 'layer')  # 20/22 and 4/1
    assert not found['a.weight'].any() and not found['a.bias'].any() and found['b.weight'].all()


def test_a_share_of_each_layer():
    found = highest_ratio(FORGET, RETAIN, 0.5, 'channel', per_layer=True)
    assert found['a.weight'].tolist() == [[False] * 2, [True] * 2] and found['a.bias'].tolist() == [False, True]
    assert found['b.weight'].tolist() == [[True] * 2, [False] * 2]
