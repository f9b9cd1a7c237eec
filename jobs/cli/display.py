"""Shows a run: rows and seconds of each job when it ends, which job failed, and a table at the end.

Programs get the same as lines of JSON (model/training/processes/lines.py).
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.table import Table

from jobs.cli.live import OWN_LINES, moving_line
from model.training.processes.lines import is_json, lines_of, say

# What a job's `main` counts, unless it counts rows (of the tables that its docstring names first).
COUNTED = {
    "explain_user": "candidates",
    "export_candidates": "users with a list",
    "export_user_tower": "items with a vector",
    "forget_users": "removed rows",
    "maintain_tables": "tables",
    "publish_candidates": "users with a list",
    "repair_table": "moved files",
    "report_run": "sections of the report",
    "sample_log": "impressions",
    "train_two_tower": "training examples",
    "tune_two_tower": "trials",
}


def numbers(job: str, count: int) -> dict[str, Any]:
    """The fields of what a job counted: `rows`, or `count` of what `counted` names."""
    return {"count": count, "counted": COUNTED[job]} if job in COUNTED else {"rows": count}


@dataclass
class Step:
    """One run of a job."""

    job: str
    day: dt.date
    rows: int
    seconds: float


@dataclass
class Display:
    """Prints one line per job to `console`; on a terminal, a line that moves while a job runs."""

    title: str
    console: Console = field(default_factory=lambda: Console(highlight=False, soft_wrap=True))
    steps: list[Step] = field(default_factory=list)
    position: str = ""  # of the running job among those of the day, as in "3 of 24"

    def __post_init__(self) -> None:
        self._print(self.title, lambda: self.console.rule(self.title))

    def at(self, job: ModuleType, jobs: Sequence[ModuleType]) -> None:
        """The moving line shows which of `jobs` runs, from now on."""
        self.position = f"{jobs.index(job) + 1} of {len(jobs)}"

    def step(self, job: str, day: dt.date, work: Callable[[], int]) -> int:
        """Run `work` and print its duration and the number of rows that it returns; returns that number.

        Prints which job failed, and raises its error.
        """
        start = time.perf_counter()
        with lines_of(job, day):
            try:
                rows = self._rows(job, day, work)
            except BaseException:
                seconds = time.perf_counter() - start
                text = f"{day}  {job:<26} {'failed':>17} {seconds:>7.1f} s"
                self._line(f"{job} {day}: failed", text, level="error", seconds=round(seconds, 1))
                raise
            step = Step(job, day, rows, time.perf_counter() - start)
            self.steps.append(step)
            text = f"{day}  {job:<26} {step.rows:>12,} rows {step.seconds:>7.1f} s"
            said = f"{job} {day}: {rows:,} {COUNTED.get(job, 'rows')}, {step.seconds:.1f} s"
            self._line(said, text, **numbers(job, rows), seconds=round(step.seconds, 1))
        return rows

    def skipped(self, job: str, day: dt.date) -> None:
        """Print that a job is skipped, because an earlier attempt has run it."""
        with lines_of(job, day):
            self._line(f"{job} {day}: ended in an earlier attempt", f"{day}  {job:<26} ended in an earlier attempt")

    def left(self, day: dt.date, reason: str) -> None:
        """Print that the rest of a day is not run, and why."""
        self._line(f"{day}: not run to its end: {reason}", f"{day}  not run to its end: {reason}", ds=str(day))

    def _rows(self, job: str, day: dt.date, work: Callable[[], int]) -> int:
        if job in OWN_LINES:
            return work()
        with moving_line(self.console, f"{f'{self.position}  ' if self.position else ''}{day}  {job}"):
            return work()

    def summary(self) -> None:
        """Print a table with one line per job, summed over days; a log has these lines already if each job ran once."""
        table = Table("job", "runs", "rows", "seconds", title="All jobs")
        for column in table.columns[1:]:
            column.justify = "right"
        for job in dict.fromkeys(step.job for step in self.steps):
            runs = [step for step in self.steps if step.job == job]
            rows, seconds = sum(step.rows for step in runs), sum(step.seconds for step in runs)
            table.add_row(job, str(len(runs)), f"{rows:,}", f"{seconds:.1f}")
        seconds = sum(step.seconds for step in self.steps)
        table.add_section()
        table.add_row("all", "", "", f"{seconds:.1f}")
        said = f"{len(self.steps)} runs of jobs, {seconds:.1f} s"
        repeats = len({step.job for step in self.steps}) < len(self.steps)
        shown = table if repeats or self.console.is_terminal else said
        self._print(
            said, lambda: self.console.print(shown, soft_wrap=False), runs=len(self.steps), seconds=round(seconds, 1)
        )

    def _line(self, message: str, text: str, level: str = "info", **fields: Any) -> None:
        self._print(message, lambda: self.console.print(text, markup=False, soft_wrap=True), level, **fields)

    def _print(self, message: str, for_people: Callable[[], object], level: str = "info", **fields: Any) -> None:
        if is_json():
            say(message, level=level, **fields)
        else:
            for_people()


def job_name(job: ModuleType) -> str:
    return job.__name__.split(".")[-1]


def job_step(shared: Sequence[str], display: Display) -> Callable[..., None]:
    """A step that runs a job with the shared arguments and shows it on the display."""

    def step(job: ModuleType, day: dt.date, *more: str) -> None:
        display.step(job_name(job), day, lambda: int(job.main([*shared, "--ds", day.isoformat(), *more])))

    return step
