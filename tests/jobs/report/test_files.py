"""The page of a day is replaced as a whole, without Spark on a local disk."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import NoReturn

import pytest

from jobs.lake.errors import DiskFull
from jobs.lake.lake import Lake
from jobs.report.files import put_page, report_path
from tests.conftest import DAYS
from tests.no_session import no_session


def test_a_page_is_replaced_or_left_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lake = Lake(no_session, str(tmp_path / "a lake"))
    page = Path(report_path(lake.uri, DAYS[0]))
    put_page(lake, report_path(lake.uri, DAYS[0]), "the first page")
    page.with_name(".index.html.crc").write_bytes(b"of Hadoop, which would find another page")
    put_page(lake, report_path(lake.uri, DAYS[0]), "the second page")
    assert {path.name: path.read_text("utf-8") for path in page.parent.iterdir()} == {"index.html": "the second page"}

    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(DiskFull, match="no space to write"):
        put_page(lake, report_path(lake.uri, DAYS[0]), "half a page")
    assert {path.name: path.read_text("utf-8") for path in page.parent.iterdir()} == {"index.html": "the second page"}
