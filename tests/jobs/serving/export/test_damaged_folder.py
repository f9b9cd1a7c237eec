"""Small files of an export's folder that are damaged are named before anything is written; without Spark."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import pytest

from jobs.serving.export.folder_target import FolderTarget
from jobs.serving.export.versions import Version
from tests.no_session import no_session

NAME, EARLIER = f"2026-03-01-parquet-{'a' * 12}", f"2026-02-28-parquet-{'b' * 12}"
VERSION = Version(NAME, 7, dt.date(2026, 3, 1), "m", 1, 2, "parquet", None)  # type: ignore[arg-type]
WHOLE = {
    "current.json": {"version": EARLIER, "publication": 6, "earlier": [EARLIER]},
    f"{EARLIER}/manifest.json": {"candidates_version": 0, "files": []},
    f"{NAME}/manifest.json": {"candidates_version": 1, "files": [{"path": "shard-00000/part-0", "bytes": 9}]},
    f"{NAME}/progress/shard-00000.json": {"sources": [], "users": 1, "files": []},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, values in WHOLE.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values), "utf-8")
    return tmp_path


def read(folder: Path) -> None:
    """What an export reads before it writes."""
    target = FolderTarget(str(folder), no_session)
    assert target.begin(VERSION) == (VERSION, False)
    target._shards(NAME)


@pytest.mark.parametrize("damage", [b'{"version": "x', b'{"version": "theirs"}', b"[1]", b"7", b"\xff\xfe"])
@pytest.mark.parametrize("name", WHOLE)
def test_a_damaged_file_is_named_and_stays(folder: Path, name: str, damage: bytes) -> None:
    read(folder)
    (folder / name).write_bytes(damage)
    with pytest.raises(ValueError, match=f"{folder / name} must be as export_candidates wrote it, .* a damaged file"):
        read(folder)
    assert (folder / name).read_bytes() == damage
