"""One training run: epochs over the window with validation and early stopping, then one pass over the held-out day.

It writes checkpoints, and continues from the newest one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from model.search.lists.calibration import Calibration
from model.towers import TwoTowers
from model.training.checkpoints import BEST, STEP, Checkpoints
from model.training.inputs import EXAMPLES, LAST_DAY_SHARE, TrainingInputs
from model.training.learner import Learner
from model.training.loop import Batch, Progress, TrainingDiverged, train
from model.training.processes.lines import say
from model.training.spec import RunSpec
from model.training.validation.clicks import RankedClicks
from model.training.validation.held_out import HeldOutClicks
from model.training.validation.history import History
from model.training.validation.last_pass import last_pass_metrics
from model.training.validation.score_maps import fitted
from model.training.warm_start import start_from

CURVE_POINTS = 200  # of the loss curve, at most about so many
OnStep = Callable[[Progress], None]
OnEpochEnd = Callable[[Progress, TwoTowers], None]


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
        self.held_out = HeldOutClicks(learner, inputs)
        self.on_step, self.on_epoch_end = on_step, on_epoch_end
        self.checkpoints = Checkpoints(spec.checkpoints, identity, spec.checkpoint_store)
        self.history = History()
        rows = inputs.data.examples.rows
        self.rows_per_point = max(rows * spec.epochs // CURVE_POINTS, min(inputs.data.batch_size, rows))
        self.has_last_day = inputs.data.last_day is not None
        self.last_pass = spec.epochs  # the number of the pass over the held-out day, which has a seed of its own

    def train(self) -> Progress:
        """Train to the end. Raises what `model.training.loop.train` and `epoch_batches` raise."""
        progress = self._resume()
        if not self.history.on_last_day:
            progress = self._epochs(progress, partial(self.inputs.batches, EXAMPLES), self.spec.epochs)
            if not self.has_last_day:
                return progress
            if not self.history.validations:  # a warm start without epochs, trained on the last day alone
                self.history.add(self._validation())
            self._restore_chosen()
            self.history.score_counts = self.held_out.score_counts(self.inputs.validation_batches())
            if self.inputs.data.held_back_share:
                self.history.before_last_pass = self.held_out.ranked_by_towers(self._held_back_batches())
            self._switch_to_last_day()
            progress.start_epoch(0)
        return self._epochs(progress, lambda _, skip: self.inputs.last_pass_batches(self.last_pass, skip), 1)

    def popularity(self) -> dict[str, float] | None:
        """The validation metrics of a ranking by each item's share of the training rows; None if no day is held out."""
        if not self.has_last_day:
            return None
        return self.held_out.ranked_by_popularity(self.inputs.validation_batches()).metrics()

    def last_pass_metrics(self) -> dict[str, Any] | None:
        """The clicks of held-back users before and after the pass over the held-out day, and by popularity.

        Call it after `train`. None if no day or no user is held back.
        """
        before = self.history.before_last_pass
        if before is None:
            return None
        assert self.inputs.data.last_day is not None
        held_back_rows = self.inputs.data.last_day.rows - self.history.last_pass_rows
        after = self.held_out.ranked_by_towers(self._held_back_batches())
        popularity = self.held_out.ranked_by_popularity(self._held_back_batches())
        return last_pass_metrics(before, after, popularity, held_back_rows, len(self.inputs.available_items))

    def calibration(self) -> Calibration | None:
        """What turns the scores of this model's candidates into probabilities; None if no day is held out.

        It is fitted on the held-out day before that day was trained on: a published model, too, is used on the day
        after its last one. Call it after `train`.
        """
        counts = self.history.score_counts
        if counts is None:
            return None
        temperature = float(self.learner.objective.temperature.detach())
        return fitted(counts.numpy(), temperature, self.inputs.data.candidates_per_user)

    def _resume(self) -> Progress:
        """Restore the newest checkpoint, or start from the beginning; returns the progress."""
        newest = self.checkpoints.newest_step() if self.ranks.is_rank_zero else None
        step = int(self.ranks.broadcast(-1.0 if newest is None else float(newest)))
        if step < 0:
            if self.spec.warm_start is not None:
                start_from(self.spec.warm_start, self.learner.towers, self.learner.tables)
            return Progress()
        state = self.checkpoints.load_step(step)
        self.history = History.from_state_dict(state["history"])
        if self.history.on_last_day:
            self._switch_to_last_day()
        if self.ranks.is_rank_zero:
            say(f"continues after step {step:,}", text=f"  continues after step {step:,}", step=step)
        return self.learner.load_state_dict(state["learner"])

    def _epochs(self, progress: Progress, batches_of: Callable[[int, int], Iterable[Batch]], epochs: int) -> Progress:
        return train(
            self.learner.loss,
            batches_of,
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
        if self.history.on_last_day:
            self.history.last_pass_rows = progress.epoch_rows
        if not self.has_last_day or self.history.on_last_day:
            return False
        if self.history.add(self._validation()) and self.spec.patience:
            state = self._state(progress)
            if self.ranks.is_rank_zero:
                self.checkpoints.save(BEST, progress.step, state)
        return self.history.is_over(self.spec.patience)

    def _validation(self) -> RankedClicks:
        """The clicks of the held-out day as the towers rank them."""
        return self.held_out.ranked_by_towers(self.inputs.validation_batches())

    def _held_back_batches(self) -> Iterable[Batch]:
        return self.inputs.held_back_batches(self.last_pass)

    def _restore_chosen(self) -> None:
        """Restore the chosen epoch's weights, if later ones were clearly worse."""
        if self.spec.patience and self.history.chosen < len(self.history.validations) - 1:
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
        return {"learner": self.learner.state_dict(progress), "history": self.history.state_dict()}
