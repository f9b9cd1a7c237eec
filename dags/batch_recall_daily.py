"""The daily run: waits for the log of the day, submits each job to Spark, one after the other, up to publication.

What differs between places stands in no file: the connection `batch_recall_spark` (the Spark master) and the variables

    batch_recall_lake        folder of all tables, any Hadoop URI
    batch_recall_code        the checkout, or wherever jobs/ lies on the workers
    batch_recall_config      TOML file laid over recall.toml (optional)
    batch_recall_py_files    the zip of `make dist`, where executors need it (optional)
    batch_recall_conf        JSON, Spark's configuration by job: {"score_users": {"spark.task.cpus": "8"}} (optional)

and the pool `batch_recall`. The workers' PATH begins with the compute environment's bin.
"""

from __future__ import annotations

import os
import shlex
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator
from airflow.providers.standard.sensors.bash import BashSensor
from airflow.sdk import DAG, Asset, Connection, CronDataIntervalTimetable, Param, Variable, chain
from airflow.sdk.exceptions import AirflowSkipException

CANDIDATES = Asset("batch_recall_candidates")
CRON = os.environ.get("BATCH_RECALL_CRON", "0 2 * * *")  # UTC; "none" where runs are only triggered

# The one place that resolves the day: what a person asks for, or the start of the run's data interval.
_DAY = "(params.day or ((dag_run.logical_date or dag_run.run_after) | ds))"
DAY = "{{ " + _DAY + " }}"
DAY_BEFORE = "{{ macros.ds_add(" + _DAY + ", -1) }}"

LAKE = "{{ var.value.batch_recall_lake }}"
CODE = "{{ var.value.batch_recall_code }}"
CONFIG = "{{ var.value.get('batch_recall_config', var.value.batch_recall_code ~ '/recall.toml') }}"
PY_FILES = "{{ var.value.get('batch_recall_py_files', '') }}"

# In the order of jobs/run_day.py; a test holds the two together.
JOBS = (
    "build_interactions",
    "rebuild_days",
    "build_reconciliation",
    "build_vocabularies",
    "build_snapshots",
    "build_training_examples",
    "build_histories",
    "build_item_counts",
    "build_window_counts",
    "build_negative_pools",
    "build_sampling_probs",
    "build_popular_items",
    "train_two_tower",
    "build_user_embeddings",
    "build_item_index",
    "score_users",
    "evaluate_candidates",
    "gate_candidates",
    "publish_candidates",
)
DAYS = {
    "evaluate_candidates": DAY_BEFORE
}  # where a job's day is not the run's: the run's clicks judge older candidates
MORE_ARGUMENTS = {"evaluate_candidates": ["--if-any"]}
HOURS = {"train_two_tower": 12, "score_users": 6}  # after which a job is killed, where it is not 3


def quoted(template: str) -> str:
    """The template with its value quoted for the shell."""
    return template.replace(" }}", " | quote }}")


def require_connection(context: Any) -> None:
    """Raises where the connection is unknown: the operator would submit to YARN without a word."""
    Connection.get(context["task"]._conn_id)


def prepare(context: Any) -> None:
    """Gives a job what `batch_recall_conf` says of it; raises ValueError where that is no object, or as above."""
    require_connection(context)
    task, by_job = context["task"], Variable.get("batch_recall_conf", default={}, deserialize_json=True)
    own = by_job.get(task.task_id, {}) if isinstance(by_job, dict) else by_job
    if not isinstance(own, dict):
        raise ValueError(f"batch_recall_conf wants an object of objects, a job each, got {type(own).__name__}")
    task.conf = {**(task.conf or {}), **own}


def require_publishing(context: Any) -> None:
    """Skips the publication of a run that is not to publish: one of a day that lies before the published one."""
    if not context["params"]["publish"]:
        raise AirflowSkipException("this run does not publish (params.publish)")
    prepare(context)


def tell_day(context: Any, result: Any) -> None:
    """Put the day into the asset's event: events that come together start one downstream run."""
    context["outlet_events"][CANDIDATES].extra = {"ds": context["task"].render_template(DAY, context)}


def submit(job: str, **options: Any) -> SparkSubmitOperator:
    """The task that submits a job with the arguments that all jobs share."""
    return SparkSubmitOperator(
        task_id=job,
        name=f"{job} {DAY}",
        conn_id="batch_recall_spark",
        application=f"{CODE}/jobs/{job}.py",
        py_files=PY_FILES,
        application_args=["--lake", LAKE, "--ds", DAYS.get(job, DAY), "--config", CONFIG, *MORE_ARGUMENTS.get(job, [])],
        env_vars={"PYTHONPATH": CODE},  # the code beside the job, whatever is installed
        execution_timeout=timedelta(hours=HOURS.get(job, 3)),
        pool="batch_recall",
        **{"pre_execute": prepare, **options},
    )


with DAG(
    "batch_recall_daily",
    description="From the day's raw log to published candidates",
    doc_md=__doc__,
    schedule=None if CRON == "none" else CronDataIntervalTimetable(CRON, timezone="UTC"),
    start_date=datetime(2000, 1, 1, tzinfo=UTC),  # a run of an earlier day would succeed without a task
    catchup=False,
    max_active_runs=1,
    # Airflow's own back-fill counts its active runs apart, and would run beside the daily one: batch_recall_backfill
    allowed_run_types=["scheduled", "manual", "operator_triggered"],
    params={
        "day": Param(None, type=["null", "string"], format="date", description="the day to run, YYYY-MM-DD"),
        "publish": Param(True, type="boolean", description="let readers follow this day's candidates"),
    },
    user_defined_filters={"quote": shlex.quote},
    default_args={
        "retries": 2,
        "retry_delay": timedelta(minutes=5),
        "retry_exponential_backoff": 2.0,
        "max_retry_delay": timedelta(hours=1),
    },
) as dag:
    await_log = BashSensor(
        task_id="await_log",
        # 2 is a refusal, and fails at once; what else goes wrong may pass, and is asked again until the time is over
        bash_command=quoted(
            f"cd {CODE} && python -m jobs.await_log --lake {LAKE} --ds {DAY} --config {CONFIG}; "
            "case $? in 0) ;; 2) exit 2 ;; *) exit 99 ;; esac"
        ),
        retry_exit_code=99,
        mode="reschedule",
        poke_interval=300,
        timeout=timedelta(hours=12).total_seconds(),
    )
    publish = {"pre_execute": require_publishing, "post_execute": tell_day, "outlets": [CANDIDATES]}
    jobs = [submit(job, **(publish if job == "publish_candidates" else {})) for job in JOBS]
    # a teardown runs whatever came before and is no leaf: the publication alone decides how the run ended
    chain(await_log, *jobs, submit("report_run").as_teardown())
