"""The counts of the day's lists, and those of a sample of many lists."""

from __future__ import annotations

import polars as pl
import pytest
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.inference.item_slices import item_slices_without_spark
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.snapshots import rows
from jobs.report.sections import lists
from jobs.report.sections.lists import clicks_of, count_lists, popularity, popularity_section
from tests.conftest import DAYS

THIRD = DAYS[2]


def test_bins_of_popularity_count_every_item_click_and_position_once(simulated: Lake, config: Config) -> None:
    items, listed = simulated.day(tables.ITEM_SAMPLING_PROBS, THIRD), simulated.day(tables.CANDIDATES, THIRD)
    slices = item_slices_without_spark(simulated, config, THIRD)
    counts = count_lists(simulated.batches(tables.CANDIDATES, THIRD, ["candidates"]))
    found = popularity(slices, counts.items)
    assert {*found["slice"]} == {"head", "middle", "tail"}
    bins = list(found.group_by("bin").agg(pl.col("items", "clicks", "positions").sum()).iter_rows(named=True))
    assert sum(row["items"] for row in bins) == items.count()
    assert sum(row["clicks"] for row in bins) == items.agg(F.sum("clicks")).first()[0]  # type: ignore[index]
    assert sum(row["positions"] for row in bins) == listed.select(F.explode("candidates")).count()
    for row in bins:
        first, last = (0, 0) if row["bin"] == 0 else (2 ** (row["bin"] - 1), 2 ** row["bin"] - 1)
        assert row["items"] == items.where(F.col("clicks").between(first, last)).count()
        assert clicks_of(row["bin"]).rstrip("+") == str(first)


def test_channels_count_positions_and_users(simulated: Lake) -> None:
    entries = simulated.day(tables.CANDIDATES, THIRD).select("user_id", F.explode("candidates.source").alias("source"))
    by_source = entries.groupBy("source").agg(
        F.count("*").alias("positions"), F.countDistinct("user_id").alias("users")
    )
    whole = count_lists(simulated.batches(tables.CANDIDATES, THIRD, ["candidates"]))
    assert whole.users == 400
    assert sorted(whole.sources.iter_rows()) == sorted(tuple(row) for row in by_source.collect())
    per_user = (
        batch[n : n + 1] for batch in simulated.batches(tables.CANDIDATES, THIRD, ["candidates"]) for n in range(400)
    )
    batchwise = count_lists(batch for batch in per_user if batch.height)
    assert sorted(batchwise.sources.iter_rows()) == sorted(whole.sources.iter_rows())
    assert sorted(batchwise.items.iter_rows()) == sorted(whole.items.iter_rows())


def test_figures_of_many_users_are_those_of_a_sample(
    simulated: Lake, config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The small lake's files have one row group, so that each contributes the beginning of it."""
    monkeypatch.setattr(lists, "MAX_USERS", 50)
    monkeypatch.setattr(rows, "BATCH_ROWS", 10)
    section = popularity_section(simulated, config, THIRD)
    sampled = count_lists(simulated.batches(tables.CANDIDATES, THIRD, ["candidates"], 50)).users
    assert 50 <= sampled < 70
    assert section.lead.endswith(f" Figures of the lists are of a sample of {sampled} of 400 users.")
