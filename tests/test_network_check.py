"""Networks and metrics are tried before the first step, within what the machine has."""

import pytest

from basicsr_unlearn.engine.metric_check import try_metrics
from basicsr_unlearn.engine.network_check import build_network
from basicsr_unlearn.errors import OptionError

NAFNET = {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1], 'middle_blk_num': 1, 'dec_blk_nums': [1]}


def test_a_network_is_built_and_no_limit_stays():
    from torch import nn
    from torch.nn.modules import module
    net = build_network({'network_g': NAFNET})
    assert sum(p.numel() for p in net.parameters()) > 1000
    assert not module._global_parameter_registration_hooks
    assert isinstance(nn.Linear(2, 2), nn.Module)


@pytest.mark.parametrize('changes', [
    {'middle_blk_num': 10**9}, {'enc_blk_nums': [10**30]}, {'width': 10**6}, {'width': 10**9}, {'width': -1},
    {'width': 1.5}, {'enc_blk_nums': 'x'},
])
def test_a_network_that_is_none_is_refused_before_it_is_built(changes):
    with pytest.raises(OptionError, match='network_g') as caught:  # built, it would fill the memory or take hours
        build_network({'network_g': {**NAFNET, **changes}})
    assert '\n' not in str(caught.value)


def test_metrics_that_work_pass():
    try_metrics({'psnr': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True},
                   'ssim': {'type': 'calculate_ssim', 'crop_border': 0, 'better': 'higher'},
                   'niqe': {'type': 'calculate_niqe', 'crop_border': 0}}, 'val.metrics')
    try_metrics(None, 'val.metrics')


@pytest.mark.parametrize('crop_border', ['x', None, [0], 1.5, 10**9, float('nan'), {'a': 1}])
def test_metrics_that_cannot_work_are_refused(crop_border):
    with pytest.raises(OptionError, match='val.metrics.psnr'):
        try_metrics({'psnr': {'type': 'calculate_psnr', 'crop_border': crop_border}}, 'val.metrics')
