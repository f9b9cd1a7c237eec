from __future__ import annotations

import datetime as dt
import shutil
import traceback
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from delta.tables import DeltaTable
from pyspark.sql import functions as F

from jobs.cli.clock import now
from jobs.lake import tables
from jobs.lake.file_layout import row_group_size, sorted_files
from jobs.lake.files import NoSuchLake
from jobs.lake.lake import Lake, NoSuchDay
from jobs.serving import PublishedCandidates, read_candidates

DAY = dt.date(2026, 3, 1)
USERS = 4_000


@pytest.fixture
def published(lake: Lake) -> PublishedCandidates:
    """Lists of one item, in row groups of 20 users, written as scoring writes them."""
    users = lake.spark.range(USERS).selectExpr("concat('user', id) as user_id")
    lists = (
        sorted_files(users, "user_id", USERS)
        .mapInArrow(lambda batches: batches, "user_id string")
        .select(
            "user_id",
            F.expr(
                "array(struct('i' as item_id, float(1) as score, 1 as rank, 'two_tower' as source, "
                "float(2) as channel_score)) as candidates"
            ),
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


@pytest.mark.parametrize(
    ("user_ids", "message"),
    [
        ("user7", r"user_ids must be a collection of user ids, such as \['user7'\], got 'user7'"),
        (b"user7", "user_ids must be a collection of user ids"),
        (7, r"user_ids must be a collection of user ids, such as \['7'\], got 7"),
        ([7], "user_ids must be user ids of type str, got 7 of type int"),
        (["user7", None], "user_ids must be user ids of type str, got None of type NoneType"),
    ],
)
def test_what_is_no_collection_of_ids_is_refused_by_every_look_up(
    published: PublishedCandidates, user_ids: Any, message: str
) -> None:
    for look_up in (published.lists_for, lambda ids: read_candidates(published.lake, ids), published.row_groups):
        with pytest.raises(TypeError, match=message):
            list(look_up(user_ids))


def test_a_series_an_iterator_and_a_set_are_collections_of_ids(published: PublishedCandidates) -> None:
    for user_ids in (pd.Series(["user7", "user8"]), iter(["user7", "user8"]), {"user7", "user8"}):
        assert list(published.lists_for(user_ids)["user_id"]) == ["user7", "user8"]


def test_an_empty_list_has_no_row_and_its_neighbours_have_theirs(published: PublishedCandidates, lake: Lake) -> None:
    lists = lake.day(tables.CANDIDATES, DAY).localCheckpoint()
    is_empty = F.col("user_id") == "user7"
    emptied = lists.withColumn(
        "candidates", F.when(is_empty, F.slice("candidates", 1, 0)).otherwise(F.col("candidates"))
    )
    lake.overwrite(tables.CANDIDATES, DAY, emptied)
    row = (2, 1, DAY, "m", lake.version(tables.CANDIDATES), 0, 0, USERS, now())
    lake.insert(tables.PUBLICATIONS, lake.spark.createDataFrame([row], tables.PUBLICATIONS.schema))
    newest = published.refreshed()
    assert list(newest.lists_for(["user7", "user8"])["user_id"]) == ["user8"]
    assert newest.lists_for(["user7"]).empty
    assert len(newest.all_lists()) == USERS - 1
    DeltaTable.forPath(lake.spark, lake.table_path(tables.CANDIDATES)).delete()  # as if every user were forgotten
    row = (3, 2, DAY, "m", lake.version(tables.CANDIDATES), 0, 0, 0, now())
    lake.insert(tables.PUBLICATIONS, lake.spark.createDataFrame([row], tables.PUBLICATIONS.schema))
    nobody = newest.refreshed()
    for lists in (nobody.all_lists(), nobody.lists_for(["user8"])):
        assert (len(lists), list(lists.columns)) == (0, list(newest.all_lists().columns))


def test_a_folder_that_is_no_lake_is_not_a_lake_without_a_publication(lake: Lake, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "missing", tmp_path / "empty"):
        with pytest.raises(NoSuchLake, match=f"there is no lake at {folder}") as refused:
            read_candidates(str(folder))
        assert "TableNotFoundError" not in "".join(traceback.format_exception(refused.value))
    lake.overwrite(tables.GATE, DAY, lake.spark.createDataFrame([], tables.GATE.schema))
    with pytest.raises(NoSuchDay, match="nothing is published"):
        read_candidates(lake.uri)


def test_a_lake_whose_path_another_reader_would_decode_is_never_another_lake(
    published: PublishedCandidates, tmp_path: Path
) -> None:
    shutil.copytree(published.lake, tmp_path / "a b")
    shutil.copytree(published.lake, tmp_path / "a%20b")
    assert len(read_candidates(str(tmp_path / "a b"), ["user7"])) == 1
    with pytest.raises(ValueError, match=r"the path of a table must have no '%' before two hex digits.* got .*a%20b"):
        read_candidates(str(tmp_path / "a%20b"))
