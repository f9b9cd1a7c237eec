"""Scoring: channels that fill their quotas, and items that are shown to nobody."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyspark.sql import functions as F

from jobs import (
    build_item_index,
    build_item_neighbours,
    build_item_pairs,
    build_popular_items,
    build_user_embeddings,
    gate_candidates,
    publish_candidates,
    run_day,
    score_users,
)
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake, NoSuchDay
from jobs.serving.publication_checks import NotPublishable
from tests.conftest import SMALL
from tests.jobs.scoring_runs import FOURTH, THIRD, K, candidate_rows, run, settings


@pytest.mark.slow
def test_channels_fill_their_quotas(simulated_copy: Lake, config: Config, tmp_path: Path) -> None:
    """Popular items of the user's segment, items to explore without a click, and a cap on the first genre."""
    over = settings(
        tmp_path,
        '[scoring]\npopular_quota = 10\nsegment_feature = "gender"\nexplore_quota = 5\ncategory_feature = "genres"\nmax_per_category = 20',
    )
    probs = simulated_copy.day(tables.ITEM_SAMPLING_PROBS, THIRD).localCheckpoint()
    unclicked = F.when(F.col("item_index") % 10 == 0, 0).otherwise(F.col("clicks"))
    simulated_copy.overwrite(tables.ITEM_SAMPLING_PROBS, THIRD, probs.withColumn("clicks", unclicked.cast("long")))
    with pytest.raises(NoSuchDay, match=r"built without scoring\.explore_quota: run build_item_index again"):
        run(simulated_copy, THIRD, over, score_users)
    run(simulated_copy, THIRD, over, build_popular_items, build_user_embeddings, build_item_index, score_users)
    with pytest.raises(ValueError, match=r"scoring\.category_feature must be 'genres', .* got ''"):
        run(simulated_copy, THIRD, ["--config", SMALL], score_users)
    lists = candidate_rows(simulated_copy, THIRD)
    warm = lists.join(simulated_copy.day(tables.USER_HISTORIES, THIRD), "user_id", "left_semi")
    counts = warm.groupBy("user_id", "source").count().groupBy("source").agg(F.max("count"), F.min("count"))
    found = {row.source: tuple(row)[1:] for row in counts.collect()}
    assert found["explore"] == (5, 5)
    assert found["popular"][0] == 10
    assert lists.groupBy("user_id").agg(F.count_distinct("item_id").alias("n")).where(f"n != {K}").isEmpty()
    clicked = simulated_copy.day(tables.ITEM_SAMPLING_PROBS, THIRD).where("clicks > 0")
    explored = warm.where("source = 'explore'")
    assert explored.join(clicked, "item_id", "left_semi").isEmpty()
    assert explored.select("item_id").distinct().count() > 5
    segments = simulated_copy.day(tables.USER_EMBEDDINGS, THIRD).select("user_id", "segment")
    popular = simulated_copy.day(tables.POPULAR_ITEMS, THIRD).select("segment", "item_id", "share")
    of_segment = (
        warm.where("source = 'popular'").join(segments, "user_id").join(popular, ["segment", "item_id"], "left")
    )
    assert of_segment.where("share is null").isEmpty()
    assert (
        popular.select("segment").distinct().count()
        == 1 + segments.select("segment").where("segment > 1").distinct().count()
        > 2
    )
    genres = simulated_copy.day(tables.item_snapshot(config), THIRD).select(
        "item_id", F.col("genres")[0].alias("genre")
    )
    assert lists.join(genres, "item_id").groupBy("user_id", "genre").count().where("count > 20").isEmpty()


def test_a_blocked_item_is_shown_to_nobody(
    simulated_copy: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = candidate_rows(simulated_copy, THIRD).groupBy("item_id").count().orderBy(F.desc("count")).limit(3).collect()
    ids = [row.item_id for row in shown]
    blocklist = tmp_path / "blocked items.txt"
    over = settings(tmp_path, f'[exclusions]\nblocklist = "{blocklist}"')
    with pytest.raises(ValueError, match=r"exclusions\.blocklist must be a text file, got .*, which does not exist"):
        run(simulated_copy, THIRD, over, build_item_index)
    hidden = blocklist.with_name("_blocked")  # Spark would read it as an empty file
    hidden.write_text(ids[0])
    with pytest.raises(
        ValueError, match=r"must be a file whose name does not begin with '_' or '\.' .* got \S*_blocked"
    ):
        run(simulated_copy, THIRD, settings(tmp_path, f'[exclusions]\nblocklist = "{hidden}"'), build_item_index)
    over = settings(tmp_path, f'[exclusions]\nblocklist = "{blocklist}"')
    blocklist.write_bytes(f"{ids[0]}\n\n{ids[1]}\r\n {ids[2]}\n".encode())  # the last is another item, if there is one
    version = simulated_copy.version(tables.PUBLICATIONS)
    with pytest.raises(NotPublishable, match="must have no item of the blocklist, got 2"):
        run(simulated_copy, THIRD, over, publish_candidates)
    assert simulated_copy.version(tables.PUBLICATIONS) == version
    run(
        simulated_copy,
        THIRD,
        over,
        build_popular_items,
        build_item_index,
        score_users,
        gate_candidates,
        publish_candidates,
    )
    left = {row.item_id for row in candidate_rows(simulated_copy, THIRD).select("item_id").distinct().collect()}
    unknown = f"warning: 1 of 3 ids of exclusions.blocklist match no item of {THIRD}, in this spelling: ' {ids[2]}'"
    assert unknown in capsys.readouterr().out
    assert not left & set(ids[:2])
    assert ids[2] in left


def test_an_item_that_is_too_old_is_in_no_channel(
    simulated_copy: Lake, config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Half of the items were published long ago: no list and no list of popular items has them, all are full."""
    lake = simulated_copy
    table = tables.item_snapshot(config)
    long_ago = F.col("published_at") - F.expr("make_dt_interval(400)")
    is_old = F.col("item_index") % 2 == 0
    items = lake.day(table, THIRD).withColumn("published_at", F.when(is_old, long_ago).otherwise(F.col("published_at")))
    lake.overwrite(table, THIRD, items.localCheckpoint())
    probs = lake.day(tables.ITEM_SAMPLING_PROBS, THIRD).localCheckpoint()
    unclicked = F.when(F.col("item_index") % 10 < 2, 0).otherwise(F.col("clicks"))  # old items and others, to explore
    lake.overwrite(tables.ITEM_SAMPLING_PROBS, THIRD, probs.withColumn("clicks", unclicked.cast("long")))
    limits = "[scoring]\npopular_quota = 10\nexplore_quota = 5\nneighbour_quota = 5\nmax_item_age_days = 30"
    over = settings(tmp_path, limits)
    old = lake.day(table, THIRD).where(is_old).select("item_id").localCheckpoint()
    assert not candidate_rows(lake, THIRD).join(old, "item_id", "left_semi").isEmpty(), "the control"
    with pytest.raises(NotPublishable, match=r"must have no item older than scoring\.max_item_age_days \(30\)"):
        run(lake, THIRD, over, publish_candidates)
    run(lake, THIRD, over, build_popular_items, build_item_pairs, build_item_neighbours)
    run(lake, THIRD, over, build_user_embeddings, build_item_index, score_users)
    for shown in (candidate_rows(lake, THIRD), lake.day(tables.POPULAR_ITEMS, THIRD)):
        assert shown.join(old, "item_id", "left_semi").isEmpty()
    sources = {row.source for row in candidate_rows(lake, THIRD).select("source").distinct().collect()}
    assert sources == {"two_tower", "popular", "explore", "neighbours"}
    sizes = lake.day(tables.CANDIDATES, THIRD).select(F.size("candidates").alias("size")).distinct().collect()
    assert [row.size for row in sizes] == [K]
    assert f"{old.count():,} of {items.count():,} available items are older" in capsys.readouterr().out
    run(lake, THIRD, over, gate_candidates, publish_candidates)


@pytest.mark.slow
def test_a_day_with_a_new_a_deleted_and_a_banned_item_and_a_new_user(
    simulated_copy: Lake, config: Config, tmp_path: Path
) -> None:
    lake, blocklist = simulated_copy, tmp_path / "banned.txt"
    over = settings(tmp_path, f'[exclusions]\nblocklist = "{blocklist}"')
    most_shown = (
        candidate_rows(lake, THIRD).groupBy("item_id").count().orderBy(F.desc("count"), "item_id").limit(2).collect()
    )
    deleted, banned = (row.item_id for row in most_shown)
    blocklist.write_text(f"{banned}\n")
    items, users = tables.items(config), tables.users(config)
    known = lake.read(items).where(F.col("item_id") == deleted).limit(1).localCheckpoint()
    new = known.withColumns({"item_id": F.lit("brand-new"), "available": F.lit(True)})
    gone = known.withColumn("available", F.lit(False))
    landed = lake.day(items, FOURTH).unionByName(new).unionByName(gone).withColumn("ds", F.lit(FOURTH))
    lake.overwrite(items, FOURTH, landed.localCheckpoint())
    stranger = lake.read(users).limit(1).withColumns({"user_id": F.lit("stranger"), "ds": F.lit(FOURTH)})
    lake.overwrite(users, FOURTH, lake.day(users, FOURTH).unionByName(stranger).localCheckpoint())
    run_day.main(["--lake", lake.uri, "--ds", str(FOURTH), *over])
    lists = candidate_rows(lake, FOURTH)
    assert lists.where(F.col("item_id").isin(deleted, banned)).isEmpty()
    own = lists.where("user_id = 'stranger'").collect()
    assert len(own) == K
    assert {row.source for row in own} == {"popular"}
    offered = {row.item_id: row.available for row in lake.day(tables.ITEM_EMBEDDINGS, FOURTH).collect()}
    assert (offered["brand-new"], offered[deleted], offered[banned]) == (True, False, False)
    coverage = lake.day(tables.EVALUATION, THIRD).where("metric = 'item_coverage' and channel = 'candidates'").first()
    assert coverage is not None
    assert 0 < coverage.value <= 1
