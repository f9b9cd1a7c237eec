"""Every download is pinned with its hash, and every package and SQL file is installed."""

from __future__ import annotations

import re
from distutils.core import run_setup
from pathlib import Path

import pyspark
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]


def entries(name: str) -> list[str]:
    """The entries of a file in requirements/: comments dropped, continued lines joined."""
    lines = (ROOT / "requirements" / name).read_text("utf-8").replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def pinned(lock: str) -> dict[str, str]:
    return dict(entry.split()[0].split("==") for entry in entries(lock))


@pytest.mark.parametrize(
    "lock",
    ["airflow.txt", "bootstrap.txt", "build.txt", "compiler.txt", "compute.txt", "data.txt", "runtime.txt", "s3.txt"],
)
def test_every_locked_line_has_one_version_and_a_hash(lock: str) -> None:
    assert entries(lock)
    for entry in entries(lock):
        assert re.fullmatch(r"[\w.-]+==[\w.]+( +--hash=sha256:[0-9a-f]{64})+", entry), entry


@pytest.mark.parametrize("name", ["airflow", "build", "compute", "s3"])
def test_the_lock_pins_every_requirement(name: str) -> None:
    versions = pinned(f"{name}.txt")
    for asked in map(Requirement, entries(f"{name}.in")):
        assert asked.name in versions
        assert versions[asked.name] in asked.specifier, f"{asked} is asked for, {versions[asked.name]} is pinned"


def test_jars_have_the_version_of_the_python_package() -> None:
    for line in entries("jars.txt"):
        assert re.fullmatch(r"[0-9a-f]{64}  \S+\.jar", line), line
    version = pinned("compute.txt")["delta-spark"]
    assert entries("jars.txt")[0].endswith(f"  io.delta_delta-spark_2.13-{version}.jar")
    set_up = (ROOT / "requirements" / "set_up.sh").read_text("utf-8")
    assert f"DELTA=io.delta:delta-spark_2.13:{version}\n" in set_up


def test_the_s3_connector_has_the_version_of_sparks_hadoop() -> None:
    for line in entries("s3_jars.txt"):
        assert re.fullmatch(r"[0-9a-f]{64}  \S+\.jar", line), line
    (client,) = (Path(pyspark.__file__).parent / "jars").glob("hadoop-client-api-*.jar")
    version = client.stem.removeprefix("hadoop-client-api-")
    assert entries("s3_jars.txt")[0].endswith(f"  org.apache.hadoop_hadoop-aws-{version}.jar")
    set_up = (ROOT / "requirements" / "set_up_s3.sh").read_text("utf-8")
    assert f"HADOOP_AWS=org.apache.hadoop:hadoop-aws:{version} " in set_up


def test_every_package_and_sql_file_is_installed() -> None:
    distribution = run_setup(str(ROOT / "setup.py"), stop_after="init")
    found = {
        str(file.parent.relative_to(ROOT)).replace("/", ".")
        for room in ("jobs", "model", "sql")
        for file in (ROOT / room).rglob("*.py")
    }
    assert found <= set(distribution.packages)
    shipped = {file for pattern in distribution.package_data["sql"] for file in (ROOT / "sql").glob(pattern)}
    assert set((ROOT / "sql").rglob("*.sql")) == shipped
