"""Explanations of lists: each outcome of an item, on a lake of a few rows."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyspark.sql import SparkSession

from jobs import explain_user as job
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake, NoSuchDay
from jobs.serving.explanation import explain_user
from jobs.serving.publishing import add_publication
from tests.no_session import no_session

DAY = dt.date(2026, 3, 1)
AT = dt.datetime(2026, 3, 2, 6, tzinfo=dt.UTC)
# item_index: (available for lists, available in the log, similarity with the vector of `warm`)
ITEMS = {2: (True, True, 0.9), 3: (True, True, 0.8), 4: (False, True, 0.7), 5: (False, False, 0.6), 6: (True, True, 0.5),
         7: (True, True, 0.1), 8: (True, True, -0.5)}  # fmt: skip
MODEL = "m"


def write(lake: Lake, config: Config) -> None:
    """Users warm, cold, and two, who has two interests and an empty list. The last item of warm's list is popular."""
    spark = lake.spark

    def put(table: Any, rows: list[dict[str, Any]]) -> None:
        lake.overwrite(table, DAY, spark.createDataFrame([{"ds": DAY, **row} for row in rows], table.schema))

    put(
        tables.ITEM_EMBEDDINGS,
        [
            {"ds": DAY, "item_id": f"i{index}", "item_index": index, "available": shown, "feature_embedding": None,
             "embedding": [similarity, float(np.sqrt(1 - similarity**2))], "model_version": MODEL}
            for index, (shown, _, similarity) in ITEMS.items()
        ],
    )  # fmt: skip
    put(
        tables.item_snapshot(config),
        [
            {**dict.fromkeys(tables.item_snapshot(config).columns), "ds": DAY, "item_id": f"i{index}", "item_index": index,
             "available": available, "published_at": AT - dt.timedelta(days=(AT.date() - DAY).days + 3)}
            for index, (_, available, _) in ITEMS.items()
        ],
    )  # fmt: skip
    users = {"warm": ([1.0, 0.0], False), "cold": ([0.0, 1.0], True), "two": ([1.0, 0.0, 0.0, 1.0], False)}
    put(
        tables.USER_EMBEDDINGS,
        [
            {"ds": DAY, "user_id": user, "embedding": vector, "is_cold": cold, "segment": 0, "scored_from": 1,
             "model_version": MODEL}
            for user, (vector, cold) in users.items()
        ],
    )  # fmt: skip
    clicked = [{"ds": DAY, "item_indices": [2]}]
    put(tables.USER_HISTORIES, [{"ds": DAY, "user_id": "warm", "history": [0, 6, 1, 2], "clicked": clicked}])
    put(tables.SET_ASIDE_USERS, [{"user_id": user, "impressions": 60_000} for user in ("warm", "program")])
    lists = {
        "warm": [(3, "two_tower", 0.8), (7, "two_tower", 0.1), (8, "popular", -0.5)],
        "cold": [(8, "popular", 0.8)],
        "two": [],
    }
    put(
        tables.CANDIDATES,
        [
            {"ds": DAY, "user_id": user, "model_version": MODEL, "scored_at": AT, "candidates": [
                {"item_id": f"i{index}", "score": 0.2, "rank": rank, "source": source, "channel_score": score}
                for rank, (index, source, score) in enumerate(entries, start=1)]}
            for user, entries in lists.items()
        ],
    )  # fmt: skip


@pytest.fixture(scope="module")
def written(spark: SparkSession, config: Config, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    lake = Lake(spark, str(tmp_path_factory.mktemp("explained") / "lake"))
    write(lake, config)
    with pytest.raises(NoSuchDay, match="nothing is published"):
        explain_user(lake, config, "warm")
    versions = dict.fromkeys(("candidates_version", "item_embeddings_version", "user_embeddings_version"), 0)
    add_publication(lake, None, {"ds": DAY, "model_version": MODEL, "users": 3, **versions}, AT)
    return Lake(no_session, lake.uri)  # an explanation starts no Spark session


def test_a_user_who_was_set_aside_is_told_so(written: Lake, config: Config) -> None:
    found = explain_user(written, config, "warm")
    wanted = "set aside on 2026-03-01 with 60,000 impressions: its clicks of that day do not count"
    assert (found.set_aside, wanted in [*job.lines(found, {})]) == (60_000, True)
    assert explain_user(written, config, "cold").set_aside is None
    with pytest.raises(ValueError, match=r"got 'program', who was set aside with 60,000 impressions \(log\.max_impr"):
        explain_user(written, config, "program")


def test_an_item_that_is_too_old_says_so(written: Lake, config: Config) -> None:
    """i4 is available in the snapshot, and published three days before; i5 is not available anyway."""
    found = {}
    for days in (2, 3):
        scoring = config.scoring.model_copy(update={"max_item_age_days": days})
        limited = config.model_copy(update={"scoring": scoring})
        found[days] = explain_user(written, limited, "warm", nearest=5).nearest["outcome"].to_list()
    published = DAY - dt.timedelta(days=3)
    assert found[2][2:4] == [f"published on {published}, too old (scoring.max_item_age_days)", "not available"]
    assert found[3][2] == "was not eligible when the lists were scored"  # the limit was raised since


def test_the_blocklist_is_a_reason_only_if_there_is_one(written: Lake, config: Config) -> None:
    exclusions = config.exclusions.model_copy(update={"blocklist": "blocked.txt"})
    blocked = config.model_copy(update={"exclusions": exclusions})
    found = [explain_user(written, one, "warm", nearest=5).nearest["outcome"][2] for one in (config, blocked)]
    assert found == [
        "was not eligible when the lists were scored",
        "on the blocklist (exclusions.blocklist), or not eligible when the lists were scored",
    ]


def test_each_of_the_nearest_items_has_a_rank_or_a_rule(written: Lake, config: Config) -> None:
    found = explain_user(written, config, "warm", nearest=5)
    assert (found.publication, found.ds, found.model_version, found.is_cold) == (1, DAY, MODEL, False)
    assert found.history == [("i2", DAY), ("index 1", None), ("i6", None)]
    assert found.excluded == 1
    assert found.nearest["item_id"].to_list() == ["i2", "i3", "i4", "i5", "i6"]
    assert found.nearest["similarity"].to_list() == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.5])
    assert found.nearest["outcome"].to_list() == [
        f"clicked on {DAY} (exclusions.clicked)",
        "rank 1 (two_tower)",
        "was not eligible when the lists were scored",
        "not available",
        "the index did not find it (index.recall_target)",
    ]
    assert found.candidates.rows() == [
        (1, "i3", "two_tower", pytest.approx(0.2), pytest.approx(0.8), pytest.approx(0.8)),
        (2, "i7", "two_tower", pytest.approx(0.2), pytest.approx(0.1), pytest.approx(0.1)),
        (3, "i8", "popular", pytest.approx(0.2), pytest.approx(-0.5), pytest.approx(-0.5)),
    ]


def test_of_an_item_of_merged_clicks_no_day_is_known(
    written: Lake, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With "ever", old clicks are one element, dated by the last of their days."""
    monkeypatch.setattr("jobs.inference.exclusions.DAYS_APART", 0)
    for rule, day, outcome in (("ever", None, f"clicked on {DAY} or before"), (365, DAY, f"clicked on {DAY}")):
        exclusions = config.exclusions.model_copy(update={"clicked": rule})
        found = explain_user(written, config.model_copy(update={"exclusions": exclusions}), "warm", nearest=1)
        assert found.history[0] == ("i2", day)
        assert found.nearest["outcome"].to_list() == [f"{outcome} (exclusions.clicked)"]


def test_a_user_without_a_click_gets_popular_items_only(written: Lake, config: Config) -> None:
    found = explain_user(written, config, "cold", nearest=2)
    assert (found.history, found.excluded, found.is_cold) == ([], 0, True)
    assert found.nearest["outcome"].to_list() == ["a user without a click gets popular items only"] * 2


def test_an_item_is_as_near_as_the_nearest_interest(written: Lake, config: Config) -> None:
    found = explain_user(written, config, "two", nearest=2)
    assert found.nearest["item_id"].to_list() == ["i7", "i2"]
    assert found.nearest["similarity"].to_list() == pytest.approx([0.99**0.5, 0.9])
    assert found.candidates.is_empty()


def test_a_user_whom_the_publication_does_not_have_is_refused(written: Lake, config: Config) -> None:
    with pytest.raises(
        ValueError, match=f"--user must be in publication 1 of {DAY}, spelled as in the log, got 'Warm'"
    ):
        explain_user(written, config, "Warm")


def test_the_job_prints_clicks_nearest_items_and_candidates(
    written: Lake, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert job.main(["--lake", written.uri, "--user", "warm", "--nearest", "2"]) == 3
    printed = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert printed[0] == f"user warm: publication 1 of {DAY}, model m".split()
    assert ["i2", str(DAY)] in printed
    assert ["0.8000", "i3", "rank", "1", "(two_tower)"] in printed
    assert ["3", "i8", "popular", "0.2000", "-0.5000"] in printed
    with pytest.raises(SystemExit):
        job.main(["--lake", written.uri, "--user", "warm", "--ds", str(DAY)])
    assert "--ds must not be given" in capsys.readouterr().err
