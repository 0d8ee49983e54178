"""The benchmark: what is run, what is kept, and the numbers of the leaderboard."""
import json
import os
import signal
import subprocess
import time
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from basicsr_unlearn.archs.nafnet_arch import NAFNet
from basicsr_unlearn.cli import benchmark
from basicsr_unlearn.cli import commands as cli
from basicsr_unlearn.core.leads import Trail
from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.engine.entry import guarded
from basicsr_unlearn.proof.attackers.attack_plan import AttackPlan, Material
from basicsr_unlearn.proof.attackers.sweep import MeanScore, Sweep, sweep
from basicsr_unlearn.proof.benchmark import benchmark_jobs, material
from basicsr_unlearn.proof.benchmark import cell as benchmark_cell
from basicsr_unlearn.proof.benchmark.benchmark_jobs import check_selected, jobs_of
from basicsr_unlearn.proof.benchmark.benchmark_plan import methods_of, read_benchmark, run_options
from basicsr_unlearn.proof.benchmark.cell import run_job
from basicsr_unlearn.proof.benchmark.estimate import estimate
from basicsr_unlearn.proof.benchmark.leaderboard import Contest, overview, reference_of, target_board
from basicsr_unlearn.report.leaderboard_text import board_markdown, board_tables, caption, overview_table

NETWORK = {'width': 4, 'enc_blk_nums': [1], 'middle_blk_num': 1, 'dec_blk_nums': [1]}
PLUGIN = "plugin: !!python/name:basicsr_unlearn.plugin.__version__ ''\n"
RESULTS = Path('results/benchmark/tiny')
ROOT = Path(__file__).resolve().parent.parent


def degraded(kind: str) -> dict:
    return {'type': 'DegradedImageDataset', 'dataroot_gt': 'photos', 'degradations': [{'type': kind}]}


BASE = {
    'name': 'base', 'model_type': 'UnlearnModel', 'scale': 1, 'num_gpu': 0, 'manual_seed': 0,
    'datasets': {'train': {'name': 'train', 'type': 'ForgetRetainDataset', 'gt_size': 16, 'batch_size_per_gpu': 2,
                           'num_worker_per_gpu': 0, 'forget': [degraded('haze')]}},
    'network_g': {'type': 'NAFNet', **NETWORK}, 'path': {'pretrain_network_g': 'original.pth'},
    'train': {'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'scheduler': {'type': 'MultiStepLR', 'milestones': [1000]},
              'total_iter': 6, 'forget_opt': {'type': 'GradientAscentLoss'}},
    'val': {'val_freq': 1000, 'save_img': False, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
    'logger': {'print_freq': 1, 'save_checkpoint_freq': 1000, 'use_tb_logger': False},
}
TARGET = {'forget': [degraded('haze')], 'retain_degradations': [{'degradations': [{'type': 'gaussian_noise'}]}],
          'attack_data': {'forget': [degraded('haze')]}, 'retrained': ['retrained.pth']}
BENCHMARK = {
    'name': 'tiny', 'base': 'base.yml', 'targets': {'haze': TARGET},
    'methods': ['calibrated', {'method': 'gradient_ascent', 'label': 'ascent', 'total_iter': 1}], 'seeds': [0],
    'total_iter': 2, 'test': {'haze': degraded('haze'), 'noise': degraded('gaussian_noise')},
    'attacks': {'pairs': [2], 'steps': [1, 2], 'patch': 16}, 'retraining': {'steps': 40, 'batch': 2},
}


def changed(opt: dict, dotted: str, value: object) -> dict:
    """A copy of `opt` with the option at `dotted` set."""
    first, _, rest = dotted.partition('.')
    return {**opt, first: changed(opt[first], rest, value) if rest else value}


@pytest.fixture
def job(in_tmp_path, photos) -> Path:
    """A folder with photographs, an original and a retrained network, base.yml and tiny.yml."""
    torch.set_num_threads(1)
    photos(in_tmp_path / 'photos', [f'p{i}' for i in range(9)], size=(20, 20))
    for seed, (name, brightness) in enumerate((('original', -0.25), ('retrained', 0.0))):
        torch.save({'params': network(seed, brightness)}, f'{name}.pth')
    Path('base.yml').write_text(PLUGIN + yaml.safe_dump(BASE))
    write(BENCHMARK)
    return in_tmp_path


def network(seed: int, brightness: float) -> dict:
    """Weights of a network that darkens what it gets, or not: haze brightens, so darkening restores by 2.5 dB."""
    torch.manual_seed(seed)
    net = NAFNet(**NETWORK)
    torch.nn.init.constant_(net.ending.bias, brightness)
    return net.state_dict()


def write(opt: dict) -> None:
    Path('tiny.yml').write_text(PLUGIN + yaml.safe_dump(opt))


@pytest.fixture
def started(monkeypatch) -> list[str]:
    """The jobs that were started, by the name of their file; they run in this process instead of one of their own."""
    names = []

    def start(job: dict, log: Path, running: set) -> int:
        names.append(Path(job['out']).stem)
        with open(log, 'w') as output, redirect_stderr(output):  # stdout is the command's own meanwhile
            return guarded(lambda: run_job(json.loads(json.dumps(job))))

    def untouched(net: torch.nn.Module, material: Material, plan: AttackPlan, measure: MeanScore, *_) -> Sweep:
        return Sweep([Trail('untouched', 'plain', 0, {0: [measure(net)]})], [])

    monkeypatch.setattr(benchmark, 'start', start)
    monkeypatch.setattr(benchmark_cell, 'sweep', untouched)
    return names


@pytest.fixture
def attacked(started, monkeypatch) -> None:
    """Attackers that learn, without those that undo what the method has not done: each takes a moment."""
    monkeypatch.setattr(benchmark_cell, 'sweep', sweep)
    monkeypatch.setattr(material, 'known_parts', list)


def run(*flags: str) -> int:
    return cli.main(['benchmark', '-opt', 'tiny.yml', *flags])


# ---------------------------------------------------------------- what is run and kept

CELLS = ['haze_original', 'haze_retrained0', 'haze_calibrated_seed0', 'haze_ascent_seed0']


def test_what_is_finished_is_not_run_again_and_what_has_changed_is(job, started, capsys):
    assert run('--quick') == 0 and started == CELLS
    kept = {path: path.read_text() for path in Path('results/benchmark/tiny_quick').glob('[cr]*/*.json')}
    assert len(kept) == 4
    assert all(len(images) == 8 for text in kept.values() for images in json.loads(text)['scores'].values())
    out = capsys.readouterr().out
    assert '[4/4] haze, ascent, seed 0: forget PSNR' in out and '| calibrated' in out

    started.clear()
    assert run('--quick') == 0 and started == []
    assert {path: path.read_text() for path in kept} == kept
    assert '4 networks to measure, 4 of them done' in capsys.readouterr().out

    runs = {path: path.stat().st_mtime_ns for path in Path('experiments').glob('*/benchmark.json')}
    write(changed(BENCHMARK, 'attacks.images', 3))  # measured anew, but not unlearned anew
    assert run('--quick') == 0 and started == CELLS
    assert {path: path.stat().st_mtime_ns for path in Path('experiments').glob('*/benchmark.json')} == runs

    started.clear()
    write(changed(changed(BENCHMARK, 'attacks.images', 3), 'methods', ['calibrated', 'finetune']))
    assert run('--quick') == 0 and started == ['haze_finetune_seed0']

    started.clear()
    torch.save({'params': network(7, 0.0)}, 'retrained.pth')  # another file of the same name
    assert run('--quick') == 0 and started == ['haze_retrained0']


def test_records_and_leaderboard_hold_what_was_done(job, started, attacked):
    write(changed(BENCHMARK, 'seeds', [0, 3]))
    assert run('--only', 'method=ascent,seed=3') == 0 and started == [*CELLS[:2], 'haze_ascent_seed3']
    record = json.loads((RESULTS / 'cells' / 'haze_ascent_seed3.json').read_text())
    assert record['run']['steps'] == 1 and record['run']['batch'] == 2 and record['run']['memory_mb'] > 0
    assert {name: len(images) for name, images in record['scores'].items()} == {'haze': 9, 'noise': 9}
    trails = [Trail.from_record(trail) for trail in record['trails']]
    assert 'plain' in {trail.family for trail in trails} and {0, 1, 2} == set().union(*(t.curve for t in trails))
    assert record['seconds'] > 0 and record['run']['patch'] == 16 and record['run']['passes']['student_backward'] == 2
    option_file = RESULTS / 'options' / 'haze_ascent_seed3.yml'
    opt = yaml.safe_load(option_file.read_text().split('\n', 1)[1])
    assert opt['manual_seed'] == 3 and opt['train']['forget_opt']['bound'] == 'none'  # the preset, spelt out
    assert Path(record['run']['checkpoint']).is_file()
    board = json.loads((RESULTS / 'leaderboard.json').read_text())['targets']['haze']
    assert [row['name'] for row in board['rows']] == ['original', 'retrained without haze', 'ascent']
    assert board['rows'][2]['share'] == pytest.approx(1 * 2 / (40 * 2))
    assert board['rows'][0]['retain_loss']['noise'][0] == 0 and board['rows'][1]['gap'][0] == 0
    assert '| ascent' in (RESULTS / 'leaderboard.md').read_text()


def test_the_steps_of_a_proxy_count(job, started):
    write({**BENCHMARK, 'methods': [{'method': 'blindspot', 'train': {'proxy_opt': {'iters': 3}}}]})
    assert run() == 0
    assert json.loads((RESULTS / 'cells/haze_blindspot_seed0.json').read_text())['run']['steps'] == 3 + 2


def test_a_cell_that_fails_is_recorded_and_tried_again(job, started, capsys):
    write(changed(BENCHMARK, 'methods', [
        {'method': 'gradient_ascent', 'label': 'broken', 'train': {'optim_g': {'lr': 1e30}}},
        {'method': 'gradient_ascent', 'label': 'ascent', 'total_iter': 1}]))
    assert run('--quick') == 1
    assert 'haze, broken, seed 0: failed: Loss or gradient is not finite' in capsys.readouterr().out
    folder = Path('results/benchmark/tiny_quick')
    assert json.loads((folder / 'cells/haze_broken_seed0.json').read_text())['error'].startswith('Loss or gradient')
    board = json.loads((folder / 'leaderboard.json').read_text())['targets']['haze']
    assert [row['name'] for row in board['rows']][2:] == ['ascent']
    assert len(board['failures']) == 1 and board['failures'][0].startswith('broken, seed 0: Loss or gradient')
    started.clear()
    assert run('--quick') == 1 and started == ['haze_broken_seed0']


@pytest.fixture
def ctrl_c():
    """Ctrl-C interrupts, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_benchmark_leaves_no_cell_running_and_goes_on(job, started, ctrl_c, monkeypatch, capsys, number):
    begun = []

    def start(job: dict, log: Path, running: set) -> int:
        process = subprocess.Popen(['sleep', '60'])
        running.add(process)
        begun.append(process)
        time.sleep(1)  # all jobs are handed in by then
        os.kill(os.getpid(), number)
        return process.wait()

    before = signal.getsignal(signal.SIGTERM)
    with monkeypatch.context() as patch:
        patch.setattr(benchmark, 'start', start)
        assert run('--quick', '--jobs', '1') == 128 + number
    assert 'Interrupted: the same command goes on' in capsys.readouterr().err
    assert begun and all(process.poll() is not None for process in begun)
    assert signal.getsignal(signal.SIGTERM) is before
    assert run('--quick') == 0 and started == CELLS


def test_the_whole_sweep_of_one_network_against_a_retrained_one(job, attacked):
    plan = {'pairs': [2, 4], 'steps': [1, 2], 'rates': [1e-3], 'draws': 2, 'patch': 16, 'images': 2}
    write({**BENCHMARK, 'attacks': plan, 'methods': [{'method': 'deep', 'total_iter': 1}],
           'targets': {'haze': {**TARGET, 'retrained': ['retrained.pth', 'other.pth'],
                                'attack_data': {'forget': [degraded('haze')], 'retain': [degraded('jpeg')]}}}})
    torch.save({'params': network(2, 0.01)}, 'other.pth')
    assert run('--whole-sweep', '--quick') == 0
    folder = Path('results/benchmark/tiny_quick_whole')
    record = json.loads((folder / 'cells/haze_deep_seed0.json').read_text())
    trails = [Trail.from_record(trail) for trail in record['trails']]
    assert {trail.family for trail in trails} == {'plain', 'inverse', 'orientation', 'input', 'quantisation',
                                                  'line search', 'merging', 'loosening', 'few weights', 'retain'}
    assert any('ResetByFisher' in trail.attacker for trail in trails)  # the method's own part
    assert {trail.pairs for trail in trails} == {0, 2, 4}
    assert max(len(scores) for trail in trails for scores in trail.curve.values()) == 2  # draws
    board = json.loads((folder / 'leaderboard.json').read_text())
    row = board['targets']['haze']['rows'][2]
    assert not board['attacks']['quick'] and row['attacker'] in {trail.attacker for trail in trails}
    assert row['score'][0] == pytest.approx(abs(row['gap'][0]) + max(0, row['retain_loss']['noise'][0])
                                            + max(0, row['beyond'][0]))
    original = board['targets']['haze']['rows'][0]
    assert original['beyond'][0] > 1  # 2.5 dB of its skill, which no attacker needs to learn


def test_a_method_may_be_attacked_otherwise_and_the_references_with_it(job, started, capsys):
    write({**BENCHMARK, 'methods': ['finetune', {'method': 'finetune', 'label': 'harder', 'attacks': {'draws': 2}}]})
    assert run('--quick', '--only', 'method=finetune') == 0
    assert started == ['haze_original', 'haze_retrained0', 'haze_finetune_seed0']
    started.clear()
    assert run('--quick') == 0
    *references, cell = started
    suffix = references[0].removeprefix('haze_original')
    assert len(suffix) == 7 and references == [f'haze_original{suffix}', f'haze_retrained0{suffix}']
    assert cell == 'haze_harder_seed0'
    board = json.loads(Path('results/benchmark/tiny_quick/leaderboard.json').read_text())['targets']['haze']
    assert {row['name']: row['plan'] for row in board['rows'][2:]} == {'finetune': '', 'harder': suffix[1:]}
    (note,) = board['notes']
    assert note.startswith('harder was attacked as its own block')


def test_the_shipped_benchmark_has_what_every_board_needs(monkeypatch):
    monkeypatch.chdir(ROOT)
    plan = read_benchmark('options/benchmark_nafnet.yml')
    for name, target in plan.targets.items():
        assert {'retrain_10', 'finetune_10'} <= set(methods_of(plan, name))
        assert len(target['strengths']) >= 4 and len(target['retrained']) >= 2
        assert all(Path(path).is_file() for path in target['retrained'])
        assert target['attack_data']['forget'] and target['attack_data']['retain']
    assert {block['budget'] for block in plan.methods.values()} == set(plan.budgets)  # all say what they may take


def test_one_process_measures_one_network(job):
    write(changed(BENCHMARK, 'attacks.images', 1))
    tiny = read_benchmark('tiny.yml', quick=True)
    first, second = jobs_of(tiny, 'haze')[0], jobs_of(tiny, 'haze')[1]
    assert first['record']['key'] != second['record']['key']
    running = set()
    assert benchmark.start(first, Path('log'), running) == 0, Path('log').read_text()
    record = json.loads(Path(first['out']).read_text())
    assert record['key'] == first['record']['key'] and len(record['identity']['haze']) == 8 and not running


def test_what_was_measured_on_other_images_is_measured_again(job, started, photos):
    write({**BENCHMARK, 'methods': [BENCHMARK['methods'][1]]})
    assert run('--quick') == 0
    started.clear()
    photos(job / 'photos', ['p0'], size=(24, 24), seed=7)  # another picture of that name
    benchmark_jobs._digest_of_options.cache_clear()  # as a new process
    assert run('--quick') == 0 and len(started) == 3


@pytest.mark.parametrize('dotted, value, sentence', [
    ('methods', ['calibratd'], "method is 'calibratd', which is not there: did you mean calibrated"),
    ('methods', ['ssd', 'ssd'], "methods[1] is called 'ssd' like another one"),
    ('methods', [{'method': 'calibrated', 'train': {'retain_opt': {'wieght': 2}}}],
     'Method calibrated, target haze: train.retain_opt.wieght is no option'),
    ('targets', {'haze': {'attack_data': {'forget': [degraded('haze')]}}}, 'targets.haze.forget is missing'),
    ('targets', {'snow': TARGET}, 'targets.snow has no test set of its name'),
    ('targets.haze.retrained', ['gone.pth'], 'gone.pth does not exist'),
    ('targets.haze.retrained', ['gone.json'], 'targets.haze.retrained has gone.json, a record: name the checkpoint'),
    ('targets.haze.attack_data.forget', [{**degraded('haze'), 'dataroot_gt': 'small'}],
     'smaller than the training patch'),
    ('targets.haze.attack_data.forget', [{**degraded('gaussian_noise'), 'degradations': [
        {'type': 'gaussian_noise', 'sigma': 0}]}], 'targets.haze.attack_data.forget holds no forget pair'),
    ('targets.haze.strengths', ['snow'], 'targets.haze.strengths has snow, which is no other test set; use noise.'),
    ('targets.haze.strengths', ['noise'], 'targets.haze keeps no test set'),
    ('targets.haze.relearn', [degraded('haze')], 'targets.haze.relearn is now targets.haze.attack_data.forget'),
    ('relearn', {'pairs': 8}, 'The block relearn is now attacks'),
    ('attacks.steps', [5, 2], 'attacks: steps: expected rising numbers but got [5, 2]'),
    ('budgets', [10, 1], 'budgets is [10, 1], not a list of numbers, each larger'),
    ('test.noise.dataroot_gt', 'nowhere', 'Target haze: '),
    ('test', {'haze': degraded('haze')}, 'test has a single set'),
    ('targets.haze.keep', ['haze'], 'targets.haze.keep has haze, which is no other test set; use noise.'),
    ('methods', [{'method': 'calibrated', 'data': {'batch_size': 4}}],
     'Method calibrated, target haze: datasets.train.batch_size is no option'),
    ('methods', [{'method': 'calibrated', 'targets': ['snow']}], 'methods[0].targets has snow, which is no target; use '
     'haze.'),
    ('seeds', [1, 0], 'seeds is [1, 0], not a list of numbers, each larger'),
    ('attacks.step', [1], 'attacks.step is no option: did you mean attacks.steps?'),
    ('base', 'gone.yml', 'base gone.yml does not exist'),
    ('name', 'a/b', "name is 'a/b', which is part of file names"),
])
def test_bad_input_is_one_sentence_before_anything_runs(job, started, photos, capsys, dotted, value, sentence):
    photos(job / 'small', ['s'], size=(8, 8))
    write(changed(BENCHMARK, dotted, value))
    assert run() == 2
    err = capsys.readouterr().err
    assert err.startswith('Error: ') and err.count('\n') == 1 and sentence in err, err
    assert started == [] and not Path('results').exists() and not Path('experiments').exists()


@pytest.mark.parametrize('flags, sentence', [
    (['--only', 'method=deep'], '--only method=deep: this benchmark has no such cells; use calibrated, ascent.'),
    (['--only', 'metod=deep'], 'use target=..., method=... and seed=...'),
    (['--jobs', '0'], '--jobs is 0'),
])
def test_wrong_flags_are_one_sentence(job, started, capsys, flags, sentence):
    assert run(*flags) == 2
    assert sentence in capsys.readouterr().err and started == []


def test_a_method_may_go_without_retain_data_and_a_target_keep_some_of_the_sets(job):
    noise = {**degraded('gaussian_noise'), 'name': 'noisy'}
    write({**BENCHMARK, 'targets': {'haze': {**TARGET, 'retain': [noise], 'keep': ['rain']}},
           'test': {**BENCHMARK['test'], 'rain': degraded('rain_streaks')},
           'methods': ['calibrated', {'method': 'calibrated', 'label': 'free',
                                      'data': {'retain': None, 'batch_size_per_gpu': 1}}]})
    plan = read_benchmark('tiny.yml')
    with_data, free = (run_options(plan, 'haze', name, 0)['datasets']['train'] for name in ('calibrated', 'free'))
    assert with_data['retain'] == [noise] and 'retain_degradations' not in with_data
    assert free['retain_degradations'] == TARGET['retain_degradations'] and free['retain_from'] == 'forget_gt'
    assert 'retain' not in free and (with_data['batch_size_per_gpu'], free['batch_size_per_gpu']) == (2, 1)
    assert list(jobs_of(plan, 'haze')[0]['measure']['test']) == ['haze', 'rain']
    check_selected(plan, ['haze'], ['calibrated', 'free'])


def test_a_method_may_be_for_some_targets_alone(job, started, capsys):
    write({**BENCHMARK, 'targets': {'haze': TARGET, 'noise': TARGET},
           'test': {'haze': degraded('haze'), 'noise': degraded('haze')},  # the original can remove nothing else
           'methods': ['calibrated', {'method': 'calibrated', 'label': 'for_noise', 'targets': ['noise']}]})
    assert run('--only', 'target=haze,method=for_noise') == 2
    assert 'Target haze has none of the methods for_noise: name one of calibrated' in capsys.readouterr().err
    assert run() == 0 and started[-3:] == ['haze_calibrated_seed0', 'noise_calibrated_seed0', 'noise_for_noise_seed0']
    assert 'haze_for_noise_seed0' not in started and len(started) == 7


def test_a_target_that_is_not_asked_for_may_lack_its_network(job, started):
    write(changed(BENCHMARK, 'targets.noise', {**TARGET, 'forget': [degraded('gaussian_noise')],
                                               'retrained': ['not_yet.pth']}))
    assert run('--quick', '--only', 'target=haze,method=ascent') == 0
    assert list(json.loads(Path('results/benchmark/tiny_quick/leaderboard.json').read_text())['targets']) == ['haze']


def test_a_target_that_the_original_cannot_restore_is_refused_once_that_is_measured(job, started, capsys):
    torch.save({'params': network(0, 0.0)}, 'original.pth')
    assert run() == 1 and started == CELLS[:2]
    out, err = capsys.readouterr()
    assert err.startswith('Error: Target haze cannot be judged') and err.count('\n') == 1
    assert 'Cannot be judged' in out
    board = json.loads((RESULTS / 'leaderboard.json').read_text())['targets']['haze']
    assert board['judged'] is False and board['rows'] == [] and 'Cannot be judged' in board['reason']
    assert 'Cannot be judged' in (RESULTS / 'leaderboard.html').read_text()
    assert 'Cannot be judged' in (RESULTS / 'leaderboard.md').read_text()
    write({**BENCHMARK, 'skill_margin': 9})
    torch.save({'params': network(0, -0.25)}, 'original.pth')  # 2.5 dB are not enough then
    assert run() == 1 and 'better by 9.00 dB' in capsys.readouterr().err


def test_a_network_that_restores_the_target_is_no_reference(job, started, capsys):
    torch.save({'params': network(0, -0.2)}, 'wrong.pth')
    write({**changed(BENCHMARK, 'targets.haze.retrained', ['wrong.pth', 'retrained.pth']), 'methods': ['calibrated']})
    assert run('--quick') == 0
    board = json.loads(Path('results/benchmark/tiny_quick/leaderboard.json').read_text())['targets']['haze']
    assert board['references']['haze']['networks'] == 1 and board['rows'][1]['networks'] == 1
    (note,) = board['notes']
    assert 'wrong.pth' in note and 'retrained.pth' not in note and note in capsys.readouterr().out


DAMAGE = {'empty': b'', 'null': b'null', 'list': b'[]', 'other keys': b'{"a": 1}', 'no text': b'\xff\xfe\x00',
          'deep': b'[' * 100000, 'number': b'7', 'nan': b'{"key": NaN}'}


@pytest.mark.parametrize('damage', ['empty', 'half', 'no scores', 'no trails'])  # more in test_audit_fuzz
def test_a_damaged_record_is_measured_again_with_one_warning(job, started, capsys, damage):
    write({**BENCHMARK, 'methods': [BENCHMARK['methods'][1]]})
    assert run('--quick') == 0
    folder = Path('results/benchmark/tiny_quick')
    before = (folder / 'leaderboard.md').read_text()
    files = [*folder.glob('[cr]*/*.json'), *Path('experiments').glob('*/benchmark.json')]
    assert len(files) == 4
    for file in files:
        text = file.read_bytes()
        part = {'scores': {'haze': {}}} if damage == 'no scores' else {'trails': [{'attacker': 'a'}]}
        record = json.dumps({**json.loads(text), **part}).encode()
        file.write_bytes(DAMAGE.get(damage, text[:len(text) // 2] if damage == 'half' else record))
    started.clear()
    capsys.readouterr()
    assert run('--quick') == 0 and started == ['haze_original', 'haze_retrained0', 'haze_ascent_seed0']
    err = capsys.readouterr().err
    assert err.startswith('Warning: ') and err.count('\n') == 1 and 'damaged' in err
    rows = [[line.split('|')[:9] for line in text.splitlines() if line.startswith('|')]
            for text in (before, (folder / 'leaderboard.md').read_text())]
    assert rows[0] == rows[1]  # but for time and memory
    assert run('--quick') == 0 and capsys.readouterr().err == ''


def test_a_run_without_its_checkpoint_is_made_again(job, started):
    write({**BENCHMARK, 'methods': [BENCHMARK['methods'][1]]})
    assert run('--quick') == 0
    (checkpoint,) = Path('experiments').glob('*/models/net_g_latest.pth')
    cell = Path('results/benchmark/tiny_quick/cells/haze_ascent_seed0.json')
    for damage in (lambda: checkpoint.unlink(), lambda: checkpoint.write_bytes(b'PK\x03\x04cut')):
        damage()
        cell.unlink()
        assert run('--quick') == 0 and checkpoint.stat().st_size > 1000


def test_without_an_option_file_the_command_says_what_it_needs(in_tmp_path, capsys):
    assert cli.main(['benchmark']) == cli.main(['benchmark', '--quick']) == 2
    told = capsys.readouterr().out
    assert 'basicsr-unlearn benchmark -opt options/benchmark_nafnet.yml' in told and 'minutes' in told
    assert list(in_tmp_path.iterdir()) == []


# ---------------------------------------------------------------- the numbers

def record(name: str, haze: float, rain: float, noise: float, *curve: float, seed: int = 0, steps: int = 200, **more
           ) -> dict:
    """Scores of two images a set, 1 dB above and below the given mean; of thin haze 2 dB above those of haze unless
    given; `curve` of one attacker after 10 and 25 steps.
    """
    means = {'haze': haze, 'thin': more.pop('thin', haze + 2), 'rain': rain, 'noise': noise}
    scores = {task: {'a': psnr - 1, 'b': psnr + 1} for task, psnr in means.items()}
    trail = Trail(more.pop('attacker', 'plain'), 'plain', 8, {step: [psnr] for step, psnr in zip((10, 25), curve)})
    passes = {'student_forward': 8 * steps, 'student_backward': 8 * steps}
    run = {'steps': steps, 'batch': 8, 'patch': 64, 'passes': passes, 'seconds': 30 + seed, 'memory_mb': 700}
    return {'name': name, 'seed': seed, 'scores': scores, 'trails': [trail.record()], 'left_out': [], 'seconds': 5,
            'run': run, **more}


ORIGINAL = {**record('original', 20, 30, 28, 20, 21), 'identity': {
    task: {'a': psnr, 'b': psnr} for task, psnr in (('haze', 9.5), ('thin', 9.5), ('rain', 20), ('noise', 19))}}
RETRAINED = [record('', 10, 31, 28.5, 15, 17), record('', 11, 31.5, 29, 16, 16)]
CELLS_BY_HAND = [
    record('over', 8, 30, 28, 10, 10, steps=2000),
    record('good', 10.5, 29.8, 28.2, 15.5, 18, seed=0),
    record('good', 11.5, 29.6, 28.0, 16, 17, seed=1, attacker='inverse'),
    {'name': 'broken', 'seed': 2, 'error': 'It has <diverged>.'},
]
CONTEST = Contest('haze', {'steps': 20000, 'batch': 8}, 64, ('thin',))


def by_hand(retrained: list = RETRAINED, cells: list = CELLS_BY_HAND, **contest) -> dict:
    return target_board(replace(CONTEST, **contest), ORIGINAL, retrained, cells)


def test_numbers_of_the_leaderboard():
    board = by_hand()
    original, retrained, good, over = board['rows']
    assert (good['name'], over['name']) == ('good', 'over')
    # good: 10.5 lies inside 10 ... 11, 11.5 is 0.5 above; the same of thin haze
    assert good['forget_psnr'] == pytest.approx((11.0, 0.5**0.5))
    assert good['gap'] == pytest.approx((0.25, 0.125**0.5)) and good['worst_at'] == 'haze'
    assert good['retain_loss']['rain'] == pytest.approx((0.3, 0.02**0.5))
    assert good['retain_loss']['noise'] == pytest.approx((-0.1, 0.02**0.5))
    # 15, 16 after 10 steps, 17, 16 after 25: he may stop early. Seed 0: 15.5 against 15.5, 18 against 16.5, at most 17;
    # seed 1: 16 against 15.5, at most 16, and 17
    assert good['lead'] == pytest.approx((1.0, 0.5**0.5)) and good['beyond'] == pytest.approx((0.5, 0.5**0.5))
    assert good['within'] == {'pairs': 8, 'steps': 25} and good['attacker'] == 'plain'
    # seed 0: 0 + (0.2 + 0)/2 + 1; seed 1: 0.5 + (0.4 + 0)/2 + 0
    assert good['score'] == pytest.approx(((1.1 + 0.7) / 2, 0.08**0.5))
    assert (good['share'], good['seconds'], good['seeds']) == (pytest.approx(0.01), 30.5, [0, 1])
    assert over['gap'] == (-2, None) and over['score'] == (2, None) and over['beyond'] == (-6, None)
    assert original['gap'][0] == 9 and original['beyond'][0] == 4 and original['score'][0] == 13
    # each against the other: 1 dB below and above; within 25 steps 17 against 16
    assert retrained['networks'] == 2 and retrained['gap'] == (0, pytest.approx(2**0.5))
    assert retrained['lead'] == (0, pytest.approx(2**0.5)) and retrained['retain_loss']['rain'][0] == -1.25
    assert board['failures'] == ['broken, seed 2: It has <diverged>.']


def test_the_gap_is_that_of_the_worst_strength_which_is_named():
    thin = record('thin', 10.5, 30, 28, 15, 16, thin=9.0)  # retrained ones have 12 to 13 there
    row = by_hand(cells=[thin])['rows'][2]
    assert row['gap'] == (-3, None) and row['worst_at'] == 'thin' and row['gaps']['haze'] == (0, None)
    assert row['score'][0] == 3 and list(row['retain_loss']) == ['rain', 'noise']
    alone = by_hand(cells=[thin], strengths=())['rows'][2]
    assert alone['gap'] == (0, None) and alone['worst_at'] == 'haze'


def test_where_one_more_retrained_network_would_lie_stands_beside_the_gap():
    board = by_hand()
    # Student's t for 80 % and one degree of freedom is 3.078, s is 0.707, of 2 networks
    assert board['references']['haze']['one_more'] == pytest.approx(3.0777 * 0.5**0.5 * 1.5**0.5, abs=1e-3)
    assert by_hand(RETRAINED[:1])['references']['thin']['one_more'] is None
    assert '± 2.67' in board_markdown(board)


def test_cost_is_counted_in_passes_and_methods_are_ranked_within_their_budget():
    attacked = record('attacked', 10.5, 30, 28, 10, 10)
    attacked['run']['passes'] |= {'attack_forward': 2400, 'attack_backward': 2400}  # 1 % more: no weights
    large = record('large', 10.5, 29.9, 28, 10, 10, steps=2000, budget=10)
    large['run']['patch'] = 80
    rows = by_hand(cells=[*CELLS_BY_HAND, attacked, large])['rows'][2:]
    assert {row['name']: row['share'] for row in rows} == pytest.approx(
        {'good': 0.01, 'attacked': 0.02, 'over': 0.1, 'large': 0.1 * (80 / 64)**2})
    assert [(row['name'], row['budget']) for row in rows] == [
        ('good', 1), ('attacked', 10), ('over', 10), ('large', 20)]
    assert [row['front'] for row in rows] == [True, True, False, False]
    board = by_hand(cells=[attacked, large], budgets=(1,))
    assert [row['budget'] for row in board['rows'][2:]] == [None, None]
    assert board['notes'] == ["large takes 15.6 % of retraining's arithmetic, more than the 10 % that it is meant to "
                              'stay within.']
    tables = board_tables(by_hand(cells=[attacked, large]))
    assert [title.split()[2] for title, *_ in tables] == ['10', '20']
    assert [[row[0] for row in table.rows] for _, table, _ in tables] == [['', '', '1'], ['', '', '1']]


def test_a_method_that_is_attacked_otherwise_is_held_against_networks_attacked_alike():
    against = [{**one, 'trails': record('', 0, 0, 0, 18, 18)['trails']} for one in RETRAINED]
    assert by_hand(cells=[{**CELLS_BY_HAND[1], 'against': against}])['rows'][2]['beyond'][0] == 0
    assert by_hand(cells=CELLS_BY_HAND[1:2])['rows'][2]['beyond'][0] == 1


def test_the_range_is_a_point_for_one_and_the_identity_baseline_for_none():
    one = reference_of('haze', ORIGINAL, RETRAINED[:1])
    assert (one.low, one.high) == (10, 10)
    assert 'the one retrained network (10.00 dB), a point' in caption(by_hand(RETRAINED[:1]))
    none = by_hand([])
    good, over = none['rows'][1:]
    assert over['score'][0] == 1.5
    assert good['gap'][0] == pytest.approx((3 + 4) / 2) and good['worst_at'] == 'thin'  # from 9.5
    assert good['lead'] == (None, None) and good['score'][0] == pytest.approx((3 + 0.1 + 4 + 0.2) / 2)
    assert [row['kind'] for row in none['rows']] == ['original', 'method', 'method']
    assert 'identity baseline (9.50 dB), and there is no lead' in caption(none)
    assert '2 retrained networks (10.00 to 11.00 dB on haze; one more' in caption(by_hand())


def test_a_board_that_cannot_be_judged_has_a_reason_and_no_part_in_the_overview():
    weak = {**ORIGINAL, 'scores': {**ORIGINAL['scores'], 'haze': {'a': 10.4, 'b': 10.4}}}  # identity 9.5
    board = target_board(CONTEST, weak, RETRAINED, CELLS_BY_HAND)
    assert not board['judged'] and board['rows'] == []
    assert '10.40 dB' in board['reason'] and '9.50 dB' in board['reason']
    assert board_markdown(board) == board['reason']
    assert overview_table({'haze': by_hand(), 'weak': board}) is None
    contest = replace(CONTEST, yardstick=Yardstick(margin=0.3))
    assert target_board(contest, weak, RETRAINED[:1], CELLS_BY_HAND)['judged']


def test_retrained_networks_that_disagree_are_no_yardstick():
    board = by_hand([record('', 5, 31, 28, 15, 16), record('', 17, 31, 28, 15, 16)])
    assert not board['judged'] and '12.00 dB' in board['reason'] and '9.00 dB' in board['reason']


def test_what_is_no_reference_is_named_and_left_out():
    wrong = record('', 19.2, 31, 28, 19, 19, checkpoint='of_rain.pth')  # 0.8 below the original
    board = by_hand([RETRAINED[0], wrong, RETRAINED[1]])
    assert board['references'] == by_hand()['references'] and board['rows'] == by_hand()['rows']
    assert len(board['notes']) == 1 and 'of_rain.pth (19.20 dB)' in board['notes'][0]
    assert board['notes'][0] in board_markdown(board)
    alone = by_hand([wrong])['references']['haze']
    assert alone['networks'] == 0 and alone['high'] == 9.5


def test_the_markdown_tables_are_whole():
    lines = board_markdown(by_hand()).splitlines()
    table = [line for line in lines if line.startswith('|')]
    assert len(table) == 2 * (2 + 3) and len({line.count('|') for line in table}) == 1
    good = [cell.strip() for cell in next(line for line in table if 'good' in line).strip('|').split('|')]
    assert good == ['1', 'good', '11.00 ± 0.71', '+0.25 ± 0.35', 'haze', '± 2.67', '+0.30 ± 0.14', '-0.10 ± 0.14',
                    '+1.00 ± 0.71', '+0.50 ± 0.71', 'plain (8 pairs, 25 steps)', '0.90 ± 0.28', '2', '1', '•', '30',
                    '700']
    assert lines[-1] == 'Did not finish: broken, seed 2: It has <diverged>.'


def test_the_overview_has_the_methods_and_seeds_that_all_targets_have():
    alone = [*CELLS_BY_HAND, record('alone', 10, 30, 28, 15, 16)]
    later = by_hand(RETRAINED[:1], CELLS_BY_HAND[1:2])  # seed 0 of good
    boards = {'haze': by_hand(cells=alone), 'later': later}
    (good,) = overview(boards)
    # seed 0: 1.1, see above; later: 0.5 from the one network, 0.1 lost, 1 ahead
    assert good['name'] == 'good' and good['score'] == (pytest.approx((1.1 + 1.6) / 2), None)
    assert good['targets']['haze'] == pytest.approx((0.25, 0.3, 0.5)) and good['share'] == pytest.approx(0.01)
    table = overview_table(boards)
    assert table.head == ['#', 'method', 'forget haze, dB', 'forget later, dB', 'score, dB', 'retraining, %', 'seeds']
    assert table.rows == [['1', 'good', '+0.25 / +0.30 / +0.50', '+0.50 / +0.20 / +1.00', '1.35', '1', '1']]
    both = overview({'haze': by_hand(), 'again': by_hand()})
    assert [entry['name'] for entry in both] == ['good', 'over']
    assert both[0]['score'] == pytest.approx((0.9, 0.08**0.5))


def test_what_is_missing_takes_as_long_as_what_is_done_alike():
    def planned(name: str, plan: str = '') -> dict:
        return {'record': {'name': name, 'plan': plan}, 'run': {'options': {
            'train': {'total_iter': 400}, 'datasets': {'train': {'batch_size_per_gpu': 8}}}}}

    done = [{**record('good', 10, 30, 28, 15), 'plan': ''}]  # 5 s to measure, 30 s for 200 steps
    reference = {'seconds': 15, 'plan': ''}
    assert estimate([planned('good')], done) == (5 + 60, True)
    assert estimate([planned('other')] * 2, [*done, reference]) == (2 * (10 + 60), True)
    assert estimate([planned('good')], [reference]) == (15, False)
    assert estimate([{'record': {'plan': ''}}], [reference]) == (15, True)
    assert estimate([planned('good', 'a1b2c3')], done) is None
