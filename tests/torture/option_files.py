"""Mutated option files: each is accepted, or refused with one sentence in seconds; what is accepted also runs."""
import itertools
import os
import random
import shutil
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from basicsr_unlearn.errors import UnlearnError
from basicsr_unlearn.options.option_file import check_options
from basicsr_unlearn.options.overrides import read_options
from basicsr_unlearn.proof.audit.audit_plan import read_audit
from basicsr_unlearn.proof.benchmark.benchmark_plan import methods_of, read_benchmark, run_options
from tests.torture import Section
from tests.torture.calling import JOBS, Call, is_sentence, problem, run_calls
from tests.torture.example import FILES, lay_out
from tests.torture.mutants import Mutant, options_of, text_mutants, value_mutants
from tests.torture.pool import each

OPTIONS = Path(__file__).resolve().parents[2] / 'options'
SECONDS = 10    # that refusing or accepting a file may take
CHECKED = 4000  # mutants of the shipped files
RUN = 400       # accepted mutants of the small example that are trained or tested with, to the end
UNCHANGED = 'as it is'
MEMORY = 12 * 2**30  # bytes of address space


def run(budget: float) -> Section:
    """Mutants of the shipped files through their checks, then those of a small run through the run itself."""
    section, begin = Section('option_files'), time.monotonic()
    for what, found in check_all(shipped_mutants(CHECKED), begin + 0.5 * budget):
        section.add(what, found)
    with tempfile.TemporaryDirectory() as place:
        for call in run_calls(_runs(lay_out(Path(place, 'example')), Path(place), begin + budget)):
            failed = f'it does not run: {call.stderr[-300:]}' if UNCHANGED in call.about and call.code else None
            section.add(call.about, problem(call) or failed)
            shutil.rmtree(call.folder)
    return section


def shipped_mutants(count: int) -> list[Mutant]:
    """So many mutants over all shipped files, the same each time, a sixth of them of the text."""
    files, rng, found = sorted(OPTIONS.glob('*.yml')), random.Random(0), []
    each_file = -(-count // len(files))  # alike, as long files say the same thing often
    for number, path in enumerate(files):
        values = list(value_mutants(path.name, options_of(path)))
        found += rng.sample(values, min(len(values), each_file - each_file // 6))
        found += text_mutants(path.name, path.read_bytes(), number, each_file // 6)
    rng.shuffle(found)
    return found[:count]


def check_all(mutants: list[Mutant], end: float = float('inf')) -> Iterator[tuple[str, str | None]]:
    """(which mutant, what is wrong with how it was judged or None) for each, until the time is over."""
    for index, found, trouble in each(check_one, mutants, 3 * SECONDS, JOBS, MEMORY, end):
        yield f'{mutants[index].file}, {mutants[index].what}', trouble or found


def check_one(mutant: Mutant) -> str | None:
    """Give a mutant to the checks of its command; what is wrong with how they ended."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, mutant.file)
        path.write_bytes(mutant.content())
        return judged(lambda: checks_of(mutant.file)(str(path)))


def checks_of(name: str) -> Callable[[str], object]:
    """The checks that a shipped file goes through before anything is computed."""
    if name.startswith('audit'):
        return read_audit
    if name.startswith('benchmark'):
        return _check_benchmark
    return lambda path: check_options(read_options(path, []), not name.startswith('test'))


def _check_benchmark(path: str) -> None:
    benchmark = read_benchmark(path)
    target = next(iter(benchmark.targets))
    for label in methods_of(benchmark, target)[:3]:
        check_options({'name': 'x', **run_options(benchmark, target, label, benchmark.seeds[0])}, is_train=True)


def judged(check: Callable[[], object]) -> str | None:
    """What is wrong with how a check ended: an error that is none of ours, no sentence, no end."""
    def late(*_):
        raise TimeoutError(f'no end after {SECONDS} s')

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        check()
    except UnlearnError as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        return None if is_sentence(f'Error: {error}') else f'no sentence: {str(error)[:300]!r}'
    except BaseException as error:
        signal.setitimer(signal.ITIMER_REAL, 0)
        places = [f'{os.path.basename(frame.filename)}:{frame.lineno}' for frame in traceback.extract_tb(
            error.__traceback__) if 'basicsr' in frame.filename]
        return f'{type(error).__name__}: {str(error)[:150]} at {" ".join(places[-3:])}'
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def _runs(example: Path, place: Path, end: float) -> Iterator[Call]:
    """Calls of train and test with the option files as they are, which have to succeed, then with mutants of them."""
    mutants = [mutant for name in FILES for mutant in value_mutants(name, options_of(example / name))
               if not _is_long(mutant)]
    random.Random(1).shuffle(mutants)
    as_they_are = [Mutant(name, UNCHANGED, (example / name).read_bytes) for name in FILES]
    accepted = itertools.islice(filter(_accepted, mutants), RUN)
    for number, mutant in enumerate(itertools.chain(as_they_are, accepted)):
        if time.monotonic() > end:
            return
        folder = place / str(number)
        shutil.copytree(example, folder)
        (folder / mutant.file).write_bytes(mutant.content())
        yield Call([_command(mutant), '-opt', mutant.file], folder, memory=MEMORY,
                   about=f'run of {mutant.file}, {mutant.what}')


def _is_long(mutant: Mutant) -> bool:
    """Whether it asks for a run of months, which is no mistake: so many iterations of one kind or another."""
    place, _, value = mutant.what.partition(' = ')
    return place.rpartition('.')[2] in ('total_iter', 'iters', 'steps', 'evidence_batches') and len(value) > 4


def _command(mutant: Mutant) -> str:
    return mutant.file.partition('.')[0].partition('_')[0]


def _accepted(mutant: Mutant) -> bool:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, mutant.file)
        path.write_bytes(mutant.content())
        try:
            check_options(read_options(str(path), []), _command(mutant) == 'train')
        except UnlearnError:
            return False
        except Exception:
            return True  # let the run show it
    return True
