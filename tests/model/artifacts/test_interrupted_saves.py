"""A model folder is complete or absent, whenever a save fails or is killed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from model.artifacts import model_version as versions
from model.artifacts import verified_folder as folders
from model.artifacts.model_version import WEIGHTS, ModelVersion, save_model
from tests.model.artifacts.small_models import SPEC, is_whole, towers, version


def test_a_save_that_fails_leaves_nothing_behind(folder: Path) -> None:
    bad = ModelVersion("v2", SPEC, {}, {}, {"loss": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        save_model(folder, towers(1), bad)
    assert is_whole(folder, "v1", seed=0)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


def test_a_rename_that_fails_brings_the_older_version_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    through = os.rename
    refused: list[Path] = []

    def rename(source: Path, target: Path) -> None:
        if target == folder and not refused:
            refused.append(source)
            raise OSError("no space left")
        through(source, target)

    monkeypatch.setattr(os, "rename", rename)
    with pytest.raises(OSError, match="no space left"):
        save_model(folder, towers(1), version("v2"))
    assert is_whole(folder, "v1", seed=0)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


class Killed(BaseException):
    """Simulates SIGKILL: nothing cleans up after it."""


def kill_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int) -> None:
    """Raise Killed instead of the function's call of this number, counted from 0."""
    through, calls = getattr(owner, name), []

    def dies(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) > call:
            monkeypatch.setattr(shutil, "rmtree", lambda *args, **kwargs: None)  # a killed process cleans nothing up
            raise Killed
        return through(*args, **kwargs)

    monkeypatch.setattr(owner, name, dies)


def torn_delete(folder: Path, **kwargs: Any) -> None:
    """Raise Killed in the middle of a deletion, after one file of several is gone."""
    if folder.exists():
        (folder / WEIGHTS).unlink()
        raise Killed


KILLS = [
    pytest.param(versions, "save_weights", 0, id="before the weights"),
    pytest.param(folders, "sha256", 0, id="before the manifest"),
    pytest.param(folders, "flush", 0, id="before the flush"),
    pytest.param(folders, "flush", 2, id="in the flush"),
    pytest.param(os, "rename", 0, id="before the first rename"),
]


@pytest.mark.parametrize(("owner", "name", "call"), KILLS)
def test_killed_before_the_rename_there_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int
) -> None:
    with monkeypatch.context() as patches:
        kill_at(patches, owner, name, call)
        with pytest.raises(Killed):
            save_model(tmp_path / "model", towers(), version("v1"))
    assert not (tmp_path / "model").exists()
    save_model(tmp_path / "model", towers(), version("v1"))  # a leftover draft does no harm
    assert is_whole(tmp_path / "model", "v1", seed=0)


@pytest.mark.parametrize(("owner", "name", "call"), KILLS)
def test_killed_before_the_rename_the_older_version_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, call: int
) -> None:
    with monkeypatch.context() as patches:
        kill_at(patches, owner, name, call)
        with pytest.raises(Killed):
            save_model(folder, towers(1), version("v2"))
    assert is_whole(folder, "v1", seed=0)


def test_killed_between_the_two_renames_there_is_no_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patches:
        kill_at(patches, os, "rename", 1)
        with pytest.raises(Killed):
            save_model(folder, towers(1), version("v2"))
    assert not folder.exists()
    save_model(folder, towers(1), version("v2"))
    assert is_whole(folder, "v2", seed=1)


def test_what_a_kill_left_is_removed_once_it_is_old(folder: Path) -> None:
    left = [folder.with_name(name) for name in (".model.1.draft", ".model.2.old", ".other.1.draft", ".model.3.draft")]
    for path in left:
        (path / "half").mkdir(parents=True)
    for path in left[:3]:
        os.utime(path, (0, 0))
    save_model(folder, towers(1), version("v2"))
    assert [path.exists() for path in left] == [False, False, True, True]  # the last one may still be in use


def test_killed_while_the_older_version_is_deleted_the_new_one_is_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "rmtree", torn_delete)
    with pytest.raises(Killed):
        save_model(folder, towers(1), version("v2"))
    assert is_whole(folder, "v2", seed=1)
