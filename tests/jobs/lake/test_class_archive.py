"""The archive of classes: read where it is there and fits, and no reason for a JVM not to start."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pyspark
import pytest
from pyspark.sql import SparkSession

from jobs.lake.session import class_archive
from jobs.lake.session.settings import DRIVER_OPTIONS, SERIAL_COLLECTOR, embedded_settings

SMALL_JAR = next(Path(pyspark.__file__).parent.glob("jars/jsr305-*.jar"))


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a session would look for an archive."""
    monkeypatch.setattr(class_archive, "_find_spark_home", lambda: str(tmp_path))
    return class_archive.class_archive()


def java(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["java", *options], capture_output=True, text=True, timeout=60, check=False)


def assert_silent(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stdout) == (0, "")
    assert "cds" not in done.stderr


def test_a_jvm_gets_the_archive_that_is_there(archive: Path) -> None:
    without = embedded_settings("local[2]", small_days=False)[DRIVER_OPTIONS]
    assert "SharedArchive" not in without
    archive.touch()
    given = embedded_settings("local[2]", small_days=False)[DRIVER_OPTIONS]
    assert given == f"{without} {class_archive.reading_options()}"
    assert f"-XX:SharedArchiveFile={archive}" in shlex.split(given)


def test_an_archive_that_does_not_fit_is_ignored_in_silence(archive: Path, tmp_path: Path) -> None:
    one, other = (str(shutil.copy(SMALL_JAR, tmp_path / name)) for name in ("one.jar", "other.jar"))
    java(*shlex.split(class_archive.writing_options(archive)), "-cp", one, "javax.annotation.Nonnull")  # loads a class
    options = [*shlex.split(class_archive.reading_options()), "-cp", other, "-version"]
    loud = [option for option in options if not option.startswith("-Xlog")]
    assert "[cds" in java(*loud).stdout
    assert_silent(java(*options))
    archive.unlink()  # the JVM has made it read only
    archive.write_bytes(b"written by nobody" * 1_000)
    assert_silent(java(*options))


def test_the_running_jvm_has_mapped_the_archive_of_the_set_up(spark: SparkSession) -> None:
    archive = class_archive.class_archive()
    if not archive.is_file():
        pytest.skip(f"no archive {archive}: requirements/archive_classes.py writes it")
    gateway = spark.sparkContext._gateway
    assert gateway is not None
    files = {line.split()[-1] for line in Path(f"/proc/{gateway.proc.pid}/maps").read_text("utf-8").splitlines()}
    assert str(archive.resolve()) in files, "Java or Spark has changed since: run requirements/archive_classes.py"


@pytest.mark.parametrize("variable", ["JAVA_TOOL_OPTIONS", "SPARK_SUBMIT_OPTS"])
def test_the_collector_that_the_environment_chooses_is_the_only_one(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(variable, raising=False)
    assert SERIAL_COLLECTOR in embedded_settings("local[2]", small_days=True)[DRIVER_OPTIONS]
    monkeypatch.setenv(variable, "-Xss4m -XX:+UseParallelGC")
    assert "GC" not in embedded_settings("local[2]", small_days=True)[DRIVER_OPTIONS]
    monkeypatch.setenv(variable, "-XX:+DisableExplicitGC")
    assert SERIAL_COLLECTOR in embedded_settings("local[2]", small_days=True)[DRIVER_OPTIONS]
