import math

import pytest
import torch

from basicsr_unlearn.proof.attackers.image_psnr import psnr_of_images
from basicsr_unlearn.proof.attackers.robustness import attacked_psnr

GREY = [(torch.full((3, 6, 8), 0.6), torch.full((3, 6, 8), 0.4)), (torch.full((3, 4, 4), 0.2), torch.zeros(3, 4, 4))]


def test_attack_by_hand(brighten, untouched):
    net = brighten(1.0)
    with untouched(net):
        found = attacked_psnr(net, GREY, {'type': 'one_step', 'eps': 0.2})
    # each pixel goes 51 levels further from its clean value, from which it was 51 away
    assert found == pytest.approx([-20 * math.log10(0.4)] * 2, abs=1e-9)
    assert attacked_psnr(net, GREY, {'type': 'none'}) == psnr_of_images(net, GREY)


def test_a_network_of_higher_gain_is_more_fragile(brighten):
    def fall(gain):
        net = brighten(gain)
        pairs = [(torch.full((3, 8, 8), 0.3), torch.full((3, 8, 8), 0.3 * gain + 0.01))]
        return psnr_of_images(net, pairs)[0] - attacked_psnr(net, pairs)[0]

    assert 0 < fall(1.0) < fall(2.0) - 3


def test_seed_decides_where_the_attack_starts(brighten, dark_pairs, untouched):
    net = brighten(1.9)
    with untouched(net):
        found = attacked_psnr(net, dark_pairs(), seed=1)
    assert attacked_psnr(net, dark_pairs(), seed=1) == found != attacked_psnr(net, dark_pairs(), seed=2)
    assert all(after < before for after, before in zip(found, psnr_of_images(net, dark_pairs())))


@pytest.mark.parametrize('attack, message', [
    ({'type': 'carried'}, 'belongs to training'),
    ({'network': 'teacher'}, 'attack on itself'),
    ({'epsilon': 1}, "nearest valid one is 'eps'"),
])
def test_attacks_without_meaning_here(brighten, attack, message):
    with pytest.raises(ValueError, match=message):
        attacked_psnr(brighten(), GREY, attack)
