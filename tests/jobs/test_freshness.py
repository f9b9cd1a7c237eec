"""Age and recent clicks of items: an example has those of the log before its day, and scoring has the same."""

from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from pyspark.sql import functions as F

from jobs.build_snapshots import build, starts_from_vocabulary
from jobs.config.loading import Config, load_config
from jobs.lake import tables
from jobs.lake.days import day_start, epoch_day
from jobs.lake.lake import Lake, NoSuchDay
from jobs.training.item_days import FeaturesNotBuilt
from jobs.training.spec import training_spec
from model.data.item_tables import item_table, item_versions
from model.features import Feature, FeatureSpec
from model.features.tensors import aged, tensors
from model.vocabulary import FIRST_INDEX

FIRST, DAYS, ITEMS, WINDOW = dt.date(2026, 1, 5), 3, 8, 2
OVERLAY = f"""
[log]
recent_click_days = {WINDOW}
[[features.item]]
name = "item_id"
kind = "id"
dim = 64
[[features.item]]
name = "days_old"
kind = "age"
dim = 4
[[features.item]]
name = "clicks_lately"
kind = "recent_clicks"
dim = 4
"""
Published = dict[
    int, tuple[int, int]
]  # item: (the day on which this lands, how many days before FIRST it was published)
PUBLISHED: Published = {0: (0, 9), 1: (2, 30), 5: (1, 1)}


class Click(NamedTuple):
    item: int
    day: int  # of the impression
    at: dt.datetime


def day(number: int) -> dt.date:
    return FIRST + dt.timedelta(days=number)


def clicks_of_items() -> list[Click]:
    """Item n is first seen on day n modulo DAYS, where it is clicked; clicks near midnight happen on the next day."""
    random = np.random.default_rng(4)
    clicks = []
    for item in range(ITEMS):
        for number in range(item % DAYS, DAYS):
            for _ in range(random.integers(1 if number == item % DAYS else 0, 5)):
                hours = dt.timedelta(hours=float(random.uniform(0, 27)))
                clicks.append(Click(item, number, day_start(day(number)) + hours))
    assert any(click.at >= day_start(day(click.day + 1)) for click in clicks)
    return clicks


def land(lake: Lake, config: Config, clicks: list[Click], published: Published = PUBLISHED) -> None:
    """All days at once, so that each is built with the later ones, and with its own clicks that are late, at hand."""
    known = [("item_id", f"i{item}", FIRST_INDEX + item, day(item % DAYS)) for item in range(ITEMS)]
    lake.append(tables.VOCABULARIES, lake.spark.createDataFrame(known, tables.VOCABULARIES.schema))
    for number in range(DAYS):
        rows = [
            (day(number), f"{n}", "r", "u", f"i{c.item}", 1, day_start(day(number)), True, c.at, None, c.at, True)
            for n, c in enumerate(clicks)
            if c.day == number
        ]
        lake.overwrite(
            tables.INTERACTIONS, day(number), lake.spark.createDataFrame(rows, tables.INTERACTIONS.schema).drop("ds")
        )
        landed = [
            (f"i{item}", None, day_start(day(-before)))
            for item, (landing, before) in published.items()
            if landing == number
        ]
        if landed:
            schema = tables.items(config).pick("item_id", "available", "published_at")
            lake.overwrite(tables.items(config), day(number), lake.spark.createDataFrame(landed, schema))


def wanted(clicks: list[Click], item: int, number: int) -> tuple[float, float]:
    """Age and recent clicks of an item at the start of a day, from the log before that day alone."""
    before = [c for c in clicks if number - WINDOW <= c.day < number and c.at < day_start(day(number))]
    landing, published = PUBLISHED.get(item, (DAYS, 0))
    first = -published if landing < max(number, item % DAYS + 1) else item % DAYS  # a new item: of its own day
    return math.log1p(number - first), math.log1p(sum(c.item == item for c in before))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "own.toml").write_text(OVERLAY, "utf-8")
    return load_config(str(tmp_path / "own.toml"))


def test_examples_and_scoring_have_what_the_log_before_the_day_says(lake: Lake, config: Config) -> None:
    clicks = clicks_of_items()
    land(lake, config, clicks)
    for number in range(DAYS):
        build(lake, config, day(number), "item")
    build(lake, config, day(DAYS - 1), "item")  # a day that runs twice is the same
    specs = [FeatureSpec.declared(feature, "item") for feature in config.features.item]
    derived, size = specs[1:], FIRST_INDEX + ITEMS
    changes = lake.pinned(tables.item_changes(config), day(DAYS - 1), DAYS)
    table = item_table(lake.pinned(tables.item_snapshot(config), day(DAYS - 1), 1), derived, size, changes)
    versions = item_versions(changes, size)
    for number in range(DAYS):
        items = np.array([item for item in range(ITEMS) if item % DAYS <= number])
        days = torch.full((len(items),), epoch_day(day(number)))
        rows = versions.rows(torch.from_numpy(items) + FIRST_INDEX, days)
        of_examples = aged({name: values[rows] for name, values in table.items()}, derived, days)
        want = np.array([wanted(clicks, item, number) for item in items])
        np.testing.assert_allclose(of_examples["days_old"], want[:, 0], rtol=1e-6)
        np.testing.assert_allclose(of_examples["clicks_lately"], want[:, 1], rtol=1e-6)

        scored = lake.day(tables.item_snapshot(config), day(number)).orderBy("item_index").toArrow()
        of_scoring = aged(tensors(scored, specs), specs, epoch_day(day(number)) + 1)
        want = np.array([wanted(clicks, index - FIRST_INDEX, number + 1) for index in of_scoring["item_id"].tolist()])
        np.testing.assert_allclose(of_scoring["days_old"], want[:, 0], rtol=1e-6)
        np.testing.assert_allclose(of_scoring["clicks_lately"], want[:, 1], rtol=1e-6)


def test_a_lake_whose_window_was_built_without_recent_clicks_is_refused_until_it_is_rebuilt(
    lake: Lake, config: Config
) -> None:
    """Only the last day is built after the feature was added; the lake has no table of items."""
    land(lake, config, clicks_of_items(), published={})
    table = tables.training_examples(config)
    columns = [name for name in table.columns if name != "ds"]
    example = lake.spark.createDataFrame([(None,) * len(columns)], table.pick(*columns))
    days, last = [day(number) for number in range(DAYS)], day(DAYS - 1)
    lake.overwrite_days(table, days, example.withColumn("ds", F.explode(F.array(*map(F.lit, days)))))
    build(lake, config, last, "item")
    known = [f"i{item}" for item in range(ITEMS)]
    assert sorted(row.item_id for row in lake.day(tables.item_snapshot(config), last).collect()) == known
    with pytest.raises(FeaturesNotBuilt, match=f"2 days from {day(0)} to {day(1)}"):
        training_spec(lake, config, last)

    build(lake, config, day(0), "item")
    first = {f"i{item}" for item in range(ITEMS) if item % DAYS == 0}
    assert {row.item_id for row in lake.day(tables.item_snapshot(config), day(0)).collect()} == first
    with pytest.raises(NoSuchDay, match="item_sampling_probs"):  # which is read next
        training_spec(lake, config, last)


def test_ids_that_are_known_from_lists_of_items_alone_are_no_items(lake: Lake, config: Config) -> None:
    assert starts_from_vocabulary(lake, config, "item", None, FIRST)
    assert not starts_from_vocabulary(lake, config, "item", day(-1), FIRST)
    assert not starts_from_vocabulary(lake, config, "user", None, FIRST)
    saved = Feature("saved", "item_list", 64, length=5)
    features = config.features.model_copy(update={"user": (*config.features.user, saved)})
    assert not starts_from_vocabulary(lake, config.model_copy(update={"features": features}), "item", None, FIRST)
