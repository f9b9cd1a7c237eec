"""Runs in Airflow's environment: describes the DAGs, and each command that they would submit, in FOLDER/found.json.

It needs no database and no scheduler: environment variables name the lake, the code and the connection.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.dag_processing.dagbag import DagBag
from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, BaseOperator
from airflow.sdk.execution_time.context import MacrosAccessor, VariableAccessor

DAGS = Path(__file__).resolve().parents[2] / "dags"


def context(task: BaseOperator, day: str | None, logical: datetime | None) -> dict[str, Any]:
    """The template context of a run on 5 March 2026 with this `day` parameter and logical date."""
    return {
        "params": {"day": day, "publish": True, "minutes": 60, "trials": 200},
        "dag_run": SimpleNamespace(logical_date=logical, run_after=datetime(2026, 3, 5, 9, tzinfo=UTC)),
        "var": {"value": VariableAccessor(deserialize_json=False)},
        "macros": MacrosAccessor(),
        "task": task,
    }


def command(task: BaseOperator, known: dict[str, Any]) -> list[str]:
    """What the task would run, as a list of arguments."""
    task.render_template_fields(known)
    if not isinstance(task, SparkSubmitOperator):
        return [task.bash_command]
    return task._get_hook()._build_spark_submit_command(task.application)


def described(dag: DAG) -> dict[str, Any]:
    return {
        "schedule": str(getattr(dag.timetable, "_expression", dag.timetable)),
        "max_active_runs": dag.max_active_runs,
        "allowed_run_types": sorted(dag.allowed_run_types or ()),
        "start_date": str(dag.start_date.date()),
        "tasks": {
            task.task_id: {
                "type": task.task_type,
                "downstream": sorted(task.downstream_task_ids),
                "pool": task.pool,
                "retries": task.retries,
                "execution_timeout": str(task.execution_timeout),
                "trigger_rule": task.trigger_rule.value,
                "outlets": [outlet.name for outlet in task.outlets],
            }
            for task in dag.topological_sort()
        },
    }


def commands(day: str | None, logical: datetime | None, name: str = "batch_recall_daily") -> dict[str, list[str]]:
    """Every task's command; none if the DAG has an error. The DAGs are loaded again: rendering changes a task."""
    dag = DagBag(DAGS).dags.get(name)
    return {task.task_id: command(task, context(task, day, logical)) for task in dag.topological_sort()} if dag else {}


if __name__ == "__main__":
    bag = DagBag(DAGS)
    logical = datetime(2026, 3, 1, 2, tzinfo=UTC)
    found = {
        "errors": list(bag.import_errors.values()),
        "dags": {name: described(dag) for name, dag in bag.dags.items()},
        "scheduled": commands(None, logical),
        "asked_for": commands("2026-02-14", None),
        "neither": commands(None, None),
        "tuning": commands(None, logical, "batch_recall_tuning"),
        "tuning_asked_for": commands("2026-02-14", logical, "batch_recall_tuning"),
    }
    (Path(sys.argv[1]) / "found.json").write_text(json.dumps(found), "utf-8")  # log lines go to stdout
