"""The benchmark: what is run, what is kept, and the numbers of the leaderboard."""
import json
import os
import signal
import subprocess
import time
from contextlib import redirect_stderr
from pathlib import Path

import pytest
import torch
import yaml

from basicsr_unlearn.archs.nafnet_arch import NAFNet
from basicsr_unlearn.cli import benchmark
from basicsr_unlearn.cli import commands as cli
from basicsr_unlearn.core.yardstick import Yardstick
from basicsr_unlearn.engine.entry import guarded
from basicsr_unlearn.proof.benchmark import benchmark_plan
from basicsr_unlearn.proof.benchmark import cell as benchmark_cell
from basicsr_unlearn.proof.benchmark.benchmark_plan import (
    check_selected,
    jobs_of,
    read_benchmark,
    retrained_records,
    run_options,
)
from basicsr_unlearn.proof.benchmark.cell import run_job
from basicsr_unlearn.proof.benchmark.leaderboard import overview, reference_of, target_board
from basicsr_unlearn.report.leaderboard_text import board_markdown, caption, overview_table

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
          'relearn': [degraded('haze')], 'retrained': ['retrained.pth']}
BENCHMARK = {
    'name': 'tiny', 'base': 'base.yml', 'targets': {'haze': TARGET},
    'methods': ['calibrated', {'method': 'gradient_ascent', 'label': 'ascent', 'total_iter': 1}], 'seeds': [0],
    'total_iter': 2, 'test': {'haze': degraded('haze'), 'noise': degraded('gaussian_noise')},
    'relearn': {'pairs': 2, 'steps': [1, 2], 'lr': 1e-3}, 'retraining': {'steps': 40, 'batch': 2},
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

    monkeypatch.setattr(benchmark, 'start', start)
    return names


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
    write(changed(BENCHMARK, 'relearn.lr', 2e-3))  # measured anew, but not unlearned anew
    assert run('--quick') == 0 and started == CELLS
    assert {path: path.stat().st_mtime_ns for path in Path('experiments').glob('*/benchmark.json')} == runs

    started.clear()
    write(changed(changed(BENCHMARK, 'relearn.lr', 2e-3), 'methods', ['calibrated', 'finetune']))
    assert run('--quick') == 0 and started == ['haze_finetune_seed0']

    started.clear()
    torch.save({'params': network(7, 0.0)}, 'retrained.pth')  # another file of the same name
    assert run('--quick') == 0 and started == ['haze_retrained0']


def test_records_and_leaderboard_hold_what_was_done(job, started):
    write(changed(BENCHMARK, 'seeds', [0, 3]))
    assert run('--only', 'method=ascent,seed=3') == 0 and started == [*CELLS[:2], 'haze_ascent_seed3']
    record = json.loads((RESULTS / 'cells' / 'haze_ascent_seed3.json').read_text())
    assert record['run']['steps'] == 1 and record['run']['batch'] == 2 and record['run']['memory_mb'] > 0
    assert {name: len(images) for name, images in record['scores'].items()} == {'haze': 9, 'noise': 9}
    assert list(record['relearn']) == ['3'] and list(record['relearn']['3']) == ['1', '2']
    option_file = RESULTS / 'options' / 'haze_ascent_seed3.yml'
    opt = yaml.safe_load(option_file.read_text().split('\n', 1)[1])
    assert opt['manual_seed'] == 3 and opt['train']['forget_opt']['bound'] == 'none'  # the preset, spelt out
    assert Path(record['run']['checkpoint']).is_file()
    board = json.loads((RESULTS / 'leaderboard.json').read_text())['targets']['haze']
    assert [row['name'] for row in board['rows']] == ['original', 'retrained without haze', 'ascent']
    assert board['rows'][2]['share'] == pytest.approx(1 * 2 / (40 * 2))
    assert board['rows'][0]['retain_loss']['noise'][0] == 0 and board['rows'][1]['forget_gap'][0] == 0
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


def test_a_record_can_stand_for_a_retrained_network(job, started, capsys):
    assert run('--only', 'method=ascent') == 0
    Path('moved').symlink_to('photos')  # the same data in another place
    shipped = json.loads((RESULTS / 'references/haze_retrained0.json').read_text())
    shipped['measure']['test']['haze']['dataroot_gt'] = 'moved'
    Path('shipped.json').write_text(json.dumps(shipped))
    write(changed(BENCHMARK, 'targets.haze.retrained', ['retrained.pth', 'shipped.json']))
    started.clear()
    assert run('--only', 'method=ascent') == 0 and started == []
    board = json.loads((RESULTS / 'leaderboard.json').read_text())['targets']['haze']
    assert board['reference']['networks'] == 2 and board['reference']['low'] == board['reference']['high']
    with_record = changed(BENCHMARK, 'targets.haze.retrained', ['shipped.json'])
    shipped['relearn']['1'] = shipped['relearn']['0']
    shipped['measure']['relearning']['seeds'] = [0, 1]
    Path('shipped.json').write_text(json.dumps(shipped))
    write(changed(with_record, 'seeds', [1]))  # fewer seeds: the record has what is needed
    assert [list(found['relearn']) for found in retrained_records(read_benchmark('tiny.yml'), 'haze')] == [['1']]
    write(changed(with_record, 'seeds', [0, 7]))
    assert run() == 2 and 'has relearning curves of the seeds [0, 1], not of [7]' in capsys.readouterr().err
    write(changed(with_record, 'relearn.lr', 0.5))
    assert run() == 2 and 'shipped.json was measured on other test sets' in capsys.readouterr().err


def test_the_shipped_records_fit_the_shipped_benchmark(monkeypatch):
    monkeypatch.chdir(ROOT)
    plan = read_benchmark('options/benchmark_nafnet.yml')
    for target in plan.targets:
        records = retrained_records(plan, target)
        assert len(records) == 2 and all(len(record['relearn']) == len(plan.seeds) for record in records)
        assert records[0]['scores'] != records[1]['scores']


def test_each_seed_relearns_from_pairs_of_its_own_equal_for_all_networks(job, monkeypatch):
    seen = []

    def relearn(net, pairs, steps, lr, patch, measure, seed):
        seen.append((seed, pairs, measure(net)))
        return {step: step + seed for step in steps}

    monkeypatch.setattr(benchmark_cell, 'relearn', relearn)
    write({**BENCHMARK, 'seeds': [0, 5], 'relearn': {**BENCHMARK['relearn'], 'images': 1}})
    jobs = jobs_of(read_benchmark('tiny.yml'), 'haze')
    for plan in (jobs[0], jobs[-1]):
        assert run_job(json.loads(json.dumps(plan))) == 0
    original, cell = (json.loads(Path(plan['out']).read_text()) for plan in (jobs[0], jobs[-1]))
    assert original['relearn'] == {'0': {'1': 1, '2': 2}, '5': {'1': 6, '2': 7}}
    assert cell['relearn'] == {'5': {'1': 6, '2': 7}}
    assert [(seed, len(pairs)) for seed, pairs, _ in seen] == [(0, 2), (5, 2), (5, 2)]
    first, second, of_cell = ([gt.sum().item() for _, gt in pairs] for _, pairs, _ in seen)
    assert first != second == of_cell and len(set(first)) == 2
    psnr = next(iter(original['scores']['haze'].values()))
    assert seen[0][2] == pytest.approx(psnr, abs=1e-3)  # one image of nine is scored


def test_one_process_measures_one_network(job):
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
    benchmark_plan._digest_of_options.cache_clear()  # as a new process
    assert run('--quick') == 0 and len(started) == 3


@pytest.mark.parametrize('dotted, value, sentence', [
    ('methods', ['calibratd'], "method is 'calibratd', which is not there: did you mean calibrated"),
    ('methods', ['ssd', 'ssd'], "methods[1] is called 'ssd' like another one"),
    ('methods', [{'method': 'calibrated', 'train': {'retain_opt': {'wieght': 2}}}],
     'Method calibrated, target haze: train.retain_opt.wieght is no option'),
    ('targets', {'haze': {'relearn': [degraded('haze')]}}, 'targets.haze.forget is missing'),
    ('targets', {'snow': TARGET}, 'targets.snow has no test set of its name'),
    ('targets.haze.retrained', ['gone.pth'], 'gone.pth does not exist'),
    ('targets.haze.retrained', ['gone.json'], 'gone.json does not exist'),
    ('targets.haze.relearn', [{**degraded('haze'), 'dataroot_gt': 'small'}], 'smaller than the training patch'),
    ('test.noise.dataroot_gt', 'nowhere', 'Target haze: '),
    ('test', {'haze': degraded('haze')}, 'test has a single set'),
    ('targets.haze.keep', ['haze'], 'targets.haze.keep has haze, which is no other test set; use noise.'),
    ('methods', [{'method': 'calibrated', 'data': {'batch_size': 4}}],
     'Method calibrated, target haze: datasets.train.batch_size is no option'),
    ('methods', [{'method': 'calibrated', 'targets': ['snow']}], 'methods[0].targets has snow, which is no target; use '
     'haze.'),
    ('seeds', [1, 0], 'seeds is [1, 0], not a list of whole numbers, each larger'),
    ('relearn.step', [1], 'relearn.step is no option: did you mean relearn.steps?'),
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
    assert board['reference']['networks'] == 1 and board['rows'][1]['networks'] == 1
    (note,) = board['notes']
    assert 'wrong.pth' in note and 'retrained.pth' not in note and note in capsys.readouterr().out


DAMAGE = {'empty': b'', 'null': b'null', 'list': b'[]', 'other keys': b'{"a": 1}', 'no text': b'\xff\xfe\x00',
          'deep': b'[' * 100000, 'number': b'7', 'nan': b'{"key": NaN}'}


@pytest.mark.parametrize('damage', ['empty', 'half', 'no scores', 'no curves'])  # more in test_audit_fuzz
def test_a_damaged_record_is_measured_again_with_one_warning(job, started, capsys, damage):
    write({**BENCHMARK, 'methods': [BENCHMARK['methods'][1]]})
    assert run('--quick') == 0
    folder = Path('results/benchmark/tiny_quick')
    before = (folder / 'leaderboard.md').read_text()
    files = [*folder.glob('[cr]*/*.json'), *Path('experiments').glob('*/benchmark.json')]
    assert len(files) == 4
    for file in files:
        text = file.read_bytes()
        part = {'scores': {'haze': {}}} if damage == 'no scores' else {'relearn': {'0': None}}
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


@pytest.mark.parametrize('content', [*DAMAGE.values(), b'{"measure": {"relearning": {"seeds": 5}}}'])
def test_a_damaged_record_that_was_given_is_one_sentence(job, started, capsys, content):
    Path('given.json').write_bytes(content)
    write(changed(BENCHMARK, 'targets.haze.retrained', ['given.json']))
    assert run() == 2 and started == []
    err = capsys.readouterr().err
    assert err.count('\n') == 1 and 'given.json is no record of a retrained network' in err


def test_without_an_option_file_the_command_says_what_it_needs(in_tmp_path, capsys):
    assert cli.main(['benchmark']) == cli.main(['benchmark', '--quick']) == 2
    told = capsys.readouterr().out
    assert 'basicsr-unlearn benchmark -opt options/benchmark_nafnet.yml' in told and 'minutes' in told
    assert list(in_tmp_path.iterdir()) == []


# ---------------------------------------------------------------- the numbers

def record(name: str, haze: float, rain: float, noise: float, *relearn: tuple, seed: int = 0, **more) -> dict:
    """Scores of two images a set, 1 dB above and below the given mean; `relearn` from `seed` on."""
    scores = {task: {'a': psnr - 1, 'b': psnr + 1} for task, psnr in (('haze', haze), ('rain', rain), ('noise', noise))}
    return {'name': name, 'seed': seed, 'scores': scores, 'relearn': {
        str(seed + i): dict(zip(('10', '25'), curve)) for i, curve in enumerate(relearn)},
            'run': {'steps': 200, 'batch': 8, 'seconds': 30 + seed, 'memory_mb': 700}, **more}


ORIGINAL = {**record('original', 20, 30, 28, (20, 20), (20, 21)),
            'identity': {task: {'a': psnr, 'b': psnr} for task, psnr in (('haze', 9.5), ('rain', 20), ('noise', 19))}}
RETRAINED = [record('', 10, 31, 28.5, (15, 16), (16, 16)), record('', 11, 31.5, 29, (14, 17), (17, 18))]
CELLS_BY_HAND = [
    record('over', 8, 30, 28, (10, 10)),
    record('good', 10.5, 29.8, 28.2, (15.5, 16), seed=0),
    record('good', 11.5, 29.6, 28.0, (16, 17), seed=1),
    {'name': 'broken', 'seed': 2, 'error': 'It has <diverged>.'},
]


def by_hand(retrained: list = RETRAINED) -> dict:
    return target_board('haze', ORIGINAL, retrained, CELLS_BY_HAND, 20000 * 8)


def test_numbers_of_the_leaderboard():
    board = by_hand()
    original, retrained, good, over = board['rows']
    assert (good['name'], over['name']) == ('good', 'over')
    # good: 10.5 lies inside 10 ... 11, 11.5 is 0.5 above
    assert good['forget_psnr'] == pytest.approx((11.0, 0.5**0.5))
    assert good['forget_gap'] == pytest.approx((0.25, 0.125**0.5))
    assert good['retain_loss']['rain'] == pytest.approx((0.3, 0.02**0.5))
    assert good['retain_loss']['noise'] == pytest.approx((-0.1, 0.02**0.5))
    # at step 10 both retrained networks have 15.5 in the mean, the first counts: 15, 16; at 25 the second: 17, 18
    assert good['lead'] == {'10': pytest.approx((0.25, 0.125**0.5)), '25': pytest.approx((-1, 0))}
    assert good['relearn_gap'] == good['lead']['10']
    # seed 0: 0 + (0.2 + 0)/2 + 0.5; seed 1: 0.5 + (0.4 + 0)/2 + 0
    assert good['score'] == pytest.approx(((0.6 + 0.7) / 2, 0.005**0.5))
    assert (good['share'], good['seconds'], good['seeds']) == (pytest.approx(0.01), 30.5, [0, 1])
    assert over['forget_gap'] == (-2, None) and over['score'] == (2, None) and over['relearn_gap'] == (0, None)
    assert original['forget_gap'][0] == 9 and original['relearn_gap'][0] == 4.5 and original['score'][0] == 13.5
    assert retrained['networks'] == 2 and retrained['forget_gap'] == (0, 0) and retrained['score'] == (0, 0)
    assert retrained['relearn_gap'][0] == 0
    assert retrained['retain_loss']['rain'][0] == -1.25
    assert board['failures'] == ['broken, seed 2: It has <diverged>.']


def test_the_range_is_a_point_for_one_and_the_identity_baseline_for_none():
    one = reference_of('haze', ORIGINAL, RETRAINED[:1])
    assert (one.low, one.high) == (10, 10)
    assert 'the one retrained network (10.00 dB), a point' in caption(by_hand(RETRAINED[:1]))
    none = by_hand([])
    over, good = none['rows'][1:]
    assert over['score'][0] == 1.5
    assert good['forget_gap'][0] == pytest.approx((1 + 2) / 2)  # from 9.5
    assert good['relearn_gap'] == (None, None) and good['score'][0] == pytest.approx((1 + 0.1 + 2 + 0.2) / 2)
    assert [row['kind'] for row in none['rows']] == ['original', 'method', 'method']
    assert 'identity baseline (9.50 dB), and there is no relearn gap' in caption(none)
    assert '2 retrained networks (10.00 to 11.00 dB)' in caption(by_hand())


def test_a_board_that_cannot_be_judged_has_a_reason_and_no_part_in_the_overview():
    weak = {**ORIGINAL, 'scores': {**ORIGINAL['scores'], 'haze': {'a': 10.4, 'b': 10.4}}}  # identity 9.5
    board = target_board('haze', weak, RETRAINED, CELLS_BY_HAND, 20000 * 8)
    assert not board['judged'] and board['rows'] == []
    assert '10.40 dB' in board['reason'] and '9.50 dB' in board['reason']
    assert board_markdown(board) == board['reason']
    assert overview_table({'haze': by_hand(), 'weak': board}) is None
    assert target_board('haze', weak, RETRAINED[:1], CELLS_BY_HAND, 20000 * 8, Yardstick(margin=0.3))['judged']


def test_what_is_no_reference_is_named_and_left_out():
    wrong = record('', 19.2, 31, 28, (19, 19), (19, 19), checkpoint='of_rain.pth')  # 0.8 below the original
    board = by_hand([RETRAINED[0], wrong, RETRAINED[1]])
    assert board['reference'] == by_hand()['reference'] and board['rows'] == by_hand()['rows']
    assert len(board['notes']) == 1 and 'of_rain.pth (19.20 dB)' in board['notes'][0]
    assert board['notes'][0] in board_markdown(board)
    assert by_hand([wrong])['reference']['networks'] == 0 and by_hand([wrong])['reference']['high'] == 9.5


def test_the_markdown_table_is_whole():
    lines = board_markdown(by_hand()).splitlines()
    table = [line for line in lines if line.startswith('|')]
    assert len(table) == 2 + 4 and len({line.count('|') for line in table}) == len({len(line) for line in table}) == 1
    good = [cell.strip() for cell in next(line for line in table if 'good' in line).strip('|').split('|')]
    assert good == ['1', 'good', '11.00 ± 0.71', '+0.25 ± 0.35', '+0.30 ± 0.14', '-0.10 ± 0.14',
                    '+0.25 / -1.00', '0.25 ± 0.35', '0.65 ± 0.07', '2', '30', '1', '700']
    assert lines[-1] == 'Did not finish: broken, seed 2: It has <diverged>.'


def test_the_overview_has_the_methods_and_seeds_that_all_targets_have():
    alone = [*CELLS_BY_HAND, record('alone', 10, 30, 28, (15, 16))]
    later = target_board('haze', ORIGINAL, RETRAINED[:1], CELLS_BY_HAND[1:2], 20000 * 8)  # seed 0 of good
    boards = {'haze': target_board('haze', ORIGINAL, RETRAINED, alone, 20000 * 8), 'later': later}
    (good,) = overview(boards)
    # seed 0: 0.6, see above; later: 0.5 from the one network, 0.1 lost, 0.5 ahead
    assert good['name'] == 'good' and good['score'] == (pytest.approx((0.6 + 1.1) / 2), None)
    assert good['targets']['haze'] == pytest.approx((0.25, 0.3, 0.25))
    table = overview_table(boards)
    assert table.head == ['#', 'method', 'forget haze, dB', 'forget later, dB', 'score, dB', 'seeds']
    assert table.rows == [['1', 'good', '+0.25 / +0.30 / 0.25', '+0.50 / +0.20 / 0.50', '0.85', '1']]
    both = overview({'haze': by_hand(), 'again': by_hand()})
    assert [entry['name'] for entry in both] == ['good', 'over']
    assert both[0]['score'] == pytest.approx((0.65, 0.005**0.5))
