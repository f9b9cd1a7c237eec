"""The zip alone is the project: on executors of their own, without the checkout, it makes the tables of a local run."""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from zipfile import ZipFile

import pytest
from pyspark.sql import functions as F

from jobs import run_day, simulate_log
from jobs.common import tables
from jobs.common.config import load_config
from jobs.common.models import model_version
from jobs.common.partitions import Lake
from model.versions import load_model
from tests.conftest import DAYS
from tests.processes import processes, session_of_its_own, spark_home

ROOT = Path(__file__).resolve().parents[1]
DAY, NEXT = DAYS[:2]
MASTER = "local-cluster[2,1,1024]"
WORLD = ["--start", str(DAY), "--users", "150", "--items", "100", "--late", "0.1", "--twice", "0.05"]
FEATURES = """
[training]
ranks = 2
launch = "spark_executors"
batch_size = 64
epochs = 2
threads = 1

[tracking]
uri = "none"

[features]
user = [
    { name = "history", kind = "item_list", length = 5, dim = 8 },
]
item = [
    { name = "item_id", kind = "id", dim = 8 },
    { name = "genres", kind = "categorical", length = 3, dim = 8 },
]
"""
DRIVER = """
import json, os, sys, time
import pandas as pd
import jobs
from jobs import build_negative_pools, build_sampling_probs, run_day, simulate_log, train_two_tower
from jobs.common.session import spark_session

days, world, common, answer = json.loads(sys.argv[1])
for day in days:
    simulate_log.main([*common, "--ds", day, *world])
    run_day.main([*common, "--ds", day, "--tables-only"])

for job in (build_negative_pools, build_sampling_probs, train_two_tower):
    job.main([*common, "--ds", days[-1]])

def where_it_runs(frames):
    import jobs.simulate_log
    for _ in frames:
        time.sleep(1)  # so that both executors get tasks
        with open(f"/proc/{os.getppid()}/stat") as stat:  # of the daemon that forked this worker
            executor = int(stat.read().rpartition(")")[2].split()[1])
        yield pd.DataFrame({"executor": [executor], "jobs": [os.path.abspath(jobs.simulate_log.__file__)]})

spark = spark_session("where")
rows = spark.range(0, 6, 1, 6).mapInPandas(where_it_runs, "executor long, jobs string").distinct().collect()
driver = spark._jvm.java.lang.ProcessHandle.current().pid()
said = {"driver": driver, "jobs": jobs.__file__, "executors": [row.asDict() for row in rows]}
with open(answer, "w") as file:
    json.dump({**said, "partitions": spark.conf.get("spark.sql.shuffle.partitions")}, file)
"""


@pytest.fixture(scope="module")
def batch_recall_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist") / "batch-recall.zip")


def build(target: Path) -> Path:
    subprocess.run([sys.executable, ROOT / "build_zip.py", target], check=True, timeout=60)
    return target


def alone(zipped: Path, home: Path) -> dict[str, str]:
    """An environment in which the zip comes before the checkout that is installed in .venv."""
    kept = {name: os.environ[name] for name in ("PATH", "JAVA_HOME", "JAVA_TOOL_OPTIONS") if name in os.environ}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(zipped)}


def test_zip_holds_the_project_and_nothing_else(batch_recall_zip: Path, tmp_path: Path) -> None:
    with ZipFile(batch_recall_zip) as archive:
        names = archive.namelist()
    wanted = {
        file.relative_to(ROOT).as_posix()
        for room in ("jobs", "model", "sql")
        for file in (ROOT / room).rglob("*")
        if file.suffix in {".py", ".sql", ".properties", ".html", ".css"}
    }
    assert set(names) == wanted | {"recall.toml"}
    assert names == sorted(names, key=Path)
    assert build(tmp_path / "again.zip").read_bytes() == batch_recall_zip.read_bytes()


def test_default_configuration_is_found_in_the_zip(batch_recall_zip: Path, tmp_path: Path) -> None:
    code = "from jobs.common.config import *; print(default_path()); print(load_config().model_dump_json())"
    command = [sys.executable, "-c", code]
    environment = alone(batch_recall_zip, tmp_path)
    said = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    path, config = said.stdout.splitlines()
    assert path == f"{batch_recall_zip}/recall.toml"
    assert config == load_config().model_dump_json()


def test_a_zip_without_configuration_is_told_apart(batch_recall_zip: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.zip"
    with ZipFile(batch_recall_zip) as archive, ZipFile(bare, "w") as copy:
        for name in archive.namelist():
            if name != "recall.toml":
                copy.writestr(name, archive.read(name))
    command = [sys.executable, "-c", "from jobs.common.config import *; load_config()"]
    said = subprocess.run(command, cwd=tmp_path, env=alone(bare, tmp_path), capture_output=True, text=True, timeout=60)
    assert "ValueError: configuration " in said.stderr
    assert "recall.toml cannot be read" in said.stderr


def model_of(lake: Lake, ds: dt.date) -> Path:
    return Path(lake.model_path("models", model_version(lake, ds)))


def rows_of(lake: Lake, name: str) -> list[str]:
    return sorted(map(str, lake.spark.read.format("delta").load(lake.path(name)).collect()))


def test_days_on_a_cluster_are_those_of_a_local_session(lake: Lake, batch_recall_zip: Path, tmp_path: Path) -> None:
    config, answer, log, elsewhere = (tmp_path / name for name in ("features.toml", "answer.json", "log", "elsewhere"))
    config.write_text(FEATURES, "utf-8")
    elsewhere.mkdir()
    home = spark_home(tmp_path / "spark")
    cluster = Lake(lake.spark, str(tmp_path / "cluster"))
    days, common = [str(DAY), str(NEXT)], ["--config", str(config)]
    ordered = [days, WORLD, [*common, "--lake", cluster.uri, "--master", MASTER], str(answer)]
    # quick to start, not quick to run; and machines that do not keep UTC
    options = "--conf spark.sql.codegen.wholeStage=false --conf spark.executor.extraJavaOptions=-XX:TieredStopAtLevel=1"
    environment = {
        **alone(batch_recall_zip, tmp_path),
        "SPARK_HOME": str(home),
        "PYSPARK_SUBMIT_ARGS": f"{options} pyspark-shell",
        "TZ": "Asia/Tokyo",
    }
    command = [sys.executable, "-c", DRIVER, json.dumps(ordered)]
    with (
        log.open("w") as out,
        session_of_its_own(command, cwd=elsewhere, env=environment, stdout=out, stderr=out) as process,
    ):
        for day in days:  # meanwhile
            simulate_log.main([*common, "--lake", lake.uri, "--ds", day, *WORLD])
            run_day.main([*common, "--lake", lake.uri, "--ds", day, "--tables-only"])
        assert process.wait(timeout=500) == 0, log.read_text()[-4000:]
        deadline = time.monotonic() + 20
        while processes(process.pid) and time.monotonic() < deadline:
            time.sleep(0.2)
        assert not processes(process.pid)

    said = json.loads(answer.read_text())
    assert said["jobs"] == f"{batch_recall_zip}/jobs/__init__.py"
    assert len({row["executor"] for row in said["executors"]} - {said["driver"], process.pid}) == 2
    for row in said["executors"]:  # the copy that Spark has sent
        assert Path(row["jobs"]).match(f"{home}/work/app-*/*/{batch_recall_zip.name}/jobs/simulate_log.py"), row
    assert said["partitions"] == "4"
    assert " WARN " not in log.read_text()  # log4j2.properties is read from the zip
    assert " ERROR " not in log.read_text()

    _, trained = load_model(model_of(cluster, NEXT))  # two ranks on two executors
    examples = lake.day(tables.training_examples(load_config(str(config))), NEXT).count()
    assert trained.metrics["validation"]["rows"] == examples
    assert trained.metrics["training_rows"] > examples
    assert not (Path(cluster.uri) / "checkpoints" / trained.name).exists()

    late = lake.day(tables.CLICKS, NEXT).where(F.col("clicked_at") < F.lit(str(NEXT)).cast("timestamp"))
    assert not late.isEmpty()
    written = {folder.parent.name for folder in Path(lake.uri).glob("*/_delta_log")}
    assert written >= {
        "impressions", "clicks", "users", "items", "interactions", "vocabularies", "user_snapshot", "item_snapshot",
        "training_examples", "user_histories", "daily_item_counts",
    }  # fmt: skip
    of_training = {"unclicked_items", "item_sampling_probs", "model_versions"}
    assert {folder.parent.name for folder in Path(cluster.uri).glob("*/_delta_log")} == written | of_training
    for name in sorted(written):
        rows = rows_of(lake, name)
        assert rows, name
        assert rows_of(cluster, name) == rows, name
