"""Late clicks: which jobs of which days run again, also after a run that was cut short."""

from __future__ import annotations

from jobs import build_interactions, build_reconciliation, rebuild_days
from jobs.common import tables
from jobs.common.config import Config
from jobs.common.partitions import Lake
from tests.conftest import DAYS, SMALL

FIRST, SECOND, THIRD, FOURTH = DAYS


def steps(lake: Lake, config: Config, ds: object) -> list[tuple[object, object]]:
    found: list[tuple[object, object]] = []
    rebuild_days.rebuild_days(lake, config, ds, lambda job, day: found.append((job, day)))  # type: ignore[arg-type]
    return found


def test_the_day_before_is_built_again_in_order_where_late_clicks_landed(simulated: Lake, config: Config) -> None:
    jobs = (build_interactions, build_reconciliation, *rebuild_days.OUTCOME_TABLES)
    assert steps(simulated, config, FOURTH) == [(job, THIRD) for job in jobs]


def test_nothing_is_built_again_on_the_first_day(simulated: Lake, config: Config) -> None:
    assert steps(simulated, config, FIRST) == []


def test_a_day_that_never_ran_stays_as_it_is(simulated_copy: Lake, config: Config) -> None:
    nothing = simulated_copy.read(tables.INTERACTIONS).limit(0)
    simulated_copy.overwrite_where(tables.INTERACTIONS, nothing, f"ds = DATE'{THIRD}'")
    assert steps(simulated_copy, config, FOURTH) == []


def test_what_a_run_that_was_cut_short_left_undone_is_done_by_the_next(simulated_copy: Lake, config: Config) -> None:
    """Cut right after the outcomes changed: nothing in them tells any more that examples and histories are older."""
    common = ["--lake", simulated_copy.uri, "--config", SMALL]
    build_interactions.main([*common, "--ds", str(THIRD)])
    clicked = simulated_copy.day(tables.INTERACTIONS, THIRD).where("clicked")
    examples = tables.training_examples(config)
    before = simulated_copy.day(examples, THIRD).count()
    assert before < clicked.count()
    assert rebuild_days.main([*common, "--ds", str(FOURTH)]) > 0
    assert simulated_copy.day(examples, THIRD).count() == clicked.count()
