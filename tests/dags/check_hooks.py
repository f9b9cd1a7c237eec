"""Runs in Airflow's environment: checks the functions of the DAG files with plain asserts, then prints `checked`.

BATCH_RECALL_TASKS says which form of the daily DAG is checked.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSkipException,
)

PUBLISH, SCORE, OTHER = {
    "stages": ("publish", "score", "tables"),
    "jobs": ("publish_candidates", "score_users", "build_item_counts"),
}[os.environ["BATCH_RECALL_TASKS"]]
PUBLICATION = {"_conn_id": "batch_recall_spark", "task_id": PUBLISH, "conf": None}
DAGS = Path(__file__).resolve().parents[2] / "dags"


def dag_file(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DAGS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def raised(kind: type[Exception], call: Any, *arguments: Any) -> str:
    """The message of the error that the call raises."""
    try:
        call(*arguments)
    except kind as error:
        return str(error)
    raise AssertionError(f"{call.__name__} did not raise {kind.__name__}")


def check_daily(daily: ModuleType) -> None:
    known, unknown = SimpleNamespace(**PUBLICATION), SimpleNamespace(**{**PUBLICATION, "_conn_id": "nowhere"})
    daily.require_connection({"task": known})
    assert "nowhere" in raised(AirflowException, daily.require_connection, {"task": unknown})
    daily.require_publishing({"task": known, "params": {"publish": True}})
    raised(AirflowSkipException, daily.require_publishing, {"task": known, "params": {"publish": False}})
    raised(AirflowException, daily.require_publishing, {"task": unknown, "params": {"publish": True}})
    event = SimpleNamespace(extra=None)
    run = SimpleNamespace(logical_date=None, run_after=datetime(2026, 3, 5, tzinfo=UTC))
    context = {"outlet_events": {daily.CANDIDATES: event}, "dag_run": run, "params": {"day": "2026-02-14"}}
    daily.add_day_to_event({**context, "task": daily.dag.get_task(PUBLISH)}, None)
    assert event.extra == {"ds": "2026-02-14"}


def check_conf(daily: ModuleType) -> None:
    """A task's entry in the variable is added to its command and to no other command."""
    set_conf({SCORE: {"spark.task.cpus": "8"}, "report_run": {}})
    commands = {}
    for name in (SCORE, OTHER):
        task = daily.dag.get_task(name)
        daily.prepare({"task": task})
        commands[name] = task._get_hook()._build_spark_submit_command("job.py")
    assert "spark.task.cpus=8" in commands[SCORE]
    assert "spark.task.cpus=8" not in commands[OTHER]
    context = {"task": daily.dag.get_task(SCORE)}
    for wrong in (["spark.task.cpus"], {SCORE: "spark.task.cpus=8"}):
        set_conf(wrong)
        assert "must be a JSON object" in raised(ValueError, daily.prepare, context)
    for unknown in ("score", "score_users", "await_log"):  # of the other form, or without Spark
        if unknown != SCORE:
            set_conf({SCORE: {}, unknown: {}})
            complaint = raised(ValueError, daily.prepare, context)
            assert f"must name tasks among {OTHER}, " in complaint or f", {OTHER}, " in complaint
            assert complaint.endswith(f"got {unknown}")


def set_conf(value: Any) -> None:
    os.environ["AIRFLOW_VAR_BATCH_RECALL_CONF"] = json.dumps(value)


def check_report(daily: ModuleType) -> None:
    """The report is a teardown after the publication, so that the publication is the leaf that decides."""
    report = daily.dag.get_task("report_run")
    assert report.trigger_rule.value == "all_done_setup_success"
    assert report.is_teardown
    assert not report.on_failure_fail_dagrun


def check_backfill(backfill: ModuleType) -> None:
    assert backfill.days_between("2026-02-27", "2026-03-01") == ["2026-02-27", "2026-02-28", "2026-03-01"]
    assert "must not be before the first day 2026-02-27, got 2026-02-26" in raised(
        ValueError, backfill.days_between, "2026-02-27", "2026-02-26"
    )

    def ti(number: int, state: str) -> Any:
        states = {"run": {f"run_day_{number - 1}": state}}
        return SimpleNamespace(
            map_index=number, dag_id="b", task_id="run_day", run_id="run", get_task_states=lambda **_: states
        )

    backfill.require_day_before({"ti": ti(0, "failed")})
    backfill.require_day_before({"ti": ti(1, "success")})
    for state in ("failed", "upstream_failed"):
        raised(AirflowFailException, backfill.require_day_before, {"ti": ti(1, state)})
    for state in ("up_for_retry", "up_for_reschedule", "running"):
        raised(AirflowRescheduleException, backfill.require_day_before, {"ti": ti(1, state)})


def check_ranking(ranking: ModuleType) -> None:
    """Events of three days in one run, one day twice."""
    events = [SimpleNamespace(extra={"ds": day}) for day in ("2026-03-01", "2026-02-27", "2026-02-28", "2026-02-28")]
    assert ranking.published_days({ranking.CANDIDATES: events}) == ["2026-02-27", "2026-02-28", "2026-03-01"]


if __name__ == "__main__":
    check_daily(daily := dag_file("batch_recall_daily"))
    check_report(daily)
    check_conf(daily)
    check_backfill(dag_file("batch_recall_backfill"))
    check_ranking(dag_file("ranking_example"))
    print("checked", file=sys.stderr)
