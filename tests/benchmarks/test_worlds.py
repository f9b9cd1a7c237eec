"""Logs that benchmarks write for the trainer, and how lists of never-clicked items are counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from benchmarks.quality.measure import Evaluator, measure
from benchmarks.worlds import click_log, cold_logs
from benchmarks.worlds.click_log import TIMED_HISTORY, USER_ID, ClickLog, nearest_items
from benchmarks.worlds.prepared_folder import USERS_FILE
from model.features.gaps import gap_index
from model.vocabulary import FIRST_INDEX

LOG = ClickLog(  # user 0 clicks items 0 and 1, user 1 clicks item 0; nobody clicks items 2 and 3
    users=np.array([0, 1, 0]),
    items=np.array([0, 0, 1]),
    shown=np.array([2, 1, 1, 0]),
    relevant=[np.array([2]), np.array([1])],
    features={},
    unclicked=np.array([[2, 3], [1, -1], [-1, -1]]),
)


def test_no_lists_have_fewer_never_clicked_items_than_the_users_have_clicked_ones_left(tmp_path: Path) -> None:
    evaluator = Evaluator(click_log.write(tmp_path / "log", LOG), at=(1, 2))
    # user 0 has items 2 and 3 left, user 1 has 1, 2 and 3
    assert evaluator.least_never_clicked_share(1) == pytest.approx(1 / 2)
    assert evaluator.least_never_clicked_share(2) == pytest.approx(3 / 4)
    assert evaluator.least_never_clicked_share(100) == pytest.approx(4 / 5)
    found = evaluator.evaluate_lists(np.array([[4, 5], [3, 4]]))
    assert found["never_clicked_share"] == pytest.approx(3 / 4)


def test_unclicked_items_of_a_request_are_negatives_of_its_row(tmp_path: Path) -> None:
    prepared = click_log.write(tmp_path / "log", LOG)
    assert pq.read_table(prepared / "examples.parquet")["unclicked"].to_pylist() == [[4, 5], [3, 0], [0, 0]]
    run = {"epochs": 1, "threads": 1}
    losses = [
        measure(prepared, overrides={"loss": {"negatives": {"row": row}}, "run": run}, at=(1, 2))["final_loss"]
        for row in (0, 2)
    ]
    assert losses[1] > losses[0]


def test_nearest_items_share_the_most_users_for_their_number() -> None:
    clicked = [np.array(items) for items in ([0, 1], [0, 1, 2], [2, 0, 2], [3])]
    # users of each item: 3, 2, 2, 1; 0 and 1 share two, 0 and 2 two, 1 and 2 one, which is less
    wanted = np.array([[1, 2], [0, 2], [0, 1], [-2, -2]]) + FIRST_INDEX
    assert nearest_items(clicked, 4, 2).tolist() == wanted.tolist()
    assert nearest_items(clicked, 4, 1).tolist() == wanted[:, :1].tolist()


def test_a_log_with_times_has_the_gaps_of_its_histories(tmp_path: Path) -> None:
    timed = replace(
        LOG, minutes=np.array([7, 8, 10]), list_minutes=np.array([1_450, 8]), user=(USER_ID, *TIMED_HISTORY)
    )
    prepared = click_log.write(tmp_path / "timed", timed)
    first = [row[:2] for row in pq.read_table(prepared / "examples.parquet")["history_gaps"].to_pylist()]
    assert first == [[0, 0], [0, 0], [gap_index(3), 0]]
    of_users = [row[:3] for row in pq.read_table(prepared / USERS_FILE)["history_gaps"].to_pylist()]
    assert of_users == [[gap_index(1_443), gap_index(1_440), 0], [gap_index(0), 0, 0]]
    run = {"epochs": 1, "threads": 1, "model": {"user_encoder": "attention"}}
    assert measure(prepared, overrides={"run": run}, at=(1, 2))["recall@2"] >= 0


@pytest.mark.skipif(not cold_logs.DATA.exists(), reason="the real logs are not here")
def test_what_is_left_out_of_movielens_is_neither_trained_on_nor_asked_for() -> None:
    test, validation = cold_logs.movielens(False), cold_logs.movielens(False, tenths_left_out=1)
    assert len(validation.items) < len(test.items)
    assert (validation.shown <= test.shown).all()
    asked = [len(items) for items in validation.relevant]
    assert sum(asked) > 0.5 * sum(len(items) for items in test.relevant)
    clicks = np.bincount(test.items, minlength=len(test.shown))
    wanted = np.bincount(np.concatenate(validation.relevant), minlength=len(test.shown))
    trained = np.bincount(validation.items, minlength=len(test.shown))
    assert (trained + wanted == clicks).all()  # the clicks of the tenth before the last one
