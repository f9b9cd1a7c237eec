"""benchmarks.training.tuned_settings gives the search the clicks on which a validation part is evaluated, and no others."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks.training.tuned_settings import DATA_SETS, DataSet, base_of, with_held_out
from benchmarks.worlds import sequences
from benchmarks.worlds.click_log import HISTORY, USER_ID
from jobs.config.loading import load_config
from jobs.tuning.space import configured, searched
from model.data.parquet_files import read_files


@pytest.fixture
def data_set(tmp_path: Path) -> DataSet:
    sequences.write_tiny_source(tmp_path)
    return DataSet(partial(sequences.SETS["toys"].prepare, source=tmp_path), 10, {})


def test_the_held_out_day_has_each_users_last_item_but_one(data_set: DataSet, tmp_path: Path) -> None:
    validation, _ = data_set.parts(tmp_path)
    data = with_held_out(validation, tmp_path / "search", is_history_excluded=True).data
    assert data.last_day is not None
    rows = read_files(data.last_day.files).to_pylist()
    clicks = sequences.read(tmp_path / sequences.SETS["toys"].file)
    found = {
        row["user_index"] - 2: (row["item_index"] - 2, [item - 2 for item in row["history"] if item]) for row in rows
    }
    assert found == {user: (items[-2], list(items[:-2])) for user, items in enumerate(clicks)}


def test_shares_are_those_of_the_training_rows_and_of_the_held_out_day(data_set: DataSet, tmp_path: Path) -> None:
    validation, _ = data_set.parts(tmp_path)
    spec = with_held_out(validation, tmp_path / "search", is_history_excluded=True)
    shares = read_files(spec.data.probabilities.files)
    assert shares["q_before"].equals(shares["q"])
    clicks = sequences.read(tmp_path / sequences.SETS["toys"].file)
    counts = np.bincount([items[-2] + 2 for items in clicks], minlength=1 + shares["item_index"].to_numpy().max())
    assert np.array_equal(shares["q_last"].to_numpy() * len(clicks), counts[shares["item_index"].to_numpy()])


@pytest.mark.parametrize("name", DATA_SETS)
def test_settings_chosen_by_hand_are_valid(name: str) -> None:
    config = configured(load_config(), DATA_SETS[name].by_hand, pool_is_empty=True)
    assert config.training.temperature == DATA_SETS[name].by_hand["training.temperature"]


@pytest.mark.parametrize("has_id", [False, True])
def test_a_search_has_the_dropout_of_user_ids_only_where_users_have_ids(
    data_set: DataSet, tmp_path: Path, has_id: bool
) -> None:
    if has_id:
        chosen = replace(sequences.SETS["toys"], user=(USER_ID, HISTORY))
        data_set = replace(data_set, parts=partial(chosen.prepare, source=tmp_path))
    base = base_of(data_set.parts(tmp_path)[0], data_set, tmp_path / "search")
    assert ("model.user_id_dropout" in searched(base.config)) == has_id
