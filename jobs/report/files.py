"""Where the page of a day is stored, and how it is replaced."""

from __future__ import annotations

import datetime as dt
import tempfile
from pathlib import Path

from jobs.lake.files import put_folder
from jobs.lake.lake import Lake

PAGE = "index.html"


def report_path(lake: str, ds: dt.date) -> str:
    """The path or URI of a day's page."""
    return f"{lake.rstrip('/')}/reports/{ds}/{PAGE}"


def put_report(lake: Lake, ds: dt.date, text: str) -> None:
    """Replace the page: readers see the old or the new one, and none for a moment in between."""
    with tempfile.TemporaryDirectory(prefix="batch-recall-") as folder:
        (Path(folder) / PAGE).write_text(text, "utf-8")
        put_folder(lake.spark, Path(folder), report_path(lake.uri, ds).removesuffix(f"/{PAGE}"))
