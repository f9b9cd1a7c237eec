"""Every row of the log is accounted for: duplicates, orphans, clocks that disagree, clicks that come late or again."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import numpy as np
import pytest

from jobs import build_reconciliation
from jobs.lake import tables
from jobs.lake.checks import CheckFailed
from jobs.lake.lake import Lake
from tests.jobs.landed_rows import DAYS, Log, at, write
from tests.marks import slow_after


@pytest.fixture
def log(lake: Lake) -> Log:
    return Log(lake)


def test_each_row_goes_to_one_place(log: Log) -> None:
    day, after = DAYS[:2]
    for key in "abcde":
        log.shown(day, key, 10)
    log.shown(day, "a", 10)  # again, the same
    log.shown(day, "b", 10, item="i2")  # again, and different
    log.shown(day, "b", 10, item="i3")
    log.clicked(day, "a", at(day, 11))
    log.clicked(day, "a", at(day, 11))  # again
    log.clicked(day, "a", at(day, 12))  # a second click
    log.clicked(day, "b", at(day, 9))  # before its impression
    log.clicked(day, "c", at(day, 11), 1.0)
    log.clicked(day, "c", at(day, 11), 2.0)  # again, with another reward
    log.clicked(day, "nobody", at(day, 11))
    log.clicked(after, "d", at(after, 11))  # an hour too late
    log.shown(after, "f", 1)
    rows = [(day, "impressions", "user_id is missing", "f", "{}")] * 2 + [(day, "clicks", "clicked_at is missing", "f", "{}")]  # fmt: skip
    log.lake.overwrite(tables.QUARANTINE, day, log.lake.spark.createDataFrame(rows, tables.QUARANTINE.schema))
    log.land()
    row = log.run(day)
    assert row.asDict() == {
        "ds": day, "impressions": 10, "interactions": 5, "duplicate_impressions": 3, "conflicting_impressions": 1,
        "refused_impressions": 2, "clicks": 8, "matched_clicks": 2, "orphan_clicks": 1, "early_clicks": 1, "late_clicks": 0,
        "duplicate_clicks": 3, "conflicting_clicks": 1, "refused_clicks": 1, "clicked": 2, "users": 1, "items": 1,
        "set_aside_users": 0, "set_aside_impressions": 0, "set_aside_clicks": 0,
    }  # fmt: skip
    row = log.run(after)
    assert (row.clicks, row.late_clicks, row.clicked) == (1, 1, 0)


def test_duplicates_do_not_change_the_interactions_whichever_day_they_land_on(log: Log) -> None:
    """Rows are sent again, on the same day and on the next: the first landing counts, and no day gets more rows."""
    day, after = DAYS[:2]
    for key in "abc":
        log.shown(day, key, 10)
    log.shown(after, "d", 10)
    log.clicked(day, "a", at(day, 11))
    log.land()
    log.run(day), log.run(after)
    before = [sorted(log.lake.day(tables.INTERACTIONS, ds).collect()) for ds in (day, after)]
    log.impressions += [(after, *row[1:]) for row in log.impressions if row[0] == day] + log.impressions[:2]
    log.clicks += [(after, *row[1:]) for row in log.clicks] + log.clicks
    log.land()
    first, second = log.run(day), log.run(after)
    assert [sorted(log.lake.day(tables.INTERACTIONS, ds).collect()) for ds in (day, after)] == before
    assert (first.duplicate_impressions, second.duplicate_impressions, second.conflicting_impressions) == (2, 3, 0)
    assert (first.matched_clicks, first.duplicate_clicks, second.duplicate_clicks) == (1, 1, 1)


def test_a_tolerated_skew_of_clocks_lets_a_click_come_first(log: Log, tmp_path: Path) -> None:
    day, after = DAYS[:2]
    log.shown(day, "a", 10)
    log.shown(after, "b", 0.001)  # 3.6 seconds after midnight
    log.clicked(day, "a", at(day, 10) - dt.timedelta(seconds=5))
    log.clicked(day, "b", at(after, 0) - dt.timedelta(seconds=1))  # on the day before its impression
    log.land()
    row = log.run(day)
    assert (row.early_clicks, row.orphan_clicks, row.clicked) == (1, 1, 0)
    config = write(tmp_path, "[log]\nclock_skew_seconds = 5\n")
    assert log.run(day, "--config", config).clicked == 1
    assert log.run(after, "--config", config).clicked == 1
    assert log.run(day, "--config", config).matched_clicks == 2  # its impression has landed by now


def test_an_earlier_click_that_lands_later_takes_the_place(log: Log) -> None:
    day, after = DAYS[:2]
    log.shown(day, "a", 10), log.shown(after, "z", 1)
    log.clicked(day, "a", at(day, 13), 1.0)
    log.land()
    assert log.run(day).matched_clicks == 1
    log.clicked(after, "a", at(day, 12), 2.0)
    log.land()
    first, second = log.run(day), log.run(after)
    assert (first.matched_clicks, first.duplicate_clicks, second.matched_clicks) == (0, 1, 1)
    row = log.lake.day(tables.INTERACTIONS, day).first()
    assert row is not None
    assert (row.clicked, row.reward) == (True, 2.0)


@pytest.mark.parametrize("seed", slow_after(1, range(2)))
def test_a_hostile_log_adds_up_to_the_row(log: Log, seed: int) -> None:
    """Four days of random ids, times and copies: every click is in one class, and matches agree with interactions."""
    random = np.random.default_rng(seed)
    ids = [f"k{n}" for n in range(30)]
    for _ in range(120):
        log.shown(
            DAYS[random.integers(4)], str(random.choice(ids)), random.uniform(0, 24), item=f"i{random.integers(3)}"
        )
    for _ in range(150):
        ds = DAYS[random.integers(4)]
        time = at(ds, 0) + dt.timedelta(hours=float(random.uniform(-40, 24)))
        log.clicked(ds, str(random.choice([*ids, "x", "y"])), time, float(random.integers(3)))
    log.land()
    rows = [log.run(ds) for ds in DAYS if any(row[0] == ds for row in log.impressions)]
    for ds in DAYS:
        row = next(row for row in rows if row.ds == ds)
        assert row.impressions == sum(shown[0] == ds for shown in log.impressions)
        assert row.clicks == sum(clicked[0] == ds for clicked in log.clicks)
    shown = log.lake.read(tables.INTERACTIONS)
    assert sum(row.matched_clicks for row in rows) == shown.where("clicked").count() > 0
    for kind in ("orphan", "early", "late", "duplicate"):
        assert sum(row[f"{kind}_clicks"] for row in rows), kind
    # an id whose copies landed more than a window apart is two impressions; nearer ones are one
    first: dict[str, dt.date] = {}
    wanted = 0
    for ds, key in sorted({(row[0], row[1]) for row in log.impressions}):
        wanted += key not in first or (ds - first[key]).days > 1
        first[key] = ds
    assert shown.count() == wanted


@pytest.mark.parametrize("change", slow_after(1, ["lost", "twice", "unclicked", "moved"]))
def test_interactions_that_do_not_add_up_stop_the_day(log: Log, change: str) -> None:
    """Rows are lost, doubled or changed after the job; the stored reconciliation stays as it was."""
    day = DAYS[0]
    for key in "abc":
        log.shown(day, key, 10)
    log.clicked(day, "a", at(day, 11)), log.clicked(day, "b", at(day, 12))
    log.land()
    log.run(day)
    version = log.lake.version(tables.RECONCILIATION)
    rows = log.lake.day(tables.INTERACTIONS, day).localCheckpoint()
    spoiled = {
        "lost": rows.where("impression_id <> 'c'"),
        "twice": rows.unionAll(rows.where("impression_id = 'a'")),
        "unclicked": rows.selectExpr(*[f"if(impression_id = 'a', null, {c}) as {c}" if c == "clicked_at" else f"clicked and impression_id <> 'a' as {c}" if c == "clicked" else c for c in rows.columns]),
        "moved": rows.selectExpr(*[f"clicked_at + interval 1 minute as {c}" if c == "clicked_at" else c for c in rows.columns]),
    }  # fmt: skip
    log.lake.overwrite(tables.INTERACTIONS, day, spoiled[change])
    with pytest.raises(CheckFailed, match=f"reconciliation of {day} was not written"):
        build_reconciliation.main(["--lake", log.lake.uri, "--ds", str(day)])
    assert log.lake.version(tables.RECONCILIATION) == version


@pytest.mark.parametrize("zone", slow_after(1, ["Europe/Copenhagen", "America/New_York", "Pacific/Kiritimati"]))
def test_no_session_time_zone_and_no_clock_change_moves_a_row(log: Log, zone: str) -> None:
    """29 March 2026 has 23 hours in Copenhagen; here every logical day has 24, in UTC."""
    day, after = dt.date(2026, 3, 29), dt.date(2026, 3, 30)
    for hour in (0, 0.9, 1.5, 2.5, 23.9):
        log.shown(day, f"h{hour}", hour)
        log.clicked(after if hour else day, f"h{hour}", at(day, hour) + dt.timedelta(hours=24))
    spark, land = log.lake.spark, lambda: [
        log.lake.overwrite_days(table, [day, after], spark.createDataFrame(rows, table.schema))
        for table, rows in ((tables.IMPRESSIONS, log.impressions), (tables.CLICKS, log.clicks))
    ]  # fmt: skip
    land()
    wanted = log.run(day)
    shown = sorted(log.lake.day(tables.INTERACTIONS, day).selectExpr("impression_id", "unix_micros(outcome_final_at)").collect())  # fmt: skip
    assert wanted.clicked == 5
    spark.conf.set("spark.sql.session.timeZone", zone)
    try:
        assert log.run(day) == wanted
        again = log.lake.day(tables.INTERACTIONS, day).selectExpr("impression_id", "unix_micros(outcome_final_at)")
        assert sorted(again.collect()) == shown
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")
