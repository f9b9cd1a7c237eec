"""The progress bar of training: loss, examples per second, and the share of time spent waiting for data."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from model.training.loop import Progress as Training


@contextmanager
def progress_bar(rows: int) -> Iterator[Callable[[Training], None]]:
    """Yields a function to call after each step. Shows a bar on a terminal, and prints one line at the end.

    rows: the rows of all epochs together.
    """
    console = Console()
    text = TextColumn(
        "  epoch {task.fields[epoch]}  loss {task.fields[loss]:.4f}  {task.fields[speed]:,.0f} examples/s"
        "  {task.fields[waiting]:.0%} waiting for data"
    )
    with Progress(text, BarColumn(), TimeRemainingColumn(), console=console, transient=True) as bar:
        task = bar.add_task("training", total=rows, epoch=1, loss=float("nan"), speed=0.0, waiting=0.0)
        last = None

        def on_step(training: Training) -> None:
            nonlocal last
            last = training
            bar.update(
                task,
                completed=training.rows,
                epoch=training.epoch + 1,
                loss=training.loss,
                speed=training.rows_per_second,
                waiting=training.waiting_share,
            )

        yield on_step
    if last is not None:
        console.print(
            f"  {last.step:,} steps, loss {last.loss:.4f}, {last.rows_per_second:,.0f} examples/s, "
            f"{last.waiting_share:.0%} of the time waiting for data",
            highlight=False,
            soft_wrap=True,  # rich treats a log file as 80 columns wide and would break the line
        )
