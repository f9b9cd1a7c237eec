"""Versions of online models: what a second export writes, rollback, a kill, damage, forgotten users, other folders."""

from __future__ import annotations

import json
import os
import shutil
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from jobs import export_candidates, export_user_tower
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake, NoSuchDay
from jobs.maintenance.removal import remove_users
from jobs.raw_log.attribution import AttributionWindow
from jobs.serving.export import online as exporting
from jobs.serving.export.versions import ExportConflict
from model.artifacts import verified_folder
from model.towers.online import OnlineModel
from tests.conftest import SMALL
from tests.jobs.serving.export.embedded_users import (
    DAY,
    Embedded,
    publish,
    put_items,
    put_model,
    version_in,
    write_embedded,
)
from tests.no_session import no_session


@pytest.fixture(scope="module")
def original(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    """Read only."""
    folder = tmp_path_factory.mktemp("embedded")
    return write_embedded(Lake(spark, str(folder / "lake")), folder, "mean", 1)


@pytest.fixture
def lake(original: Embedded, tmp_path: Path) -> Lake:
    return Lake(original.lake.spark, str(shutil.copytree(original.lake.uri, tmp_path / "lake")))


def export(lake: Lake, folder: Path, *more: str) -> int:
    return export_user_tower.main(["--lake", lake.uri, "--to", str(folder), *more])


def publish_model2(lake: Lake, original: Embedded, *, live_rows: bool = False) -> None:
    """Publish a second model, of the same day and with other item vectors."""
    put_model(lake, load_config(SMALL, original.config_file), "model2", live_rows)
    put_items(lake, "model2")
    publish(lake, "model2")


def forget(user_id: str, lake: Lake) -> None:
    """Remove a user as `forget_users` does, of whom the newest lists have none; the publication stays the same."""
    others = lake.day(tables.CANDIDATES, DAY).where(F.col("user_id") != user_id).drop("ds")
    lake.overwrite(tables.CANDIDATES, DAY, others.localCheckpoint())
    remove_users(lake, [user_id], AttributionWindow(24))


def versions(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_dir()}


def inodes(folder: Path) -> set[int]:
    return {path.stat().st_ino for path in folder.rglob("*") if path.is_file() and path.name != "current.json"}


def test_what_is_there_is_not_written_again_and_a_rollback_sets_the_pointer(
    lake: Lake, original: Embedded, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "online"
    assert export(lake, folder) == 54
    first, files = version_in(folder), inodes(folder)
    assert export(lake, folder) == 54
    assert inodes(folder) == files
    assert "readers follow its files already" in capsys.readouterr().out
    publish_model2(lake, original)
    export(lake, folder)
    second = version_in(folder)
    assert OnlineModel.current(folder).manifest["model_version"] == "model2"
    files = inodes(folder)
    publish(lake, "model1", candidates_version=0, item_embeddings_version=0)  # a rollback
    capsys.readouterr()
    export(lake, folder)
    assert (version_in(folder), inodes(folder)) == (first, files)
    assert "its files were there already, and readers follow them now" in capsys.readouterr().out
    publish(lake, "model2", item_embeddings_version=0)  # the same lists, other vectors
    export(lake, folder)
    third = version_in(folder)
    assert versions(folder) == {first, third}  # the last two that were followed
    assert third not in (first, second)


def test_no_spark_session_is_needed_on_a_local_disk(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.cli.lake.spark_session", no_session)
    assert export(lake, tmp_path / "online") == 54


@pytest.mark.parametrize("step", ["os.rename", "model.artifacts.verified_folder.flush", "os.replace"])
def test_an_export_that_dies_leaves_no_half_and_no_rest(
    lake: Lake, original: Embedded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder = tmp_path / "online"
    export(lake, folder)
    first = version_in(folder)
    publish_model2(lake, original)

    class Killed(BaseException):
        """Like a signal, no handler of errors sees it."""

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(step, die)
        patched.setattr(verified_folder.shutil, "rmtree", lambda *_, **__: None)  # nobody tidies up after a kill
        with pytest.raises(Killed):
            export(lake, folder)
    assert version_in(folder) == first
    assert OnlineModel.current(folder).manifest["model_version"] == "model1"
    export(lake, folder)
    assert OnlineModel.current(folder).manifest["model_version"] == "model2"
    assert {path.name for path in folder.iterdir()} == {"current.json", first, version_in(folder)}


def test_a_damaged_version_is_written_again(lake: Lake, tmp_path: Path) -> None:
    folder = tmp_path / "online"
    export(lake, folder)
    vectors = folder / version_in(folder) / "item_vectors.npy"
    vectors.write_bytes(vectors.read_bytes()[:-1] + b"\0")
    export(lake, folder)
    assert len(OnlineModel.current(folder).items) == 54


def test_forgotten_users_are_in_no_version(lake: Lake, original: Embedded, tmp_path: Path) -> None:
    """Also if the publication stays the same, as when its day was scored again, and no list of theirs is left."""
    folder = tmp_path / "online"
    export(lake, folder)
    first = version_in(folder)
    assert OnlineModel.current(folder)._vocabularies["user_id"].ids.position("user 7") is not None
    forget("user 7", lake)
    export(lake, folder)
    assert version_in(folder) != first
    assert OnlineModel.current(folder)._vocabularies["user_id"].ids.position("user 7") is None
    assert versions(folder) == {version_in(folder)}
    for file in folder.rglob("*.parquet"):
        assert "user 7" not in pl.read_parquet(file).to_series().to_list()
    publish_model2(lake, original)
    export(lake, folder)
    assert len(versions(folder)) == 2  # those of before users were forgotten are gone, later ones stay


def test_users_that_only_an_earlier_version_has_are_forgotten_there(
    lake: Lake, original: Embedded, tmp_path: Path
) -> None:
    """The model that readers follow has no row for the user: its version stays as it is."""
    folder = tmp_path / "online"
    export(lake, folder)
    publish_model2(lake, original, live_rows=True)
    export(lake, folder)
    followed = version_in(folder)
    assert OnlineModel.current(folder)._vocabularies["user_id"].ids.position("user 7") is None
    assert len(versions(folder)) == 2
    forget("user 7", lake)
    export(lake, folder)
    assert versions(folder) == {followed} == {version_in(folder)}


def test_a_named_model_needs_a_folder_of_its_own(lake: Lake, original: Embedded, tmp_path: Path) -> None:
    publish_model2(lake, original)
    assert export(lake, tmp_path / "new") == 54
    with pytest.raises(ExportConflict, match=r"must not be before that in .*new, which is 2, got 1"):
        export(lake, tmp_path / "new", "--model-version", "model1")
    export(lake, tmp_path / "old", "--model-version", "model1")
    assert OnlineModel.current(tmp_path / "old").manifest["model_version"] == "model1"
    with pytest.raises(ValueError, match=r"must be a published one, such as \['model1', 'model2'\], got 'model3'"):
        export(lake, tmp_path / "old", "--model-version", "model3")


def test_a_folder_of_lists_is_no_folder_of_online_models(lake: Lake, tmp_path: Path) -> None:
    lists, online = tmp_path / "lists", tmp_path / "online"
    arguments = ["--lake", lake.uri, "--format", "jsonl", "--to"]
    export_candidates.main([*arguments, str(lists)])
    pointer = (lists / "current.json").read_text("utf-8")
    with pytest.raises(ValueError, match=r"must be a folder of export_user_tower alone, got one with .* format jsonl"):
        export(lake, lists)
    assert (lists / "current.json").read_text("utf-8") == pointer
    export(lake, online)
    with pytest.raises(ValueError, match=r"must be a folder of export_candidates alone, got one with .* format online"):
        export_candidates.main([*arguments, str(online)])


def test_a_store_without_local_files_gets_the_same_folder(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(lake, tmp_path / "online")
    monkeypatch.setattr(exporting, "local_path", lambda uri: None)
    monkeypatch.setattr("jobs.serving.export.versioned_folder.local_path", lambda uri: None)
    stored = tmp_path / "stored"
    (tmp_path / "stored").mkdir()
    assert export(lake, stored) == export(lake, stored) == 54
    assert version_in(stored) == version_in(tmp_path / "online")
    assert OnlineModel.current(stored).manifest == OnlineModel.current(tmp_path / "online").manifest
    for damage in (Path.unlink, partial(Path.write_bytes, data=b"cut")):
        damage(stored / version_in(stored) / "item_ids.parquet")
        assert export(lake, stored) == 54
        assert OnlineModel.current(stored).manifest == OnlineModel.current(tmp_path / "online").manifest


def test_before_a_publication_and_with_a_day_there_is_nothing_to_export(
    lake: Lake, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        export(lake, tmp_path / "online", "--ds", str(DAY))
    assert "--ds must not be given" in capsys.readouterr().err
    shutil.rmtree(Path(lake.uri) / "publications")
    with pytest.raises(NoSuchDay, match="nothing is published"):
        export(lake, tmp_path / "online")
    assert not (tmp_path / "online").exists()
    assert json.dumps(os.listdir(tmp_path)) == '["lake"]'
