"""The commands that the daily DAG submits: they equal golden files, and each job's parser accepts its own.

The DAG has two forms, one task per stage and one per job (BATCH_RECALL_TASKS); each has a folder of golden files.

`GOLDEN=write make test PYTEST_ARGS=tests/dags` writes the files again, after `make airflow` has set Airflow up.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jobs import await_log, run_day
from jobs.cli.run import TRY_AGAIN
from tests.recorded_day import DAY, LAKE, ROOT, Recorder, calls, parsed, recorded_jobs

GOLDEN = Path(__file__).with_name("golden")
AIRFLOW = ROOT / ".airflow"
FORMS = ("stages", "jobs")
# Names the connection, the lake and the code.
PLACE = {
    "AIRFLOW_CONN_BATCH_RECALL_SPARK": '{"conn_type": "spark", "host": "local[2]", "extra": {"deploy-mode": "client"}}',
    "AIRFLOW_VAR_BATCH_RECALL_LAKE": LAKE,
    "AIRFLOW_VAR_BATCH_RECALL_CODE": "/code",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
}


def in_airflow(script: str, folder: Path, **place: str) -> subprocess.CompletedProcess[str]:
    """Run a script of this folder in Airflow's environment; its argument is the folder that it writes to."""
    if not (AIRFLOW / ".set_up").exists():
        pytest.skip("Airflow is not set up here: `make airflow` does it, into .airflow")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    environment |= PLACE | place | {"AIRFLOW_HOME": str(folder)}
    command = [AIRFLOW / "bin" / "python", Path(__file__).with_name(script), folder]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done


def render(folder: Path, **place: str) -> dict[str, Any]:
    """What tests/dags/render.py finds."""
    in_airflow("render.py", folder, **place)
    return json.loads((folder / "found.json").read_text("utf-8"))


@pytest.fixture(scope="module", params=FORMS)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def rendered(form: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return render(tmp_path_factory.mktemp("airflow"), BATCH_RECALL_TASKS=form)


def golden(form: str, name: str) -> list[str]:
    return (GOLDEN / form / f"{name}.txt").read_text("utf-8").splitlines()


def spark_tasks(form: str) -> list[str]:
    """The tasks that submit to Spark, in order: all but the first one, which waits for the log."""
    return golden(form, "order")[1:]


def submitted(command: list[str]) -> tuple[str, list[str]]:
    """The job that a command submits, and the job's arguments, which follow its file."""
    (file,) = (number for number, argument in enumerate(command) if argument.endswith(".py"))
    return Path(command[file]).stem, command[file + 1 :]


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    return recorded_jobs(monkeypatch)


def test_tasks_of_jobs_run_what_run_day_runs_in_its_order_with_its_arguments(recorder: Recorder) -> None:
    tasks = [submitted(golden("jobs", task)) for task in spark_tasks("jobs")]
    assert [job for job, _ in tasks] == spark_tasks("jobs") == list(run_day.NAMES)
    assert [(job, parsed(job, argv)) for job, argv in tasks] == calls(recorder, [])


def test_the_stages_together_run_what_run_day_runs(recorder: Recorder) -> None:
    found = []
    for job, argv in [submitted(golden("stages", task)) for task in reversed(spark_tasks("stages"))]:
        args = parsed(job, argv)
        if job != "run_day":  # a stage of one job
            found.insert(0, (job, args))
            continue
        assert (args["lake"], str(args["ds"]), args["last"], args["against"]) == (LAKE, DAY, None, None)
        found = calls(recorder, ["--from", args["first_job"], "--to", args["last_job"]]) + found
    assert found == calls(recorder, [])


@pytest.mark.parametrize("form", FORMS)
def test_there_is_a_golden_command_for_each_task_and_no_other(form: str) -> None:
    assert sorted(path.stem for path in (GOLDEN / form).iterdir()) == sorted([*golden(form, "order"), "order"])


@pytest.mark.parametrize("form", FORMS)
def test_no_golden_command_goes_to_yarn_by_mistake(form: str) -> None:
    """With an unknown connection, the hook would use `yarn` without an error."""
    for task in spark_tasks(form):
        assert golden(form, task)[:3] == ["spark-submit", "--master", "local[2]"], task


def test_the_sensor_knows_the_exit_code_for_not_yet() -> None:
    (line,) = golden("stages", "await_log")
    assert golden("jobs", "await_log") == [line]
    quoted = f"python -m jobs.await_log --lake '/lake of $HOME' --ds {DAY} --config /code/recall.toml"
    assert line.startswith(f"cd /code && {quoted}; ")
    argv = ["--lake", LAKE, "--ds", DAY, "--config", "/code/recall.toml"]
    assert parsed("await_log", argv)["ds"] == dt.date.fromisoformat(DAY)
    assert f"retry_exit_code={await_log.NOT_YET}" in (ROOT / "dags" / "batch_recall_daily.py").read_text("utf-8")


def test_the_sensor_fails_only_if_the_job_refuses_the_day(tmp_path: Path) -> None:
    line = golden("stages", "await_log")[0].replace("/code ", f"{tmp_path} ", 1)
    (tmp_path / "python").write_text('#!/bin/bash\n[ "$ENDS" = killed ] && kill -9 $$\nexit "$ENDS"\n')
    (tmp_path / "python").chmod(0o755)
    ended = {}
    for how in ("0", "2", str(await_log.NOT_YET), "1", str(TRY_AGAIN), "killed"):
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "ENDS": how}
        ended[how] = subprocess.run(["bash", "-c", line], env=environment, check=False).returncode
    assert (ended.pop("0"), ended.pop("2"), set(ended.values())) == (0, 2, {await_log.NOT_YET})
    missing = subprocess.run(
        ["bash", "-c", line.replace(str(tmp_path), "/not/there")], check=False, capture_output=True
    )
    assert missing.returncode == await_log.NOT_YET


def test_rendered_commands_are_the_golden_ones(form: str, rendered: dict[str, Any]) -> None:
    commands = rendered["scheduled"] | {"order": list(rendered["dags"]["batch_recall_daily"]["tasks"])}
    if os.environ.get("GOLDEN") == "write":
        for name, lines in commands.items():
            (GOLDEN / form / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    assert commands == {name: golden(form, name) for name in commands}


def test_the_day_is_what_is_asked_for_then_the_interval_then_the_clock(form: str, rendered: dict[str, Any]) -> None:
    for way, day, before in (
        ("scheduled", "2026-03-01", "2026-02-28"),
        ("asked_for", "2026-02-14", "2026-02-13"),
        ("neither", "2026-03-05", "2026-03-04"),
    ):
        for task in spark_tasks(form):
            job, argv = submitted(rendered[way][task])
            found = parsed(job, argv)["ds"]
            assert found.isoformat() == (before if job == "evaluate_candidates" else day), (way, task)
        assert f" --ds {day} " in rendered[way]["await_log"][0]


def test_the_search_is_of_the_day_before_its_run_and_its_command_is_the_golden_one(rendered: dict[str, Any]) -> None:
    (file,) = (GOLDEN / "tuning").iterdir()
    assert rendered["tuning"] == {file.stem: file.read_text("utf-8").splitlines()}
    for way, day in (("tuning", "2026-02-28"), ("tuning_asked_for", "2026-02-14")):
        job, argv = submitted(rendered[way]["tune_two_tower"])
        args = parsed(job, argv)
        assert (str(args["ds"]), args["minutes"], args["trials"]) == (day, 60, 200)
    dag = rendered["dags"]["batch_recall_tuning"]
    assert (dag["max_active_runs"], dag["tasks"]["tune_two_tower"]["pool"]) == (1, "batch_recall")


def test_a_form_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    (error,) = render(tmp_path, BATCH_RECALL_TASKS="job")["errors"]
    assert "BATCH_RECALL_TASKS must be 'stages' or 'jobs', got 'job'" in error


def test_the_zip_and_the_configuration_of_the_variables_are_in_the_command(tmp_path: Path) -> None:
    place = {
        "AIRFLOW_VAR_BATCH_RECALL_PY_FILES": "/code/dist/batch-recall.zip",
        "AIRFLOW_VAR_BATCH_RECALL_CONFIG": "/own.toml",
    }
    found = render(tmp_path, **place)["scheduled"]["score"]
    assert found[found.index("--py-files") + 1] == "/code/dist/batch-recall.zip"
    assert found[found.index("--config") + 1] == "/own.toml"
