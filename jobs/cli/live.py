"""A line that moves on a terminal while a job runs: its name, Spark's tasks, and the time. Elsewhere nothing moves."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from py4j.protocol import Py4JError
from pyspark import SparkContext
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from model.training.processes.lines import is_json, is_verbose

SECONDS = 0.5  # between two questions to Spark
WIDE = 100  # characters of a terminal that has room for a bar
OWN_LINES = ("run_demo", "run_day", "train_two_tower", "tune_two_tower")  # jobs that show their progress themselves
_expected: list[tuple[int, str]] = []


@contextmanager
def expecting(rows: int, unit: str) -> Iterator[None]:
    """Says how many rows the job writes inside (0: not known), and what a row is: the moving line counts them."""
    _expected.append((rows, unit))
    try:
        yield
    finally:
        _expected.pop()


class Work(NamedTuple):
    """The stages that Spark runs at a moment: their tasks, those that have ended, and the rows that these wrote."""

    tasks: int
    done: int
    written: int

    def text(self, expected: tuple[int, str] | None = None) -> str:
        """expected: how many rows the job writes in the end, and what a row is."""
        parts = [f"{self.done:,} of {self.tasks:,} tasks"] if self.tasks else []
        if self.written:
            total, unit = expected or (0, "rows written")
            parts.append(f"{self.written:,}{f' of {total:,}' if total else ''} {unit}")
        return ", ".join(parts)


def spark_work(context: SparkContext | None) -> Work:
    """What Spark does now; nothing if it does not run or does not answer."""
    if context is None:
        return Work(0, 0, 0)
    try:
        tracker = context.statusTracker()
        stages = [stage for number in tracker.getActiveStageIds() if (stage := tracker.getStageInfo(number))]
        written = sum(_written(context, stage.stageId) for stage in stages)
    except (Py4JError, OSError, AttributeError):  # the session ends
        return Work(0, 0, 0)
    return Work(sum(stage.numTasks for stage in stages), sum(stage.numCompletedTasks for stage in stages), written)


def _written(context: SparkContext, stage: int) -> int:
    """The rows that the tasks of a stage that have ended wrote; not part of the public status tracker."""
    store: Any = context._jsc.sc().statusStore()
    return int(store.lastStageAttempt(stage).outputRecords())


@contextmanager
def moving_line(console: Console, text: str) -> Iterator[None]:
    """Show the seconds, `text` and Spark's work in one line on a terminal, which is gone at the end.

    Nothing is shown beside --verbose, as the JVM then writes to the same terminal.
    """
    is_live = console.is_interactive and console.file.isatty()  # FORCE_COLOR makes a file "interactive"
    if not is_live or is_json() or is_verbose():
        yield
        return
    # what comes last is cut off on a narrow terminal
    columns: list[ProgressColumn] = [SpinnerColumn(), TimeElapsedColumn(), TextColumn("{task.description}")]
    columns += [BarColumn(20)] if console.width >= WIDE else []
    columns.append(TextColumn("{task.fields[work]}"))
    # errors stay on stderr if that is a file
    with Progress(*columns, console=console, transient=True, redirect_stderr=sys.stderr.isatty()) as bar:
        task, ended = bar.add_task(text, total=None, work=""), threading.Event()
        thread = threading.Thread(target=_follow, args=(bar, task, ended), name="moving-line", daemon=True)
        thread.start()
        # lines that the job prints meanwhile pass through the console, which would break paths at the terminal's width
        wraps_softly, console.soft_wrap = console.soft_wrap, True
        try:
            yield
        finally:
            console.soft_wrap = wraps_softly
            ended.set()
            thread.join(SECONDS)


def _follow(bar: Progress, task: TaskID, ended: threading.Event) -> None:
    written = 0
    while not ended.wait(SECONDS):
        work = spark_work(SparkContext._active_spark_context)
        written = max(written, work.written) if _expected else 0  # which falls to 0 when the stage that wrote ends
        work = work._replace(written=max(written, work.written))
        bar.update(task, total=work.tasks or None, completed=work.done, work=work.text(*_expected[-1:]))
