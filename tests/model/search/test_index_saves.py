"""Saves of an index that are interrupted or fail, and saves over an older index."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model.search.backends import load_index
from tests.model.search.catalogues import BACKENDS, N_ITEMS, build, catalogue, unit


class Killed(BaseException):
    """Simulates a kill: no `except Exception` catches it."""


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "moment",
    ["array_files.np.save", "verified_folder.os.fsync", "verified_folder.os.rename", "verified_folder.json.dumps"],
)
def test_a_kill_while_saving_leaves_nothing(
    backend: str, moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: Any, **__: Any) -> None:
        assert not (tmp_path / "index").exists()
        raise Killed

    index = build(backend, *catalogue())
    with monkeypatch.context() as patch:
        patch.setattr(f"model.artifacts.{moment}", kill)
        patch.setattr(
            "model.artifacts.verified_folder.shutil.rmtree", lambda *_, **__: None
        )  # after a real kill nothing cleans up
        with pytest.raises(Killed):
            index.save(tmp_path / "index")
    left = list(tmp_path.iterdir())
    assert [path.name.startswith(".index.") for path in left] == [True]
    index.save(tmp_path / "index")
    load_index(tmp_path / "index")


def test_an_error_while_saving_leaves_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("model.artifacts.verified_folder.os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        build("exact", *catalogue()).save(tmp_path / "index")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_folder_is_whole_and_flushed_when_it_gets_its_name(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    renamed: list[Path] = []
    fsync, rename = os.fsync, os.rename

    def note_flush(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def check(source: Path, target: Path) -> None:
        load_index(source, "v1")
        assert {path.stat().st_ino for path in [source, *source.rglob("*")]} <= set(flushed)
        renamed.append(target)
        rename(source, target)

    monkeypatch.setattr("model.artifacts.verified_folder.os.fsync", note_flush)
    monkeypatch.setattr("model.artifacts.verified_folder.os.rename", check)
    build(backend, *catalogue()).save(tmp_path / "index")
    assert renamed == [tmp_path / "index"]
    assert tmp_path.stat().st_ino in flushed


@pytest.mark.parametrize("backend", BACKENDS)
def test_saving_again_replaces_the_folder(backend: str, tmp_path: Path) -> None:
    embeddings, items = catalogue()
    queries = unit(np.random.default_rng(14), 4)
    build(backend, embeddings, items).save(tmp_path / "index")
    old = load_index(tmp_path / "index")
    before = old.search(queries, 5)[0]
    build(backend, embeddings[:300], items[:300]).save(tmp_path / "index")
    assert len(load_index(tmp_path / "index")) == 300
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    np.testing.assert_array_equal(old.search(queries, 5)[0], before)  # an open index still reads the old files


def test_a_failed_replacement_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings, items = catalogue()
    build("exact", embeddings, items).save(tmp_path / "index")
    rename, calls = os.rename, []

    def second_fails(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == 2:
            raise OSError("no")
        rename(source, target)

    monkeypatch.setattr("model.artifacts.verified_folder.os.rename", second_fails)
    with pytest.raises(OSError, match="no"):
        build("exact", embeddings[:9], items[:9]).save(tmp_path / "index")
    assert len(load_index(tmp_path / "index")) == N_ITEMS
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
