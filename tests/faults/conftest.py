from __future__ import annotations

import pytest

from jobs.lake.lake import Lake
from tests.faults.steps import DAY, OTHERS, QUICK, Stages


@pytest.fixture(scope="session")
def stages(simulated: Lake, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """A few steps after the days of the simulated lake."""
    return Stages(tmp_path_factory.mktemp("stages"), simulated.uri, QUICK)


@pytest.fixture(scope="session")
def whole_day(simulated: Lake, tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """The fourth day of the simulated lake step by step, and the jobs that may follow."""
    return Stages(tmp_path_factory.mktemp("whole_day"), simulated.uri, (*DAY, *OTHERS))
