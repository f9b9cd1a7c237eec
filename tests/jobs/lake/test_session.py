"""Settings of Spark sessions: defaults never replace what the user gave, and small days are chosen by their size."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.cli import lake as cli
from jobs.lake import tables
from jobs.lake.integrity.delta_log import commit_name
from jobs.lake.session import settings
from jobs.lake.session.settings import (
    SMALL_DAYS_SETTINGS,
    apply_defaults,
    embedded_settings,
    local_settings,
)

ROOT = Path(__file__).resolve().parents[3]
DAY = dt.date(2024, 2, 29)
SHUFFLE, SNAPSHOT = "spark.sql.shuffle.partitions", "spark.databricks.delta.snapshotPartitions"
CODEGEN, FACTORY, ADAPTIVE = SMALL_DAYS_SETTINGS
ZONE, MEMORY, PROGRESS = "spark.sql.session.timeZone", "spark.driver.memory", "spark.ui.showConsoleProgress"

PRINT = """
import json, sys
from pyspark.sql import SparkSession
from jobs.lake.session import spark_session

def values(spark):
    return {key: spark.conf.get(key, None) for key in json.loads(sys.argv[1])}
"""
EMBEDDED = """
first = spark_session("first", "local[4]", small_days=True)
print(json.dumps(values(first)))
first.stop()
theirs = SparkSession.builder.master("local[4]").getOrCreate()  # as in a notebook
theirs.conf.set("spark.sql.codegen.wholeStage", "true")
print(json.dumps(values(spark_session("second", small_days=True))))
theirs.conf.set("spark.sql.codegen.factoryMode", "FALLBACK")
print(json.dumps(values(spark_session("third", small_days=True))))
"""
SUBMITTED = """
print(json.dumps(values(spark_session("submitted", small_days=True))))
"""


def printed(command: list[str], script: Path, code: str, **variables: str) -> list[dict[str, str]]:
    script.write_text(PRINT + code, "utf-8")
    keys = json.dumps([SHUFFLE, SNAPSHOT, ADAPTIVE, CODEGEN, FACTORY, ZONE, MEMORY, PROGRESS])
    given = {name: value for name, value in os.environ.items() if name != "PYSPARK_GATEWAY_PORT"}
    environment = {**given, "PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    done = subprocess.run(
        [*command, str(script), keys], env={**environment, **variables}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def test_defaults_replace_no_setting_of_an_embedded_session(tmp_path: Path) -> None:
    (tmp_path / "spark-defaults.conf").write_text(f"# ours\n{SNAPSHOT}   3\n  {ADAPTIVE} = true\n", "utf-8")
    submitted = f"--conf {SHUFFLE}=7 --conf={PROGRESS}=true --driver-memory 700m --conf {ZONE}=Asia/Tokyo pyspark-shell"
    first, second, third = printed(
        [sys.executable],
        tmp_path / "embedded.py",
        EMBEDDED,
        PYSPARK_SUBMIT_ARGS=submitted,
        SPARK_CONF_DIR=str(tmp_path),
    )
    given = {SHUFFLE: "7", SNAPSHOT: "3", ADAPTIVE: "true", PROGRESS: "true", MEMORY: "700m"}
    assert {key: first[key] for key in given} == given
    assert (first[CODEGEN], first[FACTORY]) == ("false", "NO_CODEGEN")  # which the user did not give
    assert first[ZONE] == "UTC"  # required: tables would be wrong
    # a session that the user started, and changed
    assert {key: second[key] for key in (SHUFFLE, SNAPSHOT, ADAPTIVE)} == {
        SHUFFLE: "7",
        SNAPSHOT: "3",
        ADAPTIVE: "true",
    }
    assert (second[CODEGEN], second[FACTORY], second[ZONE]) == ("true", "NO_CODEGEN", "UTC")
    assert (third[CODEGEN], third[FACTORY]) == ("true", "FALLBACK")  # nor one that the user changed later


def test_defaults_replace_no_setting_of_spark_submit(tmp_path: Path) -> None:
    submit = [str(Path(sys.executable).parent / "spark-submit"), "--master", "local[4]", "--driver-memory", "600m"]
    for key, value in ((SHUFFLE, "11"), (ADAPTIVE, "true"), ("spark.ui.enabled", "false")):
        submit += ["--conf", f"{key}={value}"]
    (found,) = printed(submit, tmp_path / "submitted.py", SUBMITTED)
    given = {SHUFFLE: "11", ADAPTIVE: "true", MEMORY: "600m"}
    assert {key: found[key] for key in given} == given
    assert (found[CODEGEN], found[FACTORY], found[SNAPSHOT], found[ZONE]) == ("false", "NO_CODEGEN", "2", "UTC")


def test_a_session_keeps_what_was_set_in_it(spark: SparkSession) -> None:
    session = spark.newSession()
    session.conf.set(SHUFFLE, "9")
    apply_defaults(session, {SHUFFLE: "5", FACTORY: "CODEGEN_ONLY"})
    assert (session.conf.get(SHUFFLE), session.conf.get(FACTORY)) == ("9", "CODEGEN_ONLY")


def test_tasks_of_a_large_shuffle_are_small_and_those_of_a_small_one_few(spark: SparkSession) -> None:
    session = spark.newSession()
    session.conf.set("spark.sql.adaptive.advisoryPartitionSizeInBytes", "2m")
    apply_defaults(session, local_settings(2, small_days=False))

    def tasks(rows: int) -> int:
        return session.range(rows).repartition("id").rdd.getNumPartitions()

    assert tasks(1_000) <= 2
    assert 4 < tasks(4_000_000) < 64


@pytest.mark.parametrize(
    ("cores", "small", "large"), [(1, 4, 32), (2, 4, 64), (4, 8, 128), (16, 32, 512), (64, 128, 1000)]
)
def test_shuffles_on_one_machine_have_partitions_by_its_cores(cores: int, small: int, large: int) -> None:
    made = [local_settings(cores, small_days=small_days)[SHUFFLE] for small_days in (True, False)]
    assert made == [str(small), str(large)]


@pytest.mark.parametrize(
    ("submitted", "properties", "removed"),
    [
        ("pyspark-shell", "", set()),
        ("--conf spark.ui.enabled=true pyspark-shell", "", {"spark.ui.enabled"}),
        ("-c spark.ui.enabled=true pyspark-shell", "", {"spark.ui.enabled"}),
        ("--conf='spark.ui.enabled=true' pyspark-shell", "", {"spark.ui.enabled"}),
        ("--driver-memory 4g pyspark-shell", "", {MEMORY}),
        ("--driver-memory=4g pyspark-shell", "", {MEMORY}),
        ("--driver-java-options '-Da=b -Dc=d' pyspark-shell", "", {"spark.driver.extraJavaOptions"}),
        ("pyspark-shell", f"{MEMORY} 4g\n{PROGRESS}:true\n#spark.ui.enabled true", {MEMORY, PROGRESS}),
        ("--properties-file other.conf pyspark-shell", f"{MEMORY} 4g", {"spark.ui.enabled"}),
    ],
)
def test_a_jvm_is_started_with_what_the_user_gave(
    submitted: str, properties: str, removed: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARK_CONF_DIR", str(tmp_path))
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", "pyspark-shell")
    ours = embedded_settings("local[2]", small_days=True)
    Path("spark-defaults.conf").write_text(properties, "utf-8")
    Path("other.conf").write_text("spark.ui.enabled=true\n", "utf-8")
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", submitted)
    assert ours.keys() - embedded_settings("local[2]", small_days=True).keys() == removed


@pytest.mark.parametrize(
    ("jars", "submitted", "fetched"),
    [
        (["io.delta_delta-spark_2.13-4.0.1.jar"], "pyspark-shell", None),
        (["spark-core_2.13-4.0.5.jar"], "pyspark-shell", "io.delta:delta-spark_2.13:4.0.1"),
        ([], "--jars delta.jar pyspark-shell", None),
        ([], "--packages io.delta:delta-spark_2.13:4.0.1,org.example:more:1 pyspark-shell", None),
    ],
)
def test_spark_fetches_the_jars_of_delta_if_it_has_none_and_is_given_none(
    jars: list[str], submitted: str, fetched: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jars").mkdir()
    for name in jars:
        (tmp_path / "jars" / name).touch()
    monkeypatch.setattr(settings, "_find_spark_home", lambda: str(tmp_path))
    monkeypatch.setenv("PYSPARK_SUBMIT_ARGS", submitted)
    assert embedded_settings("local[2]", small_days=False).get("spark.jars.packages") == fetched


def land(lake: Path, ds: dt.date, rows: int) -> None:
    """Write the log, without files, of a table with impressions of a day."""
    log = lake / tables.IMPRESSIONS.name / "_delta_log"
    log.mkdir(parents=True)
    metadata = {
        "id": "impressions", "format": {"provider": "parquet", "options": {}}, "configuration": {}, "createdTime": 1,
        "schemaString": tables.IMPRESSIONS.schema.json(), "partitionColumns": ["ds"],
    }  # fmt: skip
    add = {
        "path": f"ds={ds}/1.parquet", "partitionValues": {"ds": str(ds)}, "size": 1, "modificationTime": 1,
        "dataChange": True, "stats": json.dumps({"numRecords": rows}),
    }  # fmt: skip
    protocol = {"minReaderVersion": 1, "minWriterVersion": 2}
    actions = [{"protocol": protocol}, {"metaData": metadata}, {"add": add}]
    (log / commit_name(0)).write_text("".join(json.dumps(action) + "\n" for action in actions), "utf-8")


@pytest.mark.parametrize(
    ("rows", "ds", "last", "small"),
    [
        (1_000, DAY, None, True),
        (1_001, DAY, None, False),
        (1_000, DAY + dt.timedelta(days=1), None, False),  # has not landed
        (1_000, DAY - dt.timedelta(days=2), DAY, True),
        (1_001, DAY - dt.timedelta(days=2), DAY, False),  # a range of days is as large as its largest
        (1_000, None, None, False),
    ],
)
def test_a_session_is_for_small_days_if_the_days_are_small(
    rows: int, ds: dt.date | None, last: dt.date | None, small: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "SMALL_DAY_ROWS", 1_000)
    monkeypatch.setattr(cli.SparkContext, "_active_spark_context", None)
    started = []
    monkeypatch.setattr(cli, "spark_session", lambda *_, small_days: started.append(small_days))
    monkeypatch.setattr(cli, "require_safe_commits", lambda *_, **__: None)
    land(tmp_path, DAY, rows)
    args = argparse.Namespace(lake=str(tmp_path), ds=ds, last=last, config=[], master=None)
    lake, config = cli.open_lake(args, "test")
    assert started == []
    assert lake.spark is None
    assert started == [small]
    (tmp_path / "impressions" / "_delta_log" / commit_name(0)).write_text('{"add"', "utf-8")
    assert not cli.are_days_small(args, config)  # the job that reads it says what is damaged
    shutil.rmtree(tmp_path / "impressions")
    (tmp_path / "impressions").touch()
    assert not cli.are_days_small(args, config)  # a file in place of the table


def test_a_lake_that_only_spark_reads_has_no_size_before_spark_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spark: SparkSession
) -> None:
    land(tmp_path, DAY, 1)
    args = argparse.Namespace(lake=str(tmp_path), ds=DAY, config=[], master=None)
    assert not cli.are_days_small(args, cli.load_config())  # the running session has its settings
    monkeypatch.setattr(cli.SparkContext, "_active_spark_context", None)
    assert cli.are_days_small(args, cli.load_config())
    monkeypatch.setattr(cli, "can_read_without_spark", lambda uri: False)
    assert not cli.are_days_small(args, cli.load_config())
