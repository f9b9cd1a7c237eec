"""A day on a standalone cluster that has the zip but no checkout gives the same tables as a local session."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from pyspark.sql import functions as F

from jobs import build_user_embeddings, run_day, score_users, simulate_log
from jobs.config.loading import load_config
from jobs.inference.references import model_version
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables import Table
from jobs.report.files import report_path
from jobs.serving import read_candidates
from model.artifacts.model_version import load_model
from tests.conftest import DAYS
from tests.processes import all_ended, isolated_process
from tests.standalone import (
    LOOPBACK,
    ROOT,
    SPARK_HOME,
    Cluster,
    build_zip,
    python_without_the_project,
    standalone_cluster,
    write_settings,
)

DAY, NEXT = DAYS[:2]
USERS = 150
WORLD = ["--start", str(DAY), "--users", str(USERS), "--items", "300", "--late", "0.1", "--twice", "0.05"]
CONFIG = """
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

[index]
backend = "exact"
build_backends = ["exact"]

[scoring]
candidates_per_user = 20

[evaluation]
cutoffs = [10, 20]

[gate]                           # two days, two epochs
min_recall_over_popularity = 0.0
max_head_share = 1.0
"""
OF_THE_MODEL = {
    "model_versions", "user_embeddings", "item_embeddings", "item_indexes", "candidates", "gate", "publications",
}  # fmt: skip


@pytest.fixture(scope="module")
def batch_recall_zip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_zip(tmp_path_factory.mktemp("dist") / "batch-recall.zip")


def zip_environment(zipped: Path, home: Path) -> dict[str, str]:
    """Environment variables with which Python imports the project from the zip, not from the checkout."""
    kept = {name: os.environ[name] for name in ("PATH", "JAVA_HOME", "JAVA_TOOL_OPTIONS") if name in os.environ}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(zipped)}


def test_the_zip_has_the_project_and_nothing_else(batch_recall_zip: Path, tmp_path: Path) -> None:
    with ZipFile(batch_recall_zip) as archive:
        names = archive.namelist()
    wanted = {
        file.relative_to(ROOT).as_posix()
        for room in ("batch_recall", "jobs", "model", "sql")
        for file in (ROOT / room).rglob("*")
        if file.suffix in {".py", ".sql", ".properties", ".html", ".css", ".toml"}
    }
    assert set(names) == wanted | {"recall.toml"}
    assert names == sorted(names, key=Path)
    assert build_zip(tmp_path / "again.zip").read_bytes() == batch_recall_zip.read_bytes()


def test_default_configuration_is_found_in_the_zip(batch_recall_zip: Path, tmp_path: Path) -> None:
    code = "from jobs.config.loading import *; print(default_path()); print(load_config('movielens').model_dump_json())"
    command = [sys.executable, "-c", code]
    environment = zip_environment(batch_recall_zip, tmp_path)
    said = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    path, config = said.stdout.splitlines()
    assert path == f"{batch_recall_zip}/recall.toml"
    assert config == load_config("movielens").model_dump_json()


def test_a_zip_without_configuration_is_an_error(batch_recall_zip: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.zip"
    with ZipFile(batch_recall_zip) as archive, ZipFile(bare, "w") as copy:
        for name in archive.namelist():
            if name != "recall.toml":
                copy.writestr(name, archive.read(name))
    command = [sys.executable, "-c", "from jobs.config.loading import *; load_config()"]
    said = subprocess.run(
        command, cwd=tmp_path, env=zip_environment(bare, tmp_path), capture_output=True, text=True, timeout=60
    )
    assert "ValueError: configuration " in said.stderr
    assert "recall.toml cannot be read" in said.stderr


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with standalone_cluster(tmp_path / "cluster") as running:
        yield running


def written(lake: Lake) -> set[str]:
    return {folder.parent.name for folder in Path(lake.uri).glob("*/_delta_log")}


def rows_of(lake: Lake, name: str, *left_out: str) -> list[str]:
    return sorted(map(str, lake.spark.read.format("delta").load(lake.path(name)).drop(*left_out).collect()))


@pytest.mark.slow
def test_a_day_on_a_cluster_is_that_of_a_local_session(
    lake: Lake, batch_recall_zip: Path, cluster: Cluster, tmp_path: Path
) -> None:
    config, log, elsewhere = (tmp_path / name for name in ("own.toml", "log", "elsewhere"))
    elsewhere.mkdir()
    config.write_text(CONFIG, "utf-8")
    with ZipFile(batch_recall_zip) as archive:
        job = archive.extract("jobs/run_day.py", tmp_path / "submitted")
    python = python_without_the_project(tmp_path / "python")
    there = Lake(lake.spark, str(tmp_path / "there"))
    here, on_cluster = (["--config", str(config), "--lake", place.uri] for place in (lake, there))
    environment = {
        **{name: value for name, value in zip_environment(batch_recall_zip, tmp_path).items() if name != "PYTHONPATH"},
        **LOOPBACK,
        "PYSPARK_PYTHON": str(python),
        "TZ": "Asia/Tokyo",  # machines that are not set to UTC
    }
    command = [str(SPARK_HOME / "bin" / "spark-submit"), "--master", cluster.url]
    command += ["--properties-file", str(write_settings(tmp_path / "settings", batch_recall_zip))]
    command += ["--py-files", str(batch_recall_zip)]
    command += ["--conf", f"spark.executorEnv.PYTHONPATH={batch_recall_zip.name}"]
    command += [job, *on_cluster, "--ds", str(NEXT)]

    simulate_log.main([*here, "--ds", str(DAY), *WORLD])
    run_day.main([*here, "--ds", str(DAY), "--tables-only"])
    simulate_log.main([*here, "--ds", str(NEXT), *WORLD])
    shutil.copytree(lake.uri, there.uri)
    with (
        log.open("w") as out,
        isolated_process(command, cwd=elsewhere, env=environment, stdout=out, stderr=out) as process,
    ):
        run_day.main([*here, "--ds", str(NEXT), "--tables-only"])  # at the same time
        for module in run_day.WINDOW_JOBS:
            module.main([*here, "--ds", str(NEXT)])
        assert process.wait(timeout=500) == 0, log.read_text()[-4000:]
        assert all_ended(process.pid)

    assert " WARN " not in log.read_text()
    assert " ERROR " not in log.read_text()
    executors = cluster.executors()
    assert len(executors) == 2
    assert all((executor / batch_recall_zip.name).is_file() for executor in executors)

    late = lake.day(tables.CLICKS, NEXT).where(F.col("clicked_at") < F.lit(str(NEXT)).cast("timestamp"))
    assert not late.isEmpty()
    assert written(there) - written(lake) == OF_THE_MODEL
    for name in sorted(written(lake)):
        rows = rows_of(lake, name)
        assert rows, name
        assert rows_of(there, name) == rows, name
    check_model(there, tables.training_examples(load_config(str(config))))
    check_publication(there, on_cluster)


def check_model(there: Lake, examples: Table) -> None:
    """Two ranks on executors with one core each trained on all examples and left no checkpoint."""
    _, trained = load_model(Path(there.model_path("models", model_version(there, NEXT))))
    held_out = there.day(examples, NEXT).count()
    assert trained.metrics["validation"]["rows"] == held_out
    assert trained.metrics["training_rows"] == there.read(examples).count() > held_out
    assert not (Path(there.uri) / "checkpoints" / trained.name).exists()


def check_publication(there: Lake, arguments: list[str]) -> None:
    """Every user has the published list that a local session makes with the same model."""
    published = read_candidates(there.uri)
    assert published.groupby("user_id").size().to_dict() == {f"u{number}": 20 for number in range(USERS)}
    assert set(published["model_version"]) == {model_version(there, NEXT)}
    assert "</html>" in Path(report_path(there.uri, NEXT)).read_text("utf-8")
    lists, vectors = rows_of(there, "candidates", "scored_at"), vectors_of(there)
    for module in (score_users, build_user_embeddings):
        module.main([*arguments, "--ds", str(NEXT)])
    assert rows_of(there, "candidates", "scored_at") == lists
    assert np.allclose(vectors_of(there), vectors, atol=1e-6)  # the last bits of a product depend on its batch


def vectors_of(lake: Lake) -> np.ndarray:
    """Embeddings [users, D], ordered by user_id."""
    rows = lake.day(tables.USER_EMBEDDINGS, NEXT).orderBy("user_id").select("embedding").collect()
    return np.array([row.embedding for row in rows])
