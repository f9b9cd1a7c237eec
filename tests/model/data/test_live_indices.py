"""Which ids and categories have a row of their own: by their examples, their age, and the items that are available."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from model.data.held_back import held_back
from model.data.live_indices import TrainedRows, live_indices
from model.data.pinned_files import PinnedFiles
from model.features import FeatureSpec, ModelSpec

TOWN = FeatureSpec("town", "categorical", 4, 1, "town", "user.town")
TAGS = FeatureSpec("tags", "categorical", 4, 2, "tags", "user.tags")
HISTORY = FeatureSpec("history", "item_list", 4, 2, "history", "item_id")
GENRES = FeatureSpec("genres", "categorical", 4, 2, "genres", "item.genres")
MODEL = ModelSpec(
    user=(FeatureSpec("user_id", "id", 4, 1, "user_index", "user_id"), TOWN, TAGS, HISTORY),
    item=(FeatureSpec("item_id", "id", 4, 1, "item_index", "item_id"), GENRES),
    vocabulary_sizes={"user_id": 8, "item_id": 9, "user.town": 6, "user.tags": 6, "item.genres": 7},
    embedding_dim=4,
    hidden=(),
    item_id_shrinkage=1.0,
)
# user, item, day, town, tags: user 2 and item 2 are of old, user 4 and item 4 have two examples
EXAMPLES = [
    (2, 2, 10, 2, [2, 3]), (3, 3, 14, 3, [4, 0]), (4, 4, 11, 4, [5, 0]), (4, 4, 15, 4, [4, 0]), (5, 5, 15, 1, [0, 0]),
]  # fmt: skip
SALT = 3
ITEMS = {2: [2, 0], 3: [3, 0], 4: [3, 4], 5: [0, 0], 6: [5, 0], 7: [6, 0]}


def written(file: Path, columns: dict[str, Any], lists: dict[str, Any]) -> PinnedFiles:
    table = {name: pa.array(values, pa.int32()) for name, values in columns.items()}
    table |= {name: pa.array(values, pa.list_(pa.int32())) for name, values in lists.items()}
    pq.write_table(pa.table(table), file)
    return PinnedFiles(0, (file.as_uri(),), len(next(iter(columns.values()))))


@pytest.fixture
def live(tmp_path: Path) -> Any:
    """Calls `live_indices` on the examples of two files; items 2 and 6 are available."""
    pinned = []
    for number, part in enumerate((EXAMPLES[:2], EXAMPLES[2:])):
        users, items, days, towns, tags = zip(*part, strict=True)
        columns = {"user_index": users, "item_index": items, "epoch_day": days, "town": towns}
        pinned.append(written(tmp_path / f"{number}.parquet", columns, {"tags": tags}))
    snapshot = written(tmp_path / "items.parquet", {"item_index": list(ITEMS)}, {"genres": list(ITEMS.values())})

    def call(
        min_examples: int = 1, first_day: int = 0, model: ModelSpec = MODEL, share: float = 0.0
    ) -> dict[str, list[int]]:
        examples = [TrainedRows(pinned[0]), TrainedRows(pinned[1], share, SALT)]
        found = live_indices(examples, snapshot, torch.tensor([2, 6]), model, min_examples, first_day)
        assert all(indices.dtype == torch.int32 for indices in found.values())
        return {name: indices.tolist() for name, indices in found.items()}

    return call


def test_what_is_in_an_example_is_live(live: Any) -> None:
    assert live() == {
        "user_id": [0, 1, 2, 3, 4, 5],
        "item_id": [0, 1, 2, 3, 4, 5],
        "user.town": [0, 1, 2, 3, 4],
        "item.genres": [0, 1, 2, 3, 4, 5],  # of live items, and of available item 6
    }  # all tags are


def test_what_was_not_seen_lately_expires_unless_it_is_an_available_item(live: Any) -> None:
    found = live(first_day=14)
    assert found["user_id"] == [0, 1, 3, 4, 5]
    assert found["item_id"] == [0, 1, 2, 3, 4, 5]  # item 2 is available
    assert found["user.town"] == [0, 1, 3, 4]
    assert found["user.tags"] == [0, 1, 4]
    late = live(first_day=15)
    assert late["user_id"] == [0, 1, 4, 5]
    assert late["item_id"] == [0, 1, 2, 4, 5]


def test_an_id_needs_as_many_examples(live: Any) -> None:
    found = live(min_examples=2)
    assert found["user_id"] == found["item_id"] == [0, 1, 4]
    assert found["item.genres"] == [0, 1, 2, 3, 4, 5]  # also those of the available items 2 and 6
    assert live(min_examples=3)["item_id"] == [0, 1]


def test_without_shrinkage_every_available_item_is_live(live: Any) -> None:
    found = live(min_examples=2, model=replace(MODEL, item_id_shrinkage=0.0))
    assert found["item_id"] == [0, 1, 2, 4, 6]


def test_vocabularies_without_a_table_are_left_out(live: Any) -> None:
    assert set(live(model=replace(MODEL, user=(TOWN,), item=(GENRES,)))) == {"user.town", "item.genres"}


def test_an_index_beyond_the_vocabulary_is_refused(live: Any) -> None:
    sizes = {**MODEL.vocabulary_sizes, "user_id": 5}
    with pytest.raises(ValueError, match="user_id of the examples must be indices below 5, got 5"):
        live(model=replace(MODEL, vocabulary_sizes=sizes))


def test_rows_that_training_leaves_out_do_not_count(live: Any) -> None:
    """A user whose only rows are left out would be published with a vector that nothing has trained."""
    users = torch.tensor([row[0] for row in EXAMPLES[2:]])
    left_out = set(users[held_back(users, 0.5, SALT)].tolist())
    assert left_out == {5}  # otherwise SALT must be another one
    assert set(live()["user_id"]) - set(live(share=0.5)["user_id"]) == left_out
