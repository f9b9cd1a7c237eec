"""Shows a run in the terminal: rows and seconds of each job when it ends, which job failed, and a table at the end."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType

from rich.console import Console
from rich.table import Table


@dataclass
class Step:
    """One run of a job."""

    job: str
    day: dt.date
    rows: int
    seconds: float


@dataclass
class Display:
    """Prints one line per job to `console`; a terminal shows a spinner while a job runs."""

    title: str
    console: Console = field(default_factory=lambda: Console(highlight=False))
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.console.rule(self.title)

    def step(self, job: str, day: dt.date, work: Callable[[], int]) -> int:
        """Run `work` and print its duration and the number of rows that it returns; returns that number.

        Prints which job failed, and raises its error.
        """
        start = time.perf_counter()
        try:
            rows = self._rows(job, day, work)
        except BaseException:
            self.console.print(f"{day}  {job:<26} {'failed':>17} {time.perf_counter() - start:>7.1f} s")
            raise
        step = Step(job, day, rows, time.perf_counter() - start)
        self.steps.append(step)
        self.console.print(f"{day}  {job:<26} {step.rows:>12,} rows {step.seconds:>7.1f} s")
        return rows

    def skipped(self, job: str, day: dt.date) -> None:
        """Print that a job is skipped, because an earlier attempt has run it."""
        self.console.print(f"{day}  {job:<26} ended in an earlier attempt")

    def left(self, day: dt.date, reason: str) -> None:
        """Print that the rest of a day is not run, and why."""
        self.console.print(f"{day}  not run to its end: {reason}", markup=False, soft_wrap=True)

    def _rows(self, job: str, day: dt.date, work: Callable[[], int]) -> int:
        # the trainer has its own progress bar
        if self.console.is_terminal and job != "train_two_tower":
            with self.console.status(f"{day}  {job}"):
                return work()
        return work()

    def summary(self) -> None:
        """Print a table with one line per job, summed over days."""
        table = Table("job", "runs", "rows", "seconds", title="All jobs")
        for column in table.columns[1:]:
            column.justify = "right"
        for job in dict.fromkeys(step.job for step in self.steps):
            runs = [step for step in self.steps if step.job == job]
            rows, seconds = sum(step.rows for step in runs), sum(step.seconds for step in runs)
            table.add_row(job, str(len(runs)), f"{rows:,}", f"{seconds:.1f}")
        table.add_section()
        table.add_row("all", "", "", f"{sum(step.seconds for step in self.steps):.1f}")
        self.console.print(table)


def job_name(job: ModuleType) -> str:
    return job.__name__.split(".")[-1]


def job_step(shared: Sequence[str], display: Display) -> Callable[..., None]:
    """A step that runs a job with the shared arguments and shows it on the display."""

    def step(job: ModuleType, day: dt.date, *more: str) -> None:
        display.step(job_name(job), day, lambda: int(job.main([*shared, "--ds", day.isoformat(), *more])))

    return step
