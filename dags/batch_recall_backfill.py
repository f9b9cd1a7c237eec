"""Runs the daily DAG for a range of days, in order.

Each day is a run of `batch_recall_daily`, which has at most one active run, so scheduled runs and the back-fill never
write at the same time. The back-fill stops at the first day that fails. Days before the published one cannot be
published: leave `publish` off for them.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, Param, task
from airflow.sdk.exceptions import AirflowFailException, AirflowRescheduleException

OVER = {"failed", "upstream_failed", "skipped", "removed"}  # states in which a task instance can no longer succeed


def days_between(first: str, last: str) -> list[str]:
    """All days from `first` to `last`, both included. Raises ValueError if `last` is before `first`."""
    begin, end = date.fromisoformat(first), date.fromisoformat(last)
    if end < begin:
        raise ValueError(f"the last day must not be before the first day {first}, got {last}")
    return [(begin + timedelta(days=number)).isoformat() for number in range((end - begin).days + 1)]


def require_day_before(context: Any) -> None:
    """Raises AirflowFailException if the previous day of the range failed, since each day builds on the one before.

    Raises AirflowRescheduleException, which frees the slot of the task for a minute, if the previous day has not ended.
    """
    ti = context["ti"]
    if ti.map_index == 0:
        return
    states = ti.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index - 1
    )
    ended = [state for found in states.values() for state in found.values()]
    if ended == ["success"]:
        return
    if ended and set(ended) <= OVER:
        raise AirflowFailException(f"the previous day did not succeed: {states}")
    raise AirflowRescheduleException(datetime.now(UTC) + timedelta(minutes=1))


with DAG(
    "batch_recall_backfill",
    description="A range of days through the daily DAG, in order",
    doc_md=__doc__,
    schedule=None,
    start_date=datetime(2000, 1, 1, tzinfo=UTC),
    max_active_runs=1,
    default_args={
        "retries": 1,
        "retry_delay": timedelta(minutes=5),
    },  # the tasks of the daily run have their own retries
    params={
        "first": Param(type="string", format="date", description="first day, YYYY-MM-DD"),
        "last": Param(type="string", format="date", description="last day, YYYY-MM-DD"),
        "publish": Param(False, type="boolean", description="publish each day; no day may be before the published one"),
    },
) as dag:

    @task
    def days(params: Any = None) -> list[dict[str, Any]]:
        found = days_between(params["first"], params["last"])
        return [{"day": day, "publish": params["publish"]} for day in found]

    TriggerDagRunOperator.partial(
        task_id="run_day",
        trigger_dag_id="batch_recall_daily",
        trigger_run_id="{{ run_id }}_{{ task.conf.day }}",
        logical_date=None,
        reset_dag_run=True,  # a retry clears the run that it started instead of starting a second one
        wait_for_completion=True,
        fail_when_dag_is_paused=True,
        max_active_tis_per_dagrun=1,
        pre_execute=require_day_before,
    ).expand(conf=days())
