"""What a person sees of a run: each job with its rows and seconds as it ends, and a table of them all at the end."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table


@dataclass
class Step:
    job: str
    day: dt.date
    rows: int
    seconds: float


@dataclass
class Display:
    """Prints to `console`; a terminal gets a spinner while a job runs, anything else a line a job."""

    title: str
    console: Console = field(default_factory=lambda: Console(highlight=False))
    steps: list[Step] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.console.rule(self.title)

    def step(self, job: str, day: dt.date, work: Callable[[], int]) -> int:
        """Run `work` and print what it did; returns its rows."""
        began = time.perf_counter()
        # the trainer draws its own bar
        if self.console.is_terminal and job != "train_two_tower":
            with self.console.status(f"{day}  {job}"):
                rows = work()
        else:
            rows = work()
        done = Step(job, day, rows, time.perf_counter() - began)
        self.steps.append(done)
        self.console.print(f"{day}  {job:<26} {done.rows:>12,} rows {done.seconds:>7.1f} s")
        return rows

    def summary(self) -> None:
        """A line a job, the days of a job added up."""
        table = Table("job", "runs", "rows", "seconds", title="What was done")
        for column in table.columns[1:]:
            column.justify = "right"
        for job in dict.fromkeys(step.job for step in self.steps):
            own = [step for step in self.steps if step.job == job]
            table.add_row(
                job, str(len(own)), f"{sum(step.rows for step in own):,}", f"{sum(step.seconds for step in own):.1f}"
            )
        table.add_section()
        table.add_row("all", "", "", f"{sum(step.seconds for step in self.steps):.1f}")
        self.console.print(table)
