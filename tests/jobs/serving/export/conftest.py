"""For each test: an empty Redis server, and a lake with lists that it may publish."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from jobs.lake.lake import Lake
from tests.jobs.serving.export.published_lists import write_lists
from tests.redis_server import redis_server


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The URI of the server."""
    with redis_server(tmp_path / "redis") as uri:
        yield uri


@pytest.fixture(scope="module")
def written(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """The lake of `write_lists`. Read only."""
    lake = Lake(spark, str(tmp_path_factory.mktemp("written") / "lake"))
    write_lists(lake)
    return lake


@pytest.fixture
def lists(written: Lake, tmp_path: Path) -> Lake:
    """A copy of it, in which nothing is published."""
    return Lake(written.spark, str(shutil.copytree(written.uri, tmp_path / "lake")))
