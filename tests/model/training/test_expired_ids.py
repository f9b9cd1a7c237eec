"""Ids that come, expire and come back: older models stay as they were, and no id gets another one's vector.

Axes: U users, I item indices, V rows of a table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import torch
from torch import Tensor

from model.artifacts.model_version import load_model, load_row_sums
from model.towers import TwoTowers
from model.training.fit import fit
from model.training.learner import Learner
from model.training.spec import TrainingSpec
from model.training.warm_start import start_from
from model.vocabulary import FIRST_INDEX, UNKNOWN
from tests.model.small_world import CLUSTERS, GONE, SPEC, USERS, World, changed, learner_of, training_spec, vectors

USER_TABLE, ITEM_TABLE = (f"{side}.embeddings.of_{side}_id.table.weight" for side in ("user", "item"))
LEAVES, COMES = FIRST_INDEX + 7, FIRST_INDEX + 250  # users: of the older window alone, of the newer one alone


def of_users(values: dict[str, Any], world: World, first: int, end: int, name: str) -> dict[str, Any]:
    """The spec of a window in which only the users `first` to `end` - 1 have examples."""
    rows = world.examples()
    user = pc.subtract(rows["user_index"], FIRST_INDEX)
    rows = rows.filter(pc.and_(pc.greater_equal(user, first), pc.less(user, end)))
    file = Path(values["run"]["folder"]).with_name(f"{name}.parquet")
    pq.write_table(rows, file, row_group_size=250)
    examples = {"version": 0, "files": [file.as_uri()], "rows": rows.num_rows}
    return changed(values, examples=examples, min_id_examples=1, epochs=1)


@pytest.fixture
def older(values: dict[str, Any], world: World) -> Path:
    """A model of a window with the users 0 to 199."""
    spec = training_spec(of_users(values, world, 0, 200, "older"), "older")
    fit(spec)
    return spec.run.folder


@pytest.fixture
def newer(values: dict[str, Any], world: World) -> dict[str, Any]:
    """The spec of a later window, with the users 100 to 299."""
    return of_users(values, world, 100, USERS, "newer")


def of_index(towers: TwoTowers, name: str, values: Tensor | None = None) -> dict[int, Tensor]:
    """The row of a table, or of `values` [V], of each index."""
    rows = dict(towers.named_parameters())[name].detach() if values is None else values
    return dict(zip(towers.indices_of_tables()[name].tolist(), rows.clone(), strict=True))


def warmed(values: dict[str, Any], older: Path) -> tuple[Learner, dict[int, Tensor]]:
    """A learner that continues from an older model, and the rows of its users before that."""
    learner = learner_of(TrainingSpec.from_json(values))
    fresh = of_index(learner.towers, USER_TABLE)
    start_from(older, learner.towers, learner.tables)
    return learner, fresh


def test_a_model_has_rows_for_its_own_ids_alone(older: Path) -> None:
    towers, version = load_model(older)
    assert version.spec.vocabulary_sizes == SPEC.vocabulary_sizes
    assert version.spec.table_rows == {"user_id": FIRST_INDEX + 200, "item_id": GONE}  # all but the item that is gone
    table = dict(towers.named_parameters())[USER_TABLE]
    assert len(table) == FIRST_INDEX + 200
    users = {
        "user_id": torch.tensor([LEAVES, COMES, UNKNOWN]),
        "history": torch.zeros(3, 3, dtype=torch.int64),
        "age": torch.full((3,), 30.0),
    }
    own, absent, unknown = towers.user(users)
    torch.testing.assert_close(absent, unknown)
    assert not torch.equal(own, unknown)


def test_an_earlier_model_scores_as_before_when_its_ids_have_expired(
    older: Path, newer: dict[str, Any], world: World
) -> None:
    files = {file.name: file.read_bytes() for file in older.iterdir()}
    before = vectors(load_model(older)[0], world)
    fit(training_spec(newer, "newer", warm_start=str(older)))
    assert {file.name: file.read_bytes() for file in older.iterdir()} == files
    for then, now in zip(before, vectors(load_model(older)[0], world), strict=True):
        assert torch.equal(then, now)
    after = load_model(older.with_name("newer"))[0].indices_of_tables()[USER_TABLE]
    assert LEAVES not in after
    assert COMES in after


def test_a_warm_start_keeps_the_vectors_of_ids_that_stay_and_gives_none_to_another_id(
    older: Path, newer: dict[str, Any]
) -> None:
    learner, fresh = warmed(newer, older)
    trained, sums = load_model(older)[0], load_row_sums(older)
    then, now = of_index(trained, USER_TABLE), of_index(learner.towers, USER_TABLE)
    assert then.keys() & now.keys() == {0, 1, *range(FIRST_INDEX + 100, FIRST_INDEX + 200)}
    for index, row in now.items():
        assert torch.equal(row, then[index] if index in then else fresh[index]), index
    state = learner.tables.state[dict(learner.towers.named_parameters())[USER_TABLE]]["sum"]
    sums_then = of_index(trained, USER_TABLE, sums[USER_TABLE])
    for index, value in of_index(learner.towers, USER_TABLE, state).items():
        assert value == (sums_then[index] if index in then else 0.0), index
    assert sums[USER_TABLE].count_nonzero() > 150
    items_then, items_now = of_index(trained, ITEM_TABLE), of_index(learner.towers, ITEM_TABLE)
    assert all(torch.equal(row, items_then[index]) for index, row in items_now.items())


def test_an_id_that_expired_and_comes_back_starts_anew(
    values: dict[str, Any], older: Path, newer: dict[str, Any], world: World
) -> None:
    fit(training_spec(newer, "newer", warm_start=str(older)))
    second = older.with_name("newer")
    learner, fresh = warmed(of_users(values, world, 0, 150, "back"), second)
    then, now = of_index(load_model(second)[0], USER_TABLE), of_index(learner.towers, USER_TABLE)
    assert LEAVES in now
    assert torch.equal(now[LEAVES], fresh[LEAVES])
    assert not any(torch.equal(now[LEAVES], row) for row in then.values())
    stays = FIRST_INDEX + 120
    assert torch.equal(now[stays], then[stays])


def test_a_model_with_a_row_for_each_index_is_continued_from(
    values: dict[str, Any], newer: dict[str, Any], world: World
) -> None:
    """As models were before tables had rows for live ids only."""
    spec = training_spec(changed(of_users(values, world, 0, 200, "older"), min_id_examples=0), "older")
    assert fit(spec).spec.table_rows == {}
    learner, _ = warmed(newer, spec.run.folder)
    then, now = of_index(load_model(spec.run.folder)[0], USER_TABLE), of_index(learner.towers, USER_TABLE)
    assert all(torch.equal(row, then[index]) for index, row in now.items())
    assert len(now) < len(then)


def test_old_examples_and_items_that_are_unavailable_expire(values: dict[str, Any], world: World) -> None:
    rows = world.examples()
    days = 20 - 9 * (rows["item_index"].to_numpy() % CLUSTERS == 1)  # the clicks of one cluster are of day 11
    table = rows.append_column("epoch_day", pa.array(days, pa.int32()))
    examples, snapshot = (Path(values["run"]["folder"]).with_name(f"{name}.parquet") for name in ("dated", "items"))
    pq.write_table(table, examples, row_group_size=250)
    items = world.items()
    some = [index % (2 * CLUSTERS) != 1 for index in items["item_index"].to_pylist()]
    available = items.column_names.index("available")
    pq.write_table(items.set_column(available, "available", pa.array(some)), snapshot)
    pinned = {"version": 0, "files": [examples.as_uri()], "rows": rows.num_rows}
    made = changed(values, examples=pinned, min_id_examples=1, first_recent_day=20, epochs=1)
    spec = fit(training_spec(made)).spec
    assert spec.table_rows["user_id"] == FIRST_INDEX + USERS - USERS // CLUSTERS
    expired = sum(index % (2 * CLUSTERS) == 1 for index in range(FIRST_INDEX, GONE))
    assert spec.table_rows["item_id"] == GONE - expired
    assert fit(training_spec(changed(made, first_recent_day=0), "all")).spec.table_rows["item_id"] == GONE
