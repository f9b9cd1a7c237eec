"""The daily run: waits for the day's log, then runs its jobs on Spark in stages, in order, up to publication.

A stage is one spark-submit: a stretch of jobs/run_day.py, or a single job. With BATCH_RECALL_TASKS=jobs in the
environment of the dag-processor and the workers, each job is a separate task and spark-submit.

Each installation configures the connection `batch_recall_spark` (the Spark master), these variables,

    batch_recall_lake        folder of all tables, any Hadoop URI
    batch_recall_code        folder that contains jobs/ on the workers
    batch_recall_config      TOML file that overrides recall.toml (optional)
    batch_recall_py_files    the zip of `make dist`, if executors need it (optional)
    batch_recall_conf        JSON, Spark configuration by task: {"score": {"spark.task.cpus": "8"}} (optional)

and the pool `batch_recall`. The bin folder of the compute environment must come first in the workers' PATH.
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
CRON = os.environ.get("BATCH_RECALL_CRON", "0 2 * * *")  # in UTC; "none": runs are only triggered
# One task per stage, or one per job. It decides which tasks exist, so it is read when the file is parsed, like CRON.
TASKS = os.environ.get("BATCH_RECALL_TASKS", "stages")
if TASKS not in ("stages", "jobs"):
    raise ValueError(f"BATCH_RECALL_TASKS must be 'stages' or 'jobs', got {TASKS!r}")

# The day of a run: the parameter `day`, or the start of the run's data interval. Resolved here only.
_DAY = "(params.day or ((dag_run.logical_date or dag_run.run_after) | ds))"
DAY = "{{ " + _DAY + " }}"
DAY_BEFORE = "{{ macros.ds_add(" + _DAY + ", -1) }}"

LAKE = "{{ var.value.batch_recall_lake }}"
CODE = "{{ var.value.batch_recall_code }}"
CONFIG = "{{ var.value.get('batch_recall_config', var.value.batch_recall_code ~ '/recall.toml') }}"
PY_FILES = "{{ var.value.get('batch_recall_py_files', '') }}"

# The jobs of each stage, in the order of jobs/run_day.py; a test compares the two.
STAGES = {
    "tables": (
        "build_interactions",
        "rebuild_days",
        "build_reconciliation",
        "build_vocabularies",
        "build_snapshots",
        "build_training_examples",
        "build_histories",
        "build_item_pairs",
        "build_item_counts",
        "build_window_counts",
    ),
    "training_inputs": (
        "choose_settings",
        "build_negative_pools",
        "build_sampling_probs",
        "build_item_neighbours",
        "build_popular_items",
    ),
    "train": ("train_two_tower",),
    "score": ("build_user_embeddings", "build_item_index", "score_users"),
    "judge": ("evaluate_candidates", "gate_candidates"),
    "publish": ("publish_candidates",),
}
JOBS = tuple(job for jobs in STAGES.values() for job in jobs)
REPORT = "report_run"
TASK_IDS = (*(STAGES if TASKS == "stages" else JOBS), REPORT)  # those that submit to Spark
DAYS = {"evaluate_candidates": DAY_BEFORE}  # the day's clicks evaluate the candidates of the day before
MORE_ARGUMENTS = {"evaluate_candidates": ["--if-any"]}
HOURS = {"train_two_tower": 12, "score_users": 6}  # until a job's task is killed; 3 for the others


def quoted(template: str) -> str:
    """The template, changed so that its value is quoted for the shell when it is rendered."""
    return template.replace(" }}", " | quote }}")


def require_connection(context: Any) -> None:
    """Raises if the connection is unknown; the operator would then submit to YARN without a warning."""
    Connection.get(context["task"]._conn_id)


def prepare(context: Any) -> None:
    """Add the task's entry of `batch_recall_conf` to its Spark configuration.

    Raises ValueError if the variable is not an object with an object per task, or names a task that does not exist,
    whose settings would be lost; raises as `require_connection` does.
    """
    require_connection(context)
    task, by_task = context["task"], Variable.get("batch_recall_conf", default={}, deserialize_json=True)
    task_conf = by_task.get(task.task_id, {}) if isinstance(by_task, dict) else by_task
    if not isinstance(task_conf, dict):
        raise ValueError(
            f"batch_recall_conf must be a JSON object with an object per task, got {type(task_conf).__name__}"
        )
    if unknown := sorted({*by_task} - {*TASK_IDS}):
        raise ValueError(f"batch_recall_conf must name tasks among {', '.join(TASK_IDS)}, got {', '.join(unknown)}")
    task.conf = {**(task.conf or {}), **task_conf}


def require_publishing(context: Any) -> None:
    """Skip the task if the run must not publish, as for a day before the published one; otherwise `prepare` it."""
    if not context["params"]["publish"]:
        raise AirflowSkipException("this run does not publish (params.publish)")
    prepare(context)


def add_day_to_event(context: Any, result: Any) -> None:
    """Put the day into the asset's event, because several events can start one downstream run."""
    context["outlet_events"][CANDIDATES].extra = {"ds": context["task"].render_template(DAY, context)}


def submit(task_id: str, job: str, *more: str, hours: int, **options: Any) -> SparkSubmitOperator:
    """The task that submits jobs/JOB.py with the arguments common to all jobs, and `more`."""
    return SparkSubmitOperator(
        task_id=task_id,
        name=f"{task_id} {DAY}",
        conn_id="batch_recall_spark",
        application=f"{CODE}/jobs/{job}.py",
        py_files=PY_FILES,
        application_args=["--lake", LAKE, "--ds", DAYS.get(job, DAY), "--config", CONFIG, *more],
        env_vars={"PYTHONPATH": CODE},  # the code of the same checkout, not an installed one
        execution_timeout=timedelta(hours=hours),
        pool="batch_recall",
        **{"pre_execute": prepare, **options},
    )


def submit_job(job: str, task_id: str | None = None, **options: Any) -> SparkSubmitOperator:
    return submit(task_id or job, job, *MORE_ARGUMENTS.get(job, []), hours=HOURS.get(job, 3), **options)


def submit_stage(stage: str, **options: Any) -> SparkSubmitOperator:
    """The task of a stage. Its limit of time is that of its slowest job, and an hour more for each of the others.

    A stage of one job is that job: it has no progress to record, for which `run_day` would start Spark.
    """
    jobs = STAGES[stage]
    if len(jobs) == 1:
        return submit_job(jobs[0], stage, **options)
    hours = max(HOURS.get(job, 3) for job in jobs) + len(jobs) - 1
    return submit(stage, "run_day", "--from", jobs[0], "--to", jobs[-1], "--skip-done", hours=hours, **options)


with DAG(
    "batch_recall_daily",
    description="From the day's raw log to published candidates",
    doc_md=__doc__,
    schedule=None if CRON == "none" else CronDataIntervalTimetable(CRON, timezone="UTC"),
    start_date=datetime(2000, 1, 1, tzinfo=UTC),  # an earlier run would succeed without running any task
    catchup=False,
    max_active_runs=1,
    # no "backfill": Airflow counts the active runs of its back-fill separately and would run two days at once
    allowed_run_types=["scheduled", "manual", "operator_triggered"],
    params={
        "day": Param(None, type=["null", "string"], format="date", description="the day to run, YYYY-MM-DD"),
        "publish": Param(True, type="boolean", description="publish this day's candidates"),
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
        # exit code 2 is permanent and fails at once; any other failure may be temporary and is tried again
        bash_command=quoted(
            f"cd {CODE} && python -m jobs.await_log --lake {LAKE} --ds {DAY} --config {CONFIG}; "
            "case $? in 0) ;; 2) exit 2 ;; *) exit 99 ;; esac"
        ),
        retry_exit_code=99,
        mode="reschedule",
        poke_interval=300,
        timeout=timedelta(hours=12).total_seconds(),
    )
    *earlier, last = STAGES if TASKS == "stages" else JOBS
    task = submit_stage if TASKS == "stages" else submit_job
    publication = task(last, pre_execute=require_publishing, post_execute=add_day_to_event, outlets=[CANDIDATES])
    # a teardown always runs and does not count as a leaf of the DAG: only the publication decides the state of the run
    chain(await_log, *map(task, earlier), publication, submit_job(REPORT).as_teardown())
