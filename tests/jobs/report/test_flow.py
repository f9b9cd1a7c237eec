"""The tables of a day on its page: their rows, when they were written, and the time of each job."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyspark.sql import Row
from pyspark.sql import functions as F

from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.lake.tables.writers import WRITERS
from jobs.report.figures import duration
from jobs.report.files import report_path
from jobs.report.page import Figure
from jobs.report.sections.flow import (
    LOG,
    TableDay,
    log_section,
    seconds_by_job,
    seconds_by_table,
    table_days,
    table_groups,
)
from jobs.run_day import NAMES
from tests.conftest import DAYS
from tests.jobs.report.pages import Page

SECOND, THIRD = DAYS[1:3]


@pytest.fixture(scope="module")
def text(simulated: Lake) -> str:
    """The page that the third day's run left."""
    return Path(report_path(simulated.uri, THIRD)).read_text("utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_the_rows_of_each_table_are_those_of_the_day(simulated: Lake, config: Config, page: Page) -> None:
    for table in (
        tables.IMPRESSIONS, tables.CLICKS, tables.INTERACTIONS, tables.user_snapshot(config), tables.training_examples(config),
        tables.VOCABULARIES, tables.ITEM_SAMPLING_PROBS, tables.CANDIDATES, tables.ITEM_INDEXES,
    ):  # fmt: skip
        today, before = (simulated.read(table).where(F.col("ds") == F.lit(day)).count() for day in (THIRD, SECOND))
        told = [f"{rows:,}" if rows else "–" for rows in (today, before)]
        assert page.row(table.name)[2:4] == told, table.name
    assert page.row("quarantine")[2] == "none"


def test_tables_are_written_one_after_the_other(page: Page) -> None:
    names = ["interactions", "training_examples", "item_sampling_probs", "model_versions", "candidates", "publications"]
    times = [dt.datetime.fromisoformat(page.row(name)[5]) for name in names]
    assert times == sorted(times)
    assert page.row("interactions")[6] == "–", "the first step of a run follows nothing"
    assert page.row("candidates")[6].endswith(" s")


def test_the_times_of_the_jobs_are_bars_with_their_seconds(simulated: Lake, config: Config, text: str) -> None:
    seconds = seconds_by_job(seconds_by_table(config, table_days(simulated, config, THIRD)))
    (chart,) = re.findall(r'aria-label="Time between tables, by job">.*?</svg>', text, re.DOTALL)
    assert list(seconds)[-1] == "publish_candidates"
    assert chart.count("<rect") == len(seconds)
    for job, spent in seconds.items():
        assert f">{job}</text>" in chart
        assert f">{duration(spent)}</text>" in chart


def test_the_evaluation_of_a_later_day_is_no_time_of_this_one(config: Config) -> None:
    """It was a bar of a whole day, beside which no other could be seen."""
    day = 24 * 3_600_000
    written = {"interactions": 1, "candidates": 5_001, "gate": 7_001, "evaluation": day}
    found = {name: TableDay(1, 0, at) for name, at in written.items()}
    assert seconds_by_table(config, found) == {"candidates": 5.0, "gate": 2.0}


def test_every_built_table_has_the_job_that_writes_it(config: Config) -> None:
    built = [table.name for group, listed in table_groups(config).items() if group != LOG for table, _ in listed]
    assert sorted(built) == sorted(WRITERS)
    assert {*WRITERS.values()} <= {*NAMES}


def test_users_who_were_set_aside_are_in_the_log_and_days_before_the_rule_have_none(config: Config) -> None:
    counts = dict.fromkeys(tables.RECONCILIATION.columns, 0) | {"impressions": 9, "interactions": 4, "clicks": 0}
    aside = {"set_aside_users": 1, "set_aside_impressions": 5, "set_aside_clicks": 0}
    for row, shown in ((counts | aside, True), (counts | dict.fromkeys(aside), False)):
        lake = SimpleNamespace(rows=lambda table, ds, row=row: [Row(**row)])
        section = log_section(lake, config, THIRD)  # type: ignore[arg-type]
        (figure,) = section.blocks
        assert isinstance(figure, Figure)
        assert ("set aside 5" in figure.legend) == shown
        assert ("Users set aside for the day: 1 (" in section.lead) == shown
