"""Trainings that are killed, stopped and resumed until they end: the network is the uninterrupted run's, bit for bit.

A moment is drawn as a number of calls of Python functions, so that a seed repeats it. It may lie at the start of a run,
in its preparation, in a step, a save or a validation, or at its end.
"""
import itertools
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from basicsr_unlearn.cli import commands as cli
from tests.torture import Section
from tests.torture.calling import Call, problem, run_calls
from tests.torture.example import HEAD, TRAIN, lay_out

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
CUTS = 3  # of one run, before it goes on to its end
SKIPPED = 400  # calls at the start and at the end, where a signal finds Python itself
LATEST, STATES, MODELS = (Path('experiments/tiny') / name for name in (
    'models/net_g_latest.pth', 'training_states', 'models'))

BASE = {'train': {'total_iter': 8, 'skill_opt': {'required': False}, 'evidence_batches': 1, 'warmup_iter': 2,
                  'optim_g': {'type': 'Adam', 'lr': 1e-3, 'betas': [0.9, 0.99]},
                  'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [8], 'eta_min': 1e-5}},
        'val': {'val_freq': 3, 'save_img': False, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 0}}},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False}}
NEVER = {'forget_psnr': 1.0, 'min_iter': 1000}
RUNS: dict[str, dict] = {
    'calibrated': {'train': {'method': 'calibrated', 'mask_opt': {'type': 'SaliencyMask', 'share': 0.5}}},
    'calibrated, stop rule on validations': {
        'train': {'method': 'calibrated',
                  'stop_opt': {'check': 'val', 'forget_psnr': 1.0, 'margin': 99.0, 'window': 2}}},
    'accurate_forgetting, stop rule met': {
        'train': {'method': 'accurate_forgetting', 'optim_g': {'lr': 1e-3},
                  'stop_opt': {'margin': 99.0, 'window': 3, 'min_iter': 6}}},
    'accurate_forgetting, not met': {
        'train': {'method': 'accurate_forgetting', 'optim_g': {'lr': 1e-3}, 'stop_opt': NEVER}},
    'deep, mask, EMA': {'train': {'method': 'deep', 'ema_decay': 0.8, 'evidence_batches': 2,
                                  'mask_opt': {'type': 'LayerMask', 'exclude': ['intro*']}}},
    'resistant': {'train': {'method': 'resistant', 'adversarial_opt': {'steps': 3}}},
    'SRModel': {'model_type': 'SRModel', 'train': {'pixel_opt': {'type': 'L1Loss'}, 'ema_decay': 0.8}},
}


@dataclass
class Case:
    """One run: its options, and what is done to it before it may end."""
    name: str
    folder: Path
    whole: 'Whole'
    cuts: list[Callable[[int, np.random.Generator], 'Cut']]
    rng: np.random.Generator
    problem: str | None = None


@dataclass
class Whole:
    """The uninterrupted run: its last weights and state, and how many calls it made."""
    folder: Path
    calls: int
    content: Any


@dataclass
class Cut:
    """What happens at call number `at`, and how the run has to end for it."""
    what: str
    at: int
    happen: Callable[[], object]
    codes: tuple[int, ...]
    says: str = ''
    undo: Callable[[Path], object] = field(default=lambda folder: None)


def run(budget: float) -> Section:
    """Cut and resume runs of several methods, in turn without and with workers, until the time is over."""
    section, end = Section('kills'), time.monotonic() + budget
    wholes: dict[tuple[str, int], Whole] = {}
    longest = 0.0
    with tempfile.TemporaryDirectory() as place:
        for wave in itertools.count():
            begin = time.monotonic()
            workers = (0, 2)[wave % 2]
            if wave < 2:
                wholes |= uninterrupted(Path(place), workers, section)
            cases = list(drawn({name: whole for (name, count), whole in wholes.items() if count == workers},
                               Path(place, f'wave_{wave}'), wave))
            for leg in range(CUTS + 1):
                follow(cases, leg)
            for case in cases:
                section.add(f'wave {wave}, {case.name}, {workers} workers', case.problem)
            shutil.rmtree(Path(place, f'wave_{wave}'), ignore_errors=True)
            longest = max(longest, time.monotonic() - begin)
            if time.monotonic() + longest > end:
                return section


def uninterrupted(place: Path, workers: int, section: Section) -> dict[tuple[str, int], Whole]:
    """Every kind of run once without a cut."""
    wholes, calls = {}, []
    for name, changes in RUNS.items():
        folder = lay_out(place / f'whole_{len(calls)}_{workers}')
        write_options(folder, changes, workers)
        calls.append(train(folder, partial(count_calls, folder / 'calls'), about=name))
    for call in run_calls(calls):
        found = problem(call)
        if found is None and call.code == 0:
            wholes[call.about, workers] = Whole(call.folder, int((call.folder / 'calls').read_text()),
                                                content_of(call.folder))
        else:
            section.add(f'{call.about}, {workers} workers, uninterrupted', found or call.stderr.strip()[-300:])
    return wholes


def write_options(folder: Path, changes: dict, workers: int) -> None:
    """train.yml: the example's data with our run."""
    plugin, rest = HEAD.strip().split('\n', 1)
    options = yaml.safe_load(rest + TRAIN)
    options.update(deepcopy(BASE), **{key: value for key, value in changes.items() if key != 'train'})
    if 'method' in changes['train']:
        del options['train']['optim_g']
    options['train'].update(deepcopy(changes['train']))
    data = options['datasets']['train']
    data['num_worker_per_gpu'] = workers
    if options['model_type'] == 'SRModel':
        for key in ('skill_opt', 'evidence_batches'):
            del options['train'][key]
        for key in ('forget', 'retain'):
            del data[key]
        data.update(type='PairedRestorationDataset', dataroot_lq='hazy', dataroot_gt='clear')
    (folder / 'train.yml').write_text(f'{plugin}\n{yaml.safe_dump(options, sort_keys=False)}', encoding='utf-8')


def train(folder: Path, before: Callable[[], object], about: Any) -> Call:
    return Call(['train', '-opt', 'train.yml', '--auto_resume'], folder, seconds=90, before=before, about=about)


def content_of(folder: Path) -> Any:
    """Last weights and last scheduled training state."""
    states = sorted((int(path.stem), path) for path in (folder / STATES).glob('*.state'))
    scheduled = [path for iteration, path in states if iteration % BASE['logger']['save_checkpoint_freq'] == 0]
    return {'latest': torch.load(folder / LATEST, weights_only=True),
            'state': torch.load(scheduled[-1], weights_only=True)}


def drawn(wholes: dict[str, Whole], place: Path, wave: int) -> Iterator[Case]:
    """The cases of a wave: each run, with cuts drawn by its own seed, in a copy of its folder."""
    for index, (name, whole) in enumerate(wholes.items()):
        rng = np.random.default_rng([wave, index])
        kinds = [KINDS[int(rng.choice(len(KINDS), p=ODDS))] for _ in range(int(rng.integers(1, CUTS + 1)))]
        folder = place / str(index)
        shutil.copytree(whole.folder, folder, ignore=shutil.ignore_patterns('experiments'))
        yield Case(name, folder, whole, kinds, rng)


def follow(cases: list[Case], leg: int) -> None:
    """Let every case that is not over make its next cut, or go on to its end after the last one."""
    calls = []
    for case in cases:
        if case.problem is None and leg <= len(case.cuts):
            cut = case.cuts[leg](case.whole.calls, case.rng) if leg < len(case.cuts) else None
            calls.append(train(case.folder, partial(happen_at, cut) if cut else lambda: None, about=(case, cut)))
            case.name += f'; {cut.what} at call {cut.at}' if cut else ''
    for call in run_calls(calls):
        case, cut = call.about
        case.problem = judged(call, case, cut)
        if cut is not None:
            cut.undo(case.folder)


def judged(call: Call, case: Case, cut: Cut | None) -> str | None:
    """What is wrong with how a leg ended."""
    if call.code is None:
        return problem(call)
    if 'Traceback' in call.stderr and call.code != -signal.SIGKILL:  # a worker may be handing a batch to the killed one
        return 'traceback, ' + call.stderr.strip().splitlines()[-1]
    if call.left and call.code != -signal.SIGKILL:
        return f'{call.left} processes were left'
    if call.code == 0:  # it was over before the cut, or had none
        return different(content_of(case.folder), case.whole.content)
    if cut is None or call.code not in cut.codes:
        return f'exit code {call.code}, {call.stderr.strip()[-300:]}'
    if cut.says not in call.stderr.replace('\n', ' '):
        return f'does not say {cut.says!r} but {call.stderr.strip()[-300:]!r}'
    return None


def different(found: Any, expected: Any, where: str = '') -> str | None:
    """Where two contents are not the same in every bit; None if they are."""
    if isinstance(expected, torch.Tensor):
        return None if torch.equal(found, expected) else f'{where} differs'
    if isinstance(expected, (dict, list, tuple)):
        keys = expected if isinstance(expected, dict) else range(len(expected))
        if len(found) != len(expected) or isinstance(expected, dict) and found.keys() != expected.keys():
            return f'{where} has other entries'
        return next(filter(None, (different(found[key], expected[key], f'{where}/{key}') for key in keys)), None)
    return None if found == expected else f'{where} is {found}, not {expected}'


# ---------------------------------------------------------------- in the process of the run

def count_calls(path: Path) -> None:
    calls, main = 0, cli.main

    def profile(frame, event, arg) -> None:
        nonlocal calls
        calls += event == 'call'

    def counted(argv: list[str]) -> int:
        sys.setprofile(profile)
        try:
            return main(argv)
        finally:
            sys.setprofile(None)
            path.write_text(str(calls))

    cli.main = counted


def happen_at(cut: Cut) -> None:
    process, calls = os.getpid(), 0
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

    def profile(frame, event, arg) -> None:
        nonlocal calls
        calls += event == 'call'
        if os.getpid() != process:  # a worker
            sys.setprofile(None)
        elif calls >= cut.at:
            sys.setprofile(None)
            cut.happen()

    sys.setprofile(profile)


# ---------------------------------------------------------------- kinds of cuts

def moment(calls: int, rng: np.random.Generator) -> int:
    return int(rng.integers(SKIPPED, calls - SKIPPED))


def kill(calls: int, rng: np.random.Generator) -> Cut:
    return Cut('SIGKILL', moment(calls, rng), lambda: os.kill(os.getpid(), signal.SIGKILL), (-signal.SIGKILL,))


def stop(calls: int, rng: np.random.Generator) -> Cut:
    """A signal to the run alone, or to its workers too, as a terminal and some clusters send it."""
    signum, group = STOPS[int(rng.integers(len(STOPS)))], bool(rng.integers(2))
    send = (lambda: os.killpg(os.getpgrp(), signum)) if group else (lambda: os.kill(os.getpid(), signum))
    return Cut(f'{signum.name}{" to all" * group}', moment(calls, rng), send, (128 + signum,),
               f'Stopped by {signum.name}')


def kill_worker(calls: int, rng: np.random.Generator) -> Cut:
    def happen() -> None:
        for worker in multiprocessing.active_children()[:1]:
            worker.kill()
    return Cut('SIGKILL to a worker', moment(calls, rng), happen, (2,), 'num_worker_per_gpu')


def take_data_away(calls: int, rng: np.random.Generator) -> Cut:
    def undo(folder: Path) -> None:
        if (folder / 'gone').exists():
            (folder / 'gone').rename(folder / 'hazy')
    return Cut('data deleted', moment(calls, rng), lambda: os.rename('hazy', 'gone'), (2,), 'hazy', undo)


def fill_disk(calls: int, rng: np.random.Generator) -> Cut:
    """From then on the disk has no room; a run that has all its files on it by then ends well."""
    def happen() -> None:
        usage = shutil.disk_usage('.')
        shutil.disk_usage = lambda path: usage._replace(free=0)
    return Cut('disk full', moment(calls, rng), happen, (2,), 'No space left')


def damage_latest(calls: int, rng: np.random.Generator) -> Cut:
    """Killed, and the latest state or its weights are cut off at some byte."""
    share, of = float(rng.random()), ('the state', 'its weights')[int(rng.integers(2))]

    def undo(folder: Path) -> None:
        states = sorted((folder / STATES).glob('*.state'), key=lambda path: int(path.stem))
        if len(states) > 1:  # the first alone would be refused with a sentence, which other tests do
            path = states[-1] if of == 'the state' else folder / MODELS / f'net_g_{states[-1].stem}.pth'
            path.write_bytes(path.read_bytes()[:int(share * path.stat().st_size)])
    return Cut(f'SIGKILL and {of} cut after {share:.2f}', moment(calls, rng),
               lambda: os.kill(os.getpid(), signal.SIGKILL), (-signal.SIGKILL,), undo=undo)


KINDS = (kill, stop, kill_worker, take_data_away, fill_disk, damage_latest)
ODDS = (0.3, 0.3, 0.1, 0.1, 0.1, 0.1)
