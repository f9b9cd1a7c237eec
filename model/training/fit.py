"""Where the parts meet: `python -m model.training.fit ORDER.json` trains one model version and writes its folder.

An order is what the job found in the lake: pinned files, specification and settings. The process is the trainer's own,
so that it may live on another machine, with a GPU, and without Spark; torchrun may start several that train together.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow  # noqa: F401  # is loaded before torch
import torch

from model.artifacts.model_version import ModelVersion, save_model
from model.data.loaders import RowCountMismatch
from model.data.shards import shards
from model.data.verification import check_files
from model.towers import TwoTowers
from model.training.checkpoints import CheckpointCorrupt, Checkpoints
from model.training.learner import Learner
from model.training.loop import Progress, TrainingDiverged, train
from model.training.parent_process import end_with_parent
from model.training.progress_bar import progress_bar
from model.training.ranks import Ranks
from model.training.spec import EXAMPLES, LAST_DAY, Order, pinned_inputs
from model.training.warm_start import start_from

BEST = "best"  # the checkpoint that early stopping returns to
SELECTED_BY = "recall@100"
CURVE_POINTS = 200
Watch = Callable[[Progress], None]
Judge = Callable[[Progress, TwoTowers], None]


@dataclass
class History:
    """What a run has seen of itself: it survives with the checkpoint."""

    on_last_day: bool = False
    validations: list[dict[str, float]] = field(default_factory=list)  # one an epoch
    best: int = -1  # which of them
    curve: list[list[float]] = field(default_factory=list)  # step, loss

    def is_over(self, patience: int) -> bool:
        """Whether so many validations in a row were no better than the best."""
        return 0 < patience < len(self.validations) - self.best


class Run:
    """One model version under way: epochs over the window, then one pass over the day that was held out."""

    def __init__(
        self, order: Order, learner: Learner, file_rows: dict[str, list[int]], watch: Watch, judge: Judge
    ) -> None:
        """file_rows: how many rows each of a table's pinned files holds."""
        self.order, self.learner, self.watch, self.judge, self.ranks = order, learner, watch, judge, learner.ranks
        self.file_rows = file_rows
        self.checkpoints = Checkpoints(order.checkpoints, order.identity)
        self.history = History()
        steps = shards(order.examples.files, self.file_rows[EXAMPLES], order.settings.batch_size)[0].steps
        self.curve_every = max(len(steps) * order.settings.epochs // CURVE_POINTS, 1)

    def resume(self) -> Progress:
        """Where the newest checkpoint stands, or the beginning."""
        name = self.checkpoints.newest() if self.ranks.leads else None
        step = int(self.ranks.agree(float(name.removeprefix("step-")) if name else -1.0))
        if step < 0:
            if self.order.warm_start is not None:
                start_from(self.order.warm_start, self.learner.towers, self.learner.tables)
            return Progress()
        state = self.checkpoints.load(f"step-{step:012}")
        self.history = History(**state["history"])
        if self.history.on_last_day:
            self.learner.turn_to_last_day()
        if self.ranks.leads:
            print(f"  goes on after step {step:,}", flush=True)
        return self.learner.load_state_dict(state["learner"])

    def train(self) -> Progress:
        """To the end, from wherever it stands. Raises what `model.training.loop.train` and `model.data.loaders` do."""
        progress, settings = self.resume(), self.order.settings
        if not self.history.on_last_day:
            progress = self._epochs(progress, settings.epochs)
            if self.order.last_day is None:
                return progress
            if not self.history.validations:  # a warm start that learns from the last day alone
                self._validate()
            self._return_to_best()
            self.learner.turn_to_last_day()
            self.history.on_last_day = True
            progress.epoch, progress.epoch_step, progress.epoch_rows, progress.epoch_loss = 0, 0, 0, 0.0
        return self._epochs(progress, 1)

    def _epochs(self, progress: Progress, epochs: int) -> Progress:
        table = LAST_DAY if self.history.on_last_day else EXAMPLES
        pinned, first = pinned_inputs(self.order)[table][0], self.order.settings.epochs * self.history.on_last_day
        return train(
            self.learner.loss,
            lambda epoch, done: self.learner.batches(pinned, self.file_rows[table], first + epoch, done),
            self.learner.optimizers,
            epochs,
            progress=progress,
            watch=self._after_step,
            after_epoch=self._after_epoch,
            ranks=self.ranks,
            sum_gradients=self.learner.sum_gradients,
        )

    def _after_step(self, progress: Progress) -> None:
        if progress.step % self.curve_every == 0:
            self.history.curve.append([progress.step, progress.loss])
        every = self.order.settings.checkpoint_steps
        if every and progress.step % every == 0:
            state = self._state(progress)
            if self.ranks.leads:
                self.checkpoints.save_step(progress.step, state)
        self.watch(progress)

    def _after_epoch(self, progress: Progress) -> bool:
        """Whether to stop; nothing is held out from the pass over the last day."""
        self.judge(progress, self.learner.towers)
        if self.order.last_day is None or self.history.on_last_day:
            return False
        patience = self.order.settings.patience
        if self._validate() and patience:
            state = self._state(progress)
            if self.ranks.leads:
                self.checkpoints.save(BEST, state)
        return self.history.is_over(patience)

    def _validate(self) -> bool:
        """Measure on the last day; whether it is the best so far."""
        assert self.order.last_day is not None
        found = self.learner.validation(self.order.last_day, self.file_rows[LAST_DAY])
        history = self.history
        history.validations.append(found)
        better = history.best < 0 or found[SELECTED_BY] > history.validations[history.best][SELECTED_BY]
        if better:
            history.best = len(history.validations) - 1
        return better

    def _return_to_best(self) -> None:
        """The weights of the best epoch, where later ones were worse."""
        if self.order.settings.patience and self.history.best < len(self.history.validations) - 1:
            self.ranks.agree(0.0)  # the one who writes has written
            self.learner.load_state_dict(self.checkpoints.load(BEST)["learner"])

    def _state(self, progress: Progress) -> dict[str, Any]:
        if not self.learner.is_finite():
            raise TrainingDiverged(f"step {progress.step} left weights that are NaN or infinite")
        return {"learner": self.learner.state_dict(progress), "history": asdict(self.history)}


def fit(
    order: Order, watch: Watch = lambda progress: None, judge: Judge = lambda progress, towers: None
) -> ModelVersion:
    """Train and write the model version, on this rank among those that were started with it.

    watch is called after each step, judge after each epoch.
    Raises what `check_files`, `epoch_batches`, `start_from` and `train` raise.
    """
    settings = order.settings
    if settings.threads:
        torch.set_num_threads(settings.threads)
    device = pick_device(settings.device)
    ranks = Ranks.join(device)
    if ranks.size != settings.ranks:
        raise ValueError(f"training.ranks is {settings.ranks}, and {ranks.size} processes were started")
    inputs = pinned_inputs(order).items()
    file_rows = {table: check_files(table, pinned, columns) for table, (pinned, columns) in inputs}
    learner = Learner(order, device, ranks)
    run = Run(order, learner, file_rows, watch if ranks.leads else lambda progress: None, judge)
    last = run.train()
    if not learner.is_finite():
        raise TrainingDiverged("the last step left weights that are NaN or infinite")
    history = run.history
    popularity = learner.popularity(order.last_day, file_rows[LAST_DAY]) if order.last_day else None
    metrics = {
        "final_loss": last.loss,
        "training_rows": order.examples.rows + (order.last_day.rows if order.last_day else 0),
        "steps": last.step,
        "seconds": last.seconds,
        "rows_per_second": last.rows_per_second,
        "waiting_share": last.waiting / max(last.seconds, 1e-9),
        "validation": history.validations[history.best] if history.validations else None,
        "validations": history.validations,
        "popularity": popularity,
        "loss_curve": history.curve,
        **learner.objective.report(),
    }
    version = ModelVersion(order.model_version, order.spec, dict(order.inputs), dict(order.configuration), metrics)
    if ranks.leads:
        save_model(order.folder, learner.towers.cpu(), version, learner.tables)
    ranks.leave()
    return version


def pick_device(name: str) -> torch.device:
    """`auto` is a GPU where there is one. Raises ValueError where cuda is asked for and missing."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"training.device is auto, cpu or cuda, got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("training.device is cuda, and torch sees no GPU here: use auto or cpu")
    if name == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))  # a GPU for each rank of this machine


def train_order(order: Order) -> int:
    """Fit it under a progress bar; the exit code, 2 with a line that says why where it cannot be."""
    last_rows = order.last_day.rows if order.last_day else 0
    try:
        with progress_bar(order.examples.rows * order.settings.epochs + last_rows) as watch:
            fit(order, watch)
    except (ValueError, OSError, TrainingDiverged, RowCountMismatch, CheckpointCorrupt) as error:
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        return 2
    return 0


def train_text(text: str) -> int:
    """The same of an order in JSON: what a launcher calls on each rank."""
    return train_order(Order.from_json(json.loads(text)))


def main() -> int:
    end_with_parent()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("order", type=Path, help="JSON file written by jobs.train_two_tower")
    return train_text(parser.parse_args().order.read_text("utf-8"))


if __name__ == "__main__":
    sys.exit(main())
