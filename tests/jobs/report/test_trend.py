"""The page across days: a line for each measure, a row for each day, and what is missing."""

from __future__ import annotations

import datetime as dt
import re

from jobs.config.loading import Config
from jobs.inference.evaluation import CANDIDATES, ORACLE, POPULARITY
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.report.figures import decimal
from jobs.report.files import trend_path
from jobs.report.trend import last_day, trend_page
from jobs.report_run import report
from tests.conftest import DAYS
from tests.jobs.report.pages import Page

FIRST, SECOND, THIRD = DAYS[:3]


def test_each_day_has_a_row_that_leads_to_its_report(simulated: Lake, config: Config) -> None:
    text = trend_page(simulated, THIRD)
    page = Page(text)
    days = re.findall(r'href="\.\./(\d{4}-\d{2}-\d{2})/index\.html"', text)
    assert days == [str(THIRD), str(SECOND), str(FIRST)]
    log = {row.ds: row for row in simulated.rows(tables.RECONCILIATION)}
    for day in (FIRST, SECOND, THIRD):
        counts = [f"{log[day][name]:,}" for name in ("impressions", "clicks", "clicked")]
        assert page.row(str(day)) == [str(day), "published", *counts]
    assert trend_path("lake") == "lake/reports/days/index.html"
    assert 'href="../days/index.html"' in report(simulated, config, SECOND)


def test_lines_have_three_days_and_fewer_are_a_table(simulated: Lake) -> None:
    """Lists are evaluated on the clicks of later days, so on the third day only two days have a recall."""
    text = trend_page(simulated, THIRD)
    for day in (FIRST, SECOND):
        found = {
            row.channel: row.value
            for row in simulated.rows(tables.EVALUATION, day)
            if (row.slice, row.metric, row.k) == ("all", "recall", 50)
        }
        values = [decimal(found[channel]) for channel in (CANDIDATES, POPULARITY, ORACLE)]
        assert [f"{day:%m-%d}", *values] in Page(text).rows
    (coverage,) = re.findall(r'aria-label="Shares">.*?</svg>', text, re.DOTALL)
    lines = re.findall(r'<polyline class="line c\d" points="([^"]*)"', coverage)
    assert [len(line.split()) for line in lines] == [3, 3, 3]


def test_a_day_that_was_not_published_says_why(simulated_copy: Lake) -> None:
    lake = simulated_copy
    passed = lake.day(tables.GATE, THIRD)
    failed = {"coverage": {"passed": False, "value": 0.0}}
    few = {"passed": False, "value": 0.3, "min_value": 0.25, "clicks": 9, "interval_low": 0.1, "interval_high": 0.6}
    failed["recall_of_published"] = few
    rows = [row.asDict() | failed.get(row.rule, {}) for row in passed.collect()]
    lake.overwrite(tables.GATE, DAYS[3], lake.spark.createDataFrame(rows, passed.schema))
    row = Page(trend_page(lake, DAYS[3])).row(str(DAYS[3]))
    (coverage,) = (one for one in rows if one["rule"] == "coverage")
    found = f"failed: coverage must be at least {coverage['min_value']:.4g}, got 0"
    found += "; recall_of_published must be at least 0.25, got 0.3 (95 % interval 0.1 to 0.6, 9 clicks): too few clicks"
    found += " to decide, and gate.few_clicks is fail"
    assert row == [str(DAYS[3]), found, "–", "–", "–"]


def test_the_page_ends_at_the_newest_day(simulated: Lake, lake: Lake) -> None:
    assert last_day(simulated, FIRST) == THIRD
    assert last_day(simulated, THIRD + dt.timedelta(days=4)) == THIRD + dt.timedelta(days=4)
    assert last_day(lake, FIRST) == FIRST
    empty = trend_page(lake, FIRST)
    assert "No lists were evaluated yet." in empty
    assert "No day has a log or a gate." in empty
    assert "<table" not in empty
