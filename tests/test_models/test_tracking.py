"""What validation shows: in the log, in TensorBoard, as images, and in test mode."""
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml

from basicsr_unlearn import test as test_entry
from basicsr_unlearn import train
from basicsr_unlearn.archs.nafnet_arch import NAFNet
from basicsr_unlearn.core.tiling import restore_in_tiles
from basicsr_unlearn.models.reference_lines import draw_lines
from basicsr_unlearn.models.tracking import chart_layout, numbered

SHOWN = {'val.val_freq': 3, 'train.conflict_freq': 2, 'logger.use_tb_logger': True,
         'train.adversarial_opt': {'type': 'AdversarialRetainLoss', 'attack': {'type': 'one_step'}}}


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((first.astype(float) - second.astype(float))**2)))


def identity_psnr(folder: Path, name: str) -> float:
    """Mean PSNR in dB of the degraded images of a data set, by hand."""
    return float(np.mean([psnr(cv2.imread(str(folder / name / 'lq' / f'{i}.png')),
                               cv2.imread(str(folder / name / 'gt' / f'{i}.png'))) for i in range(2)]))


def network_psnr(net: torch.nn.Module, folder: Path, name: str) -> float:
    """Mean PSNR in dB of a network's 8-bit outputs, by hand."""
    values = []
    for i in range(2):
        lq = cv2.imread(str(folder / name / 'lq' / f'{i}.png'))[..., ::-1].transpose(2, 0, 1) / np.float32(255)
        with torch.no_grad():
            output = net(torch.from_numpy(lq)[None])[0].clamp(0, 1).numpy().transpose(1, 2, 0)[..., ::-1]
        values.append(psnr((output * 255).round(), cv2.imread(str(folder / name / 'gt' / f'{i}.png'))))
    return float(np.mean(values))


@pytest.fixture
def retrained(folder, weights) -> dict:
    """Options with a reference network that restores less."""
    other = dict(weights('../base.pth'))
    other['ending.bias'] = other['ending.bias'] - 0.1
    torch.save({'params': other}, folder / 'retrained.pth')
    return {'path.pretrain_network_retrained': str(folder / 'retrained.pth')}


REFERENCES = {'original': 'original base', 'identity': 'identity baseline', 'retrained': 'retrained retrained'}


def read_events(run: str = 'tiny'):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    return EventAccumulator(f'tb_logger/{run}', size_guidance={'tensors': 0, 'images': 0, 'scalars': 0}).Reload()


def points(run: str, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read_events(run).Scalars(tag)]


def test_tensorboard_shows_scores_with_their_references_in_the_same_charts(unlearn, events, folder, built,
                                                                           restoring_net, retrained):
    assert unlearn({**SHOWN, **retrained}) == 0
    scalars = events()
    for role, name in (('forget', 'haze'), ('retain', 'rain')):
        tag = f'{role}/{name}/psnr'
        for which, expected in (('original', network_psnr(restoring_net, folder, name)),
                                ('identity', identity_psnr(folder, name)),
                                ('retrained', network_psnr(built[0].networks.get('retrained'), folder, name))):
            line = points(f'references/{REFERENCES[which]}', tag)
            assert [step for step, _ in line] == [0, 6]
            assert [value for _, value in line] == pytest.approx([expected] * 2, abs=1e-3)
        # step 0 is the original; the last validation of a run of 6 is at 6, not where BasicSR has counted to
        assert [step for step, _ in scalars[tag]] == [0, 3, 6]
        assert scalars[tag][0][1] == pytest.approx(network_psnr(restoring_net, folder, name), abs=1e-3)
        assert scalars[tag][-1][1] == pytest.approx(network_psnr(built[0].net_g, folder, name), abs=1e-3)
    assert {tag for tag in scalars if tag.startswith(('forget/', 'retain/'))} == {'forget/haze/psnr',
                                                                                  'retain/rain/psnr'}
    for tag in ('losses/l_forget', 'losses/l_retain', 'losses/l_adversarial', 'grad_cosine', 'grad_norm',
                'psnr_forget', 'psnr_forget_input', 'psnr_retain'):
        assert [step for step, _ in scalars[tag]] == [1, 2, 3, 4, 5, 6]
    assert all(-1 <= value <= 1 for _, value in scalars['grad_cosine'])


def test_runs_that_share_a_reference_show_it_once(unlearn, option_file, folder, retrained):
    """As far as the longest of them; a reference of the same name with other scores gets a name of its own."""
    assert unlearn({**SHOWN, **retrained, 'name': 'first'}) == 0
    longer = {**SHOWN, 'name': 'second', 'train.total_iter': 9}
    assert train.main(['-opt', option_file(longer)]) == 0
    assert sorted(path.name for path in Path('tb_logger/references').iterdir()) == sorted(REFERENCES.values())
    assert [step for step, _ in points('references/identity baseline', 'forget/haze/psnr')] == [0, 6, 9]
    assert [step for step, _ in points('references/retrained retrained', 'forget/haze/psnr')] == [0, 6]

    other = dict(torch.load(folder / 'base.pth', weights_only=True)['params'])
    other['ending.bias'] = other['ending.bias'] + 0.02
    torch.save({'params': other}, folder / 'base.pth')
    assert train.main(['-opt', option_file({**longer, 'name': 'third'})]) == 0
    own = points('references/original base 2', 'forget/haze/psnr')
    assert [step for step, _ in own] == [0, 9] and own[0][1] == points('third', 'forget/haze/psnr')[0][1]


def test_damaged_notes_of_the_lines_are_written_anew(in_tmp_path):
    for content in ('', '[]', '{"t": 1}', '{"t": [null, 3]}'):
        Path('references/r').mkdir(parents=True, exist_ok=True)
        Path('references/r/lines.json').write_text(content)
        draw_lines('.', 'r', {'t': 2.5}, 7)
        assert json.loads(Path('references/r/lines.json').read_text()) == {'t': [2.5, 7]}


def test_tensorboard_has_one_layout_with_a_chart_for_each_role_and_metric(unlearn, retrained):
    from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
    ssim = {'type': 'calculate_ssim', 'crop_border': 0}
    assert unlearn({**SHOWN, **retrained, 'val.metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0},
                                                          'ssim': ssim}}) == 0
    accumulator = read_events()
    written = accumulator.Tensors('custom_scalars__config__')
    assert len(written) == 1
    layout = Layout.FromString(written[0].tensor_proto.string_val[0])
    charts = {category.title: {chart.title: list(chart.multiline.tag) for chart in category.chart}
              for category in layout.category}
    assert {metric: list(entries) for metric, entries in charts.items()} == {
        'psnr': ['forget sets', 'retain sets'], 'ssim': ['forget sets', 'retain sets']}
    pattern, = charts['ssim']['retain sets']
    assert [tag for tag in accumulator.Tags()['scalars'] if re.search(pattern, tag)] == ['retain/rain/ssim']


def test_tags_of_a_chart_are_taken_by_the_letter():
    assert chart_layout({'a': 'retain'}, {'a': {'m+': 1.0}}) == {'m+': {'retain sets': ['Multiline',
                                                                                        [r'^retain/.+/m\+$']]}}


def test_tensorboard_has_strips_of_images_with_names_above(unlearn, folder, retrained):
    """Input, original, now, retrained and clean image side by side, of the first `strips` images of a set."""
    assert unlearn({**SHOWN, **retrained, 'val.strips': 1}) == 0
    accumulator = read_events()
    assert accumulator.Tags()['images'] == ['strips/haze/0', 'strips/rain/0']
    strips = accumulator.Images('strips/haze/0')
    assert [strip.step for strip in strips] == [3, 6]
    strip = cv2.imdecode(np.frombuffer(strips[0].encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
    gap = strip.shape[1] - 5 * 96  # of 24 pixels each, enlarged, and four gaps between them
    assert 0 < gap < 20 and gap % 4 == 0
    band = strip.shape[0] - 96
    for column, kind in ((0, 'lq'), (4, 'gt')):
        pane = strip[band:, (96 + gap // 4) * column:][:, :96]
        assert (pane[::4, ::4] == cv2.imread(str(folder / 'haze' / kind / '0.png'))).all()
    for column in range(5):  # letters, dark on white, inside each pane's width
        above = strip[:band, (96 + gap // 4) * column:][:, :96]
        assert above.min() < 100 and (above[:, [0, -1]] == 255).all()


def test_no_strips_if_none_are_wanted(unlearn):
    assert unlearn({**SHOWN, 'val.strips': 0}) == 0
    assert read_events().Tags()['images'] == []


def test_the_log_shows_scores_beside_their_references(unlearn, log, folder):
    assert unlearn({'val.val_freq': 3}) == 0
    text = log()
    assert text.count('Validation haze (forget)') == 2 and text.count('Validation rain (retain)') == 2
    assert f'identity {identity_psnr(folder, "haze"):.4f}  original ' in text


@pytest.mark.parametrize('bound, over', [('none', True), ('identity', False)])
def test_over_forgetting_is_reported(unlearn, log, bound, over):
    """Unbounded ascent falls far below the untouched input; 6 small steps of a bounded one do not."""
    changes = {'train.total_iter': 30, 'train.optim_g.lr': 2e-2, 'train.retain_opt': None} if over else {}
    assert unlearn({**changes, 'train.forget_opt.bound': bound}) == 0
    assert ('WARNING: haze is over-forgotten' in log()) is over
    assert 'rain is over-forgotten' not in log()


def test_the_margin_of_over_forgetting_is_an_option(unlearn, log):
    assert unlearn({'train.total_iter': 30, 'train.optim_g.lr': 2e-2, 'train.retain_opt': None,
                    'train.forget_opt.bound': 'none', 'train.over_forget_margin': 90}) == 0
    assert 'over-forgotten' not in log()


def reference_of(weights, folder, darker: float) -> dict:
    """Options with a 'retrained' network that restores so much less than the original."""
    other = dict(weights('../base.pth'))
    other['ending.bias'] = other['ending.bias'] - darker
    torch.save({'params': other}, folder / 'retrained.pth')
    return {'path.pretrain_network_retrained': str(folder / 'retrained.pth')}


def test_over_forgetting_is_judged_by_the_retrained_network_where_there_is_one(unlearn, log, folder, weights):
    """The run ends at about 23 dB: above the untouched input's 14, but this retrained network has some 29."""
    assert unlearn({**reference_of(weights, folder, 0.03), 'train.optim_g.lr': 2e-3}) == 0
    assert 'haze is over-forgotten' in log() and 'dB below the retrained network' in log()


def test_a_network_that_restores_as_the_original_does_is_no_reference(unlearn, log):
    """It was trained on what is to be forgotten: said once, and nothing is held against it."""
    assert unlearn({'path.pretrain_network_retrained': '../base.pth', 'train.optim_g.lr': 2e-3, 'val.val_freq': 2}) == 0
    assert log().count('The retrained network is no reference for haze') == 1
    assert 'over-forgotten' not in log()


def test_a_set_without_ground_truth_is_not_scored_by_that_of_another(unlearn, folder, log):
    """SingleImageDataset of BasicSR, between the paired sets."""
    single = {'name': 'real', 'type': 'SingleImageDataset', 'dataroot_lq': str(folder / 'haze' / 'lq'),
              'io_backend': {'type': 'disk'}}
    assert unlearn({'val.val_freq': 3, 'datasets.val_real': single, 'val.save_img': True}) == 0
    assert 'Validation haze' in log() and 'Validation real' not in log()
    saved = Path('experiments/tiny/visualization/real')
    assert sorted(path.name for path in saved.iterdir()) == ['0_3.png', '0_6.png', '1_3.png', '1_6.png']


def test_saved_images_of_sets_with_equal_names_do_not_meet(unlearn, folder):
    assert unlearn({'val.save_img': True}) == 0
    for name in ('haze', 'rain'):
        assert sorted(p.name for p in Path('experiments/tiny/visualization', name).iterdir()) == ['0_6.png', '1_6.png']


def test_equal_names_within_a_set_are_numbered():
    seen = {}
    assert [numbered(name, seen) for name in ('a', 'b', 'a', 'a')] == ['a', 'b', 'a_2', 'a_3']


# ---------------------------------------------------------------- tiles

@pytest.fixture
def larger(folder, pixels) -> None:
    """The images are 40x72 now, black on the left and bright on the right, so that every tile has another mean."""
    rng, light = np.random.default_rng(2), np.linspace(0, 1, 72)[:, None]
    for name in ('haze', 'rain'):
        for i in range(2):
            lq = rng.integers(0, 200, (40, 72, 3)) * light
            for kind, image in (('lq', lq), ('gt', lq + 51)):  # + SHIFT, which the network restores
                pixels(folder / name / kind / f'{i}.png', image.astype(np.uint8))


def test_all_networks_are_scored_in_the_same_tiles(unlearn, folder, built, restoring_net, retrained, larger,
                                                   monkeypatch):
    seen, forward = [], NAFNet.forward
    with monkeypatch.context() as patch:
        patch.setattr(NAFNet, 'forward', lambda net, lq: seen.append(lq.shape) or forward(net, lq))
        assert unlearn({**retrained, 'val.tile': 32, 'val.tile_overlap': 16}) == 0
    assert max(max(shape[2:]) for shape in seen) == 32
    model = built[0]
    for found, net in ((model.tracking.references['rain']['original']['psnr'], restoring_net),
                       (model.tracking.references['rain']['retrained']['psnr'], model.networks.get('retrained')),
                       (model.metric_results['psnr'], model.net_g)):  # rain is validated last
        net.eval()
        in_tiles = network_psnr(lambda lq, net=net: restore_in_tiles(net, lq, 32, 16), folder, 'rain')
        assert found == pytest.approx(in_tiles, abs=1e-4)
        assert abs(in_tiles - network_psnr(net, folder, 'rain')) > 5e-4  # it pools, so tiles differ
    untouched = model.tracking.references['rain']['identity']['psnr']
    assert untouched == pytest.approx(identity_psnr(folder, 'rain'), abs=1e-3)


@pytest.mark.parametrize('changes, sentence', [
    ({'val.tile': 100}, 'val.tile is 100, not a multiple of 16 from 32.'),
    ({'val.tile': 32}, 'val.tile_overlap 32 is not smaller than tile 32.'),
    ({'val.tile': 64, 'val.tile_overlap': 24}, 'val.tile_overlap is 24, not 0 or a multiple of 16.'),
    ({'val.tile': 0}, 'val.tile is 0'),
    ({'val.tiles': 64}, 'val.tiles is no option: did you mean val.tile?'),
    ({'val.tile': 64, 'model_type': 'SRModel', 'train.forget_opt': None, 'train.retain_opt': None,
      'train.pixel_opt': {'type': 'L1Loss'}}, 'no effect on model_type: SRModel'),
])
def test_tiles_that_do_not_work_are_refused_in_one_sentence(unlearn, capsys, changes, sentence):
    assert unlearn(changes) == 2
    assert sentence in capsys.readouterr().err


# ---------------------------------------------------------------- test mode

@pytest.fixture
def tested(folder, restoring_net):
    """tested(path changes) runs our test entry point on haze and rain; the text of its log."""
    def run(**path: str) -> str:
        pairs = {f'test_{i}': {'name': name, 'role': role, 'type': 'PairedRestorationDataset',
                               'dataroot_lq': str(folder / name / 'lq'), 'dataroot_gt': str(folder / name / 'gt')}
                 for i, (name, role) in enumerate((('haze', 'forget'), ('rain', 'retain')))}
        opt = {'name': 'tiny', 'model_type': 'UnlearnModel', 'scale': 1, 'num_gpu': 0, 'manual_seed': 0,
               'datasets': pairs, 'path': {'pretrain_network_g': '../base.pth', **path},
               'network_g': {'type': 'NAFNet', 'width': 4, 'enc_blk_nums': [1], 'middle_blk_num': 1,
                             'dec_blk_nums': [1]},
               'val': {'save_img': True, 'suffix': None,
                       'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}}}
        (folder / 'test.yml').write_text("plugin: !!python/name:basicsr_unlearn.plugin.__version__ ''\n"
                                         + yaml.safe_dump(opt))
        assert test_entry.main(['-opt', str(folder / 'test.yml')]) == 0
        return next(Path('results/tiny').glob('test_tiny_*.log')).read_text()
    return run


def test_a_test_shows_the_references_beside(tested, folder, restoring_net, retrained):
    text = tested(pretrain_network_retrained=str(folder / 'retrained.pth'),
                  pretrain_network_original=str(folder / 'base.pth'))
    own = network_psnr(restoring_net, folder, 'haze')
    line = next(line for line in text.splitlines() if f'# psnr: {own:.4f}' in line)
    assert f'identity {identity_psnr(folder, "haze"):.4f}' in line and f'original {own:.4f}' in line
    assert 'retrained 2' in line or 'retrained 1' in line
    for name in ('haze', 'rain'):
        assert sorted(path.name for path in Path('results/tiny/visualization', name).iterdir()) == [
            '0_tiny.png', '1_tiny.png']


def test_a_test_needs_no_references(tested, folder):
    assert f'[identity {identity_psnr(folder, "rain"):.4f}]' in tested()
