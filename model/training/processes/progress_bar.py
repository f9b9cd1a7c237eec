"""The progress bar of training: loss, examples per second, and the share of time spent waiting for data."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from model.training.loop import Progress as Training
from model.training.processes.lines import is_json, say


@contextmanager
def progress_bar(rows: int) -> Iterator[Callable[[Training], None]]:
    """Yields a function to call after each step. Shows a bar on a terminal, and prints one line at the end.

    rows: the rows of all epochs together.
    """
    console = Console()
    text = TextColumn(
        "  epoch {task.fields[epoch]}  step {task.fields[step]:,}  loss {task.fields[loss]:.4f}"
        "  {task.fields[speed]:,.0f} examples/s  {task.fields[waiting]:.0%} waiting for data"
    )
    is_live = console.is_interactive and console.file.isatty()  # FORCE_COLOR makes a file "interactive"
    with Progress(
        text,
        BarColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stderr=sys.stderr.isatty(),
        disable=is_json() or not is_live,
    ) as bar:
        task = bar.add_task("training", total=rows, epoch=1, step=0, loss=float("nan"), speed=0.0, waiting=0.0)
        last = None

        def on_step(training: Training) -> None:
            nonlocal last
            last = training
            bar.update(
                task,
                completed=training.rows,
                epoch=training.epoch + 1,
                step=training.step,
                loss=training.loss,
                speed=training.rows_per_second,
                waiting=training.waiting_share,
            )

        yield on_step
    if last is not None:
        line = (
            f"{last.step:,} steps, loss {last.loss:.4f}, {last.rows_per_second:,.0f} examples/s, "
            f"{last.waiting_share:.0%} of the time waiting for data"
        )
        say(line, text=f"  {line}", steps=last.step, loss=last.loss, seconds=round(last.seconds, 1))
