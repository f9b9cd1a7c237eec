from __future__ import annotations

import datetime as dt

import pytest
from pyspark.sql import functions as F

from jobs.cli.clock import now
from jobs.lake import tables
from jobs.lake.file_layout import row_group_size, sorted_files
from jobs.lake.lake import Lake
from jobs.serving import PublishedCandidates

DAY = dt.date(2026, 3, 1)
USERS = 4_000


@pytest.fixture
def published(lake: Lake) -> PublishedCandidates:
    """Lists of one item, in row groups of 20 users, written as scoring writes them."""
    users = lake.spark.range(USERS).selectExpr("concat('user', id) as user_id")
    lists = (
        sorted_files(users, "user_id")
        .mapInArrow(lambda batches: batches, "user_id string")
        .select(
            "user_id",
            F.expr("array(struct('i' as item_id, float(1) as score, 1 as rank, 'two_tower' as source)) as candidates"),
            F.lit("m").alias("model_version"),
            F.current_timestamp().alias("scored_at"),
        )
    )
    with row_group_size(lake.spark, 20):
        lake.overwrite(tables.CANDIDATES, DAY, lists)
    row = (1, None, DAY, "m", 0, 0, 0, USERS, now())
    lake.insert(tables.PUBLICATIONS, lake.spark.createDataFrame([row], tables.PUBLICATIONS.schema))
    return PublishedCandidates.current(lake.uri)


@pytest.mark.usefixtures("spilling")
def test_a_look_up_reads_one_row_group_of_one_file(published: PublishedCandidates) -> None:
    assert sum(file.opened.num_row_groups for file in published.files) >= USERS // 20
    for number in range(0, USERS, 7):
        ((_, groups),) = published.row_groups([f"user{number}"])
        assert len(groups) == 1


def test_users_that_are_not_there_have_no_rows(published: PublishedCandidates) -> None:
    found = published.lists_for(["user7", "nobody", "user3999", "user7"])
    assert list(found["user_id"]) == ["user3999", "user7"]
    assert list(found["item_id"]) == ["i", "i"]
    assert published.lists_for(["nobody"]).empty
    assert published.lists_for([]).empty
