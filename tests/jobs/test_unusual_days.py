"""A day whose volume or click rate is unlike that of the days before it."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from jobs import build_reconciliation
from jobs.lake import tables
from jobs.lake.lake import Lake
from tests.jobs.landed_rows import DAYS, Log, at, write


@pytest.fixture
def log(lake: Lake) -> Log:
    return Log(lake)


def test_a_day_unlike_those_before_it_is_a_warning(
    log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Six usual days, then one with a tenth of the impressions, each clicked: 20 times the usual rate."""
    row = dict.fromkeys(tables.RECONCILIATION.columns, 0) | {"impressions": 100, "interactions": 100, "clicked": 5}
    past = [{**row, "ds": DAYS[0] - dt.timedelta(days=n), "impressions": 100 + n % 2} for n in range(1, 7)]
    spark = log.lake.spark
    rows = spark.createDataFrame([tuple(day[name] for name in tables.RECONCILIATION.columns) for day in past], tables.RECONCILIATION.schema)  # fmt: skip
    log.lake.overwrite_days(tables.RECONCILIATION, [day["ds"] for day in past], rows)
    for number in range(10):
        log.shown(DAYS[0], str(number), 10)
        log.clicked(DAYS[0], str(number), at(DAYS[0], 11))
    log.land()
    log.run(DAYS[0])
    said = capsys.readouterr().out
    assert (
        f"warning: reconciliation of {DAYS[0]}: number of impressions is outside the range of earlier days: 10" in said
    )
    assert f"warning: reconciliation of {DAYS[0]}: click rate is outside the range of earlier days: 1" in said
    for settings, warned in (("band = 1000", True), ("band = 2000", False), ("min_compared_days = 7", False)):
        config = write(tmp_path, f"[reconciliation]\n{settings}\n")
        build_reconciliation.main(["--lake", log.lake.uri, "--ds", str(DAYS[0]), "--config", config])
        assert ("click rate is outside" in capsys.readouterr().out) == warned, settings
