"""back_tests: the recall that training predicted for a day's lists, beside the recall that they reached the next day.

For each day from --ds to --last: the recall of the day's model on its held-out clicks (metrics in its model.json), the
recall of the day's lists on later clicks (table evaluation, which run_day or evaluate_candidates writes), and the gap,
reached less predicted. The same for popularity, which shows how much of a gap is due to the days. Both are means over
users. Measures nothing itself, and names the days that have not been evaluated. Overwrites the days.
"""

from __future__ import annotations

import argparse
import datetime as dt
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pyspark.sql import Row
from rich.console import Console
from rich.table import Table

from jobs.cli.arguments import day_argument, job_parser
from jobs.cli.day_range import days_of_range
from jobs.cli.lake import open_lake
from jobs.cli.run import run
from jobs.inference.evaluation import CANDIDATES, POPULARITY
from jobs.inference.references import model_manifest
from jobs.lake import tables
from jobs.lake.lake import Lake
from model.training.processes.lines import is_json, say

COLUMNS = ("day", "k", "predicted", "clicks", "reached", "users", "gap", "popularity predicted", "reached", "published")


def arg_parser() -> argparse.ArgumentParser:
    parser = job_parser(__doc__, variant=True)
    parser.add_argument("--last", type=day_argument, metavar="DAY", help="the last day of the range (default: --ds)")
    return parser


def back_tests(evaluated: Sequence[Row], metrics: Mapping[str, Any], is_published: bool) -> list[dict[str, Any]]:
    """The day's rows of the table back_tests, one for each k that both sides have measured.

    evaluated: the day's rows of the table evaluation; metrics: of the model that made the lists.
    """
    reached = {(row.channel, row.k): row for row in evaluated if (row.metric, row.slice) == ("recall", "all")}
    validation, popularity = metrics.get("validation"), metrics.get("popularity")
    rows = []
    for k in sorted(k for channel, k in reached if channel == CANDIDATES):
        lists, popular = reached[CANDIDATES, k], reached.get((POPULARITY, k))
        predicted = predicted_recall(validation, k)
        if predicted is None:
            continue
        rows.append(
            {
                "ds": lists.ds,
                "against_from": lists.against_from,
                "against_to": lists.against_to,
                "model_version": lists.model_version,
                "is_published": is_published,
                "k": k,
                "predicted": predicted,
                "predicted_clicks": int((validation or {}).get("rows", 0)),
                "predicted_popularity": predicted_recall(popularity, k),
                "reached": lists.value,
                "users": lists.users,
                "reached_popularity": popular.value if popular else None,
                "gap": lists.value - predicted,
            }
        )
    return rows


def predicted_recall(measured: Mapping[str, float] | None, k: int) -> float | None:
    """The mean recall@k over users; over clicks for models of older versions, which did not measure the former."""
    measured = measured or {}
    return measured.get(f"user_recall@{k}", measured.get(f"recall@{k}"))


def rows_of_day(lake: Lake, ds: dt.date) -> list[dict[str, Any]]:
    """The day's rows; prints why there are none."""
    evaluated = lake.rows(tables.EVALUATION, ds)
    if not evaluated:
        say(f"{ds}: not evaluated yet: run evaluate_candidates --ds {ds} once the clicks of the next day have landed")
        return []
    version = evaluated[0].model_version
    manifest = model_manifest(lake, version) or {}
    published = {(row.ds, row.model_version) for row in lake.rows(tables.PUBLICATIONS)}
    rows = back_tests(evaluated, manifest.get("metrics", {}), (ds, version) in published)
    if not rows:
        say(f"{ds}: nothing to compare: no held-out day was measured, or not at lengths that are in evaluation.cutoffs")
    return rows


def show(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print a line for each day and k, and the mean gap at each k; for programs with the columns of `back_tests`."""
    table = Table(*COLUMNS)
    for row in rows:
        numbers = ("predicted", "predicted_clicks", "reached", "users", "gap", "predicted_popularity")
        cells = [_text(row[name]) for name in (*numbers, "reached_popularity")]
        table.add_row(str(row["ds"]), str(row["k"]), *cells, "yes" if row["is_published"] else "no")
        if is_json():
            say(f"{row['ds']}: recall@{row['k']}", **row)
    if not is_json():
        console.print(table)
    for line in mean_gaps(rows):
        say(line)


def mean_gaps(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """One line for each k: the mean gap over the days and its standard error."""
    gaps: dict[int, list[float]] = {}
    for row in rows:
        gaps.setdefault(row["k"], []).append(row["gap"])
    lines = []
    for k, found in sorted(gaps.items()):
        error = f", standard error {statistics.stdev(found) / len(found) ** 0.5:.4f}" if len(found) > 1 else ""
        days = f"{len(found)} day{'s' if len(found) > 1 else ''}"
        lines.append(f"recall@{k}: reached less predicted is {statistics.mean(found):+.4f}, mean of {days}{error}")
    return lines


def _text(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def main(argv: Sequence[str] | None = None) -> int:
    parser = arg_parser()
    args = parser.parse_args(argv)
    days = days_of_range(parser, args)
    lake, _ = open_lake(args, "back_test")
    rows = [row for day in days for row in rows_of_day(lake, day)]
    if not rows:
        raise ValueError(f"no day from {days[0]} to {days[-1]} has both a prediction and an evaluation")
    show(rows, Console(width=120, highlight=False))
    values = [tuple(row[name] for name in tables.BACK_TESTS.columns) for row in rows]
    return lake.overwrite_days(tables.BACK_TESTS, days, lake.spark.createDataFrame(values, tables.BACK_TESTS.schema))


if __name__ == "__main__":
    run(main)
