"""The training loop: epochs, batches, a loss and optimisers. It does not depend on the model."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.optim import Optimizer

from model.training.processes.ranks import ALONE, Ranks

Batch = dict[str, Tensor]


class TrainingDiverged(RuntimeError):
    """A loss or a weight is NaN or infinite; no model was saved."""


@dataclass
class Progress:
    """What a run has done so far, and its last loss. Rows are counted over all ranks."""

    epoch: int = 0  # the current one, or the one that has just ended
    step: int = 0  # steps done
    loss: float = float("nan")  # of the last step; after an epoch, its mean
    step_rows: int = 0  # rows of the last step
    rows: int = 0
    seconds: float = 0.0
    waiting: float = 0.0  # seconds of `seconds` that were spent waiting for data
    epoch_step: int = 0  # steps done in this epoch
    epoch_rows: int = 0
    epoch_loss: float = 0.0  # summed over the rows of this epoch

    @property
    def rows_per_second(self) -> float:
        return self.rows / max(self.seconds, 1e-9)

    @property
    def waiting_share(self) -> float:
        return self.waiting / max(self.seconds, 1e-9)

    def start_epoch(self, epoch: int) -> None:
        self.epoch, self.epoch_step, self.epoch_rows, self.epoch_loss = epoch, 0, 0, 0.0


def train(
    loss_of: Callable[[Batch], Tensor],
    batches_of: Callable[[int, int], Iterable[Batch]],
    optimizers: list[Optimizer],
    epochs: int,
    *,
    progress: Progress | None = None,
    on_step: Callable[[Progress], None] = lambda progress: None,
    on_epoch_end: Callable[[Progress], bool] = lambda progress: False,
    ranks: Ranks = ALONE,
    sum_gradients: Callable[[], None] = lambda: None,
) -> Progress:
    """Run `epochs` epochs (numbered from 0); returns the last progress, whose loss is the mean of the last epoch.

    batches_of(epoch, skip): the batches of an epoch without its first `skip`. progress: the point to continue from.
    on_epoch_end gets the epoch's mean loss and returns whether to stop. The time of both callbacks is not counted.
    sum_gradients is called between the backward pass and the optimisers.
    Raises TrainingDiverged on every rank at the first step whose loss is not finite, before that step changes a weight.
    """
    progress = progress or Progress()
    while progress.epoch < epochs:
        mark = time.perf_counter()
        for batch in batches_of(progress.epoch, progress.epoch_step):
            waited = time.perf_counter() - mark
            _step(loss_of, batch, optimizers, progress, ranks, sum_gradients)
            progress.seconds += time.perf_counter() - mark
            progress.waiting += waited
            on_step(progress)
            mark = time.perf_counter()
        ending = time.perf_counter() - mark  # the reader's last call, which only reports the end, counts as waiting
        progress.seconds, progress.waiting = progress.seconds + ending, progress.waiting + ending
        progress.loss = progress.epoch_loss / max(progress.epoch_rows, 1)
        if on_epoch_end(progress):
            break
        progress.start_epoch(progress.epoch + 1)
    return progress


def _step(
    loss_of: Callable[[Batch], Tensor],
    batch: Batch,
    optimizers: list[Optimizer],
    progress: Progress,
    ranks: Ranks,
    sum_gradients: Callable[[], None],
) -> None:
    loss = loss_of(batch)
    rows = torch.full((), float(len(next(iter(batch.values())))), dtype=torch.float64, device=loss.device)
    value, rows_of_all = ranks.total(torch.stack([loss.detach().double(), rows])).tolist()
    if not -float("inf") < value < float("inf"):
        raise TrainingDiverged(f"the loss of step {progress.step + 1} (epoch {progress.epoch}) is {value}")
    loss.backward()
    sum_gradients()
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    progress.loss, progress.step, progress.epoch_step = value, progress.step + 1, progress.epoch_step + 1
    progress.step_rows = int(rows_of_all)
    progress.rows, progress.epoch_rows = progress.rows + progress.step_rows, progress.epoch_rows + progress.step_rows
    progress.epoch_loss += value * rows_of_all
