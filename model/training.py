"""The training loop: epochs of batches through a loss. It knows no tower."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer

Batch = dict[str, Tensor]


class TrainingDiverged(RuntimeError):
    """The loss of a step is NaN or infinite; nothing was saved."""


@dataclass
class Progress:
    """What a step leaves for whoever watches."""

    epoch: int
    step: int
    loss: float
    rows: int
    seconds: float
    waiting: float  # seconds of them spent on waiting for data

    @property
    def rows_per_second(self) -> float:
        return self.rows / max(self.seconds, 1e-9)


def train(
    loss_of: Callable[[Batch], Tensor],
    batches_of: Callable[[int], Iterable[Batch]],
    optimizers: list[Optimizer],
    epochs: int,
    watch: Callable[[Progress], None] = lambda progress: None,
    after_epoch: Callable[[Progress], None] = lambda progress: None,
) -> Progress:
    """Run `epochs` epochs (numbered from 0); returns the last progress, whose loss is the mean of the last epoch.

    `after_epoch` sees that mean; the time that it and `watch` take is not counted.
    Raises TrainingDiverged at the first step whose loss is not finite, before the weights follow it.
    """
    progress = Progress(0, 0, float("nan"), 0, 0.0, 0.0)
    mark = time.perf_counter()
    for epoch in range(epochs):
        progress.epoch, total, rows_before = epoch, 0.0, progress.rows
        for batch in batches_of(epoch):
            waited = time.perf_counter() - mark
            progress.loss = _step(loss_of, batch, optimizers, progress)
            rows = len(next(iter(batch.values())))
            total += progress.loss * rows
            progress.step, progress.rows = progress.step + 1, progress.rows + rows
            progress.seconds += time.perf_counter() - mark
            progress.waiting += waited
            watch(progress)
            mark = time.perf_counter()
        ending = time.perf_counter() - mark  # the data's end is waited for too
        progress.seconds, progress.waiting = progress.seconds + ending, progress.waiting + ending
        progress.loss = total / max(progress.rows - rows_before, 1)
        after_epoch(progress)
        mark = time.perf_counter()
    return progress


def _step(loss_of: Callable[[Batch], Tensor], batch: Batch, optimizers: list[Optimizer], progress: Progress) -> float:
    loss = loss_of(batch)
    value = float(loss.detach())
    if not -float("inf") < value < float("inf"):
        raise TrainingDiverged(f"the loss of step {progress.step + 1} (epoch {progress.epoch}) is {value}")
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return value
