"""A list may be empty, or short, only because no more items are possible for its user."""

from __future__ import annotations

import pytest
from pyspark.sql import functions as F

from jobs import gate_candidates, publish_candidates, score_users
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.serving import read_candidates
from jobs.serving.publication_checks import NotPublishable
from tests.conftest import DAYS, SMALL

FIRST, _, THIRD, _ = DAYS
ARGUMENTS = ["--config", SMALL, "--ds", str(THIRD)]


def test_a_user_who_clicked_everything_has_an_empty_list_that_is_published_and_no_other_list_may_be_empty(
    simulated_copy: Lake,
) -> None:
    lake = simulated_copy
    lists = lake.day(tables.CANDIDATES, THIRD).localCheckpoint()
    histories = lake.day(tables.USER_HISTORIES, THIRD).localCheckpoint()
    one, other = (row.user_id for row in histories.orderBy("user_id").select("user_id").limit(2).collect())
    indices = lake.day(tables.ITEM_EMBEDDINGS, THIRD).agg(F.sort_array(F.collect_list("item_index"))).first()[0]  # type: ignore[index]
    everything = F.array(F.struct(F.lit(FIRST).alias("ds"), F.lit(indices).cast("array<int>").alias("item_indices")))
    clicked = F.when(F.col("user_id") == one, everything).otherwise(F.col("clicked"))
    lake.overwrite(tables.USER_HISTORIES, THIRD, histories.withColumn("clicked", clicked))
    score_users.main(["--lake", lake.uri, *ARGUMENTS, "--scored-at", "2026-03-02T09:00:00Z"])
    gate_candidates.main(["--lake", lake.uri, *ARGUMENTS])
    short = lake.day(tables.GATE, THIRD).where("rule = 'short_list_share'").first()
    assert short is not None
    assert short.value == 0
    publish_candidates.main(["--lake", lake.uri, *ARGUMENTS])
    users = [row.user_id for row in lists.select("user_id").collect()]
    assert set(read_candidates(lake.uri, users)["user_id"]) == {*users} - {one}
    assert lake.day(tables.CANDIDATES, THIRD).where("size(candidates) = 0").first().user_id == one  # type: ignore[union-attr]
    lists = lake.day(tables.CANDIDATES, THIRD).localCheckpoint()
    emptied = F.when(F.col("user_id") == other, F.slice("candidates", 1, 0)).otherwise(F.col("candidates"))
    lake.overwrite(tables.CANDIDATES, THIRD, lists.withColumn("candidates", emptied))
    with pytest.raises(NotPublishable, match="got 1 such empty lists and 0 of another model"):
        publish_candidates.main(["--lake", lake.uri, *ARGUMENTS, "--republish"])
