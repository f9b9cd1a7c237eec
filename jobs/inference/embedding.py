"""User and item embeddings, computed by the towers in the executors' Python workers (`jobs.workers.embedding`)."""

from __future__ import annotations

from pyspark.sql import DataFrame

from jobs.lake import tables
from jobs.workers.embedding import item_embedder, open_towers, user_embedder
from jobs.workers.references import ModelReference
from model.features import columns


def user_embeddings(users: DataFrame, ref: ModelReference) -> DataFrame:
    """Rows of user_embeddings without `ds` and `model_version`.

    users: the features of the user tower, is_cold, segment and scored_from.
    """
    copied = ["user_id", "is_cold", "segment", "scored_from"]
    rows = users.select(*dict.fromkeys([*copied, *columns(open_towers(ref).spec.user)]))
    return rows.mapInArrow(user_embedder(ref, copied), tables.USER_EMBEDDINGS.pick(*copied, "embedding"))


def item_embeddings(items: DataFrame, ref: ModelReference, day: int) -> DataFrame:
    """Rows of item_embeddings without `ds` and `model_version`.

    items: the features of the item tower, available and explored. day: days since 1970-01-01, of the day after that of
    `items`, on which the lists are shown; the ages of items are those at its start. An item to explore also gets a
    `feature_embedding`, the embedding that it would have if its id were out of vocabulary.
    """
    copied = ["item_id", "item_index", "available"]
    rows = items.select(*dict.fromkeys([*copied, *columns(open_towers(ref).spec.item), "explored"]))
    made = tables.ITEM_EMBEDDINGS.pick(*copied, "embedding", "feature_embedding")
    return rows.mapInArrow(item_embedder(ref, copied, day), made)
