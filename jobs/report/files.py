"""Where the page of a day is stored, and how it is replaced."""

from __future__ import annotations

import datetime as dt
import os
import tempfile
import time
import uuid
from pathlib import Path

from jobs.lake.errors import disk_full_errors
from jobs.lake.files import put_folder
from jobs.lake.lake import Lake
from jobs.lake.snapshots import local_path
from model.artifacts.verified_folder import DRAFT_MAX_AGE_SECONDS

PAGE = "index.html"
DRAFTS = f".{PAGE}.*.draft"  # pages whose writer was killed


def report_path(lake: str, ds: dt.date) -> str:
    """The path or URI of a day's page."""
    return f"{lake.rstrip('/')}/reports/{ds}/{PAGE}"


def trend_path(lake: str) -> str:
    """The path or URI of the page across days."""
    return f"{lake.rstrip('/')}/reports/days/{PAGE}"


def put_page(lake: Lake, uri: str, text: str) -> None:
    """Replace a page. Readers on a local disk see the old or the new one; in other stores, none for a moment.

    Raises DiskFull.
    """
    if (page := local_path(uri)) is not None:
        with disk_full_errors(uri):
            _replace(page, text)
        return
    with tempfile.TemporaryDirectory(prefix="batch-recall-") as folder:
        (Path(folder) / PAGE).write_text(text, "utf-8")
        put_folder(lake.spark, Path(folder), uri.removesuffix(f"/{PAGE}"))


def _replace(page: Path, text: str) -> None:
    """Write a draft beside the page and rename it; abandoned drafts are deleted after a day."""
    page.parent.mkdir(parents=True, exist_ok=True)
    for draft in page.parent.glob(DRAFTS):
        if time.time() - draft.stat().st_mtime > DRAFT_MAX_AGE_SECONDS:
            draft.unlink(missing_ok=True)
    draft = page.with_name(f".{PAGE}.{uuid.uuid4().hex}.draft")
    try:
        draft.write_text(text, "utf-8")
        page.with_name(f".{PAGE}.crc").unlink(missing_ok=True)  # Hadoop's checksum of a page that Spark wrote
        os.replace(draft, page)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
