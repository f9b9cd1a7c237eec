"""Exports of publications into a folder, with Spark."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from jobs import export_candidates
from jobs.lake.lake import Lake
from jobs.serving import read_candidates
from jobs.serving.export import folder_target
from jobs.serving.export.versions import ExportConflict
from tests.jobs.serving.export.published_lists import USERS, publish
from tests.no_session import no_session


def export(lake: Lake, folder: Path, *more: str) -> int:
    return export_candidates.main(["--lake", lake.uri, "--to", str(folder), *more])


def files_of(folder: Path) -> list[Path]:
    """What readers read: the files of the version that the pointer names."""
    version = json.loads((folder / "current.json").read_text("utf-8"))["version"]
    manifest = json.loads((folder / version / "manifest.json").read_text("utf-8"))
    return [folder / version / file["path"] for file in manifest["files"]]


def lists_in(folder: Path) -> pl.DataFrame:
    files = files_of(folder)
    if files[0].suffix == ".json":
        return pl.concat([pl.read_ndjson(file) for file in files])
    return pl.read_parquet(files, hive_partitioning=False)


def versions_in(folder: Path) -> list[str]:
    """The days of the versions that the folder has."""
    return sorted(path.name[:10] for path in folder.iterdir() if path.is_dir())


@pytest.mark.parametrize("format_", ["parquet", "jsonl"])
def test_readers_of_the_folder_get_the_published_lists(lists: Lake, tmp_path: Path, format_: str) -> None:
    publish(lists, 1)
    folder = tmp_path / "an export"
    assert export(lists, folder, "--format", format_) == USERS
    found = lists_in(folder)
    assert found.columns == ["user_id", "candidates", "model_version"]
    assert found["user_id"].n_unique() == len(found) == USERS
    items = found.filter(pl.col("candidates").list.len() > 0).explode("candidates").unnest("candidates")
    published = pl.from_pandas(read_candidates(lists.uri))
    same = items.select(published.columns).sort("user_id", "rank").cast(published.schema)  # type: ignore[arg-type]
    assert same.equals(published.sort("user_id", "rank"))


def test_the_same_publication_writes_nothing_and_a_rollback_only_the_pointer(
    lists: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "export"
    publish(lists, 1)
    export(lists, folder)
    publish(lists, 2)
    export(lists, folder)
    monkeypatch.setattr("jobs.cli.lake.spark_session", no_session)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    export(lists, folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    publish(lists, 1)
    export(lists, folder)
    changed = {path for path in folder.rglob("*") if path.stat().st_mtime_ns != before.get(path)}
    assert changed == {folder / "current.json"}
    assert set(lists_in(folder)["model_version"]) == {"model1"}


def test_the_last_versions_stay_and_folders_of_others_too(lists: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    (folder / "2026-01-01-of-mine").mkdir(parents=True)
    for number in (1, 2, 3):
        publish(lists, number)
        export(lists, folder)
    assert versions_in(folder) == ["2026-01-01", "2026-03-02", "2026-03-03"]
    assert set(lists_in(folder)["model_version"]) == {"model3"}


class Killed(BaseException):
    """In place of a SIGKILL."""


def test_a_killed_export_is_continued_and_readers_have_the_earlier_lists_until_then(
    lists: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, put = tmp_path / "export", folder_target.FolderTarget._put
    publish(lists, 1)
    export(lists, folder)
    publish(lists, 2)
    written: list[str] = []

    def put_and_die(self: Any, path: str, values: Any) -> None:
        put(self, path, values)
        written.append(path)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(folder_target.FolderTarget, "_put", put_and_die)
        for steps in (1, 2):
            with pytest.raises(Killed):
                export(lists, folder)
            assert set(lists_in(folder)["model_version"]) == {"model1"}
            assert len(written) == steps
    (shard,) = folder.glob("2026-03-02-*/shard-00000")
    names = sorted(path.name for path in shard.iterdir())
    shutil.copytree(shard, shard.with_name("shard-00002"))  # as a shard that was killed before it was recorded
    export(lists, folder)
    assert sorted(path.name for path in shard.iterdir()) == names  # not written again
    assert set(lists_in(folder)["model_version"]) == {"model2"}
    assert lists_in(folder)["user_id"].n_unique() == len(lists_in(folder)) == USERS
    assert not list(folder.glob("*/progress"))


def test_a_version_of_which_a_file_is_lost_is_written_again(lists: Lake, tmp_path: Path) -> None:
    publish(lists, 1)
    export(lists, tmp_path / "export")
    files_of(tmp_path / "export")[0].unlink()
    export(lists, tmp_path / "export")
    assert len(lists_in(tmp_path / "export")) == USERS


def test_a_pointer_to_a_later_publication_is_not_moved_back(lists: Lake, tmp_path: Path) -> None:
    publish(lists, 1)
    export(lists, tmp_path / "export")
    pointer = tmp_path / "export" / "current.json"
    later = {**json.loads(pointer.read_text("utf-8")), "publication": 7}
    pointer.write_text(json.dumps(later), "utf-8")
    with pytest.raises(ExportConflict, match=r"must not be before that in .*/export, which is 7, got 1"):
        export(lists, tmp_path / "export")
    assert json.loads(pointer.read_text("utf-8")) == later


@pytest.mark.parametrize("format_", ["parquet", "jsonl"])
def test_lists_that_went_to_another_file_system_are_missed(
    lists: Lake, tmp_path: Path, format_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(lists, 1)
    sizes, all_but = folder_target.FolderTarget._sizes, 1 if format_ == "parquet" else 0

    def some(self: Any, name: str, shard: str) -> dict[str, int]:
        """Those of the executors of this machine."""
        return dict(list(sizes(self, name, shard).items())[:all_but])

    monkeypatch.setattr(folder_target.FolderTarget, "_sizes", some)
    with pytest.raises(ValueError, match=rf"must have the \d+ lists that were written, got \d+ in {all_but} files"):
        export(lists, tmp_path / "export", "--format", format_)
    assert not list((tmp_path / "export").rglob("*.json.draft")) + list((tmp_path / "export").glob("*.json"))
    assert not list((tmp_path / "export").glob("*/manifest.json"))
