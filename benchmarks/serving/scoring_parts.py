"""Where the time of `score_users` goes: each way does what an earlier one does, and one thing more.

    python -m benchmarks.serving.scoring_parts                     # 100,000 users x 100,000 items
    python -m benchmarks.serving.scoring_parts --backend ivf

Processor time is that of the JVM and of the Python workers, in microseconds per user; on a machine with other work it
says more than the seconds. The last two ways are what scoring was before its workers wrote their files.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
from pyspark.sql import DataFrame

from benchmarks.command_line import parse
from benchmarks.processor_time import processor_time
from benchmarks.serving.scoring import SMOKE, scoring_parser, written_world
from benchmarks.worlds import scored_world
from jobs import score_users
from jobs.cli.clock import now
from jobs.config.loading import Config
from jobs.inference.references import index_reference
from jobs.inference.scoring import candidates, list_plan
from jobs.lake import tables
from jobs.lake.file_layout import row_group_size, sorted_files
from jobs.lake.lake import Lake
from jobs.serving.candidate_files import USERS_PER_ROW_GROUP
from jobs.workers.scoring import CANDIDATES_AT_ONCE, made_lists, open_scorer
from model.features.ragged import of_lists

COLUMNS = ["user_id", "embedding", "excluded", "is_cold", "segment", "reusable_list", "reusable_scored_at"]
LISTS, TO_JVM = "and make lists as Arrow", "instead, send the lists to the JVM"
Batches = Iterable[pa.RecordBatch]


def main(argv: Sequence[str] | None = None) -> None:
    parser = scoring_parser(__doc__)
    parser.set_defaults(users=100_000)
    args = parse(parser, argv, **SMOKE)
    with tempfile.TemporaryDirectory(prefix="scoring-") as folder:
        report(args, measured(args, *written_world(args, Path(folder))))


def measured(args: argparse.Namespace, lake: Lake, config: Config, file: Path) -> dict[str, list[tuple[float, ...]]]:
    """For each way and round: seconds, and processor seconds of the JVM and of the workers."""
    argv = ["--lake", lake.uri, "--ds", str(scored_world.DAY), "--config", str(file)]
    ways = parts(lake, config, args.users, argv)
    taken: dict[str, list[tuple[float, ...]]] = {name: [] for name in ways}
    for number in range(args.rounds + 1):
        for name, way in ways.items():
            began, before = time.perf_counter(), processor_time()
            way()
            spent = processor_time().since(before)
            print(f"{name}: {time.perf_counter() - began:.1f} s, {spent}", file=sys.stderr)
            if number or args.smoke:  # the first round starts the workers and compiles the JVM's code
                taken[name].append((time.perf_counter() - began, spent.jvm, spent.workers))
    return taken


def parts(lake: Lake, config: Config, count: int, argv: Sequence[str]) -> dict[str, Callable[[], object]]:
    """The ways. argv: of score_users."""
    ref, plan = index_reference(lake, config, scored_world.DAY), list_plan(config)

    def users() -> DataFrame:
        rows = score_users.users_to_score(lake, scored_world.DAY, ref.version)
        return sorted_files(rows, "user_id", count).select(COLUMNS)

    def mapped(work: Callable[[pa.RecordBatch], object]) -> Callable[[], object]:
        def without_output(batches: Batches) -> Iterator[pa.RecordBatch]:
            for batch in batches:
                for start in range(0, batch.num_rows, max(CANDIDATES_AT_ONCE // plan.quotas.k, 1)):
                    work(batch.slice(start, max(CANDIDATES_AT_ONCE // plan.quotas.k, 1)))
            yield from ()

        return lambda: _run(users().mapInArrow(without_output, "nothing int"))

    def search(batch: pa.RecordBatch) -> object:
        queries = batch.column("embedding").flatten().to_numpy().reshape(batch.num_rows, -1)
        return open_scorer(ref, plan).candidate_lists.index.search(
            queries, plan.quotas.k, of_lists(batch.column("excluded"))
        )

    return {
        "read, join and sort users": lambda: _run(users()),
        "and send them to the workers": mapped(lambda batch: batch.num_rows),
        "and search": mapped(search),
        LISTS: mapped(lambda batch: made_lists(batch, open_scorer(ref, plan))),
        "and write and commit their files: score_users": lambda: score_users.main(argv),
        TO_JVM: lambda: _run(candidates(users(), ref, plan, now()).frame()),
        "and let Spark write and commit them": lambda: written_by_spark(
            lake, candidates(users(), ref, plan, now()).frame()
        ),
    }


def written_by_spark(lake: Lake, rows: DataFrame) -> None:
    with row_group_size(lake.spark, USERS_PER_ROW_GROUP):
        lake.overwrite(tables.CANDIDATES, scored_world.DAY, rows)


def _run(rows: DataFrame) -> None:
    rows.write.format("noop").mode("overwrite").save()


def report(args: argparse.Namespace, taken: dict[str, list[tuple[float, ...]]]) -> None:
    print(f"{args.users:,} users, {args.items:,} items of {args.dim}, k = {args.k}, {args.backend}\n")
    print("| way | seconds | processor time a user, JVM | workers | more than before |\n|---|---|---|---|---|")
    totals: dict[str, float] = {}
    for name, rounds in taken.items():
        seconds, jvm, workers = (statistics.median(values) for values in zip(*rounds, strict=True))
        jvm, workers = 1e6 * jvm / args.users, 1e6 * workers / args.users
        before = totals[LISTS] if name == TO_JVM else [0.0, *totals.values()][-1]
        totals[name] = jvm + workers
        print(f"| {name} | {seconds:.1f} | {jvm:.0f} µs | {workers:.0f} µs | {totals[name] - before:+.0f} µs |")


if __name__ == "__main__":
    main()
