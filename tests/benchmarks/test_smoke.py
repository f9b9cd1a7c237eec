"""Every benchmark runs through at a tiny size (`--smoke`); a new one is found by its main()."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

import benchmarks

FOLDER = Path(benchmarks.__file__).parent
WITH_MAIN = {
    ".".join(file.relative_to(FOLDER.parent).with_suffix("").parts): file.read_text("utf-8")
    for file in sorted(FOLDER.rglob("*.py"))
    if re.search(r"^def main\(", file.read_text("utf-8"), re.MULTILINE)
}
PART_OF_ANOTHER = {"benchmarks.quality.tfrs_model"}  # runs in TensorFlow's environment, started by against_tfrs
PROCESSES = {"benchmarks.training.two_processes"}  # starts three Python processes: as slow as Spark
SPARK = {name for name, text in WITH_MAIN.items() if "spark_session(" in text or "import jobs" in text} | {
    "benchmarks.quality.demo_quality",
    "benchmarks.serving.neighbours",
}
FAST = sorted(set(WITH_MAIN) - SPARK - PROCESSES - PART_OF_ANOTHER)


def run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert not importlib.import_module(name).main(["--smoke"])  # None, or an exit code
    assert capsys.readouterr().out.strip()


def test_all_benchmarks_are_found() -> None:
    assert len(WITH_MAIN) > 15
    assert {"benchmarks.serving.scoring", "benchmarks.tables.daily_cost", "benchmarks.tables.fixed_costs"} <= SPARK
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
