"""The question that the sensor asks: 0 landed, 99 not yet, and a day that is still open is refused."""

from __future__ import annotations

import datetime as dt

import pytest

from jobs import await_log
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import DayStopped
from tests.conftest import DAYS

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


@pytest.mark.parametrize("where", ["lake", "simulated"])
def test_a_day_that_has_not_landed(
    where: str, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    lake: Lake = request.getfixturevalue(where)
    with pytest.raises(SystemExit) as ended:
        await_log.main(["--lake", lake.uri, "--ds", "2026-01-31"])
    assert ended.value.code == 99
    assert "no impression of 2026-01-31 has landed" in capsys.readouterr().out
