"""Shared fixtures: one Spark session and one small simulated lake for all tests of a process, made on demand."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import run_day, simulate_log, train_two_tower
from jobs.config.loading import Config, load_config
from jobs.lake.lake import Lake
from jobs.lake.session import spark_session
from tests.lake_cache import cached_lake

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SMALL = str(Path(__file__).with_name("small.toml"))
DAYS = [dt.date(2026, 2, 27) + dt.timedelta(days=number) for number in range(4)]  # over the end of a month
WORLD = ["--users", "400", "--items", "300", "--late", "0.1", "--start", str(DAYS[0])]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files: first one that uses the simulated lake, then those without Spark, with Spark, with the lake.

    So one worker builds the lake while the others run quick tests, which show obvious faults early.
    """
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    costs = {file: max(map(cost, found)) for file, found in files.items()}
    ordered = sorted(files, key=costs.__getitem__)
    items[:] = [item for file in [*ordered[-1:], *ordered[:-1]] for item in files[file]]


def cost(item: pytest.Item) -> int:
    """0: a test without Spark; 1: with Spark; 2: with the simulated lake."""
    fixtures = getattr(item, "fixturenames", ())
    return sum(name in fixtures for name in ("spark", "simulated"))


@pytest.fixture(scope="session")
def config() -> Config:
    return load_config(SMALL)


@pytest.fixture(scope="session")
def spark() -> SparkSession:
    # without code generation; processes that tests start use it, and must give the same tables
    return spark_session("tests", small_days=True)


@pytest.fixture
def spilling(spark: SparkSession) -> Iterator[None]:
    """Make sorts spill to disk every 100 rows, as sorts of much data do with little memory."""
    conf = spark._jvm.org.apache.spark.SparkEnv.get().conf()  # type: ignore[union-attr]
    key = "spark.shuffle.spill.numElementsForceSpillThreshold"
    conf.set(key, "100")
    yield
    conf.remove(key)


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    """An empty lake."""
    return Lake(spark, str(tmp_path / "lake"))


@pytest.fixture(scope="session")
def simulated(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake with four landed days of a simulated log, of which the first three were run in order. Read only."""
    target = tmp_path_factory.mktemp("simulated") / "lake"
    return Lake(spark, str(cached_lake("simulated", build_simulated, target)))


def build_simulated(folder: Path) -> None:
    common = ["--lake", str(folder), "--config", SMALL]
    for number, day in enumerate(DAYS):  # each day runs before the next one lands
        simulate_log.main([*common, *WORLD, "--ds", str(day)])
        if number < 3:
            run_day.main([*common, "--ds", str(day)])


@pytest.fixture(scope="session")
def simulated_with_variant(simulated: Lake, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The simulated lake with the variant `everything` trained on the third day. Read only."""

    def build(folder: Path) -> None:
        shutil.copytree(simulated.uri, folder)
        common = ["--lake", str(folder), "--config", SMALL, "--ds", str(DAYS[2])]
        train_two_tower.main([*common, "--variant", "everything"])

    target = tmp_path_factory.mktemp("simulated_with_variant") / "lake"
    return Lake(simulated.spark, str(cached_lake("variant-everything", build, target)))


@pytest.fixture
def simulated_copy(simulated: Lake, tmp_path: Path) -> Lake:
    """A copy of the simulated lake that a test may change."""
    shutil.copytree(simulated.uri, tmp_path / "copy")
    return Lake(simulated.spark, str(tmp_path / "copy"))


@pytest.fixture
def data() -> Path:
    """The folder of real data sets beside the project; skips the test if there is none."""
    if not DATA.is_dir():
        pytest.skip(f"no data sets in {DATA}")
    return DATA
