"""The vocabularies of an online model lead to the rows that the tower reads, without Spark."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from jobs.serving.export.online import forgotten_users, vocabulary_of
from model.towers import TwoTowers
from model.towers.online import OnlineModel, User
from model.vocabulary import FIRST_INDEX, UNKNOWN
from tests.model.towers.online.small_online import small_towers, write_small
from tests.model.towers.small_towers import USERS

NAMES = {"user_id": "u", "item_id": "i"}


def numbered(letter: str, count: int = 12) -> pl.DataFrame:
    """Rows of vocabularies, in no order; the last of them are newer than the model."""
    values = [f"{letter}{number}" for number in range(count)]
    rows = pl.DataFrame({"value": values, "index": range(FIRST_INDEX, FIRST_INDEX + count)})
    return rows.with_columns(pl.col("index").cast(pl.Int32)).sample(fraction=1, shuffle=True, seed=1)


@pytest.mark.parametrize("some", [False, True])
def test_a_forgotten_user_is_in_no_vocabulary(some: bool) -> None:
    """The row without a value stays in the table, so that nobody gets its index."""
    towers = live(small_towers()) if some else small_towers()
    before = numbered("u")
    after = before.with_columns(value=pl.when(pl.col("value") != "u1").then("value"))
    assert (forgotten_users(before), forgotten_users(after)) == (0, 1)
    whole, rest = vocabulary_of(before, "user_id", towers), vocabulary_of(after, "user_id", towers)
    rows = {user: whole.row(user) for user in whole.ids.values.to_pylist()}
    assert rows.pop("u1") != UNKNOWN == rest.row("u1")
    assert {user: rest.row(user) for user in rest.ids.values.to_pylist()} == rows != {}


def live(towers: TwoTowers) -> TwoTowers:
    """The same kind of towers, in which only the users u1 and u4 and the items i0, i2 and i3 have a row."""
    made = TwoTowers(replace(towers.spec, table_rows={"user_id": 4, "item_id": 5})).eval()
    made.assign_rows({"user_id": torch.tensor([0, 1, 3, 6]), "item_id": torch.tensor([0, 1, 2, 4, 5])})
    return made


@pytest.mark.parametrize("hashed", [False, True])
@pytest.mark.parametrize("some", [False, True])
def test_each_id_has_the_vector_that_its_index_has_in_the_tower(tmp_path: Path, some: bool, hashed: bool) -> None:
    towers = small_towers(hashed=hashed)
    towers = live(towers) if some else towers
    vocabularies = {name: vocabulary_of(numbered(letter), name, towers) for name, letter in NAMES.items()}
    assert len(vocabularies["user_id"].ids) == (2 if some else USERS - FIRST_INDEX)
    online = OnlineModel(write_small(tmp_path / "version", towers, vocabularies))
    ids = [*range(12), None]
    found = online.embed([User(f"u{n}" if n is not None else None, [f"i{n}", "i2"]) for n in ids])[:, 0]
    indices = torch.tensor([UNKNOWN if n is None else FIRST_INDEX + n for n in ids])
    histories = torch.stack([indices, torch.full_like(indices, 4), torch.zeros_like(indices)], dim=1)
    missing = torch.full((len(ids),), torch.nan)
    inputs = {"user_id": indices, "history": histories, "age": missing, "taste": missing[:, None].expand(-1, 2)}
    with torch.no_grad():
        want = towers.user(inputs).numpy()
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-6)
    assert len({tuple(vector.round(4)) for vector in want}) > 3
