"""What a training run has measured so far, and which epoch's weights are kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from torch import Tensor

from model.training.loop import Progress
from model.training.validation.clicks import RankedClicks


@dataclass
class History:
    """The measurements of a run; saved with each checkpoint."""

    on_last_day: bool = False
    validations: list[dict[str, float]] = field(default_factory=list)  # one per epoch
    best: int = -1  # index of the highest validation
    chosen: int = -1  # index of the epoch that early stopping keeps
    best_clicks: RankedClicks | None = None  # the held-out clicks as the best epoch ranks them
    before_last_pass: RankedClicks | None = None  # the clicks of held-back users, before the pass over the last day
    last_pass_rows: int = 0  # rows of that pass
    score_counts: Tensor | None = None  # of candidates for the held-out clicks (`validation.score_maps`)
    curve: list[list[float]] = field(default_factory=list)  # step, mean loss of the rows since the point before
    pending_loss: float = 0.0  # summed over the rows since the last point of the curve
    pending_rows: int = 0

    def add(self, clicks: RankedClicks) -> bool:
        """Record an epoch's validation; returns whether it is chosen.

        A later epoch is chosen unless the best one is better by more than the standard error of their difference on
        the same clicks: it has learned more, and a smaller difference is noise.
        """
        self.validations.append(clicks.metrics())
        epoch = len(self.validations) - 1
        if self.best_clicks is None or self._metric(epoch, clicks) > self._metric(self.best, clicks):
            self.best, self.best_clicks = epoch, clicks
        else:
            lead = self.best_clicks.difference(clicks, clicks.selected_by)
            if lead.mean > lead.standard_error:
                return False
        self.chosen = epoch
        return True

    def kept(self, patience: int) -> dict[str, float] | None:
        """The validation of the epoch whose weights are kept: the chosen one with early stopping, else the last one."""
        if not self.validations:
            return None
        return self.validations[self.chosen if patience else -1]

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
        """Whether none of the last `patience` epochs was chosen; False if patience is 0."""
        return 0 < patience < len(self.validations) - self.chosen

    def state_dict(self) -> dict[str, Any]:
        """Nested dicts of tensors and JSON values."""
        return asdict(self)

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> History:
        clicks = {name: _clicks_of(state[name]) for name in STORED_CLICKS}
        return cls(**{**state, **clicks})

    def _metric(self, epoch: int, clicks: RankedClicks) -> float:
        return self.validations[epoch].get(clicks.selected_by, 0.0)


STORED_CLICKS = ("best_clicks", "before_last_pass")


def _clicks_of(state: dict[str, Any] | None) -> RankedClicks | None:
    return RankedClicks(**{**state, "cutoffs": tuple(state["cutoffs"])}) if state else None
