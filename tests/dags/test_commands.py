"""The commands that the daily DAG submits: they equal golden files, and each job's parser accepts its own.

`GOLDEN=write make test PYTEST_ARGS=tests/dags` writes the files again, after `make airflow` has set Airflow up.
"""

from __future__ import annotations

import datetime as dt
import importlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jobs import await_log, run_day
from jobs.cli.run import TRY_AGAIN

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).with_name("golden")
AIRFLOW = ROOT / ".airflow"
DAY = "2026-03-01"
# Names the connection, the lake and the code. The shell would expand this lake if the sensor did not quote it.
PLACE = {
    "AIRFLOW_CONN_BATCH_RECALL_SPARK": '{"conn_type": "spark", "host": "local[2]", "extra": {"deploy-mode": "client"}}',
    "AIRFLOW_VAR_BATCH_RECALL_LAKE": "/lake of $HOME",
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


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return render(tmp_path_factory.mktemp("airflow"))


def golden(name: str) -> list[str]:
    return (GOLDEN / f"{name}.txt").read_text("utf-8").splitlines()


def parsed(job: str, argv: list[str]) -> dict[str, Any]:
    """The arguments as the job's own parser reads them."""
    here = [argument.replace("/code/", f"{ROOT}/") for argument in argv]
    return vars(importlib.import_module(f"jobs.{job}").arg_parser().parse_args(here))


def arguments(command: list[str]) -> list[str]:
    """The arguments of the job itself, which follow its file."""
    (file,) = (number for number, argument in enumerate(command) if argument.endswith(".py"))
    return command[file + 1 :]


class Recorder:
    """Replaces Display, and the main() of every job."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, list[str]]] = []

    def step(self, job: str, day: dt.date, work: Any) -> None:
        work()

    def main(self, job: str) -> Any:
        return lambda argv: self.calls.append((job, argv))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[str]]]:
    """(job, arguments) of everything that run_day runs for a day, in order."""
    recorder = Recorder()
    for job in golden("order")[1:]:  # the first one waits for the log, which run_day does not
        module = importlib.import_module(f"jobs.{job}")
        monkeypatch.setattr(module, "main", recorder.main(job))
    common = ["--lake", "/lake of $HOME", "--config", str(ROOT / "recall.toml")]
    monkeypatch.setattr(run_day, "require_impressions", lambda lake, ds: None)
    rebuilt = [*common, "--ds", DAY]
    monkeypatch.setattr(run_day, "rebuild_days", lambda *_: recorder.calls.append(("rebuild_days", rebuilt)))
    run_day.run_day(None, None, dt.date.fromisoformat(DAY), common, recorder)  # type: ignore[arg-type]
    return recorder.calls


def test_the_dag_runs_what_run_day_runs_in_its_order_with_its_arguments(calls: list[tuple[str, list[str]]]) -> None:
    assert [job for job, _ in calls] == golden("order")[1:]
    for job, argv in calls:
        assert parsed(job, arguments(golden(job))) == parsed(job, argv), job


def test_there_is_a_golden_command_for_each_task_and_no_other() -> None:
    assert sorted(path.stem for path in GOLDEN.glob("*.txt")) == sorted([*golden("order"), "order"])


def test_no_golden_command_goes_to_yarn_by_mistake() -> None:
    """With an unknown connection, the hook would use `yarn` without an error."""
    for job in golden("order")[1:]:
        assert golden(job)[:3] == ["spark-submit", "--master", "local[2]"], job


def test_the_sensor_knows_the_exit_code_for_not_yet() -> None:
    (line,) = golden("await_log")
    quoted = f"python -m jobs.await_log --lake '/lake of $HOME' --ds {DAY} --config /code/recall.toml"
    assert line.startswith(f"cd /code && {quoted}; ")
    argv = ["--lake", "/lake of $HOME", "--ds", DAY, "--config", "/code/recall.toml"]
    assert parsed("await_log", argv)["ds"] == dt.date.fromisoformat(DAY)
    assert f"retry_exit_code={await_log.NOT_YET}" in (ROOT / "dags" / "batch_recall_daily.py").read_text("utf-8")


def test_the_sensor_fails_only_if_the_job_refuses_the_day(tmp_path: Path) -> None:
    line = golden("await_log")[0].replace("/code ", f"{tmp_path} ", 1)
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


def test_rendered_commands_are_the_golden_ones(rendered: dict[str, Any]) -> None:
    commands = rendered["scheduled"] | {"order": list(rendered["dags"]["batch_recall_daily"]["tasks"])}
    if os.environ.get("GOLDEN") == "write":
        for name, lines in commands.items():
            (GOLDEN / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    assert commands == {name: golden(name) for name in commands}


def test_the_day_is_what_is_asked_for_then_the_interval_then_the_clock(rendered: dict[str, Any]) -> None:
    for way, day, before in (
        ("scheduled", "2026-03-01", "2026-02-28"),
        ("asked_for", "2026-02-14", "2026-02-13"),
        ("neither", "2026-03-05", "2026-03-04"),
    ):
        for job in golden("order")[1:]:
            found = parsed(job, arguments(rendered[way][job]))["ds"]
            assert found.isoformat() == (before if job == "evaluate_candidates" else day), (way, job)
        assert f" --ds {day} " in rendered[way]["await_log"][0]


def test_the_zip_and_the_configuration_of_the_variables_are_in_the_command(tmp_path: Path) -> None:
    place = {
        "AIRFLOW_VAR_BATCH_RECALL_PY_FILES": "/code/dist/batch-recall.zip",
        "AIRFLOW_VAR_BATCH_RECALL_CONFIG": "/own.toml",
    }
    found = render(tmp_path, **place)["scheduled"]["score_users"]
    assert found[found.index("--py-files") + 1] == "/code/dist/batch-recall.zip"
    assert found[found.index("--config") + 1] == "/own.toml"
