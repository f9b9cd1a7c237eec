"""Late clicks: which jobs of which days run again, also after a run that was cut short."""

from __future__ import annotations

import datetime as dt

import pytest

from jobs import build_interactions, build_reconciliation, rebuild_days
from jobs.config.loading import Config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import DayStopped
from tests.conftest import DAYS, SMALL

FIRST, SECOND, THIRD, FOURTH = DAYS


def steps(lake: Lake, config: Config, ds: object) -> list[tuple[object, object]]:
    found: list[tuple[object, object]] = []
    rebuild_days.rebuild_days(lake, config, ds, lambda job, day, *_: found.append((job, day)))  # type: ignore[arg-type]
    return found


def test_the_day_before_is_built_again_in_order_where_late_clicks_landed(simulated: Lake, config: Config) -> None:
    jobs = (build_interactions, build_reconciliation, *rebuild_days.OUTCOME_JOBS)
    assert steps(simulated, config, FOURTH) == [(job, THIRD) for job in jobs]


def test_nothing_is_built_again_on_the_first_day(simulated: Lake, config: Config) -> None:
    assert steps(simulated, config, FIRST) == []


def test_a_day_that_landed_has_to_run_first_and_one_that_did_not_stays_as_it_is(
    simulated_copy: Lake, config: Config
) -> None:
    def without(*which: tables.Table) -> None:
        for table in which:
            simulated_copy.overwrite(table, THIRD, simulated_copy.day(table, THIRD).limit(0))

    without(tables.INTERACTIONS, tables.DAILY_ITEM_COUNTS)
    with pytest.raises(DayStopped, match=f"{FOURTH} depends on {THIRD}, which .* run {THIRD} first") as stop:
        steps(simulated_copy, config, FOURTH)
    assert stop.value.code == "day_not_run"
    with pytest.raises(DayStopped, match=f"run {THIRD} first"):  # the first of two
        steps(simulated_copy, config, FOURTH + dt.timedelta(days=1))
    without(tables.IMPRESSIONS)
    assert steps(simulated_copy, config, FOURTH) == []


def test_what_a_run_that_was_cut_short_left_undone_is_done_by_the_next(simulated_copy: Lake, config: Config) -> None:
    """The run stops right after the outcomes changed, which alone do not show that examples are outdated."""
    common = ["--lake", simulated_copy.uri, "--config", SMALL]
    build_interactions.main([*common, "--ds", str(THIRD)])
    clicked = simulated_copy.day(tables.INTERACTIONS, THIRD).where("clicked")
    examples = tables.training_examples(config)
    before = simulated_copy.day(examples, THIRD).count()
    assert before < clicked.count()
    assert rebuild_days.main([*common, "--ds", str(FOURTH)]) > 0
    assert simulated_copy.day(examples, THIRD).count() == clicked.count()
