"""The question that the sensor asks: 0 landed, 99 not yet, and a day that is still open is refused."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from jobs import await_log
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import Table
from jobs.raw_log.preconditions import DayStopped
from tests.conftest import DAYS
from tests.jobs.log_files import ingest, write

DAY = dt.date(2026, 1, 31)


def test_a_day_is_closed_when_it_has_ended_in_utc() -> None:
    await_log.require_closed(DAY, dt.datetime(2026, 2, 1, tzinfo=dt.UTC))
    with pytest.raises(
        DayStopped, match=r"2026-01-31 ends at 2026-02-01 00:00 UTC, and it is 2026-01-31 23:59 UTC"
    ) as stop:
        await_log.require_closed(DAY, dt.datetime(2026, 1, 31, 23, 59, 59, tzinfo=dt.UTC))
    assert stop.value.code == "day_open"


def test_today_is_refused_before_anything_is_looked_at() -> None:
    with pytest.raises(DayStopped, match="ends at"):
        await_log.main(["--lake", "/nowhere", "--ds", dt.datetime.now(dt.UTC).date().isoformat()])


def test_a_day_that_has_landed(simulated: Lake, capsys: pytest.CaptureFixture[str]) -> None:
    await_log.main(["--lake", simulated.uri, "--ds", str(DAYS[3])])
    assert f"the log of {DAYS[3]} has landed" in capsys.readouterr().out


def test_a_landing_of_users_and_items_that_was_killed(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lake.overwrite(
        tables.IMPRESSIONS,
        DAY,
        lake.spark.sql(
            "select 'a' as impression_id, cast(null as string) as request_id, 'u' as user_id, 'i' as item_id, 1 as position, timestamp'2026-01-31' as impressed_at"
        ),
    )
    files = {
        "users": write(pd.DataFrame({"user_id": ["u"]}), tmp_path, "users", "csv"),
        "items": write(pd.DataFrame({"item_id": ["i"]}), tmp_path, "items", "csv"),
    }
    overwrite_days = Lake.overwrite_days

    def killed(self: Lake, table: Table, *more: Any) -> int:
        if table.name == "items":
            raise KeyboardInterrupt
        return overwrite_days(self, table, *more)

    monkeypatch.setattr(Lake, "overwrite_days", killed)
    with pytest.raises(KeyboardInterrupt):
        ingest(lake, DAY, **files)
    monkeypatch.undo()
    with pytest.raises(SystemExit) as ended:
        await_log.main(["--lake", lake.uri, "--ds", str(DAY)])
    assert ended.value.code == 99
    assert f"the landing of items on {DAY} has not ended" in capsys.readouterr().out
    ingest(lake, DAY, items=files["items"])
    await_log.main(["--lake", lake.uri, "--ds", str(DAY)])
    ingest(lake, DAY, **files)
    await_log.main(["--lake", lake.uri, "--ds", str(DAY)])


@pytest.mark.parametrize("where", ["lake", "simulated"])
def test_a_day_that_has_not_landed(
    where: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    lake: Lake = request.getfixturevalue(where)
    with pytest.raises(SystemExit) as ended:
        await_log.main(["--lake", lake.uri, "--ds", "2026-01-31"])
    assert ended.value.code == 99
    assert "no impression of 2026-01-31 has landed" in capsys.readouterr().out
