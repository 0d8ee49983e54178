import pytest
import torch
from torch import nn

from basicsr_unlearn.archs.nafnet_arch import NAFNet
from basicsr_unlearn.archs.restormer_arch import Restormer
from basicsr_unlearn.core.features import captured, named_stages


class Steps(nn.Module):
    """x + 1, + 2, + 3 in three stages, so that the features are known."""

    def __init__(self):
        super().__init__()
        self.encoders = nn.ModuleList([Plus(1.0), Plus(2.0)])
        self.middle_blks = Plus(3.0)
        self.unused = Plus(4.0)
        self.pair = Pair()

    def forward(self, x):
        for encoder in self.encoders:
            x = encoder(x)
        self.pair(x)
        return self.middle_blks(x)


class Plus(nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.inner = nn.Identity()

    def forward(self, x):
        return self.inner(x) + self.value


class Pair(nn.Module):
    def forward(self, x):
        return x, x


def hooks(net):
    return sum(len(module._forward_hooks) for module in net.modules())


def test_features_by_hand_with_their_graph():
    net = Steps()
    with captured(net) as features:
        output = net(torch.zeros(1))
        assert hooks(net) == 3
    assert {name: value.item() for name, value in features.items()} == {
        'encoders.0': 1, 'encoders.1': 3, 'middle_blks': 6}
    assert hooks(net) == 0 and output.item() == 6
    features['encoders.1'].backward()
    assert net.encoders[0].value.grad == 1 and net.middle_blks.value.grad is None


def test_hooks_go_with_an_error():
    net = Steps()
    with pytest.raises(RuntimeError), captured(net):
        raise RuntimeError
    assert hooks(net) == 0


def test_patterns_keep_to_their_level():
    net = Steps()
    assert list(named_stages(net, ['encoders.?'])) == ['encoders.0', 'encoders.1']
    assert list(named_stages(net, ['*.1', 'middle*'])) == ['encoders.1', 'middle_blks']
    assert list(named_stages(net, 'encoders.*.inner')) == ['encoders.0.inner', 'encoders.1.inner']
    assert list(named_stages(net, ['middle_blks', 'mid*'])) == ['middle_blks']


def test_encoder_stages_of_the_architectures():
    nafnet = NAFNet(width=4, enc_blk_nums=[1, 2], middle_blk_num=1, dec_blk_nums=[1, 1])
    assert list(named_stages(nafnet)) == ['encoders.0', 'encoders.1', 'middle_blks']
    with captured(nafnet) as features:
        nafnet(torch.rand(2, 3, 8, 8))
    assert [tuple(feature.shape) for feature in features.values()] == [(2, 4, 8, 8), (2, 8, 4, 4), (2, 16, 2, 2)]
    restormer = Restormer(dim=4, num_blocks=[1, 1, 1, 1], num_refinement_blocks=1, heads=[1, 1, 1, 1])
    assert list(named_stages(restormer)) == ['encoder_level1', 'encoder_level2', 'encoder_level3', 'latent']


@pytest.mark.parametrize('patterns, message', [
    (['encoders.*', 'encoder.*'], r"layers: 'encoder\.\*' fits no module of Steps, which has encoders\.0, encoders\.1"),
    (['encoders'], "layers: 'encoders' fits no module"),  # a list is never called
    (['pair'], "layers: 'pair' gives tuple instead of one tensor"),
    (['unused'], "layers: 'unused' is not called"),
])
def test_layers_that_give_no_features_are_refused(patterns, message):
    net = Steps()
    with pytest.raises(ValueError, match=message), captured(net, patterns):
        net(torch.zeros(1))
    assert hooks(net) == 0


def test_a_network_of_unknown_stages_asks_for_layers():
    with pytest.raises(ValueError, match='the stages of known encoders fit no module of Sequential, which has 0, 1'):
        named_stages(nn.Sequential(nn.Identity(), nn.Identity()))
