"""A day whose last pass made the model worse is stopped, also in a lake whose table gate is of an older version."""

from __future__ import annotations

import shutil

import pytest

from jobs import gate_candidates, report_run
from jobs.config.loading import load_config
from jobs.lake import tables
from jobs.lake.lake import Lake
from jobs.raw_log.preconditions import DayStopped
from tests.conftest import DAYS, SMALL
from tests.jobs.test_gate_candidates import arguments, measured

_, SECOND, THIRD, _ = DAYS


def test_a_spoiled_last_pass_is_not_published_and_the_table_of_an_older_version_gets_the_new_columns(
    simulated_copy: Lake,
) -> None:
    lake, added = simulated_copy, tables.GATE.added
    older = lake.read(tables.GATE).drop(*added).localCheckpoint()
    shutil.rmtree(lake.table_path(tables.GATE))
    older.write.format("delta").partitionBy("ds").save(lake.table_path(tables.GATE))
    for rows in (lake.rows(tables.GATE, THIRD), lake.day(tables.GATE, THIRD).collect()):
        assert len(rows) > 10
        assert {row[name] for row in rows for name in added} == {None}
    recall = {"before": {"recall@10": 0.3}, "after": {"recall@10": 0.2}, "popularity": {"recall@10": 0.1}}
    change = {"recall@10": {"mean": -0.1, "standard_error": 0.02}}
    measured(lake, THIRD, last_pass={**recall, "compared": "recall@10", "rows": 400, "users": 90, "change": change})
    with pytest.raises(DayStopped, match=r"recall_after_last_pass must be at least 0\.294, got 0\.2 \(95 % interval"):
        gate_candidates.main(arguments(lake, THIRD))
    (row,) = (row for row in lake.rows(tables.GATE, THIRD) if row.rule == "recall_after_last_pass")
    assert (row.passed, row.clicks) == (False, 400)
    assert (row.interval_low, row.interval_high) == (pytest.approx(0.1608), pytest.approx(0.2392))
    assert {row.clicks for row in lake.rows(tables.GATE, SECOND)} == {None}
    assert "0.1608 to 0.2392" in report_run.report(lake, load_config(SMALL), THIRD)
