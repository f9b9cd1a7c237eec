"""One training run: epochs over the window with validation and early stopping, then one pass over the held-out day.

It writes checkpoints, and continues from the newest one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from model.towers import TwoTowers
from model.training.checkpoints import BEST, STEP, Checkpoints
from model.training.inputs import EXAMPLES, LAST_DAY, LAST_DAY_SHARE, TrainingInputs
from model.training.learner import Learner
from model.training.loop import Batch, Progress, TrainingDiverged, train
from model.training.spec import RunSpec
from model.training.validation import validate
from model.training.warm_start import start_from

SELECTED_BY = "recall@100"
CURVE_POINTS = 200  # of the loss curve, at most about so many
OnStep = Callable[[Progress], None]
OnEpochEnd = Callable[[Progress, TwoTowers], None]


@dataclass
class History:
    """What a run has measured so far; saved with each checkpoint."""

    on_last_day: bool = False
    validations: list[dict[str, float]] = field(default_factory=list)  # one per epoch
    best: int = -1  # index of the best validation
    curve: list[list[float]] = field(default_factory=list)  # step, mean loss of the rows since the point before
    pending_loss: float = 0.0  # summed over the rows since the last point of the curve
    pending_rows: int = 0

    def add(self, validation: dict[str, float]) -> bool:
        """Record a validation; returns whether it is the best so far."""
        self.validations.append(validation)
        better = self.best < 0 or validation[SELECTED_BY] > self.validations[self.best][SELECTED_BY]
        if better:
            self.best = len(self.validations) - 1
        return better

    def kept(self, patience: int) -> dict[str, float] | None:
        """The validation of the epoch whose weights are kept: the best one with early stopping, else the last one."""
        if not self.validations:
            return None
        return self.validations[self.best if patience else -1]

    def add_loss(self, progress: Progress, rows_per_point: int) -> None:
        """Add the loss of a step to the curve, which gets a point for each `rows_per_point` rows or a little more.

        A batch with few rows, as at the end of an epoch, has few negatives and a low loss: it is no point of its own.
        """
        self.pending_loss += progress.loss * progress.step_rows
        self.pending_rows += progress.step_rows
        if self.pending_rows >= rows_per_point:
            self.curve.append([progress.step, self.pending_loss / self.pending_rows])
            self.pending_loss, self.pending_rows = 0.0, 0

    def is_over(self, patience: int) -> bool:
        """Whether none of the last `patience` validations was better than all earlier ones; False if patience is 0."""
        return 0 < patience < len(self.validations) - self.best


class Run:
    """Trains one model version; a run that was interrupted continues from its newest checkpoint."""

    def __init__(
        self,
        spec: RunSpec,
        identity: str,
        learner: Learner,
        inputs: TrainingInputs,
        on_step: OnStep,
        on_epoch_end: OnEpochEnd,
    ) -> None:
        """identity: the run continues only from checkpoints with the same identity."""
        self.spec, self.learner, self.inputs, self.ranks = spec, learner, inputs, learner.ranks
        self.on_step, self.on_epoch_end = on_step, on_epoch_end
        self.checkpoints = Checkpoints(spec.checkpoints, identity, spec.checkpoint_store)
        self.history = History()
        rows = inputs.data.examples.rows
        self.rows_per_point = max(rows * spec.epochs // CURVE_POINTS, min(inputs.data.batch_size, rows))
        self.has_last_day = inputs.data.last_day is not None

    def train(self) -> Progress:
        """Train to the end. Raises what `model.training.loop.train` and `epoch_batches` raise."""
        progress = self._resume()
        if not self.history.on_last_day:
            progress = self._epochs(progress, EXAMPLES, self.spec.epochs)
            if not self.has_last_day:
                return progress
            if not self.history.validations:  # a warm start without epochs, trained on the last day alone
                self.history.add(self._validation())
            self._restore_best()
            self._switch_to_last_day()
            progress.start_epoch(0)
        return self._epochs(progress, LAST_DAY, 1)

    def popularity(self) -> dict[str, float] | None:
        """The validation metrics of a ranking by each item's share of the training rows; None if no day is held out."""
        if not self.has_last_day:
            return None
        items, data = self.inputs.available_items, self.inputs.data
        shares = self.inputs.sampling_probs(data.share_column).q[items]  # [available items]
        return self._validated(lambda batch: shares.new_ones(len(batch["item_index"]), 1), shares[:, None], items)

    def _resume(self) -> Progress:
        """Restore the newest checkpoint, or start from the beginning; returns the progress."""
        newest = self.checkpoints.newest_step() if self.ranks.is_rank_zero else None
        step = int(self.ranks.broadcast(-1.0 if newest is None else float(newest)))
        if step < 0:
            if self.spec.warm_start is not None:
                start_from(self.spec.warm_start, self.learner.towers, self.learner.tables)
            return Progress()
        state = self.checkpoints.load_step(step)
        self.history = History(**state["history"])
        if self.history.on_last_day:
            self._switch_to_last_day()
        if self.ranks.is_rank_zero:
            print(f"  continues after step {step:,}", flush=True)
        return self.learner.load_state_dict(state["learner"])

    def _epochs(self, progress: Progress, table: str, epochs: int) -> Progress:
        first = self.spec.epochs if table == LAST_DAY else 0  # the pass over the last day has a seed of its own
        return train(
            self.learner.loss,
            lambda epoch, skip: self.inputs.batches(table, first + epoch, skip),
            self.learner.optimizers,
            epochs,
            progress=progress,
            on_step=self._after_step,
            on_epoch_end=self._after_epoch,
            ranks=self.ranks,
            sum_gradients=self.learner.sum_gradients,
        )

    def _after_step(self, progress: Progress) -> None:
        self.history.add_loss(progress, self.rows_per_point)
        every = self.spec.checkpoint_steps
        if every and progress.step % every == 0:
            state = self._state(progress)
            if self.ranks.is_rank_zero:
                self.checkpoints.save(STEP, progress.step, state)
        self.on_step(progress)

    def _after_epoch(self, progress: Progress) -> bool:
        """Validate; returns whether to stop. The pass over the held-out day is not validated: no rows are left."""
        self.on_epoch_end(progress, self.learner.towers)
        if not self.has_last_day or self.history.on_last_day:
            return False
        if self.history.add(self._validation()) and self.spec.patience:
            state = self._state(progress)
            if self.ranks.is_rank_zero:
                self.checkpoints.save(BEST, progress.step, state)
        return self.history.is_over(self.spec.patience)

    def _validation(self) -> dict[str, float]:
        """The validation metrics of the towers on the held-out day."""
        items = self.inputs.available_items
        return self._validated(self.learner.towers.user, self.learner.item_vectors(items), items)

    def _validated(
        self, embed: Callable[[Batch], torch.Tensor], vectors: torch.Tensor, items: torch.Tensor
    ) -> dict[str, float]:
        return validate(
            embed,
            self.inputs.validation_batches(),
            vectors,
            items,
            self.inputs.device,
            hide_history=self.inputs.data.hide_history,
            ranks=self.ranks,
        )

    def _restore_best(self) -> None:
        """Restore the best epoch's weights, if later ones were worse."""
        if self.spec.patience and self.history.best < len(self.history.validations) - 1:
            self.ranks.broadcast(0.0)  # wait until rank zero has written the checkpoint
            self.learner.load_state_dict(self.checkpoints.load_best()["learner"])

    def _switch_to_last_day(self) -> None:
        """From now on, train on the held-out day, on which items have other shares; with it, they have more rows."""
        self.history.on_last_day = True
        self.learner.towers.set_item_row_counts(self.inputs.row_counts(with_last_day=True))
        self.learner.objective.switch_to(self.inputs.sampling_probs(LAST_DAY_SHARE))

    def _state(self, progress: Progress) -> dict[str, Any]:
        if not self.learner.is_finite():
            raise TrainingDiverged(f"step {progress.step} left weights that are NaN or infinite")
        return {"learner": self.learner.state_dict(progress), "history": asdict(self.history)}
