"""How the growth of a job's cost is judged and reported, and what is counted as its cost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from benchmarks import growth
from benchmarks.growth import World, worlds
from benchmarks.tables import growth_report
from benchmarks.tables.costs import cost, jvm_pid
from benchmarks.tables.growth_report import all_axes, axis_table, curve, is_too_steep, of_linear, per_million, too_steep
from benchmarks.tables.growth_world import summed
from benchmarks.tables.process_tree import TICKS, Used, cpu_seconds_between, largest_worker_mib, used

BASE = World(users=10, items=20, impressions=30)
CPU, MB = "work_cpu_seconds", "shuffled_mb"


def measured(world: World, cpu: float, shuffled: float = 0.0) -> dict[str, Any]:
    """The line of a world with one job; half of its CPU time is Python's."""
    job = {"task_cpu_seconds": cpu / 2, "python_cpu_seconds": cpu / 2, "shuffled_bytes": shuffled * 1e6}
    job |= {"spilled_bytes": 0.0, "largest_task_seconds": 1.0, "seconds": 2.0, "driver_peak_mib": 3.0, "rows": 4.0}
    return {"world": asdict(world), "jobs": {"build_x": job}, "peak_mib": {"jvm": 1.0}, "commit": "c", "load": [0, 0]}


def along(axis: str, cpu: Callable[[int], float], shuffled: Callable[[int], float] = lambda _: 0.0) -> Any:
    """The curve of that job along an axis."""
    lines = [
        measured(BASE.grown(growth_report.AXES[axis], factor), cpu(factor), shuffled(factor)) for factor in (1, 2, 4, 8)
    ]
    return curve(lines, BASE, axis, (1, 2, 4, 8))


def test_a_world_grows_along_its_axis_only_and_each_is_measured_once() -> None:
    assert BASE.grown(("users", "impressions"), 4) == World(users=40, items=20, impressions=120)
    assert BASE.grown(("days",), 8) == World(users=10, items=20, impressions=30, days=8)
    grown = [World(20, 20, 30), World(10, 40, 30)]
    assert worlds(BASE, ["history", "users", "items"], [1, 2]) == [BASE, *grown, World(10, 20, 30, days=2)]
    assert World(10, 20, 30, days=6).measured_days() == [1, 2, 4, 6]  # after so many days
    assert World(10, 20, 30, days=0).measured_days() == [0]


@pytest.mark.parametrize(
    ("cpu", "steep"),
    [
        (lambda factor: 10 * factor, False),
        (lambda factor: 100 + 10 * factor, False),  # a fixed cost and a linear one
        (lambda factor: 10 * factor**1.04, False),  # 1.09 times linear at the largest
        (lambda factor: 10 * factor**1.1, True),
        (lambda factor: 60 + factor**2.5, True),  # its fixed cost hides it but in the last step
        (lambda factor: 0.001 * factor**2, False),  # less than noise
    ],
)
def test_growth_is_compared_with_linear_growth(cpu: Callable[[int], float], steep: bool) -> None:
    assert [
        line.startswith("build_x, users: work_cpu_seconds") for line in too_steep({"users": along("users", cpu)})
    ] == ([True] if steep else [])


def test_along_the_history_a_day_must_cost_the_same() -> None:
    values = {1: 10.0, 2: 10.5, 4: 11.0, 8: 11.4}
    assert of_linear(values, "history") == pytest.approx(1.14)
    assert of_linear(values, "history", last_step=True) == pytest.approx(11.4 / 11)
    assert not is_too_steep(values, "history", CPU)  # .4 s more than allowed
    assert is_too_steep({**values, 8: 11.6}, "history", CPU)
    assert of_linear({1: 10.0, 8: 80.0}, "users") == 1
    assert of_linear({1: 10.0}, "users") is None
    assert of_linear({1: 0.0, 8: 80.0}, "users") is None


def test_bytes_are_judged_too_and_marked_in_the_table() -> None:
    found = along("items", lambda factor: factor, lambda factor: 5 * factor**2)
    assert [line.split(": ")[1].split()[0] for line in too_steep({"items": found})] == [MB]
    row = axis_table(found, "items").splitlines()[-1]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:7] == ["build_x", "1.00", "2.00", "4.00", "8.00", "1.00", "1.00"]
    assert cells[7:9] == ["5.0", "320.0"]
    assert cells[-1] == "**8.00**"
    assert len({line.count("|") for line in axis_table(found, "items").splitlines()}) == 1


def test_a_world_that_was_measured_again_has_its_last_figures() -> None:
    lines = [measured(BASE, 1.0), measured(BASE.grown(("users",), 2), 2.0), measured(BASE, 3.0)]
    found = curve(lines, BASE, "users", (1, 2, 4))
    assert {factor: jobs["build_x"][CPU] for factor, jobs in found.items()} == {1: 3.0, 2: 2.0}


def test_the_first_days_of_a_long_history_are_not_the_smallest_world_of_other_axes() -> None:
    history = [measured(replace(BASE, days=days), 20.0 + days) for days in (1, 2)]
    lines = [measured(BASE, 1.0), measured(BASE.grown(("users",), 2), 2.0), *history]

    def values(lines: list[dict[str, Any]], axis: str) -> dict[int, float]:
        return {factor: jobs["build_x"][CPU] for factor, jobs in curve(lines, BASE, axis, (1, 2)).items()}

    assert values(lines, "users") == {1: 1.0, 2: 2.0}
    assert values(lines, "history") == {1: 21.0, 2: 22.0}  # both of one process
    assert values(lines[1:], "users") == {1: 21.0, 2: 2.0}  # no other process has measured it
    assert values([*history, measured(BASE, 3.0)], "users") == {1: 3.0}
    assert values([], "users") == {}


def test_a_job_that_was_not_measured_in_a_world_has_empty_cells() -> None:
    lines = [measured(BASE, 1.0), measured(BASE.grown(("users",), 2), 2.0)]
    lines[1]["jobs"]["build_y"] = lines[1]["jobs"]["build_x"]
    row = axis_table(curve(lines, BASE, "users", (1, 2)), "users").splitlines()[-1]
    assert [cell.strip() for cell in row.strip("|").split("|")][:7] == ["build_y", "", "2.00", "", "", "", "0.0"]


def test_one_table_has_the_largest_world_of_each_axis() -> None:
    curves = {
        "history": along("history", lambda factor: 9 + factor),
        "users": along("users", lambda factor: 5 + 2 * factor, lambda factor: 3 * factor),
    }
    curves["users"][1]["build_y"] = curves["users"][1]["build_x"]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in all_axes(curves).splitlines()]
    assert rows[0][1:4] == ["CPU s, ×1", "CPU s, history ×8", "CPU s, users ×8"]
    assert rows[2:] == [
        ["build_x", "7.0", "17.0", "21.0", "3.0", "0.0", "24.0"],
        ["build_y", "7.0", "", "", "3.0", "", ""],
        ["all", "14.0", "17.0", "21.0", "6.0", "0.0", "24.0"],
    ]
    assert all_axes({}) == ""


def test_what_a_million_more_cost_leaves_the_fixed_cost_out() -> None:
    curves = {
        "users": along("users", lambda factor: 5 + 2 * factor),
        "items": along("items", lambda factor: 7.0, lambda factor: 1 + 4 * factor),
    }
    cells = per_million(curves, BASE).splitlines()[-1].strip("|").split("|")
    assert [cell.strip() for cell in cells] == ["build_x", "2e+05", "", "", "2e+05"]


@pytest.mark.parametrize(
    ("cpu", "mb", "wanted"), [(0.8, 0.2, ["1.14e+04", "2.86e+03"]), (0.4, 0.1, ["", ""])]
)  # more with 8 times the users
def test_what_a_million_more_cost_is_empty_if_two_runs_may_differ_by_it(
    cpu: float, mb: float, wanted: list[str]
) -> None:
    points = along("users", lambda factor: factor * cpu / 7, lambda factor: factor * mb / 7)
    cells = per_million({"users": points}, BASE).splitlines()[-1].strip("|").split("|")[1:]
    assert [cell.strip() for cell in cells] == wanted


def test_costs_of_several_jobs_are_added_but_their_peaks_are_not() -> None:
    one = {"seconds": 1.0, "largest_task_seconds": 3.0, "driver_peak_mib": 50.0}
    other = {"seconds": 2.0, "largest_task_seconds": 2.0, "driver_peak_mib": 70.0}
    assert summed([one, other]) == {"seconds": 3.0, "largest_task_seconds": 3.0, "driver_peak_mib": 70.0}


def test_stored_worlds_are_not_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[World] = []

    def child(_: str, arguments: list[str], *, smoke: bool) -> str:
        asked.append(World(**json.loads(arguments[1])))
        days = asked[-1].measured_days()
        # a day costs a little more in the process of a longer history
        costs = {number: asked[-1].users * number + days[-1] - number for number in days}
        found = [measured(replace(asked[-1], days=number), costs[number]) for number in days]
        return "\n".join(["a warning", *map(json.dumps, found)])

    monkeypatch.setattr(growth, "output_of", child)
    sizes = ["--users", "10", "--items", "20", "--impressions", "30", "--axes", "users", "items"]
    command = [*sizes, "history", "--folder", str(tmp_path), "--plots", str(tmp_path / "plots"), "--factors", "1"]
    growth.main(command)
    assert asked == [BASE]
    growth.main([*command, "4", "2"])
    grown = [World(40, 20, 30), World(10, 80, 30), World(20, 20, 30), World(10, 40, 30)]
    assert asked == [BASE, *grown, World(10, 20, 30, days=4)]  # with which the second day is measured, too
    capsys.readouterr()
    growth.main([*command, "4", "2", "--report-only"])
    assert len(asked) == 6
    printed = capsys.readouterr().out
    assert "| build_x | 10.00 | 20.00 | 40.00 | 1.00 |" in printed  # along the users
    assert "build_x, history: work_cpu_seconds ×1 13.00, ×2 22.00, ×4 40.00" in printed
    assert "| all | 10.0 | 40.0 | 10.0 | 40.0 |" in printed
    assert (tmp_path / "plots" / "build_x.svg").read_text("utf-8").count("times the size") == 3  # a panel an axis


def test_only_jobs_that_take_time_are_drawn() -> None:
    curves = {"users": {1: {"idle": {CPU: 0.02}, "grows": {CPU: 0.02}}, 2: {"idle": {CPU: 0.05}, "grows": {CPU: 0.2}}}}
    assert growth_report.worth_drawing(curves) == ["grows"]


SPIN = "import time\nlist(range(3_000_000))\nwhile time.process_time() < 0.4: pass\nprint(flush=True)\ninput()"


def test_the_cpu_time_and_memory_of_a_started_process_count_also_after_it_has_ended() -> None:
    before = used(-1)
    process = subprocess.Popen([sys.executable, "-c", SPIN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    running = used(-1)
    assert cpu_seconds_between(before, running) >= 0.39
    assert cpu_seconds_between(before, used(process.pid)) < cpu_seconds_between(before, running) - 0.35  # as if the JVM
    assert largest_worker_mib(os.getpid()) > 50  # three million references and numbers
    process.communicate(b"\n")
    assert cpu_seconds_between(before, used(-1)) >= 0.39
    assert cpu_seconds_between(running, used(-1)) < 0.3  # not once more because this process has waited for it


def test_what_a_process_had_used_before_is_not_lost_if_none_waits_for_it() -> None:
    before = {1: Used(0, 100, 50), 2: Used(1, 0, 10), 3: Used(2, 30, 0), 4: Used(3, 400, 5)}
    assert cpu_seconds_between(before, {**before, 4: Used(3, 450, 5)}) * TICKS == pytest.approx(50)
    assert cpu_seconds_between(before, {1: Used(0, 110, 50), 2: Used(1, 0, 10)}) * TICKS == pytest.approx(10)  # lost
    waited = {1: Used(0, 110, 50), 2: Used(1, 0, 10 + 30 + 405 + 7)}  # 2 has waited for 3, and 3 for 4: 7 ticks later
    assert cpu_seconds_between(before, waited) * TICKS == pytest.approx(17)
    assert cpu_seconds_between(before, {**before, 5: Used(3, 9, 2)}) * TICKS == pytest.approx(11)  # a new one


def test_what_spark_did_is_counted(spark: SparkSession, tmp_path: Path) -> None:
    spark.range(5_000, numPartitions=2).write.parquet(str(tmp_path / "rows"))
    rows = spark.read.parquet(str(tmp_path / "rows"))
    slow = F.udf(lambda value: value, "long")

    def work() -> None:
        rows.select(slow("id").alias("id")).repartition(2, "id").write.format("noop").mode("overwrite").save()

    found = cost(spark, work)
    assert found.read_rows == 5_000
    assert 5_000 < found.shuffled_bytes < 500_000
    assert found.spilled_bytes == 0
    assert 0 < found.largest_task_seconds <= found.seconds
    assert found.task_cpu_seconds > 0
    assert found.python_cpu_seconds > 0
    assert largest_worker_mib(jvm_pid(spark)) > 10
    assert cost(spark, lambda: None).read_rows == 0
