"""One Spark session and one small simulated lake for all tests; each is made when the first test asks for it."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs import run_day, simulate_log
from jobs.config.loading import Config, load_config
from jobs.lake.partitions import Lake
from jobs.lake.session import spark_session

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SMALL = str(Path(__file__).with_name("small.toml"))
DAYS = [dt.date(2026, 2, 27) + dt.timedelta(days=number) for number in range(4)]  # over the end of a month


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Quick tests first: what is plainly broken shows before Spark has started."""
    items.sort(key=lambda item: "spark" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def config() -> Config:
    return load_config(SMALL)


@pytest.fixture(scope="session")
def spark() -> SparkSession:
    # tests that start a process of their own compile, and are held against these tables
    return spark_session("tests", small_days=True)


@pytest.fixture
def spilling(spark: SparkSession) -> Iterator[None]:
    """Sorts go to disk every 100 rows, as with little memory those of much data do."""
    conf = spark._jvm.org.apache.spark.SparkEnv.get().conf()  # type: ignore[union-attr]
    key = "spark.shuffle.spill.numElementsForceSpillThreshold"
    conf.set(key, "100")
    yield
    conf.remove(key)


@pytest.fixture
def lake(spark: SparkSession, tmp_path: Path) -> Lake:
    """An empty lake of the test's own."""
    return Lake(spark, str(tmp_path / "lake"))


@pytest.fixture(scope="session")
def simulated(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A planted world of four landed days, the first three run through `run_day` one after the other. Read only."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("simulated") / "lake"))
    world = [
        "--lake",
        lake.uri,
        "--config",
        SMALL,
        "--users",
        "400",
        "--items",
        "300",
        "--late",
        "0.1",
        "--start",
        str(DAYS[0]),
    ]
    for number, day in enumerate(DAYS):
        simulate_log.main(
            [*world, "--ds", str(day)]
        )  # a day lands, then it is run: nothing of a later one is there yet
        if number < 3:
            run_day.main(["--lake", lake.uri, "--config", SMALL, "--ds", str(day)])
    return lake


@pytest.fixture
def simulated_copy(simulated: Lake, tmp_path: Path) -> Lake:
    """A copy of the simulated lake that a test may change."""
    shutil.copytree(simulated.uri, tmp_path / "copy")
    return Lake(simulated.spark, str(tmp_path / "copy"))


@pytest.fixture
def data() -> Path:
    """The folder of real data sets beside the project; a test that needs it is skipped where it is not."""
    if not DATA.is_dir():
        pytest.skip(f"no data sets in {DATA}")
    return DATA
