"""Importance of weights, by hand, on networks of a few weights."""
import pytest
import torch
from torch import nn

from basicsr_unlearn.core.importance import fisher, highest_share, output_sensitivity, saliency


class Affine(nn.Module):
    """scale * lq + shift, beside a weight that nothing depends on, a dead one and a frozen one."""

    dead_parameters = ('dead',)

    def __init__(self, scale: float, shift: float):
        super().__init__()
        self.scale, self.shift = (nn.Parameter(torch.tensor([value])) for value in (scale, shift))
        self.idle, self.dead = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
        self.frozen = nn.Parameter(torch.ones(2), requires_grad=False)

    def forward(self, lq: torch.Tensor) -> torch.Tensor:
        return self.scale * lq + self.shift


def images(*values: float) -> torch.Tensor:
    """One flat image for each value, (b, 1, 4, 4)."""
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)


ABOVE = {'lq': images(0.5, 0.5), 'gt': images(0.0, 0.0)}   # the output lies above: gradients 0.5 and 1
BELOW = {'lq': images(0.5, 0.5), 'gt': images(9.0, 9.0)}   # below: -0.5 and -1
MIXED = {'lq': images(0.5, 0.5), 'gt': images(0.0, 9.0)}   # one sample of each: 0 on average


@pytest.mark.parametrize('batches, per_sample, expected', [
    ([ABOVE], False, (0.25, 1)),
    ([ABOVE, BELOW], False, (0.25, 1)),
    ([ABOVE, MIXED], False, (0.125, 0.5)),
    ([MIXED], True, (0.25, 1)),
])
def test_fisher_is_the_mean_squared_gradient(batches, per_sample, expected):
    found = fisher(Affine(1.0, 0.5), batches, per_sample=per_sample)
    assert (found['scale'].item(), found['shift'].item()) == pytest.approx(expected)


@pytest.mark.parametrize('batches, expected', [([BELOW], (0.5, 1)), ([ABOVE, BELOW], (0, 0)),
                                               ([ABOVE, ABOVE, BELOW], (0.5 / 3, 1 / 3))])
def test_saliency_adds_with_sign_and_drops_it_then(batches, expected):
    found = saliency(Affine(1.0, 0.5), batches)
    assert (found['scale'].item(), found['shift'].item()) == pytest.approx(expected)


@pytest.mark.parametrize('residual, expected', [(False, (1.0, 2.0)), (True, (0.5, 1.0))])
def test_output_sensitivity(residual, expected):
    """Output 1, residual 0.5: the gradient of their square is twice that, times 0.5 for the scale; gt plays no part."""
    batches = [{'lq': images(0.5), 'gt': images(7.0)}, {'lq': images(0.5), 'gt': images(-7.0)}]
    found = output_sensitivity(Affine(1.0, 0.5), batches, residual)
    assert (found['scale'].item(), found['shift'].item()) == pytest.approx(expected)


@pytest.mark.parametrize('measure', [fisher, saliency, output_sensitivity])
def test_live_weights_only_and_nothing_is_left_behind(measure):
    net = nn.Sequential(Affine(1.0, 0.5), nn.BatchNorm2d(1))
    found = measure(net.train(), [ABOVE])
    assert list(found) == [name for name, p in net.named_parameters() if p.requires_grad]  # dead below top level only
    assert found['0.idle'].tolist() == [0, 0]
    assert net.training and net[1].training and net[1].num_batches_tracked == 0
    assert all(p.grad is None for p in net.parameters())
    assert list(measure(Affine(1.0, 0.5), [ABOVE])) == ['scale', 'shift', 'idle']


@pytest.mark.parametrize('share, expected', [(0.2, '0000 1'), (0.4, '0001 1'), (0.6, '1001 1'), (0.8, '1101 1'),
                                             (1.0, '1111 1'), (0.01, '0000 1')])
def test_highest_share_counts_exactly_over_all_tensors(share, expected):
    """Three weights share the score 0; the first of them come in first."""
    scores = {'a': torch.tensor([[0.0, 0.0], [0.0, 1.0]]), 'b': torch.tensor([2.0])}
    mask = highest_share(scores, share)
    found = ' '.join(''.join(str(int(bit)) for bit in mask[name].flatten()) for name in scores)
    assert found == expected and mask['a'].shape == (2, 2) and mask['a'].dtype == torch.bool


def test_highest_share_per_layer_and_with_infinite_scores():
    scores = {'a': torch.tensor([[0.0, 5.0], [1.0, 0.0]]), 'b': torch.tensor([float('inf'), 0.0, 2.0, 3.0])}
    chosen = highest_share(scores, 0.5)
    assert chosen['a'].tolist() == [[False, True], [False, False]]
    assert chosen['b'].tolist() == [True, False, True, True]
    chosen = highest_share(scores, 0.5, per_layer=True)
    assert chosen['a'].tolist() == [[False, True], [True, False]]
    assert chosen['b'].tolist() == [True, False, False, True]
    assert sum(int(mask.sum()) for mask in highest_share({'z': torch.zeros(10)}, 0.3).values()) == 3
    assert highest_share(scores, 1.0)['b'].all()
