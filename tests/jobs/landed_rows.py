"""Rows of a raw log that a test lands, and the jobs that account for them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from pathlib import Path

from pyspark.sql import Row

from jobs import build_interactions, build_reconciliation
from jobs.lake import tables
from jobs.lake.days import days_between
from jobs.lake.lake import Lake

FIRST = dt.date(2024, 2, 28)  # over a leap day
DAYS = days_between(FIRST, FIRST + dt.timedelta(days=3))


def at(day: dt.date, hour: float) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC) + dt.timedelta(hours=hour)


@dataclass
class Log:
    """Raw rows to land: impressions (ds, id, user, item, time) and clicks (ds, id, time)."""

    lake: Lake
    impressions: list[tuple] = field(default_factory=list)
    clicks: list[tuple] = field(default_factory=list)

    def shown(self, ds: dt.date, key: str, hour: float, item: str = "i1", user: str = "u1") -> None:
        self.impressions.append((ds, key, "r", user, item, 1, at(ds, hour)))

    def clicked(
        self,
        ds: dt.date,
        key: str | None,
        time: dt.datetime,
        reward: float | None = None,
        user: str | None = None,
        item: str | None = None,
    ) -> None:
        self.clicks.append((ds, key, user, item, time, reward))

    def land(self) -> None:
        spark = self.lake.spark
        for table, rows in ((tables.IMPRESSIONS, self.impressions), (tables.CLICKS, self.clicks)):
            if rows:
                self.lake.overwrite_days(table, DAYS, spark.createDataFrame(rows, table.schema))

    def run(self, ds: dt.date, *config: str) -> Row:
        """Build the day's interactions and its reconciliation; the row."""
        for job in (build_interactions, build_reconciliation):
            job.main(["--lake", self.lake.uri, "--ds", str(ds), *config])
        row = self.lake.day(tables.RECONCILIATION, ds).first()
        assert row is not None
        adds_up(row)
        return row


def adds_up(row: Row) -> None:
    ends = ("set_aside", "duplicate", "refused")
    assert row.impressions == row.interactions + sum(row[f"{end}_impressions"] for end in ends)
    assert row.clicks == sum(row[f"{end}_clicks"] for end in (*ends, "matched", "orphan", "early", "late"))


def write(folder: Path, text: str) -> str:
    path = folder / "own.toml"
    path.write_text(text, "utf-8")
    return str(path)
