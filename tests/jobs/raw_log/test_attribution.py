"""Clicks without an impression id: each is attributed to the user's latest earlier impression of the item."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd
import pytest

from jobs import build_interactions, build_reconciliation, ingest_logs
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log import attribution
from jobs.raw_log.attribution import AttributionWindow

DAY = dt.date(2026, 1, 5)
NEXT = DAY + dt.timedelta(days=1)


def landed(
    lake: Lake, folder: Path, ds: dt.date, shown: list[tuple[str, str, str]], clicks: list[tuple[str, str]]
) -> None:
    """Land impressions (id, item, time) and clicks (item, time) of one user from files."""
    files = {
        "impressions": pd.DataFrame([(key, "u1", item, f"{time}:00Z") for key, item, time in shown], columns=["impression_id", "user_id", "item_id", "impressed_at"]),
        "clicks": pd.DataFrame([("u1", item, f"{time}:00Z") for item, time in clicks], columns=["user_id", "item_id", "clicked_at"]),
    }  # fmt: skip
    arguments = []
    for name, frame in files.items():
        frame.to_csv(folder / f"{name}.csv", index=False)
        arguments += [f"--{name}", str(folder / f"{name}.csv")]
    ingest_logs.main(["--lake", lake.uri, "--ds", str(ds), "--config", by_item(folder), *arguments])


def by_item(folder: Path) -> str:
    path = folder / "by_item.toml"
    path.write_text('[log]\nattribution = "user_item"\n', "utf-8")
    return str(path)


def outcomes(lake: Lake, folder: Path, ds: dt.date) -> dict[str, str | None]:
    for job in (build_interactions, build_reconciliation):
        job.main(["--lake", lake.uri, "--ds", str(ds), "--config", by_item(folder)])
    rows = lake.day(tables.INTERACTIONS, ds).selectExpr("impression_id", "date_format(clicked_at, 'dd HH:mm') as at")
    return {row.impression_id: row.at for row in rows.collect()}


def test_a_click_goes_to_the_latest_impression_before_it(lake: Lake, tmp_path: Path) -> None:
    shown = [("a", "i1", "2026-01-05 08:00"), ("b", "i1", "2026-01-05 10:00"), ("c", "i2", "2026-01-05 10:00"), ("d", "i3", "2026-01-05 12:00")]  # fmt: skip
    clicks = [
        ("i1", "2026-01-05 09:00"), ("i1", "2026-01-05 10:00"), ("i1", "2026-01-05 11:00"),  # one click on a, two on b
        ("i3", "2026-01-05 11:00"), ("i9", "2026-01-05 11:00"),  # before it was shown; never shown
    ]  # fmt: skip
    landed(lake, tmp_path, DAY, shown, clicks)
    assert outcomes(lake, tmp_path, DAY) == {"a": "05 09:00", "b": "05 10:00", "c": None, "d": None}
    row = lake.day(tables.RECONCILIATION, DAY).first()
    assert row is not None
    assert (row.matched_clicks, row.duplicate_clicks, row.orphan_clicks) == (2, 1, 2)


def test_a_click_of_the_next_day_finds_its_impression_and_not_an_older_one(lake: Lake, tmp_path: Path) -> None:
    landed(lake, tmp_path, DAY, [("a", "i1", "2026-01-05 20:00"), ("b", "i2", "2026-01-05 20:00")], [("i9", "2026-01-05 20:00")])  # fmt: skip
    assert outcomes(lake, tmp_path, DAY) == {"a": None, "b": None}
    landed(lake, tmp_path, NEXT, [("c", "i1", "2026-01-06 09:00")], [("i1", "2026-01-06 08:00"), ("i2", "2026-01-06 21:00")])  # fmt: skip
    config = load_config(by_item(tmp_path))
    assert build_interactions.days_changed_by_late_clicks(lake, config, NEXT) == [DAY]
    assert outcomes(lake, tmp_path, DAY) == {"a": "06 08:00", "b": None}
    assert outcomes(lake, tmp_path, NEXT) == {"c": None}
    row = lake.day(tables.RECONCILIATION, NEXT).first()
    assert row is not None
    assert (row.matched_clicks, row.late_clicks) == (1, 1)


@pytest.mark.parametrize(("broadcast", "join"), [(1_000, "BroadcastHashJoin"), (0, "ShuffledHashJoin")])
def test_impressions_of_other_users_and_items_are_not_sorted(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broadcast: int, join: str
) -> None:
    monkeypatch.setattr(attribution, "MAX_BROADCAST_CLICKS", broadcast)
    shown = [(f"k{n}", f"i{n % 9}", f"2026-01-05 08:{n:02}") for n in range(60)]
    landed(lake, tmp_path, DAY, shown, [("i3", "2026-01-05 08:40"), ("i4", "2026-01-05 08:01")])
    clicks = attribution.attributed_clicks(lake, load_config(by_item(tmp_path)), DAY)
    assert sorted((row.item_id, row.impression_id) for row in clicks.collect()) == [("i3", "k39"), ("i4", None)]
    plan = clicks._jdf.queryExecution().executedPlan().toString()
    assert join in plan
    assert "SortMergeJoin" not in plan


@pytest.mark.parametrize(
    ("hours", "seconds", "days"), [(24, 0, (1, 0)), (25, 1, (2, 1)), (1, 86_400, (1, 1)), (168, 0, (7, 0))]
)
def test_how_far_a_click_may_land_from_its_impression(hours: int, seconds: int, days: tuple[int, int]) -> None:
    window = AttributionWindow(hours, seconds)
    assert (window.window_days, window.clock_skew_days) == days
    assert (DAY - window.first_impression_day(DAY)).days == (window.last_click_day(DAY) - DAY).days == days[0]
    assert (window.last_impression_day(DAY) - DAY).days == (DAY - window.first_click_day(DAY)).days == days[1]
