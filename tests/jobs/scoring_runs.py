"""Jobs over the simulated lake in the small configuration with other values, and the lists that they make."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from jobs.lake import tables
from jobs.lake.lake import Lake
from tests.conftest import DAYS, SMALL

FIRST, SECOND, THIRD, FOURTH = DAYS
K = 50


def settings(folder: Path, text: str) -> list[str]:
    """The small configuration with other values."""
    file = folder / "over.toml"
    file.write_text(text + "\n")
    return ["--config", SMALL, "--config", str(file)]


def run(lake: Lake, ds: dt.date, config: list[str], *jobs: object) -> None:
    for job in jobs:
        job.main(["--lake", lake.uri, "--ds", str(ds), *config])  # type: ignore[attr-defined]


def candidate_rows(lake: Lake, ds: dt.date) -> DataFrame:
    """Rows (user_id, item_id, score, rank, source)."""
    rows = lake.day(tables.CANDIDATES, ds)
    return rows.select("user_id", F.explode("candidates").alias("one")).select("user_id", "one.*")
