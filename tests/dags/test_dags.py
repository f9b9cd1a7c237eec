"""The DAGs: one run at a time, one chain of jobs, retries, and no secret in rendered text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.dags.test_commands import FORMS, GOLDEN, in_airflow, render


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def found(form: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    secret = {
        "AIRFLOW_CONN_ELSEWHERE": '{"conn_type": "http", "password": "hunter2"}',
        "AIRFLOW_CONN_BATCH_RECALL_SPARK": json.dumps(
            {
                "conn_type": "spark",
                "host": "local[2]",
                "login": "me",
                "password": "hunter2",
                "extra": {"deploy-mode": "client", "secret_key": "hunter2"},
            }
        ),
        "AWS_SECRET_ACCESS_KEY": "hunter2",
    }
    return render(tmp_path_factory.mktemp("airflow"), BATCH_RECALL_TASKS=form, **secret)


@pytest.fixture(scope="module")
def daily(found: dict[str, Any]) -> dict[str, Any]:
    return found["dags"]["batch_recall_daily"]


def test_the_dag_files_load(found: dict[str, Any]) -> None:
    assert found["errors"] == []
    assert set(found["dags"]) == {
        "batch_recall_daily",
        "batch_recall_backfill",
        "batch_recall_tuning",
        "ranking_example",
    }


def test_no_secret_of_the_environment_or_the_connection_is_rendered(found: dict[str, Any]) -> None:
    assert found["scheduled"]["report_run"][:3] == ["spark-submit", "--master", "local[2]"]
    assert "hunter2" not in json.dumps(found)
    assert all("hunter2" not in path.read_text("utf-8") for path in GOLDEN.rglob("*.txt"))


def test_one_run_is_active_and_airflows_own_backfill_is_refused(daily: dict[str, Any]) -> None:
    assert daily["max_active_runs"] == 1
    assert daily["allowed_run_types"] == ["manual", "operator_triggered", "scheduled"]
    assert "CronDataIntervalTimetable" in daily["schedule"]
    assert daily["start_date"] <= "2000-01-01"  # a run of an earlier day would succeed without a task


def test_the_tasks_are_one_chain(daily: dict[str, Any]) -> None:
    order = list(daily["tasks"])
    assert [daily["tasks"][task]["downstream"] for task in order] == [[after] for after in order[1:]] + [[]]


def test_the_publication_is_the_leaf_that_decides_and_names_the_asset(form: str, daily: dict[str, Any]) -> None:
    """It is a task of its own in both forms: its success is the asset's event, also if no other task may publish."""
    publication = {"stages": "publish", "jobs": "publish_candidates"}[form]
    assert daily["tasks"][publication]["downstream"] == ["report_run"]  # a teardown, which is no leaf
    assert {name: task["outlets"] for name, task in daily["tasks"].items() if task["outlets"]} == {
        publication: ["batch_recall_candidates"]
    }


def test_a_stage_may_run_an_hour_more_for_each_job_after_its_slowest(form: str, daily: dict[str, Any]) -> None:
    limits = {name: task["execution_timeout"] for name, task in daily["tasks"].items()}
    del limits["await_log"]
    if form == "jobs":
        assert limits.pop("train_two_tower") == "12:00:00"
        assert limits.pop("score_users") == "6:00:00"
        assert set(limits.values()) == {"3:00:00"}
    else:
        hours = {
            "tables": 12, "training_inputs": 7, "train": 12, "score": 8, "judge": 4, "publish": 3, "report_run": 3
        }  # fmt: skip
        assert limits == {task: f"{number}:00:00" for task, number in hours.items()}


def test_every_task_is_a_spark_submit_in_the_pool_that_is_retried_and_killed_in_time(daily: dict[str, Any]) -> None:
    jobs = {name: task for name, task in daily["tasks"].items() if name != "await_log"}
    assert {task["type"] for task in jobs.values()} == {"SparkSubmitOperator"}
    assert {task["pool"] for task in jobs.values()} == {"batch_recall"}
    assert {task["retries"] for task in jobs.values()} == {2}
    rules = {name: task["trigger_rule"] for name, task in jobs.items()}
    assert rules.pop("report_run") == "all_done_setup_success"
    assert set(rules.values()) == {"all_success"}


def test_each_day_of_a_range_is_tried_twice(found: dict[str, Any]) -> None:
    tasks = found["dags"]["batch_recall_backfill"]["tasks"]
    assert {name: task["retries"] for name, task in tasks.items()} == {"days": 1, "run_day": 1}


def test_both_dag_files_name_the_same_asset() -> None:
    dags = Path(__file__).resolve().parents[2] / "dags"
    line = 'CANDIDATES = Asset("batch_recall_candidates")\n'
    for name in ("batch_recall_daily", "ranking_example"):
        assert line in (dags / f"{name}.py").read_text("utf-8")


def test_what_the_dag_files_own_functions_do(form: str, tmp_path: Path) -> None:
    assert in_airflow("check_hooks.py", tmp_path, BATCH_RECALL_TASKS=form).stderr.endswith("checked\n")
