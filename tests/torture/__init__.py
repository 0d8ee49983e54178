"""Hostile input as one command: `make torture`, or `python -m tests.torture [SECTION ...]`.

A section is a module of this folder with a function `run(budget: float) -> Section`, which takes at most about `budget`
seconds on 2 cores and writes to temporary folders alone. It is named in `SECTIONS` of `__main__.py`, with its budget;
all budgets together stay below 14 minutes. `calling.py` runs our commands in processes of their own and judges how they
ended. What a section does is seeded, so that a failure can be had again.
"""
from dataclasses import dataclass, field


@dataclass
class Section:
    """What a section found: how many cases it tried, and one line for each that failed, which names the case."""
    name: str
    cases: int = 0
    failures: list[str] = field(default_factory=list)

    def add(self, case: str, problem: str | None) -> None:
        """Count a case; `problem` says what was wrong with it, None: nothing."""
        self.cases += 1
        if problem is not None:
            self.failures.append(f'{case}: {problem}')
