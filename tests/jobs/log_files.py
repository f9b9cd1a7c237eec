"""A small log of one day as files, and the job that lands them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pandas as pd

from jobs import ingest_logs
from jobs.lake.lake import Lake

DAY = dt.date(2026, 1, 5)
IMPRESSIONS = pd.DataFrame({
    "impression_id": ["a", "b", "c"], "request_id": ["r", "r", "r"], "user_id": ["u1", "u1", "u2"],
    "item_id": ["i1", "i2", "i1"], "position": [1, 2, 1],
    "impressed_at": pd.to_datetime(["2026-01-05 10:00", "2026-01-05 10:00", "2026-01-05 11:00"]),
})  # fmt: skip
CLICKS = pd.DataFrame({"impression_id": ["a"], "clicked_at": pd.to_datetime(["2026-01-05 10:05"])})


def write(frame: pd.DataFrame, folder: Path, name: str, form: str) -> str:
    path = folder / f"{name}.{form}"
    if form == "parquet":
        frame.to_parquet(path, coerce_timestamps="us")
    elif form == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_json(path, orient="records", lines=True, date_format="iso")
    return str(path)


def ingest(lake: Lake, ds: dt.date = DAY, **files: str) -> int:
    arguments = [argument for name, path in files.items() for argument in (f"--{name}", path)]
    return ingest_logs.main(["--lake", lake.uri, "--ds", str(ds), *arguments])
