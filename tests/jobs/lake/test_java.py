"""Which Java a session takes, and what a machine with another one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.lake.session.java import SparkNotStarted, require_java


def java_that_says(home: Path, text: str) -> None:
    java = home / "bin" / "java"
    java.parent.mkdir()
    java.write_text(f"#!/bin/sh\necho '{text}' >&2\n", "utf-8")
    java.chmod(0o755)


@pytest.mark.parametrize(
    ("said", "version"), [('openjdk version "1.8.0_392"', 8), ('openjdk version "11.0.21" 2023-10-17', 11)]
)
def test_an_old_java_is_said_to_be_too_old(
    tmp_path: Path, said: str, version: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    java_that_says(tmp_path, said)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(SparkNotStarted, match=f"Java 17 or later, got Java {version}; JAVA_HOME is {tmp_path}"):
        require_java()


@pytest.mark.parametrize("said", ['openjdk version "17.0.9"', 'java version "21" 2023-09-19', "cannot allocate memory"])
def test_another_java_is_not_blamed(tmp_path: Path, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    java_that_says(tmp_path, said)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    require_java()


@pytest.mark.parametrize("home", [None, "nowhere"])
def test_no_java_is_said_to_be_none(tmp_path: Path, home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    if home:
        monkeypatch.setenv("JAVA_HOME", home)
    with pytest.raises(SparkNotStarted, match="got none; JAVA_HOME is " + (home or "not set, and java must be")):
        require_java()
