"""The curve of the loss: a point for so many rows, so that a short batch is no dip."""

from __future__ import annotations

import pytest

from model.training.loop import Progress
from model.training.run import History


def curve(losses_and_rows: list[tuple[float, int]], rows_per_point: int) -> list[list[float]]:
    history = History()
    for step, (loss, rows) in enumerate(losses_and_rows, start=1):
        history.add_loss(Progress(step=step, loss=loss, step_rows=rows), rows_per_point)
    return history.curve


def test_each_full_batch_can_be_a_point() -> None:
    assert curve([(5.0, 4), (3.0, 4)], 4) == [[1, 5.0], [2, 3.0]]


def test_a_short_batch_counts_by_its_rows_in_the_next_point() -> None:
    found = curve([(5.0, 4), (1.0, 1), (5.0, 4), (5.0, 4)], 4)
    assert found == [[1, 5.0], [3, pytest.approx((1.0 + 5.0 * 4) / 5)], [4, 5.0]]


def test_a_point_is_the_mean_of_all_rows_since_the_one_before() -> None:
    assert curve([(6.0, 2), (3.0, 4), (1.0, 2), (1.0, 4)], 6) == [[2, 4.0], [4, 1.0]]
