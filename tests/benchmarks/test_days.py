"""What is reported of days that are measured several times: skewed ones, and those of several executors."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession

from benchmarks.tables import skew
from benchmarks.tables.days.executors import differences, digest, table


def line(**jobs: tuple[float, float]) -> dict[str, Any]:
    """A round: of each job the CPU seconds, half of which are Python's, and the seconds of the largest task."""
    return {
        "jobs": {
            job: {
                "task_cpu_seconds": cpu / 2, "python_cpu_seconds": cpu / 2, "largest_task_seconds": largest,
                "shuffled_bytes": 0.0, "spilled_bytes": 0.0, "seconds": 2.0, "driver_peak_mib": 3.0,
            }
            for job, (cpu, largest) in jobs.items()
        }
    }  # fmt: skip


def test_a_skewed_day_is_compared_with_the_even_one_by_the_median_of_the_rounds() -> None:
    even = [line(x=(1, 0.5), y=(8, 0.2)), line(x=(9, 0.4), y=(1, 0.9)), line(x=(2, 0.5), y=(1, 0.6))]
    hot = [line(x=(5, 3), y=(2, 1)), line(x=(3, 3), y=(2, 1)), line(x=(4, 3), y=(2, 1))]
    printed = skew.table({"even": even, "hot": hot})
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in printed.splitlines()]
    assert rows[0][1:5] == ["CPU s, even", "CPU s, hot", "largest task, s, even", "largest task, s, hot"]
    assert [(row[0], *row[1:5], row[-1]) for row in rows[2:]] == [
        ("x", "2.00", "4.00", "0.50", "3.00", "2.00"),
        ("y", "1.00", "2.00", "0.60", "1.00", "2.00"),
        # the median of 9, 10 and 3, not the sum of the jobs' medians; and of .5, .9 and .6, the largest task of all jobs
        ("all", "9.00", "6.00", "0.60", "3.00", "0.67"),
    ]


def test_rows_are_the_same_in_any_order_and_but_for_the_last_digits_of_a_mean(spark: SparkSession) -> None:
    def of(*rows: tuple[str, float, str]) -> str:
        return digest(spark.createDataFrame(rows, "id string, mean double, model_version string"))

    rows = [("a", 1 / 3, "m1"), ("b", 0.5, "m1"), ("b", 0.5, "m1")]
    found = of(*rows)
    assert found.startswith("3 rows")
    assert of(*reversed(rows)) == found
    assert of(("a", 1 / 3 + 1e-15, "m2"), *rows[1:]) == found  # another model's name, too
    assert of(("a", 1 / 3 + 1e-9, "m1"), *rows[1:]) != found
    assert of(("c", 1 / 3, "m1"), *rows[1:]) != found
    assert of(*rows[:-1]) != found


def test_tables_with_other_rows_are_named() -> None:
    runs = [{"rows": {"clicks": "1 rows, 5", "items": "2 rows, 7"}}, {"rows": {"clicks": "1 rows, 5", "items": "x"}}]
    assert differences({1: runs[:1], 2: runs[1:]}) == "same rows: clicks\nother rows: items"
    assert differences({1: runs[:1], 2: runs[:1]}) == "same rows: clicks, items\nother rows: none"
    assert differences({1: [{"rows": {}}], 2: runs[:1]}) == "same rows: none\nother rows: clicks, items"


def test_the_seconds_of_all_jobs_are_the_median_of_their_sums() -> None:
    runs = [{"seconds": {"x": 1.0, "y": 8.0}}, {"seconds": {"x": 9.0, "y": 1.0}}, {"seconds": {"x": 2.0, "y": 1.0}}]
    fast = [{"seconds": {"x": 1.0, "y": 2.0}}]
    assert table({1: runs, 2: fast}).splitlines()[-1] == "| all | 9.0 | 3.0 | 3.00 |"
