"""A function over many inputs in forked processes, where one that hangs or kills its process is a result, too."""
import json
import os
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

CHUNK = 40  # inputs of a process


def each(function: Callable[[Any], Any], inputs: Sequence, seconds: float, jobs: int, memory: int | None = None,
         end: float = float('inf')) -> Iterator[tuple[int, Any, str | None]]:
    """(index, result, problem) for each input until `end`, a time of `time.monotonic`.

    Args:
        function: its result must go through JSON; what it raises ends its process and is a problem.
        seconds: that one input may take.
        memory: address space of a process in bytes.
    """
    waiting = [list(range(start, min(start + CHUNK, len(inputs)))) for start in range(0, len(inputs), CHUNK)][::-1]
    running: list[_Worker] = []
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < jobs and time.monotonic() < end:
                running.append(_Worker(function, inputs, waiting.pop(), memory, Path(folder)))
            if not running:
                return
            time.sleep(0.01)
            for worker in list(running):
                yield from worker.news()
                problem = worker.trouble(seconds)
                if problem is not None or worker.done:
                    running.remove(worker)
                    yield from worker.news()
                if problem is not None and worker.indices:
                    yield worker.indices.pop(0), None, problem
                    if worker.indices:
                        waiting.append(worker.indices)


class _Worker:
    def __init__(self, function: Callable, inputs: Sequence, indices: list[int], memory: int | None, folder: Path):
        self.indices, self.file, self.read, self.last = indices, folder / f'{indices[0]}.jsonl', 0, time.monotonic()
        self.file.touch()
        self.done = False
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                torch.set_num_threads(1)
                if memory is not None:
                    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
                with self.file.open('a', encoding='utf-8') as out:
                    for index in indices:
                        out.write(json.dumps([index, function(inputs[index])]) + '\n')
                        out.flush()
                code = 0
            finally:
                os._exit(code)

    def news(self) -> Iterator[tuple[int, Any, None]]:
        lines = self.file.read_text(encoding='utf-8').splitlines(keepends=True)
        for line in lines[self.read:]:
            if line.endswith('\n'):
                self.read, self.last = self.read + 1, time.monotonic()
                index, result = json.loads(line)
                self.indices.remove(index)
                yield index, result, None

    def trouble(self, seconds: float) -> str | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.done = True
            code = os.waitstatus_to_exitcode(status)
            return None if code == 0 else f'its process ended with {code}'
        if time.monotonic() - self.last > seconds:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            return f'no end after {seconds:.0f} s'
        return None
