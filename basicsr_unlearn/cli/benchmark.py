"""The command `basicsr-unlearn benchmark`: methods x forget targets x seeds, each judged the same way.

A cell is one method on one target with one seed: unlearn, score on the test sets, attack. It runs in a process of its
own and ends as one JSON file; a cell that is there with the same options and checkpoint is not run again.
"""
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from basicsr_unlearn.engine.entry import INTERRUPTED, Parser, guarded
from basicsr_unlearn.engine.running import BAD_INPUT
from basicsr_unlearn.engine.signals import STOP_CODES
from basicsr_unlearn.errors import OptionError, UnlearnError
from basicsr_unlearn.files import write_json
from basicsr_unlearn.proof.benchmark.benchmark_jobs import check_selected, jobs_of
from basicsr_unlearn.proof.benchmark.benchmark_plan import (
    Benchmark,
    attack_plan_of,
    contest_of,
    read_benchmark,
)
from basicsr_unlearn.proof.benchmark.estimate import estimate
from basicsr_unlearn.proof.benchmark.leaderboard import mean_psnr, target_board, unjudged
from basicsr_unlearn.proof.benchmark.records import finished, is_damaged, read_record
from basicsr_unlearn.report.leaderboard_page import write_leaderboard
from basicsr_unlearn.report.leaderboard_text import SCORE, board_markdown
from basicsr_unlearn.version import __version__

BENCHMARK_HELP = """\
A benchmark unlearns by several methods, scores and attacks each network as the
retrained ones are, and ranks methods of about equal cost.

It needs an option file that names an unlearning option file (network, original,
schedule), forget targets with their images, retrained networks, methods and
seeds. The one that is shipped compares all methods on haze, rain and noise. It
needs BSD500, CBSD68, SOTS-indoor, Rain100H and PolyU laid out as docs/data.md
shows. A cell, one method on one target with one seed, takes 3 to 9 minutes of
one core; all of them more than a day. What is finished is not run again.

  basicsr-unlearn benchmark -opt options/benchmark_nafnet.yml --quick \\
      --only target=haze,method=calibrated,seed=0
  basicsr-unlearn benchmark -opt options/benchmark_nafnet.yml \\
      --only target=haze,method=calibrated
  basicsr-unlearn benchmark -opt options/benchmark_nafnet.yml
  basicsr-unlearn benchmark -opt options/benchmark_nafnet.yml --whole-sweep \\
      --only target=haze,method=deep

Exit code 0, 1 if a cell failed or a target cannot be judged, 2 where nothing
was run, as now."""
SOME_FAILED = 1


def main(argv: list[str] | None = None) -> int:
    """Run a benchmark with the arguments `argv`; 0, 1 if a cell failed or a target cannot be judged, 2 for bad input or
    no option file, 130 if interrupted.
    """
    return guarded(lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    parser = Parser(prog='basicsr-unlearn benchmark', description='Unlearn by several methods and compare them with '
                    'networks retrained without the forget set. What is finished is not run again.')
    parser.add_argument('-opt', metavar='FILE.yml', help='the benchmark file, such as options/benchmark_nafnet.yml; '
                        'without it the command says what it needs, exit code 2')
    parser.add_argument('--only', default='', metavar='KEY=VALUE,...', help='run these cells alone, such as '
                        'method=calibrated,target=haze,seed=0; a key may come several times')
    parser.add_argument('--quick', action='store_true', help='one seed and a few images of each test set, to a folder '
                        'of its own')
    parser.add_argument('--whole-sweep', action='store_true', help='all attackers, as a claim about weights needs, '
                        'instead of the strongest kinds; to a folder of its own')
    parser.add_argument('--jobs', type=int, metavar='N', help='processes side by side, instead of what the file says')
    args = parser.parse_args(argv)
    if args.opt is None:
        print(BENCHMARK_HELP)
        return BAD_INPUT
    if args.jobs is not None and args.jobs < 1:
        raise OptionError(f'--jobs is {args.jobs}, not a whole number from 1.')
    benchmark = read_benchmark(args.opt, args.quick, args.whole_sweep)
    only = selection(args.only, benchmark)
    check_selected(benchmark, only['target'], only['method'])

    jobs = wanted([job for target in only['target'] for job in jobs_of(benchmark, target)], only)
    missing = [job for job in jobs if finished(job) is None]
    print(f'{len(jobs)} networks to measure, {len(jobs) - len(missing)} of them done.', flush=True)
    damaged = [job['out'] for job in missing if is_damaged(job)]
    if damaged:
        print(f'Warning: {damaged[0]} is damaged; what damaged files held is measured again.', file=sys.stderr,
              flush=True)
    try:
        failed = run_missing(benchmark, missing, args.jobs or benchmark.jobs)
    except KeyboardInterrupt:
        print('Interrupted: the same command goes on with what is missing.', file=sys.stderr, flush=True)
        failed = None
    boards = {target: board for target in benchmark.targets if (board := board_of(benchmark, target)) is not None}
    if boards:
        paths = write_boards(benchmark, boards)
        for target, board in boards.items():
            print(f'\n{target}\n\n{board_markdown(board)}')
        print('\n' + '\n'.join(map(str, paths)), flush=True)
    unjudged = [target for target in only['target'] if target in boards and not boards[target]['judged']]
    return INTERRUPTED if failed is None else SOME_FAILED if failed or unjudged else 0


def run_missing(benchmark: Benchmark, missing: Sequence[Mapping], side_by_side: int) -> int:
    """Run originals and retrained networks, then the methods of the targets that can be judged; how many failed."""
    references = [job for job in missing if job['record']['kind'] != 'method']
    tell_estimate('reference', references, benchmark, side_by_side)
    failed = run_jobs(references, side_by_side, benchmark.out / 'logs', 0, len(missing))
    reasons = {}
    for target in dict.fromkeys(job['record']['target'] for job in missing):
        found = [finished(job) for job in jobs_of(benchmark, target) if job['record']['kind'] != 'method']
        original, *retrained = found
        known = [record for record in retrained if record is not None]
        reasons[target] = original and unjudged(target, original, known, benchmark.yardstick)
        if reasons[target]:
            print(f'Error: Target {target} cannot be judged: {reasons[target]}.', file=sys.stderr, flush=True)
    cells = [job for job in missing if job['record']['kind'] == 'method' and not reasons[job['record']['target']]]
    tell_estimate('run', cells, benchmark, side_by_side)
    total = len(references) + len(cells)
    return failed + run_jobs(cells, side_by_side, benchmark.out / 'logs', len(references), total)


def tell_estimate(what: str, jobs: Sequence[Mapping], benchmark: Benchmark, side_by_side: int) -> None:
    """Say how long jobs will take, as far as what is done tells it."""
    if not jobs:
        return
    targets = dict.fromkeys(job['record']['target'] for job in jobs)
    done = [record for target in targets for record in map(finished, jobs_of(benchmark, target)) if record]
    found = estimate(jobs, done)
    said = 'how long they take is told by the first' if found is None else (
        f'about {duration(found.seconds / side_by_side)}, {found.seconds / len(jobs):.0f} s each, {side_by_side} at a '
        f'time{"" if found.whole else ", and the time of unlearning, which the first will tell"}')
    print(f'{len(jobs)} {what}{"s" * (len(jobs) > 1)} to measure: {said}.', flush=True)


def selection(text: str, benchmark: Benchmark) -> dict[str, list]:
    """What `--only` asks for: target, method and seed -> values, all of them where it says nothing.

    Raises:
        OptionError: a key or value that the benchmark does not have.
    """
    there = {'target': list(benchmark.targets), 'method': list(benchmark.methods), 'seed': benchmark.seeds}
    asked: dict[str, list] = {}
    for entry in filter(None, text.split(',')):
        key, _, value = entry.partition('=')
        values = {str(known): known for known in there.get(key.strip(), ())}
        if value.strip() not in values:
            valid = ', '.join(values) if values else 'target=..., method=... and seed=...'
            raise OptionError(f'--only {entry}: this benchmark has no such cells; use {valid}.')
        asked.setdefault(key.strip(), []).append(values[value.strip()])
    return {**there, **asked}


def wanted(jobs: Sequence[Mapping], only: Mapping[str, Sequence]) -> list[Mapping]:
    """The jobs of a selection: its methods, and the references under each plan of attack that these need."""
    methods = [job for job in jobs if job['record']['kind'] == 'method'
               and job['record']['name'] in only['method'] and job['record']['seed'] in only['seed']]
    plans = {'', *(job['record']['plan'] for job in methods)}
    return [job for job in jobs if job in methods or (job['record']['kind'] != 'method'
                                                      and job['record']['plan'] in plans)]


def run_jobs(jobs: Sequence[Mapping], side_by_side: int, logs: Path, before: int, total: int) -> int:
    """Run jobs in processes of one thread each, a line on the terminal for each that ends; how many failed.

    Args:
        before: so many of the `total` are done by now, for the lines.
    """
    begin, done, failed, running = time.perf_counter(), 0, 0, set()
    pool = ThreadPoolExecutor(side_by_side)
    try:
        futures = {pool.submit(run_one, job, logs, running): job for job in jobs}
        for future in as_completed(futures):
            job, error = futures[future], future.result()
            done, failed = done + 1, failed + (error is not None)
            passed = time.perf_counter() - begin
            left = duration(passed / done * (len(jobs) - done))
            told = error or f'forget PSNR {mean_psnr(finished(job), job["record"]["target"]):.2f} dB'
            print(f'[{before + done}/{total}] {title(job["record"])}: {told}'
                  + (f' (about {left} left)' if done < len(jobs) else ''), flush=True)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in list(running):
            process.terminate()
        raise
    finally:
        pool.shutdown()
    return failed


def run_one(job: Mapping, logs: Path, running: set) -> str | None:
    """Run a job to its end; None, or why it failed, which is then in its record."""
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f'{Path(job["out"]).stem}.log'
    code = start(job, log, running)
    if code == 0:
        return None
    if code in STOP_CODES:
        return 'interrupted'
    lines = [line for line in log.read_text(encoding='utf-8', errors='replace').splitlines() if line.strip()]
    told = [line for line in lines if line.startswith('Error: ')] or lines or [f'exit code {code}, without a word']
    error = told[-1].removeprefix('Error: ')
    write_json(job['out'], {**job['record'], 'error': error})
    return f'failed: {error} ({log})'


def start(job: Mapping, log: Path, running: set) -> int:
    """One process for one job, kept in `running` while it runs; its exit code."""
    package_root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': os.pathsep.join(
        [package_root, *filter(None, [os.environ.get('PYTHONPATH')])])}
    with open(log, 'w', encoding='utf-8') as output, subprocess.Popen(
            [sys.executable, '-m', 'basicsr_unlearn.proof.benchmark.cell'], stdin=subprocess.PIPE, stdout=output,
            stderr=subprocess.STDOUT, env=environment, encoding='utf-8') as process:
        running.add(process)
        process.communicate(json.dumps(job))
        running.discard(process)
    return process.returncode


def title(record: Mapping) -> str:
    """A job as the terminal names it."""
    if record['kind'] != 'method':
        return f'{record["target"]}, {record["kind"]}'
    return f'{record["target"]}, {record["name"]}, seed {record["seed"]}'


def duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f'{hours} h {minutes:02d} min' if hours else f'{minutes} min' if minutes else f'{seconds:.0f} s'


def board_of(benchmark: Benchmark, target: str) -> dict | None:
    """The leaderboard of a target from what is finished; None while a reference, or every method, is missing."""
    try:
        jobs = jobs_of(benchmark, target)
    except UnlearnError:  # not of the selection: that was checked
        return None
    original, retrained, cells = {}, {}, []
    for job in jobs:
        kind, plan, record = job['record']['kind'], job['record']['plan'], read_record(job)
        if kind == 'original':
            original[plan] = record
        elif kind == 'retrained':
            retrained.setdefault(plan, []).append(record)
        elif record is not None:
            cells.append(record)

    def whole(records: Sequence[Mapping | None]) -> bool:
        return all(record is not None and 'error' not in record for record in records)

    if not whole([original[''], *retrained.get('', [])]):
        return None
    cells = [{**cell, 'against': retrained.get(cell['plan'], [])} for cell in cells
             if whole(retrained.get(cell['plan'], []))]
    board = target_board(contest_of(benchmark, target), original[''], retrained.get('', []), cells)
    return board if cells or not board['judged'] else None


def write_boards(benchmark: Benchmark, boards: Mapping[str, Mapping]) -> list[Path]:
    """Write leaderboard.json, .md and .html; their paths."""
    out = benchmark.out
    done = sorted({seed for board in boards.values() for row in board['rows'] for seed in row.get('seeds', ())})
    summary = {'name': benchmark.name, 'version': __version__, 'score': SCORE, 'seeds': done,
               'attacks': vars(attack_plan_of(benchmark).shortened()), 'retraining': benchmark.retraining,
               'targets': boards}
    write_json(out / 'leaderboard.json', summary)
    return [out / 'leaderboard.json', *write_leaderboard(out, summary, benchmark.text)]


if __name__ == '__main__':
    sys.exit(main())
