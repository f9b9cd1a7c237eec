"""Logs of another shape land through a mapping: events, Delta tables, other names, types and zones, several days."""

from __future__ import annotations

import datetime as dt
import json
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from pyspark.sql import functions as F

from jobs import ingest_logs
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from tests.jobs.log_files import CLICKS, DAY, IMPRESSIONS, write

EVENTS = pd.DataFrame({
    "uid": ["u1", "u1", "u2", "u2"], "sku": ["0042", "7", "7", "8"], "rating": [2.5, 4.0, 4.5, 5.0],
    "ts": [1767607200, 1767607260, 1767520800, 1767434400],  # 5, 5, 4 and 3 January 2026, 10:00 UTC
})  # fmt: skip
OF_EVENTS = (
    "events.user_id=uid", "events.item_id=sku", "events.shown=true", "events.clicked=rating >= 4",
    'events.impressed_at={column = "ts", unit = "s"}',
)  # fmt: skip


def ingest(lake: Lake | None, *arguments: str, maps: tuple[str, ...] = (), ds: dt.date = DAY) -> int | None:
    mapped = [part for text in maps for part in ("--map", text)]
    where = [] if lake is None else ["--lake", lake.uri]
    return ingest_logs.main([*where, "--ds", str(ds), *arguments, *mapped])


def landed(lake: Lake, ds: dt.date = DAY) -> tuple[list[tuple[str, ...]], int]:
    shown = lake.day(tables.IMPRESSIONS, ds).orderBy("user_id", "item_id").collect()
    return [(row.user_id, row.item_id, f"{row.impressed_at:%d %H:%M}") for row in shown], lake.day(
        tables.CLICKS, ds
    ).join(lake.day(tables.IMPRESSIONS, ds), "impression_id").count()


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_file_of_events_lands_as_impressions_and_their_clicks(lake: Lake, tmp_path: Path, form: str) -> None:
    path = write(EVENTS, tmp_path, "events", form)
    assert ingest(lake, "--events", path, maps=OF_EVENTS) == 7
    wanted = [
        ("u1", "0042", "05 10:00"), ("u1", "7", "05 10:01"), ("u2", "7", "04 10:00"), ("u2", "8", "03 10:00"),
    ]  # fmt: skip
    assert landed(lake) == (wanted, 3)
    ids = {row.impression_id for row in lake.day(tables.IMPRESSIONS, DAY).collect()}
    ingest(lake, "--events", path, maps=OF_EVENTS)
    assert {row.impression_id for row in lake.day(tables.IMPRESSIONS, DAY).collect()} == ids


def test_several_days_land_each_event_on_its_day(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(EVENTS, tmp_path, "events", "csv")
    items = write(pd.DataFrame({"item_id": ["7", "8"]}), tmp_path, "items", "csv")
    first = dt.date(2026, 1, 4)
    days = ["--events", path, "--items", items, "--last", str(DAY)]
    assert ingest(lake, *days, maps=OF_EVENTS, ds=first) == 7
    assert f"landed on {first} to {DAY}: 2 items, 2 clicks, 3 impressions\n" in capsys.readouterr().out
    assert [len(landed(lake, day)[0]) for day in (first, DAY)] == [1, 2]
    refused = [(row.ds, row.table, row.reason) for row in lake.read(tables.QUARANTINE).orderBy("table").collect()]
    assert refused == [
        (first, "clicks", "clicked_at is before the first day that lands"),
        (first, "impressions", "impressed_at is before the first day that lands"),
    ]
    assert [row.ds for row in lake.read(tables.items(load_config())).collect()] == [first, first]
    assert ingest(lake, *days, "--backlog", maps=OF_EVENTS, ds=first) == 9
    assert [len(landed(lake, day)[0]) for day in (first, DAY)] == [2, 2]
    assert lake.read(tables.QUARANTINE).count() == 0


def test_a_delta_table_is_read_at_its_present_version(lake: Lake, tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    rows = lake.spark.createDataFrame(IMPRESSIONS.astype({"impressed_at": str}))
    rows.write.format("delta").save(path)
    rows.where("impression_id <> 'a'").write.format("delta").mode("overwrite").save(path)
    assert ingest(lake, "--impressions", path) == 2  # all files together have five rows
    with pytest.raises(ValueError, match=r"log is the folder of a Delta table, whose format is delta, got .* parquet"):
        ingest(lake, "--impressions", path, "--format", "parquet")
    with pytest.raises(ValueError, match="has no folder _delta_log"):
        ingest(lake, "--impressions", write(IMPRESSIONS, tmp_path, "i", "csv"), "--format", "delta")


def test_a_table_is_read_by_its_name(lake: Lake, tmp_path: Path) -> None:
    rows = lake.spark.createDataFrame(IMPRESSIONS.astype({"impressed_at": str}).rename(columns={"user_id": "user"}))
    rows.createOrReplaceTempView("own_log")
    assert ingest(lake, "--impressions", "table:own_log", maps=("impressions.user_id=user",)) == 3
    location = (tmp_path / "own_delta").as_uri()
    lake.spark.sql(
        f"create table own_delta using delta location '{location}' as select * from own_log where position = 1"
    )
    try:
        assert ingest(lake, "--impressions", "own_delta", "--format", "table", maps=("impressions.user_id=user",)) == 2
    finally:
        lake.spark.sql("drop table own_delta")
    with pytest.raises(ValueError, match=r"the table nowhere.log cannot be read: .*TABLE_OR_VIEW_NOT_FOUND"):
        ingest(lake, "--impressions", "table:nowhere.log")


def test_a_refused_source_is_named_with_its_version(lake: Lake, tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    bad = IMPRESSIONS.astype({"impressed_at": str, "user_id": object})
    bad.loc[0, "user_id"] = None
    lake.spark.createDataFrame(bad).write.format("delta").save(path)
    assert ingest(lake, "--impressions", path) == 2
    assert [row.source for row in lake.read(tables.QUARANTINE).collect()] == [f"{path} version 0"]


def test_times_of_a_zone_land_in_utc(lake: Lake, tmp_path: Path) -> None:
    times = ["2026-01-05 10:00", "2026-01-05T10:00:00+05:00", "2026-01-05 10:00:00Z"]
    for form in ("csv", "parquet"):
        path = write(IMPRESSIONS.assign(impressed_at=times), tmp_path, form, form)
        ingest(lake, "--impressions", path, maps=("time_zone=Europe/Copenhagen",))
        assert [time for *_, time in sorted(landed(lake)[0])] == ["05 09:00", "05 05:00", "05 10:00"], form
    path = write(IMPRESSIONS, tmp_path, "ntz", "parquet")  # without an offset
    ingest(lake, "--impressions", path, maps=("time_zone=America/New_York",))
    assert [time for *_, time in landed(lake)[0]] == ["05 15:00", "05 15:00", "05 16:00"]


def test_an_expression_that_fails_on_a_value_stops_before_anything_is_written(lake: Lake, tmp_path: Path) -> None:
    path = write(EVENTS.assign(rating=["4", "no", "5", "1"]), tmp_path, "events", "csv")
    with pytest.raises(ValueError, match=r"mapping: the expression 'double\(rating\) >= 4' fails: .*'no'.*try_cast"):
        ingest(lake, "--events", path, maps=OF_EVENTS)
    none = ("events.impression_id=ts", "events.clicked=false", "events.shown=rating = 'yes'")
    with pytest.raises(ValueError, match=r"^impressions .*events.csv: no row fulfils mapping.events.shown$"):
        ingest(lake, "--events", path, maps=(*OF_EVENTS, *none))
    assert not lake.has(tables.IMPRESSIONS)


def test_a_dry_run_shows_what_it_understands_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = write(EVENTS.assign(ts=[1767607200, None, 1767520800, 1767434400]), tmp_path, "events", "csv")
    items = pd.DataFrame({"sku": [f"i{number}" for number in range(60)]})
    items["title"] = "t" + items["sku"]
    items["price"] = items.index * 1.25
    items["level"] = items.index % 3
    items["tags"] = [json.dumps(["a", "b", "c"][: 1 + number % 3]) for number in items.index]
    items["place"] = "0.5|1.5|2.5"
    items["similar"] = "i1|i2|i3|i4"
    items["Brand"] = "x"
    path = write(items, tmp_path, "items", "csv")
    before = sorted(tmp_path.iterdir())
    maps = (*OF_EVENTS, "items.item_id=sku", "items.brand=Brand")
    counted = ingest(None, "--events", events, "--items", path, "--dry-run", maps=maps)
    assert counted is None  # or `run` would print a line with 0 rows
    assert sorted(tmp_path.iterdir()) == before
    shown = capsys.readouterr().out
    for line in (
        "events.csv: 4 rows, 4 columns\n  uid     string\n",
        "impressions: 3 rows would land, 1 would be refused\n  refused: 1 rows: impressed_at is missing\n"
        "  impressed_at from 2026-01-03 10:00:00 to 2026-01-05 10:00:00 UTC, on 3 days\n"
        "  impression_id  <- made from user_id, item_id, impressed_at\n",
        "  impressed_at   <- ts in s since 1970\n",
        "clicks: 2 rows would land",
        "  2026-01-05  i1       True       null\n",
        "# item title: about 60 different texts are too many\n",
    ):
        assert line in shown, shown
    found = tomllib.loads(shown[shown.index("[[features.item]]") :])["features"]["item"]
    assert {(each["name"], each["kind"], each.get("length", 1)) for each in found} == {
        ("item_id", "id", 1), ("price", "numeric", 1), ("level", "categorical", 1), ("tags", "categorical", 3),
        ("place", "vector", 3), ("similar", "item_list", 4), ("brand", "categorical", 1),
    }  # fmt: skip
    proposed = tmp_path / "proposed.toml"
    proposed.write_text(shown[shown.index("[[features.item]]") :], "utf-8")
    assert len(load_config(str(proposed)).features.item) == 7


def test_a_dry_run_of_users_alone_proposes_what_would_land(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users = pd.DataFrame({"user_id": [f"u{number}" for number in range(60)]})
    users["langs"] = [(' ["da", "en"]', '["en"] ')[number % 2] for number in users.index]  # blanks around are read
    users["sizes"] = [("1|2", "[1, {}]")[number % 2] for number in users.index]  # which would be refused
    path = write(users, tmp_path, "users", "csv")
    ingest(None, "--users", path, "--dry-run", maps=("users.where=user_id <> 'u1'",))
    shown = capsys.readouterr().out
    found = {
        each["name"]: each for each in tomllib.loads(shown[shown.index("[[features.user]]") :])["features"]["user"]
    }
    assert (found["langs"]["kind"], found["langs"]["length"]) == ("categorical", 2)
    assert found["sizes"]["kind"] == "categorical"  # as not all of its lists are numbers
    assert (
        "users: 59 rows would land, 0 would be refused\n  left out: 1 rows do not fulfil mapping.users.where\n" in shown
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clicks", "c.csv"], "the following arguments are required: --lake"),
        (["--lake", "l", "--events", "e.csv", "--clicks", "c.csv"], "--events must not be combined with"),
        (["--lake", "l", "--clicks", "c.csv", "--backlog"], "--backlog must be given with --last"),
        (["--lake", "l", "--clicks", "c.csv", "--last", "2026-01-01"], "--last must not be before --ds 2026-01-05"),
        (["--lake", "l", "--clicks", "c.csv", "--map", "items.item_id=x"], "--map items... must be given with --items"),
        (["--lake", "l"], "give at least one of --events, --impressions, --clicks, --users, --items"),
    ],
)
def test_arguments_that_contradict_each_other(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        ingest_logs.main(["--ds", str(DAY), *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_clicks_find_impressions_without_ids_by_user_and_item(lake: Lake, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('[log]\nattribution = "user_item"\n', "utf-8")
    clicks = CLICKS.assign(user_id="u1", item_id="i1").drop(columns="impression_id")
    files = ["--impressions", write(IMPRESSIONS.drop(columns="impression_id"), tmp_path, "i", "parquet")]
    files += ["--clicks", write(clicks, tmp_path, "c", "parquet")]
    assert ingest(lake, *files, "--config", str(own)) == 4
    ids = lake.day(tables.IMPRESSIONS, DAY).select(F.count_distinct("impression_id")).first()
    assert ids is not None
    assert ids[0] == 3
