"""Users or items that land without a log of the day, and what is said when rows land."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import functions as F

from jobs import (
    build_interactions,
    build_item_counts,
    build_snapshots,
    build_vocabularies,
    forget_users,
    ingest_logs,
    run_day,
)
from jobs.config.loading import Config, load_config
from jobs.lake import tables
from jobs.lake.files import require_files
from jobs.lake.lake import Lake
from jobs.lake.tables import SchemaMismatch
from jobs.raw_log.feature_values import warnings_of_day
from jobs.raw_log.preconditions import DayStopped
from tests.jobs.log_files import CLICKS, DAY, IMPRESSIONS, write
from tests.no_session import no_session

NEXT, LATER = DAY + dt.timedelta(days=1), DAY + dt.timedelta(days=2)
FEATURES = """
[[features.user]]
name = "user_id"
kind = "id"
dim = 8
[[features.item]]
name = "item_id"
kind = "id"
dim = 8
[[features.item]]
name = "brand"
kind = "categorical"
dim = 4
[[features.item]]
name = "image"
kind = "vector"
length = 3
dim = 4
[[features.item]]
name = "price"
kind = "numeric"
dim = 4
[model]
share_item_table = false
"""
ITEMS = pd.DataFrame({
    "item_id": ["i1", "i2"], "brand": ["x", "y"], "image": [[1.0, 2.0, 3.0], [0.0, 1.0, 0.0]], "price": [1.5, None],
})  # fmt: skip


@pytest.fixture
def config_file(tmp_path: Path) -> str:
    path = tmp_path / "features.toml"
    path.write_text(FEATURES, "utf-8")
    return str(path)


@pytest.fixture
def config(config_file: str) -> Config:
    return load_config(config_file)


def ingest(lake: Lake, config_file: str, ds: dt.date, **files: str) -> int:
    arguments = [argument for name, path in files.items() for argument in (f"--{name}", path)]
    return ingest_logs.main(["--lake", lake.uri, "--config", config_file, "--ds", str(ds), *arguments])


def land_log(lake: Lake, config_file: str, folder: Path, ds: dt.date, frame: pd.DataFrame = IMPRESSIONS) -> None:
    shown = frame.assign(
        impressed_at=frame["impressed_at"] + (ds - DAY), impression_id=frame["impression_id"] + str(ds)
    )
    ingest(lake, config_file, ds, impressions=write(shown, folder, f"impressions-{ds}", "parquet"))


def snapshots(lake: Lake, config_file: str, ds: dt.date) -> None:
    for job, *more in ([build_interactions, build_interactions.ANY_ORDER], [build_vocabularies], [build_snapshots]):
        job.main(["--lake", lake.uri, "--config", config_file, "--ds", str(ds), *more])


def items_of(lake: Lake, config: Config, ds: dt.date) -> dict[str, tuple[object, ...]]:
    rows = lake.day(tables.item_snapshot(config), ds).collect()
    return {row.item_id: (row.brand, row.image, row.price) for row in rows}


def test_items_that_land_on_days_without_a_log_are_in_the_next_days_snapshot(
    lake: Lake, tmp_path: Path, config_file: str, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before the first day, however long ago, and between two days."""
    long_ago = DAY - dt.timedelta(days=100)
    ingest(lake, config_file, long_ago, items=write(ITEMS, tmp_path, "items", "parquet"))
    with pytest.raises(DayStopped, match=f"no impression landed on {long_ago}"):
        run_day.main(["--lake", lake.uri, "--config", config_file, "--ds", str(long_ago)])
    land_log(lake, config_file, tmp_path, DAY)
    snapshots(lake, config_file, DAY)
    found = items_of(lake, config, DAY)
    assert {item: (image, price) for item, (_, image, price) in found.items()} == {
        "i1": ([1.0, 2.0, 3.0], 1.5),
        "i2": ([0.0, 1.0, 0.0], None),
    }
    assert found["i1"][0] != found["i2"][0]
    assert 1 not in {found["i1"][0], found["i2"][0]}  # both brands are in the vocabulary
    new = ITEMS.assign(item_id=["i2", "i9"], brand=["x", "new"])
    ingest(lake, config_file, NEXT, items=write(new, tmp_path, "new", "parquet"))
    land_log(lake, config_file, tmp_path, LATER)
    snapshots(lake, config_file, LATER)
    later = items_of(lake, config, LATER)
    assert set(later) == {"i1", "i2", "i9"}
    assert later["i2"][0] == found["i1"][0]
    assert later["i9"][0] not in (1, found["i1"][0], found["i2"][0])
    assert "feature" not in capsys.readouterr().out.split(str(DAY), 1)[1]


def test_what_landed_before_for_other_tables_of_the_day_stays(lake: Lake, tmp_path: Path, config_file: str) -> None:
    bad = IMPRESSIONS.astype({"user_id": object})
    bad.loc[1, "user_id"] = None
    bad_items = pd.concat([ITEMS, ITEMS.head(1).assign(item_id=None)])
    clicks = write(CLICKS, tmp_path, "clicks", "parquet")
    ingest(lake, config_file, DAY, impressions=write(bad, tmp_path, "impressions", "parquet"), clicks=clicks)
    versions = [lake.version(table) for table in (tables.IMPRESSIONS, tables.CLICKS)]
    assert ingest(lake, config_file, DAY, items=write(bad_items, tmp_path, "items", "parquet")) == 2
    assert [lake.version(table) for table in (tables.IMPRESSIONS, tables.CLICKS)] == versions

    def refused() -> set[tuple[str, str]]:
        return {(row.table, row.reason) for row in lake.day(tables.QUARANTINE, DAY).collect()}

    assert refused() == {("impressions", "user_id is missing"), ("items", "item_id is missing")}
    ingest(lake, config_file, DAY, items=write(ITEMS, tmp_path, "items", "parquet"))
    assert refused() == {("impressions", "user_id is missing")}
    ingest(lake, config_file, DAY, impressions=write(IMPRESSIONS, tmp_path, "impressions", "parquet"))
    assert refused() == set()
    assert lake.read(tables.items(load_config(config_file))).count() == 2


def test_a_value_that_is_lost_and_a_feature_that_is_empty_are_warnings_of_the_day(
    lake: Lake, tmp_path: Path, config_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    items = pd.DataFrame({
        "item_id": [f"i{n}" for n in range(5)], "brand": [None] * 5, "price": [1.0, float("inf"), 1e300, None, 2.0],
        "image": [[1.0, 2.0], [1.0, 2.0, 3.0, 4.0], [float("inf"), 1.0, 2.0], None, [1.0, 1.0]],
    })  # fmt: skip
    land_log(lake, config_file, tmp_path, DAY)
    assert "no items have landed yet" in (said := capsys.readouterr().out)
    assert "these features of [[features.item]] are empty: brand, image, price" in said
    ingest(lake, config_file, DAY, items=write(items, tmp_path, "items", "parquet"))
    snapshots(lake, config_file, DAY)
    wanted = [
        "feature brand: 0 of 5 items have a value",
        "feature image: 1 of 5 items have a value; of 4 values that landed, 3 are not of length 3, "
        "1 have a number that is missing or not finite",
        "feature price: 2 of 5 items have a value; of 4 values that landed, 2 are infinite or too large",
    ]
    assert warnings_of_day(lake, DAY) == wanted
    assert {f"warning: item_snapshot of {DAY}: {line}" for line in wanted} <= {*capsys.readouterr().out.splitlines()}


def test_columns_that_no_feature_reads_are_named_and_a_declared_one_that_is_missing_is_refused(
    lake: Lake, tmp_path: Path, config_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(ITEMS.assign(title="a", imdbId=1), tmp_path, "items", "parquet")
    ingest(lake, config_file, DAY, items=path)
    said = capsys.readouterr().out
    assert f"{path}: not used: title, imdbId; to train on them, declare them in [[features.item]]" in said
    users = write(pd.DataFrame({"user_id": ["u1"], "age": [7]}), tmp_path, "users", "csv")
    ingest(lake, config_file, DAY, users=users)
    assert f"{users}: not used: age; to train on them, declare them in [[features.user]]" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"must have the columns \['price'\], got .*; features.item names 'price'"):
        ingest(lake, config_file, DAY, items=write(ITEMS.drop(columns="price"), tmp_path, "items", "parquet"))


def test_rows_that_land_on_days_that_were_run_come_with_the_days_to_run_again(
    lake: Lake, tmp_path: Path, config_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = lake.spark.sql(
        "select 'i1' as item_id, 2 as item_index, 1L as impressions, 1L as exposures, 1L as clicks, 1L as examples"
    )
    for ds in (NEXT, LATER):
        lake.overwrite(tables.DAILY_ITEM_COUNTS, ds, counts)
    items = write(ITEMS, tmp_path, "items", "parquet")
    ingest(lake, config_file, DAY, items=items)
    says = "ran without these rows: run these days again with run_day"
    assert f"warning: {NEXT} to {LATER} {says}, or land them on a later day" in capsys.readouterr().out
    land_log(lake, config_file, tmp_path, DAY)
    assert f"warning: {DAY} to {LATER} {says}\n" in capsys.readouterr().out
    ingest(lake, config_file, LATER + dt.timedelta(days=1), items=items)
    assert "without these rows" not in capsys.readouterr().out


def test_missing_files_are_named_together_before_spark_starts(
    tmp_path: Path, config_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("jobs.cli.lake.spark_session", "jobs.ingest_logs.open_lake", "jobs.forget_users.open_lake"):
        monkeypatch.setattr(module, no_session)
    clicks = write(CLICKS, tmp_path, "clicks", "parquet")
    missing = [str(tmp_path / "no.csv"), str(tmp_path / "no*" / "such.csv")]
    argv = ["--lake", str(tmp_path / "lake"), "--ds", str(DAY), "--impressions", missing[0], "--clicks", clicks]
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the whole text is compared
        ingest_logs.main([*argv, "--items", missing[1]])
    require_files({"--clicks": str(tmp_path / "{a,b}.csv")})  # only Hadoop knows such patterns: looked for later
    assert str(error.value) == f"there is no file or folder --impressions {missing[0]}, --items {missing[1]}"
    with pytest.raises(ValueError, match=r"there is no file or folder --users .*nobody.txt"):
        forget_users.main(["--lake", str(tmp_path / "lake"), "--users", str(tmp_path / "nobody.txt")])
    (tmp_path / "lake" / "impressions" / "_delta_log").mkdir(parents=True)  # fails if a job has made it
    blocked = tmp_path / "blocked.toml"
    blocked.write_text(f'[exclusions]\nblocklist = "{tmp_path}/blocked.txt"\n', "utf-8")
    argv = ["--lake", str(tmp_path / "lake"), "--ds", str(DAY), "--config", str(blocked)]
    with pytest.raises(ValueError, match=r"there is no file or folder exclusions.blocklist .*blocked.txt"):
        run_day.main(argv)


def test_one_of_the_files_must_be_given(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ingest_logs.main(["--lake", str(tmp_path), "--ds", str(DAY)])
    assert "give at least one of --events, --impressions, --clicks, --users, --items" in capsys.readouterr().err


def test_a_day_that_was_skipped_or_run_with_other_features_stops_before_anything_is_written(
    lake: Lake, tmp_path: Path, config_file: str
) -> None:
    for ds in (DAY, NEXT, LATER):
        land_log(lake, config_file, tmp_path, ds)
    snapshots(lake, config_file, DAY)
    build_item_counts.main(["--lake", lake.uri, "--config", config_file, "--ds", str(DAY)])
    version = lake.version(tables.INTERACTIONS)
    common = ["--lake", lake.uri, "--config", config_file, "--ds", str(LATER)]
    for run in (
        lambda: run_day.main([*common, "--tables-only"]),
        lambda: run_day.main([*common, "--from", "build_reconciliation", "--to", "build_histories"]),
        lambda: build_interactions.main(common),
    ):
        with pytest.raises(DayStopped, match=f"{LATER} depends on {NEXT}, which has landed but was not run") as stop:
            run()
        assert stop.value.code == "day_not_run"
    assert lake.version(tables.INTERACTIONS) == version
    assert lake.read(tables.RECONCILIATION).where(F.col("ds") == F.lit(LATER)).isEmpty()
    with pytest.raises(SchemaMismatch, match=r"item_snapshot: unexpected brand.*; was --config forgotten, or "):
        run_day.main(["--lake", lake.uri, "--ds", str(NEXT), "--tables-only"])  # with the default features
    assert lake.version(tables.INTERACTIONS) == version
    build_interactions.main([*common, build_interactions.ANY_ORDER])  # as for an evaluation on later days
    assert lake.has_day(tables.INTERACTIONS, LATER)
