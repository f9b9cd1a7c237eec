"""A secret in every place that may have one: jobs use it, and it appears nowhere else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from jobs.lake.lake import Lake
from tests.conftest import DAYS, SMALL
from tests.processes import isolated_process, living_processes

THIRD = DAYS[2]
SECRET = "Tr0ub4dor-and-3"
RUN = """
import os, sys
from jobs import build_item_counts, publish_candidates, report_run, train_two_tower
from jobs.cli.run import run
from jobs.lake.session import spark_session

def jobs(_):
    spark = spark_session("secrets", small_days=True)
    assert spark.conf.get("spark.hadoop.fs.s3a.secret.key") == os.environ["AWS_SECRET_ACCESS_KEY"]
    build_item_counts.main(sys.argv[1:])
    train_two_tower.main(sys.argv[1:])
    publish_candidates.main([*sys.argv[1:3], *sys.argv[5:], "--rollback"])
    report_run.main(sys.argv[1:])
    build_item_counts.main([*sys.argv[1:3], *sys.argv[5:], "--ds", "1999-01-01"])

run(jobs)
"""


def texts(lake: Path) -> Iterator[tuple[Path, str]]:
    """The contents of every file of a lake as text; Parquet files are decoded."""
    for file in lake.rglob("*"):
        if file.suffix == ".parquet" and "_delta_log" not in file.parts:
            yield file, str(pl.read_parquet(file, hive_partitioning=False).to_dicts())
        elif file.is_file():
            yield file, file.read_bytes().decode("latin-1")


def test_a_secret_appears_nowhere_else(simulated_copy: Lake, tmp_path: Path) -> None:
    lake, own = simulated_copy.uri, tmp_path / "own.toml"
    own.write_text(
        Path(SMALL).read_text("utf-8").replace('uri = "none"', f'uri = "http://me:{SECRET}@127.0.0.1:9"'), "utf-8"
    )
    conf = tmp_path / "conf"
    conf.mkdir()
    (conf / "spark-defaults.conf").write_text(f"spark.hadoop.fs.s3a.secret.key {SECRET}\n", "utf-8")
    environment = {
        **os.environ,
        "AIRFLOW_CONN_BATCH_RECALL_SPARK": f'{{"conn_type": "spark", "password": "{SECRET}"}}',
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "MLFLOW_TRACKING_PASSWORD": SECRET,
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
        "SPARK_CONF_DIR": str(conf),
    }
    command = [sys.executable, "-c", RUN, "--lake", lake, "--ds", str(THIRD), "--config", str(own)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    commands: set[str] = set()
    log = tmp_path / "log"
    with log.open("w") as out, isolated_process(command, env=environment, **{**pipes, "stdout": out}) as job:
        end = time.monotonic() + 240
        while job.poll() is None and time.monotonic() < end:
            for pid in living_processes(job.pid):
                try:
                    commands.add(Path(f"/proc/{pid}/cmdline").read_text("utf-8"))
                except OSError:  # it has ended
                    continue
            time.sleep(0.05)
    output = log.read_text("utf-8")
    assert "error: table interactions has no row for 1999-01-01" in output  # the last job ran, and failed in one line
    assert output.count("warning: MLflow at http://127.0.0.1:9 was not updated") == 2
    assert any("model.training.fit" in line for line in commands)
    assert any("java" in line for line in commands)
    assert SECRET not in output
    assert not [line for line in commands if SECRET in line]
    found = dict(texts(Path(lake)))
    assert any(file.name == "model.json" for file in found)
    assert any(file.name == "index.html" for file in found)
    assert not [file for file, text in found.items() if SECRET in text]
