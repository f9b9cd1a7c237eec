"""Every benchmark runs through at a tiny size (`--smoke`); a new one is found by its main()."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import benchmarks
from tests.imports import import_graph, module_name

FOLDER = Path(benchmarks.__file__).parent
WITH_MAIN = {
    ".".join(file.relative_to(FOLDER.parent).with_suffix("").parts): file.read_text("utf-8")
    for file in sorted(FOLDER.rglob("*.py"))
    if re.search(r"^def main\(", file.read_text("utf-8"), re.MULTILINE)
}
PART_OF_ANOTHER = {"benchmarks.quality.tfrs_model"}  # runs in TensorFlow's environment, started by against_tfrs
PROCESSES = {
    "benchmarks.training.two_processes",
    "benchmarks.training.tuned_settings",
}  # start Python processes: as slow as Spark
WITHOUT_SPARK = {"benchmarks.worlds.prepared_days"}  # draws its world with NumPy at the tiny size


def opens_session(text: str) -> bool:
    return "spark_session(" in text or "import jobs" in text


def with_session() -> set[str]:
    """Benchmarks that open a Spark session, or import another that does."""
    graph = import_graph(FOLDER.parent, [FOLDER.name])
    files = {module_name(file, FOLDER.parent): file for file in FOLDER.rglob("*.py")}
    found = {name for name in set(graph) - WITHOUT_SPARK if opens_session(files[name].read_text("utf-8"))}
    while more := {name for name, imported in graph.items() if name not in found and imported & found}:
        found |= more
    return found & set(WITH_MAIN)


SPARK = with_session() | {"benchmarks.quality.demo_quality"}
FAST = sorted(set(WITH_MAIN) - SPARK - PROCESSES - PART_OF_ANOTHER)


def run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not importlib.import_module(name).main(["--smoke"])  # None, or an exit code
    assert capsys.readouterr().out.strip()


def test_all_benchmarks_are_found() -> None:
    assert len(WITH_MAIN) > 15
    assert {"benchmarks.growth", "benchmarks.serving.scoring", "benchmarks.tables.fixed_costs"} <= SPARK
    assert set(WITH_MAIN) >= PROCESSES | PART_OF_ANOTHER
    assert "benchmarks.training.loader" in FAST


@pytest.mark.parametrize("name", FAST)
def test_a_benchmark_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(name, capsys)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(SPARK | PROCESSES))
def test_a_benchmark_with_spark_or_processes_runs(
    name: str, spark: SparkSession, capsys: pytest.CaptureFixture[str]
) -> None:
    run(name, capsys)
    assert not spark.sparkContext._jsc.sc().isStopped()  # type: ignore[union-attr]
