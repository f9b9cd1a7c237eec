"""Items that land again with other features: what is stored of the change, and what training reads of it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest
import torch
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs import build_snapshots, train_two_tower
from jobs.build_snapshots import build
from jobs.config.loading import Config, load_config
from jobs.inference.references import model_version
from jobs.lake import tables
from jobs.lake.days import epoch_day
from jobs.lake.lake import Lake
from jobs.training.spec import training_spec
from model.artifacts.model_version import load_model
from model.data.item_tables import item_table, item_versions
from model.features import FeatureSpec
from tests.conftest import DAYS, SMALL
from tests.jobs.log_files import DAY
from tests.jobs.test_landing_parts_of_a_day import FEATURES

FIRST, SECOND, THIRD, _ = DAYS
PRICE = FeatureSpec("price", "numeric", 4, 1, "price", None)
IMAGE = FeatureSpec("image", "vector", 4, 3, "image", None)


def day(number: int) -> dt.date:
    return DAY + dt.timedelta(days=number)


def changes_of(lake: Lake, config: Config) -> dict[str, list[tuple[str, float | None, list[float | None]]]]:
    rows = lake.read(tables.item_changes(config)).orderBy("ds", "item_id").collect()
    assert all(row.epoch_day == epoch_day(row.ds) for row in rows)
    found: dict[str, list[tuple[str, float | None, list[float | None]]]] = {}
    for row in rows:
        found.setdefault(str(row.ds), []).append((row.item_id, row.price, row.image))
    return found


def test_the_features_of_any_day_are_those_of_the_snapshot_before_it(lake: Lake, tmp_path: Path) -> None:
    """Items land on four days: new, changed, the same again, and changed on a day without a log."""
    (tmp_path / "features.toml").write_text(FEATURES, "utf-8")
    config = load_config(str(tmp_path / "features.toml"))
    vocabularies = [("item_id", f"i{number}", 1 + number, DAY) for number in (1, 2, 3)]
    lake.append(tables.VOCABULARIES, lake.spark.createDataFrame(vocabularies, tables.VOCABULARIES.schema))

    def land(number: int, *items: tuple[str, float | None, list[float]]) -> None:
        rows = [(item, None, None, "x", image, price) for item, price, image in items]
        schema = tables.items(config).pick("item_id", "available", "published_at", "brand", "image", "price")
        lake.overwrite(tables.items(config), day(number), lake.spark.createDataFrame(rows, schema))

    first, again = ("i1", 1.5, [1.0, 2.0, 3.0]), ("i1", 2.5, [1.0, 2.0, 3.0])
    others = [("i2", None, [0.0, 1.0, 0.0]), ("i3", 1.0, [0.0, 1.0, 0.0])]
    land(0, first, others[0])
    build(lake, config, day(0), "item")
    assert not lake.has(tables.item_changes(config))  # a log whose items never change has no such table
    land(1, again, *others)
    build(lake, config, day(1), "item")
    land(2, again, others[0])
    build(lake, config, day(2), "item")
    land(4, ("i1", None, [float("inf"), 2.0, 3.0]))
    build(lake, config, day(5), "item")
    stored = {str(day(1)): [first], str(day(5)): [again]}
    assert changes_of(lake, config) == stored
    build(lake, config, day(1), "item")
    assert changes_of(lake, config) == stored

    built = [day(number) for number in (0, 1, 2, 5)]
    rows = {ds: {r.item_index: r for r in lake.day(tables.item_snapshot(config), ds).collect()} for ds in built}
    size, pinned = 2 + len(rows[built[-1]]), lake.pinned(tables.item_changes(config), built[-1], 6)
    table = item_table(lake.pinned(tables.item_snapshot(config), built[-1], 1), [PRICE, IMAGE], size, pinned)
    versions = item_versions(pinned, size)
    for ds in built:
        for item in rows[built[-1]]:
            known = [other for other in built if other < ds and item in rows[other]][-1:]
            want = rows[(known or [other for other in built if other >= ds and item in rows[other]])[0]][item]
            row = int(versions.rows(torch.tensor([item]), torch.tensor([epoch_day(ds)])))
            np.testing.assert_equal([float(table["price"][row])], np.array([want.price], dtype=float))
            np.testing.assert_equal(table["image"][row].numpy(), np.array(want.image, dtype=float))

    land(4, again)  # instead of the change
    build(lake, config, day(5), "item")
    assert changes_of(lake, config) == {str(day(1)): [first]}


def land_again(lake: Lake, config: Config, items: DataFrame) -> None:
    """Land items of a snapshot on the third day, a year younger and without genres."""
    year, genres = F.col("year").cast("double") + 1, F.array().cast("array<string>")
    rows = items.select("item_id", F.lit(True).alias("available"), year.alias("year"), genres.alias("genres"))
    never = F.lit(None).cast("timestamp").alias("published_at")
    lake.overwrite(tables.items(config), THIRD, rows.select("*", never).localCheckpoint())


def test_training_pins_what_changed_and_reads_nothing_more_if_nothing_did(simulated_copy: Lake, config: Config) -> None:
    lake, table = simulated_copy, tables.item_changes(config)
    assert not lake.has(table)
    unchanged = training_spec(lake, config, THIRD)
    assert unchanged.data.item_changes is None
    assert "item_changes" not in unchanged.run.inputs["versions"]
    before = lake.day(tables.item_snapshot(config), SECOND)
    common = ["--lake", lake.uri, "--config", SMALL, "--ds", str(THIRD)]
    land_again(lake, config, before.orderBy("item_id").limit(40))
    build_snapshots.main(common)
    found = lake.day(table, THIRD).select("item_id", "year", "genres")
    assert found.count() == 40
    assert found.exceptAll(before.select("item_id", "year", "genres")).isEmpty()

    spec = training_spec(lake, config, THIRD)
    assert spec.data.item_changes == lake.pinned(table, THIRD, 1)
    assert spec.data.epoch_day == epoch_day(THIRD)
    assert spec.run.inputs["versions"]["item_changes"] == lake.version(table)
    assert spec.run.model_version != unchanged.run.model_version
    train_two_tower.main(common)
    _, made = load_model(Path(lake.model_path("models", model_version(lake, THIRD))))
    assert made.inputs["versions"]["item_changes"] == lake.version(table)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [1, 2])
def test_every_scheme_trains_on_items_that_change(
    simulated_copy: Lake, config: Config, tmp_path: Path, ranks: int
) -> None:
    lake = simulated_copy
    own = tmp_path / "own.toml"
    small = Path(SMALL).read_text("utf-8").replace('validation = "none"', 'validation = "last_day"')
    own.write_text(small.replace("[training]\n", f"[training]\nranks = {ranks}\n", 1), "utf-8")
    common = ["--lake", lake.uri, "--config", str(own), "--ds", str(THIRD)]
    land_again(lake, config, lake.day(tables.item_snapshot(config), SECOND))
    build_snapshots.main(common)
    train_two_tower.main([*common, "--variant", "everything"])
    variant = lake.of_variant("everything")
    _, made = load_model(Path(variant.model_path("models", model_version(variant, THIRD))))
    assert made.inputs["versions"]["item_changes"] == lake.version(tables.item_changes(config))
    assert made.metrics["validation"]["rows"] > 0
