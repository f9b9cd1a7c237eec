from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests import lake_cache
from tests.lake_cache import MAX_AGE, cached_lake, hash_of


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The version that the next build writes; every build appends to it."""
    monkeypatch.setenv("BATCH_RECALL_TEST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(lake_cache, "ROOT", tmp_path / "root")
    monkeypatch.setattr(lake_cache, "INPUTS", ("code",))
    (tmp_path / "root" / "code").mkdir(parents=True)
    (tmp_path / "root" / "code" / "job.py").write_text("first")
    return []


def copy(builds: list[str], target: Path) -> str:
    def build(folder: Path) -> None:
        folder.mkdir()
        builds.append(f"build {len(builds)}")
        (folder / "table").write_text(builds[-1])

    return (cached_lake("lake", build, target) / "table").read_text()


def test_a_lake_is_built_once_and_copied(builds: list[str], tmp_path: Path) -> None:
    assert copy(builds, tmp_path / "one") == "build 0"
    (tmp_path / "one" / "table").write_text("changed by a test")
    assert copy(builds, tmp_path / "two") == "build 0"
    assert len(builds) == 1


def test_changed_code_and_a_day_of_age_build_it_again(builds: list[str], tmp_path: Path) -> None:
    copy(builds, tmp_path / "one")
    (tmp_path / "root" / "code" / "job.py").write_text("second")
    assert copy(builds, tmp_path / "two") == "build 1"
    (stored,) = (tmp_path / "cache").glob("lake-*")  # the outdated one is gone
    os.utime(stored, (then := time.time() - MAX_AGE - 1, then))
    assert copy(builds, tmp_path / "three") == "build 2"


def test_a_build_that_failed_leaves_nothing_that_is_copied(builds: list[str], tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        folder.mkdir()
        raise RuntimeError("a job failed")

    with pytest.raises(RuntimeError, match="a job failed"):
        cached_lake("lake", fail, tmp_path / "one")
    assert copy(builds, tmp_path / "two") == "build 0"


def test_the_hash_depends_on_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "code" / "__pycache__").mkdir(parents=True)
    (tmp_path / "code" / "a.py").write_text("1")
    first = hash_of(tmp_path, ("code",))
    (tmp_path / "code" / "__pycache__" / "a.pyc").write_text("compiled")
    assert hash_of(tmp_path, ("code",)) == first
    (tmp_path / "code" / "a.py").rename(tmp_path / "code" / "b.py")
    second = hash_of(tmp_path, ("code",))
    (tmp_path / "code" / "b.py").write_text("2")
    assert len({first, second, hash_of(tmp_path, ("code",))}) == 3
