"""The section of the training, from what a model's manifest says."""

from __future__ import annotations

from jobs.report.page import Figure, Grid, Missing
from jobs.report.sections.training import validation_curves

EPOCHS = [{"recall@5": 0.1, "recall@20": 0.25, "user_recall@5": 0.1, "ndcg": 0.9, "rows": 7.0}] * 3


def test_recall_is_shown_at_the_lengths_at_which_training_measured_it() -> None:
    (chart,) = validation_curves(EPOCHS)
    assert isinstance(chart, Figure)
    assert list(chart.legend) == ["recall@20", "recall@5"]
    (table,) = validation_curves(EPOCHS[:2])
    assert isinstance(table, Grid)
    assert list(table.head) == ["epoch", "recall@20", "recall@5"]


def test_a_training_that_was_not_validated_says_so() -> None:
    (block,) = validation_curves([])
    assert isinstance(block, Missing)
