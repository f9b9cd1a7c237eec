"""Searches settings once a week, on the log of the day before, for which the daily run has built the tables.

The search publishes nothing. What becomes of its settings is the configuration's choice (`tuning.take_over`): a person
takes them over with `batch-recall adopt-tuning`, or a daily run tries them if they are better beyond the noise of
seeds. A search that was killed goes on when its task is tried again. The connection, the variables and the pool are
those of `batch_recall_daily`.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.sdk import DAG, Connection, CronTriggerTimetable, Param

CRON = os.environ.get("BATCH_RECALL_TUNING_CRON", "0 12 * * 0")  # in UTC; "none": runs are only triggered

LAKE = "{{ var.value.batch_recall_lake }}"
CODE = "{{ var.value.batch_recall_code }}"
CONFIG = "{{ var.value.get('batch_recall_config', var.value.batch_recall_code ~ '/recall.toml') }}"
PY_FILES = "{{ var.value.get('batch_recall_py_files', '') }}"
DAY = "{{ params.day or macros.ds_add((dag_run.logical_date or dag_run.run_after) | ds, -1) }}"


def require_connection(context: Any) -> None:
    """Raises if the connection is unknown; the operator would then submit to YARN without a warning."""
    Connection.get(context["task"]._conn_id)


with DAG(
    "batch_recall_tuning",
    description="A search for settings with better recall",
    doc_md=__doc__,
    schedule=None if CRON == "none" else CronTriggerTimetable(CRON, timezone="UTC"),
    start_date=datetime(2000, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    params={
        "day": Param(None, type=["null", "string"], format="date", description="the day to search, YYYY-MM-DD"),
        "minutes": Param(60, type="integer", minimum=1, description="minutes of the search"),
        "trials": Param(200, type="integer", minimum=1, description="the most trials of the search"),
    },
) as dag:
    SparkSubmitOperator(
        task_id="tune_two_tower",
        name=f"tune_two_tower {DAY}",
        conn_id="batch_recall_spark",
        application=f"{CODE}/jobs/tune_two_tower.py",
        py_files=PY_FILES,
        application_args=[
            *("--lake", LAKE, "--ds", DAY, "--config", CONFIG),
            *("--minutes", "{{ params.minutes }}", "--trials", "{{ params.trials }}"),
        ],
        env_vars={"PYTHONPATH": CODE},  # the code of the same checkout, not an installed one
        execution_timeout=timedelta(hours=12),
        retries=2,
        retry_delay=timedelta(hours=1),  # another search may run
        pool="batch_recall",
        pre_execute=require_connection,
    )
